"""What the broker holds and when it lets go of it: topics, their settings, their records, the end of a segment."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from schemas.topics import DAY, Topic
from weir.errors import Unavailable
from weir.kafka import restore
from weir.kafka.config import client_config, consumer_config, producer_config
from weir.kafka.records import Raw, from_message, topic_of
from weir.settings import Settings

TIMEOUT = 30.0
STALLED = 60.0
"""Seconds without a record after which reading gives up."""
ROLL_MS = 1
"""`segment.ms` while segments are ended."""
SLACK = DAY
"""What the dates of a receipt allow for the cleaner's queue, clocks of publishers and a broker that was away, in
milliseconds."""
NEVER = 2**62
"""A setting above this says that the broker will not do it."""

Configs = Mapping[str, str]


def topics_there(settings: Settings) -> dict[str, Topic]:
    """Every topic of this installation that the broker has, with its declaration.

    Raises:
        Unavailable: Kafka does not answer.
    """
    try:
        there = AdminClient(client_config(settings)).list_topics(timeout=TIMEOUT).topics
    except KafkaException as e:
        raise Unavailable(f"Kafka does not answer at {settings.kafka_address}: {e.args[0].str()}") from e
    return {name: topic for name in sorted(there) if (topic := topic_of(name, settings.prefix)) is not None}


def read(settings: Settings, topic: str) -> Generator[Raw, None, None]:
    """Every record that a consumer can be given from a topic now, those of open and aborted transactions included.

    Raises:
        Unavailable: Kafka does not answer.
    """
    ends = {n: end for n, end in restore.ends(settings, topic, restore.partitions(settings, topic)).items() if end > 0}
    if not ends:
        return
    client = Consumer(consumer_config(settings, f"{settings.prefix}weir-erase", enable_partition_eof=True,
                                      isolation_level="read_uncommitted"), logger=logging.getLogger("librdkafka"))
    try:
        client.assign([TopicPartition(topic, number, 0) for number in sorted(ends)])
        moved = time.monotonic()
        while ends:
            first = client.poll(0.2)
            if first is None:
                if time.monotonic() - moved > STALLED:
                    raise Unavailable(f"{topic}: the partitions {sorted(ends)} do not come to their ends")
                continue
            moved = time.monotonic()
            for message in (first, *client.consume(1000, 0)):
                number, error = message.partition() or 0, message.error()
                # The end of a partition is told by an event of its own: markers of transactions are no records.
                if error is None:
                    yield from_message(message)
                elif error.fatal():
                    raise Unavailable(f"cannot read {topic}: {error.str()}")
                if (message.offset() or 0) + (error is None) >= ends.get(number, 0):
                    ends.pop(number, None)
    finally:
        client.close()


def record_ends(settings: Settings, topic: str) -> dict[int, int]:
    """The offset after the last committed record of each partition: how far a group that has all of them has come.

    Raises:
        Unavailable: Kafka does not answer.
    """
    found: dict[int, int] = {}

    def sink(messages: Sequence[Message]) -> None:
        for message in messages:
            found[message.partition() or 0] = (message.offset() or 0) + 1

    restore.read_to(settings, topic, restore.ends(settings, topic, restore.partitions(settings, topic)), sink)
    return found


def resend(settings: Settings, raws: Iterable[Raw]) -> None:
    """Writes records once more as they are, behind what stands in their partitions.

    Raises:
        Unavailable: Kafka did not take all of them.
    """
    client = Producer(producer_config(settings), logger=logging.getLogger("librdkafka"))
    problems: list[str] = []
    for raw in raws:
        client.produce(raw.topic, raw.value, raw.key, raw.partition, headers=list(raw.headers.items()),
                       on_delivery=lambda error, _: problems.append(error.str()) if error is not None else None)
        client.poll(0)
    left = client.flush(TIMEOUT)
    if left or problems:
        raise Unavailable(f"Kafka did not take {left + len(problems)} records ({problems[:1]})")


def configs(settings: Settings, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The settings of topics as the broker applies them, defaults included.

    Raises:
        Unavailable: Kafka does not answer.
    """
    wanted = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    admin = AdminClient(client_config(settings))  # its futures end with it
    try:
        futures = admin.describe_configs(wanted) if wanted else {}
        return {r.name: {e.name: e.value or "" for e in f.result(TIMEOUT).values()} for r, f in futures.items()}
    except (KafkaException, TimeoutError) as e:
        raise Unavailable(f"Kafka does not tell the settings of its topics: {e}") from e


def gone_by(config: Configs, compacted: bool, replaced_at: int) -> int | None:
    """When a record is off the disks at the latest, in milliseconds since the epoch; None: nobody can say.

    Of a compacted topic: one whose segment has ended and whose key has a newer record. Of any other: one that was
    written before; a segment goes as a whole, once its newest record is old enough.

    Args:
        replaced_at: when its segment was ended; of a topic that is not compacted, when it was written.
    """
    waits = [_number(config, "max.compaction.lag.ms")] if compacted else [
        _number(config, "retention.ms"), _number(config, "segment.ms")]
    total = sum(waits) + _number(config, "file.delete.delay.ms")
    return None if total > NEVER or any(w < 0 for w in waits) else replaced_at + total + SLACK


def names_gone_by(config: Configs, content_gone: int | None) -> int | None:
    """When the key of a deleted record is gone as well, where the partition is written to; of a compacted topic."""
    total = _number(config, "delete.retention.ms") + _number(config, "max.compaction.lag.ms") + _number(
        config, "segment.ms")
    return None if content_gone is None or total > NEVER else content_gone + total


def _number(config: Configs, name: str) -> int:
    return int(config.get(name) or 0)


@asynccontextmanager
async def rolling(settings: Settings, topics: Mapping[str, Topic]) -> AsyncIterator[None]:
    """While this is open, a record that is written to one of the topics ends the segment before it.

    The cleaner never touches a partition's last segment, which without new records stays the last one for ever. What
    an eraser that was killed here leaves behind is put right by the next one, and by `weir up`.

    Raises:
        Unavailable: Kafka does not take the settings.
    """
    before = {name: found["segment.ms"] for name, found in
              (await asyncio.to_thread(configs, settings, topics)).items()}
    try:
        await asyncio.to_thread(_set, settings, dict.fromkeys(topics, str(ROLL_MS)))
        yield
    finally:
        await asyncio.to_thread(_set, settings, {
            name: topics[name].config["segment.ms"] if value == str(ROLL_MS) else value
            for name, value in before.items()})


def _set(settings: Settings, wanted: Mapping[str, str]) -> None:
    changes = [ConfigResource(ResourceType.TOPIC, name, incremental_configs=[
        ConfigEntry("segment.ms", value, incremental_operation=AlterConfigOpType.SET)])
        for name, value in wanted.items()]
    admin = AdminClient(client_config(settings))
    try:
        for future in (admin.incremental_alter_configs(changes) if changes else {}).values():
            future.result(TIMEOUT)
        until = time.monotonic() + TIMEOUT
        while any(found["segment.ms"] != wanted[name] for name, found in configs(settings, wanted).items()):
            if time.monotonic() > until:
                raise TimeoutError("the new settings cannot be seen")
            time.sleep(0.05)
    except (KafkaException, TimeoutError) as e:
        raise Unavailable(f"Kafka does not take `segment.ms`: {e}") from e
