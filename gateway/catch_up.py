"""What a client missed, read from the log by a consumer that lives for one read.

    cursor known, record still there  ──▶ the records from the cursor's on: exactly the missing characters follow
    anything else                     ──▶ MovedOn: begin anew, from the finished turn or from the answer's first frame
"""

from __future__ import annotations

import asyncio

from confluent_kafka import Consumer, KafkaException, TopicPartition

from gateway.frames import decoded, listener_config
from gateway.wire import Cursor, Received
from schemas import topics
from weir.clock import Clock
from weir.errors import Unavailable
from weir.settings import Settings

AT_ONCE = 8
"""Catch-up consumers of one gateway at a time; each has a connection and a buffer."""
MOST = 200_000
"""Records of a partition that one catch-up reads; a client further behind begins anew."""
TIMEOUT = 5.0
FRESH = 60_000
"""Milliseconds for which the access check of whoever wrote the frames is good enough."""


class MovedOn(Exception):
    """The log no longer says what followed the cursor."""


class CatchUp:
    """Reads a stretch of one answer."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._topic = topics.ANSWERS.named(settings.prefix)
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def since(self, cursor: Cursor, conversation: str, answer: str) -> list[Received]:
        """The answer's records from the cursor's own, which comes first, to the end of the partition as it is now.

        Raises:
            MovedOn: the cursor's record is gone, too far back, or of something else.
            Unavailable: Kafka does not answer.
        """
        async with self._gate:
            found = await asyncio.to_thread(self._read, cursor.partition, cursor.offset, None, conversation, answer)
        if not found or found[0].cursor != cursor:
            raise MovedOn
        if found[-1].frame.at < self._clock() - FRESH:
            raise MovedOn  # access may have changed since: the finished turn is checked before it is shown
        return found

    async def recent(self, partition: int, conversation: str, answer: str) -> list[Received]:
        """All records of an answer that was asked within the time in which an unfinished answer can be alive.

        Raises:
            Unavailable: Kafka does not answer.
        """
        since = self._clock() - int(2000 * self._settings.answer_timeout)
        async with self._gate:
            return await asyncio.to_thread(self._read, partition, None, since, conversation, answer)

    def _read(self, partition: int, offset: int | None, since: int | None, conversation: str,
              answer: str) -> list[Received]:
        consumer = Consumer(listener_config(self._settings) | {"fetch.wait.max.ms": 5})
        try:
            where = TopicPartition(self._topic, partition)
            start, end = consumer.get_watermark_offsets(where, timeout=TIMEOUT, cached=False)
            if offset is None:
                [at] = consumer.offsets_for_times([TopicPartition(self._topic, partition, since or 0)], timeout=TIMEOUT)
                offset = at.offset if at.offset >= 0 else end
            elif offset < start or offset >= end or end - offset > MOST:
                raise MovedOn
            consumer.assign([TopicPartition(self._topic, partition, max(offset, start, end - MOST))])
            return self._collect(consumer, where, max(offset, start, end - MOST), end, conversation.encode(), answer)
        except KafkaException as e:
            raise Unavailable(f"Kafka does not answer for {self._topic}/{partition}: {e.args[0].str()}",
                              retry_after=2) from e
        finally:
            consumer.close()

    def _collect(self, consumer: Consumer, where: TopicPartition, position: int, end: int, key: bytes,
                 answer: str) -> list[Received]:
        found: list[Received] = []
        deadline = self._clock() + int(TIMEOUT * 1000)
        while position < end:
            first = consumer.poll(0.05)
            if first is None:
                if self._clock() > deadline:
                    raise Unavailable(f"Kafka did not give {where.topic}/{where.partition} up to {end} within "
                                      f"{TIMEOUT:.0f} s", retry_after=2)
                continue
            for message in [first, *consumer.consume(1000, 0)]:
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                position = (message.offset() or 0) + 1
                if message.key() == key and position <= end:
                    frame = decoded(message.value())
                    if frame is not None and frame.answer == answer:
                        found.append(Received(where.partition, position - 1, frame))
        return found
