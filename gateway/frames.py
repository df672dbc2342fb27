"""The gateway's ear on `answers`: frames of the conversations that somebody here listens to, as they are written.

    loop                                      consumer thread
    listen(conversation) ── want it ────────▶ drops every record whose key nobody wants
        └─ partition not assigned yet:        poll, then all that is there
           its end now ── assign from there ▶ decode
    deliver(batch) ◀── call_soon_threadsafe ──┘

No consumer group: a gateway assigns itself the partitions of its conversations, from the end that they have *before*
the question is produced, so that not one frame can come too early.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from gateway.wire import Received
from schemas import codec, keys, topics
from schemas.events import AnswerFrame
from weir import telemetry
from weir.errors import Unavailable
from weir.kafka.config import consumer_config
from weir.settings import Settings

log = telemetry.logger(__name__)

LINGER = 300.0
"""Seconds that a partition stays assigned after its last listener; assigning it again costs a round trip."""
BATCH = 500
POLL = 0.01
"""Seconds that the thread may sit in one poll: a call to the client from another thread would wait for its end, so new
assignments are made between two polls."""
TIMEOUT = 5.0

Deliver = Callable[[list[Received]], None]


class Frames:
    """Listens to partitions of `answers`. Belongs to the loop that called `start`."""

    def __init__(self, settings: Settings, deliver: Deliver) -> None:
        self._settings = settings
        self.topic = topics.ANSWERS.named(settings.prefix)
        self._deliver = deliver
        self._wanted: Counter[bytes] = Counter()
        """Listeners by key. The thread only asks whether a key is there."""
        self._listeners: Counter[int] = Counter()
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._assigned: dict[int, float] = {}
        """When each assigned partition was last needed, in monotonic seconds."""
        self._assigning = asyncio.Lock()
        self._stopping = threading.Event()
        self.partitions = 0
        self.failure: str | None = None
        """Why nothing may be arriving at the moment, in librdkafka's words."""

    async def start(self) -> None:
        """Raises: Unavailable: Kafka does not answer, or has no topic `answers`."""
        self._loop = asyncio.get_running_loop()
        self._scout = Consumer(listener_config(self._settings))
        try:
            self.partitions = await asyncio.to_thread(self._count)
        except BaseException:
            await asyncio.to_thread(self._scout.close)
            raise
        self._consumer = Consumer(listener_config(self._settings) | {"error_cb": self._error})
        self._thread = threading.Thread(target=self._run, name="frames", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._consumer.close)
        await asyncio.to_thread(self._scout.close)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def partition(self, conversation: str) -> int:
        return keys.partition(conversation, self.partitions)

    async def listen(self, conversation: str) -> int:
        """From its return on, every new frame of the conversation is delivered. `leave` must follow.

        Returns:
            The conversation's partition.

        Raises:
            Unavailable: Kafka does not answer.
        """
        partition = self.partition(conversation)
        self._wanted[conversation.encode()] += 1
        self._listeners[partition] += 1
        if partition not in self._assigned:
            try:
                async with self._assigning:
                    if partition not in self._assigned:
                        end = await asyncio.to_thread(self._end, partition)
                        where = TopicPartition(self.topic, partition, end)
                        self._commands.put(lambda: self._consumer.incremental_assign([where]))
                        self._assigned[partition] = time.monotonic()
            except BaseException:
                self.leave(conversation)
                raise
        return partition

    def leave(self, conversation: str) -> None:
        key, partition = conversation.encode(), self.partition(conversation)
        self._wanted[key] -= 1
        if self._wanted[key] <= 0:
            del self._wanted[key]
        self._listeners[partition] -= 1
        if self._listeners[partition] <= 0:
            del self._listeners[partition]
            if partition in self._assigned:
                self._assigned[partition] = time.monotonic()

    async def sweep(self) -> None:
        """Lets go of partitions that nobody has listened to for a while."""
        async with self._assigning:
            old = time.monotonic() - LINGER
            idle = [p for p, used in self._assigned.items() if p not in self._listeners and used < old]
            for partition in idle:
                del self._assigned[partition]
            if idle:
                places = [TopicPartition(self.topic, p) for p in idle]
                self._commands.put(lambda: self._consumer.incremental_unassign(places))

    # -- on other threads -----------------------------------------------------------------------------------------

    def _count(self) -> int:
        try:
            found = self._scout.list_topics(self.topic, timeout=10).topics[self.topic]
        except KafkaException as e:
            raise Unavailable(f"Kafka does not answer at {self._settings.kafka_address}: {e.args[0].str()}") from e
        if found.error is not None:
            raise Unavailable(f"Kafka has no topic {self.topic}; `weir up` creates it")
        return len(found.partitions)

    def _end(self, partition: int) -> int:
        """The partition's end as an offset: "from the end" would be resolved later, after the first frame perhaps."""
        try:
            return int(self._scout.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=TIMEOUT,
                                                         cached=False)[1])
        except KafkaException as e:
            raise Unavailable(f"Kafka does not answer for {self.topic}/{partition}: {e.args[0].str()}",
                              retry_after=2) from e

    def _run(self) -> None:
        while not self._stopping.is_set():
            while not self._commands.empty():
                self._commands.get()()
            first = self._consumer.poll(POLL)
            if first is None:
                continue
            received = []
            for message in [first, *self._consumer.consume(BATCH, 0)]:
                if (error := message.error()) is not None:
                    self._error(error)
                elif message.key() in self._wanted:
                    frame = decoded(message.value())
                    if frame is not None:
                        received.append(Received(message.partition() or 0, message.offset() or 0, frame))
            self.failure = None
            if received and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._deliver, received)

    def _error(self, error: KafkaError) -> None:
        self.failure = error.str()
        log.warning("kafka consumer", code=error.name(), reason=error.str())


def listener_config(settings: Settings) -> dict[str, object]:
    """A consumer without a group. librdkafka wants a name for one all the same; nothing is ever committed to it."""
    return consumer_config(settings, f"{settings.prefix}gateway-listener", fetch_wait_max_ms=10,
                           auto_offset_reset="latest", isolation_level="read_uncommitted") | {"fetch.min.bytes": 1}


def decoded(value: bytes | None) -> AnswerFrame | None:
    try:
        event = codec.decode(value or b"")
    except codec.CodecError as e:
        log.warning("a frame cannot be decoded", reason=str(e))
        return None
    return event if isinstance(event, AnswerFrame) else None
