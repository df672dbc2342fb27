"""`weir backup` and `weir restore`: the topics that are not derived from others, as one Avro container file.

Blobs are copied beside it (`docs/how-to/backup-and-restore.md`). Everything else is made again by replay.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import fastavro
import typer
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from rich.console import Console

from schemas import keys, topics
from weir import settings as settings_module
from weir.errors import BadRequest, Conflict, Unavailable
from weir.kafka.admin import ensure_topics
from weir.kafka.config import consumer_config, producer_config
from weir.settings import Settings

KEPT = (topics.DOCUMENTS, topics.TURNS, topics.WORKSPACES, topics.USAGE, topics.FEEDBACK, topics.AUDIT)
"""What cannot be made from something else. Dead letters name offsets of the old log, so they stay behind."""

SCHEMA = fastavro.parse_schema({
    "type": "record", "name": "ArchivedRecord", "namespace": "weir",
    "fields": [{"name": "topic", "type": "string"}, {"name": "partition", "type": "int"},
               {"name": "offset", "type": "long"}, {"name": "timestamp", "type": "long"},
               {"name": "key", "type": ["null", "bytes"]}, {"name": "value", "type": ["null", "bytes"]},
               {"name": "headers", "type": {"type": "map", "values": "bytes"}}]})

PATIENCE = 30.0
"""Seconds without an answer from the broker after which reading gives up."""


def backup(
    file: Annotated[Path, typer.Argument(help="File to write.")],
    since: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
                                                   help="Only records from this moment on (UTC).")] = None,
) -> None:
    """Write the log's own topics into one file. Copy the blobs afterwards."""
    settings = settings_module.load()
    start = int(since.replace(tzinfo=UTC).timestamp() * 1000) if since else None
    unfinished = file.with_suffix(file.suffix + ".unfinished")
    count = 0

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal count
        for record in read(settings, start):
            count += 1
            yield record

    with Console(stderr=True).status("reading the log ..."), unfinished.open("wb") as out:
        fastavro.writer(out, SCHEMA, counted(), codec="deflate")
    unfinished.rename(file)
    print(f"{count} records in {file}. Now copy the blobs: {settings.blobs_url}")


def restore(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="File that `weir backup` wrote.")],
    merge: Annotated[bool, typer.Option(help="Allow topics that hold records; the file's come after them.")] = False,
) -> None:
    """Write a backup's records into the log. Views and indexes follow by themselves."""
    settings = settings_module.load()
    asyncio.run(ensure_topics(settings))
    if not merge and next(read(settings, None), None) is not None:
        raise Conflict("the topics are not empty; restore into a fresh installation (another WEIR_PREFIX will do), or "
                       "say --merge to put the file's records after what is there")
    with Console(stderr=True).status("writing the log ..."):
        count = write(settings, file)
    print(f"{count} records restored. `weir status` shows how far the views are.")


def read(settings: Settings, start: int | None) -> Iterator[dict[str, Any]]:
    """Every committed record of the kept topics up to their present ends, partition by partition in log order.

    Args:
        start: milliseconds since the epoch to begin at; None begins at the beginning.

    Raises:
        Unavailable: the broker stopped answering.
    """
    consumer = Consumer(consumer_config(settings, f"{settings.prefix}weir-backup", enable_partition_eof=True,
                                        auto_offset_reset="error"))
    try:
        for topic in KEPT:
            name = topic.named(settings.prefix)
            for partition in consumer.list_topics(name, timeout=PATIENCE).topics[name].partitions:
                yield from _read_partition(consumer, topic.name, TopicPartition(name, partition), start)
    except KafkaException as e:
        raise Unavailable(f"Kafka at {settings.kafka_address} stopped answering: {e.args[0].str()}") from e
    finally:
        consumer.close()


def _read_partition(consumer: Consumer, topic: str, at: TopicPartition, start: int | None) -> Iterator[dict[str, Any]]:
    at.offset = _beginning(consumer, at)
    if start is not None:
        moment = TopicPartition(at.topic, at.partition, start)
        at.offset = consumer.offsets_for_times([moment], timeout=PATIENCE)[0].offset
    consumer.assign([at])
    while True:
        message = consumer.poll(PATIENCE)
        if message is None:
            raise Unavailable(f"no answer from the broker for {at.topic}/{at.partition} within {PATIENCE:.0f} s")
        error = message.error()
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            return
        if error is not None:
            raise KafkaException(error)
        yield {"topic": topic, "partition": at.partition, "offset": message.offset(), "key": message.key(),
               "timestamp": message.timestamp()[1], "value": message.value(), "headers": dict(message.headers() or [])}


def _beginning(consumer: Consumer, at: TopicPartition) -> int:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return int(consumer.get_watermark_offsets(at, timeout=PATIENCE)[0])
        except KafkaException as e:
            # A partition that has just been created, or whose leader has just changed.
            if time.monotonic() > until or e.args[0].code() not in (
                    KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE):
                raise
            time.sleep(0.1)


def write(settings: Settings, file: Path) -> int:
    """Produces a file's records, each into the partition of its key, in the file's order; returns how many.

    Raises:
        BadRequest: the file is not a backup.
        Unavailable: not every record was acknowledged.
    """
    producer = Producer(producer_config(settings))
    counts: dict[str, int] = {}
    problems: list[str] = []
    known = {t.name: t for t in KEPT}
    sent = 0

    def delivered(error: KafkaError | None, _: object) -> None:
        if error is not None:
            problems.append(error.str())

    with file.open("rb") as opened:
        try:
            records: Iterator[Any] = fastavro.reader(opened, SCHEMA)
        except ValueError as e:
            raise BadRequest(f"{file} is not a file that `weir backup` wrote: {e}") from e
        for record in records:
            topic = known[record["topic"]]
            name = topic.named(settings.prefix)
            if name not in counts:
                counts[name] = len(producer.list_topics(name, timeout=PATIENCE).topics[name].partitions)
            key = record["key"].decode()
            hashed = key.rpartition(keys.SEPARATOR)[0] if topic.partition_key else key
            while True:
                try:
                    producer.produce(name, value=record["value"], key=record["key"], timestamp=record["timestamp"],
                                     partition=keys.partition(hashed, counts[name]), on_delivery=delivered,
                                     headers=list(record["headers"].items()))
                    break
                except BufferError:
                    producer.poll(0.1)
            sent += 1
            producer.poll(0)
    left = producer.flush(PATIENCE)
    if left or problems:
        raise Unavailable(f"{left + len(problems)} of {sent} records were not acknowledged ({problems[:1]}); make the "
                          "topics empty again and repeat")
    return sent
