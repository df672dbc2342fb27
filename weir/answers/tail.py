"""Reads partitions of a topic from a point in time and goes on, without a group."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import Consumer, KafkaException, TopicPartition

from weir.errors import Unavailable
from weir.kafka.config import consumer_config
from weir.kafka.records import Raw, from_message
from weir.settings import Settings

T = TypeVar("T")

GATHER_BYTES = 2**20
POLL = 0.05
"""Seconds that a call waits at most behind a poll."""
TIMEOUT = 5.0
"""Seconds that Kafka gets to say where a partition begins or ends."""


class Tail:
    """Gives `records` what the followed partitions hold, in order, on the event loop that started it.

    All calls of the client are made on one thread: it blocks others while it polls.

    Args:
        gather: seconds that records may wait at the broker to be read together.
    """

    def __init__(self, settings: Settings, topic: str, records: Callable[[list[Raw]], None], *,
                 gather: float = 0.0) -> None:
        self._settings, self._topic, self._records = settings, topic, records
        self._gather = gather
        self._stop = threading.Event()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._assigned: set[int] = set()
        self.positions: dict[int, int] = {}
        """Partition to the offset after the last record given out."""
        self.since: dict[int, int] = {}
        """Partition to the time from which it is followed, in milliseconds since the epoch."""

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=f"tail of {self._topic}", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        self._stop.set()
        await asyncio.to_thread(self._thread.join)

    async def follow(self, partition: int, since: int) -> None:
        """Follows a partition from the first record of that time on; harmless where it is followed already.

        Raises:
            Unavailable: Kafka does not answer.
        """
        if since >= self.since.get(partition, since + 1):
            return
        self.since[partition] = since
        try:
            self.positions[partition] = await self._call(lambda: self._follow(partition, since))
        except KafkaException as e:
            self.since.pop(partition, None)
            raise Unavailable(f"cannot read {self._topic}/{partition}: {e.args[0].str()}") from e

    async def unfollow(self, partition: int) -> None:
        if self.since.pop(partition, None) is not None:
            self.positions.pop(partition, None)
            await self._call(lambda: self._leave(partition))

    async def caught_up(self, partition: int) -> bool:
        """Whether everything that the partition holds now has been given out."""
        try:
            end = await self._call(lambda: self._end(partition))
        except KafkaException:
            return False
        return self.positions.get(partition, -1) >= end

    # -- on the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        config = consumer_config(self._settings, "weir-no-group")
        if self._gather:
            config |= {"fetch.min.bytes": GATHER_BYTES, "fetch.wait.max.ms": int(self._gather * 1000)}
        self._client = Consumer(config, logger=logging.getLogger("librdkafka"))
        while not self._stop.is_set():
            try:
                self._calls.get(timeout=0.0 if self._assigned else POLL)()
            except queue.Empty:
                if self._assigned:
                    self._poll()
        self._client.close()

    def _poll(self) -> None:
        message = self._client.poll(POLL)
        if message is None:
            return
        raws = [from_message(m) for m in (message, *self._client.consume(500, 0)) if m.error() is None]
        if raws:
            self._loop.call_soon_threadsafe(self._give, raws)

    def _follow(self, partition: int, since: int) -> int:
        (found,) = self._client.offsets_for_times([TopicPartition(self._topic, partition, max(0, since))],
                                                  timeout=TIMEOUT)
        if found.error is not None:
            raise KafkaException(found.error)
        offset = found.offset if found.offset >= 0 else self._end(partition)
        self._leave(partition)
        self._client.incremental_assign([TopicPartition(self._topic, partition, offset)])
        self._assigned.add(partition)
        return offset

    def _leave(self, partition: int) -> None:
        if partition in self._assigned:
            self._assigned.discard(partition)
            self._client.incremental_unassign([TopicPartition(self._topic, partition)])

    def _end(self, partition: int) -> int:
        _, end = self._client.get_watermark_offsets(TopicPartition(self._topic, partition), TIMEOUT)
        return end

    # -- on the loop ----------------------------------------------------------------------------------------------

    async def _call(self, call: Callable[[], T]) -> T:
        future: asyncio.Future[T] = self._loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # a result where there is no error

        def run() -> None:
            try:
                result = call()
            except Exception as e:
                self._loop.call_soon_threadsafe(settle, None, e)
            else:
                self._loop.call_soon_threadsafe(settle, result, None)

        self._calls.put(run)
        return await future

    def _give(self, raws: list[Raw]) -> None:
        self._records(raws)
        for raw in raws:
            if raw.partition in self.since:
                self.positions[raw.partition] = max(self.positions.get(raw.partition, 0), raw.offset + 1)
