"""Reading partitions of a compacted topic back into memory, up to an end that was fixed before."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from weir import telemetry
from weir.errors import Unavailable
from weir.kafka.config import client_config, consumer_config
from weir.settings import Settings

log = telemetry.logger(__name__)

BATCH = 5_000
"""Records taken from the library at a time."""
PROGRESS_SECONDS = 1.0
STALLED_SECONDS = 60.0
"""Without a record for so long a restore gives up; a transaction that nobody ends is aborted long before."""
TIMEOUT = 30.0

Sink = Callable[[Sequence[Message]], Any]


def partitions(settings: Settings, topic: str) -> list[int]:
    """The numbers of a topic's partitions.

    Raises:
        Unavailable: Kafka does not answer, or there is no such topic.
    """
    try:
        found = AdminClient(client_config(settings)).list_topics(topic, timeout=TIMEOUT).topics[topic]
    except KafkaException as e:
        raise Unavailable(f"Kafka does not answer at {settings.kafka_address}: {e.args[0].str()}") from e
    if not found.partitions:
        raise Unavailable(f"Kafka has no topic {topic}; `weir up` creates it")
    return sorted(found.partitions)


def ends(settings: Settings, topic: str, partitions: Sequence[int]) -> dict[int, int]:
    """The offset after the last record of each partition, pending transactions included.

    Raises:
        Unavailable: Kafka does not answer, or there is no such partition.
    """
    asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in partitions}
    admin, until = AdminClient(client_config(settings)), time.monotonic() + TIMEOUT
    while True:
        try:
            found = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=TIMEOUT)
            return {place.partition: future.result(TIMEOUT).offset for place, future in found.items()}
        except (KafkaException, TimeoutError) as e:
            # A partition that has just been created, or whose leader has just changed.
            if time.monotonic() > until:
                raise Unavailable(f"cannot find the end of {topic}: {e}") from e
            time.sleep(0.1)


def read_to(settings: Settings, topic: str, up_to: dict[int, int], sink: Sink, *,
            progress: Callable[[int, int], Any] = lambda done, total: None) -> int:
    """Gives `sink` every committed record of the partitions below those offsets, each partition's in order. Blocks.

    A transaction that is pending below an offset is waited for: its owner ends it, or the broker does.

    Args:
        up_to: offset by partition, from `ends`.
        progress: called about once a second with how many offsets were passed, of how many.

    Returns:
        How many records were read.

    Raises:
        Unavailable: Kafka does not answer.
    """
    waiting = {number for number, end in up_to.items() if end > 0}
    if not waiting:
        return 0
    config = consumer_config(settings, f"{settings.prefix}{settings.process or 'reader'}", enable_partition_eof=True,
                             fetch_wait_max_ms=20, queued_min_messages=100_000, queued_max_messages_kbytes=32_768,
                             fetch_message_max_bytes=4 * 2**20)
    client = Consumer(config, logger=logging.getLogger("librdkafka"))
    try:
        # By number: asked for the beginning, the library waits half a second for a leader that it does not know yet.
        client.assign([TopicPartition(topic, number, 0) for number in sorted(waiting)])
        return _read(client, topic, up_to, waiting, sink, progress)
    finally:
        client.close()


def _read(client: Consumer, topic: str, up_to: dict[int, int], waiting: set[int], sink: Sink,
          progress: Callable[[int, int], Any]) -> int:
    read, total = 0, sum(up_to.values())
    passed = dict.fromkeys(up_to, 0)
    moved = said = time.monotonic()
    while waiting:
        first = client.poll(0.2)
        now = time.monotonic()
        records: list[Message] = []
        for message in (first, *client.consume(BATCH, 0)) if first is not None else ():
            error, number, offset = message.error(), message.partition() or 0, message.offset() or 0
            if error is None:
                passed[number] = offset + 1
                # What came after the end was fixed belongs to whoever wrote it.
                if offset < up_to[number]:
                    records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                # Markers of transactions have offsets and are no records: only here one sees that they were passed.
                passed[number] = max(passed[number], offset)
            elif error.fatal():
                raise Unavailable(f"cannot read {topic}: {error.str()}")
            if passed[number] >= up_to[number]:
                waiting.discard(number)
        if records:
            sink(records)
            read += len(records)
            moved = now
        elif now - moved > STALLED_SECONDS:
            raise Unavailable(f"{topic}: partitions {sorted(waiting)} do not come to their ends; does a transaction "
                              "stay open?")
        if now - said > PROGRESS_SECONDS:
            said = now
            progress(sum(passed.values()), total)
    return read
