"""Reads partitions of a topic from a point in time and goes on, without a group."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from weir.errors import Unavailable
from weir.kafka.config import consumer_config
from weir.kafka.records import Raw, from_message
from weir.settings import Settings

POLL = 0.1
TIMEOUT = 5.0
"""Seconds that Kafka gets to say where a partition ends."""


class Tail:
    """Give `records` what the followed partitions hold, in order, on the event loop that started it."""

    def __init__(self, settings: Settings, topic: str, records: Callable[[list[Raw]], None]) -> None:
        self._settings, self._topic, self._records = settings, topic, records
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.positions: dict[int, int] = {}
        """Partition to the offset after the last record given out."""
        self.since: dict[int, int] = {}
        """Partition to the time from which it is followed, in milliseconds since the epoch."""

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = Consumer(consumer_config(self._settings, "weir-no-group"), logger=logging.getLogger("librdkafka"))
        self._thread = threading.Thread(target=self._read, name=f"tail of {self._topic}", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        self._stop.set()
        await asyncio.to_thread(self._thread.join)
        self._client.close()

    async def follow(self, partition: int, since: int) -> None:
        """Follows a partition from the first record of that time on; harmless where it is followed already.

        Raises:
            Unavailable: Kafka does not answer.
        """
        if since >= self.since.get(partition, since + 1):
            return
        self.since[partition] = since
        try:
            await asyncio.to_thread(self._follow, partition, since)
        except KafkaException as e:
            self.since.pop(partition, None)
            raise Unavailable(f"cannot read {self._topic}/{partition}: {e.args[0].str()}") from e

    def unfollow(self, partition: int) -> None:
        if self.since.pop(partition, None) is not None:
            self.positions.pop(partition, None)
            with self._lock:
                self._client.incremental_unassign([TopicPartition(self._topic, partition)])

    async def caught_up(self, partition: int) -> bool:
        """Whether everything that the partition holds now has been given out."""
        try:
            _, end = await asyncio.to_thread(self._client.get_watermark_offsets, TopicPartition(self._topic, partition),
                                             TIMEOUT)
        except KafkaException:
            return False
        return self.positions.get(partition, -1) >= end

    def _follow(self, partition: int, since: int) -> None:
        (found,) = self._client.offsets_for_times([TopicPartition(self._topic, partition, since)], timeout=TIMEOUT)
        if found.error is not None:
            raise KafkaException(found.error)
        offset = found.offset
        if offset < 0:
            _, offset = self._client.get_watermark_offsets(TopicPartition(self._topic, partition), TIMEOUT)
        place = TopicPartition(self._topic, partition, offset)
        with self._lock:
            if any(p.partition == partition for p in self._client.assignment()):
                self._client.incremental_unassign([TopicPartition(self._topic, partition)])
            self.positions[partition] = offset
            self._client.incremental_assign([place])

    def _read(self) -> None:
        while not self._stop.is_set():
            message = self._client.poll(POLL)
            if message is None:
                continue
            raws = [from_message(m) for m in (message, *self._client.consume(500, 0)) if m.error() is None]
            if raws:
                self._loop.call_soon_threadsafe(self._give, raws)

    def _give(self, raws: list[Raw]) -> None:
        self._records(raws)
        for raw in raws:
            if raw.partition in self.since:
                self.positions[raw.partition] = max(self.positions.get(raw.partition, 0), raw.offset + 1)
