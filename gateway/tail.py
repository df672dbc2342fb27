"""Following topics without a group: whole ones, or the records of those keys that somebody here listens to.

    loop                                      consumer thread
    listen(topic, key) ── want it ──────────▶ drops every record whose key nobody wants
        └─ partition not assigned yet:        poll, then all that is there
           its end now ── assign from there ▶ decode
    deliver(batch) ◀── call_soon_threadsafe ──┘

A gateway assigns itself partitions from the end that they have *before* it produces what it wants an answer to, so
that no record can come too early.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas import keys
from weir import telemetry
from weir.errors import Unavailable
from weir.kafka.config import consumer_config
from weir.kafka.records import Raw, from_message
from weir.settings import Settings

log = telemetry.logger(__name__)

T = TypeVar("T")

LINGER = 300.0
"""Seconds that a partition stays assigned after its last listener; assigning it again costs a round trip."""
BATCH = 500
POLL = 0.01
"""Seconds that the thread may sit in one poll: a call to the client from another thread would wait for its end, so new
assignments are made between two polls."""
TIMEOUT = 5.0


class Part(NamedTuple):
    topic: str
    partition: int


class Tail(Generic[T]):
    """Follows topics from their ends. Belongs to the loop that called `start`.

    Args:
        names: topics on the broker.
        decode: what to make of a record, on the thread; None drops it.
        deliver: gets what came, on the loop, in order of each partition.
        committed: whether records of open transactions wait for their commit.
    """

    def __init__(self, settings: Settings, names: Iterable[str], decode: Callable[[Raw], T | None],
                 deliver: Callable[[list[T]], None], *, committed: bool) -> None:
        self._settings = settings
        self._names = list(names)
        self._decode = decode
        self._deliver = deliver
        self._config = listener_config(settings, committed=committed)
        self._whole: set[str] = set()
        """Topics of which every record is wanted."""
        self._wanted: Counter[tuple[str, bytes]] = Counter()
        """Listeners by topic and key. The thread only asks whether one is there."""
        self._listeners: Counter[Part] = Counter()
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._assigned: dict[Part, float] = {}
        """When each assigned partition was last needed, in monotonic seconds."""
        self._assigning = asyncio.Lock()
        self._stopping = threading.Event()
        self._counts: dict[str, int] = {}
        self.failure: str | None = None
        """Why nothing may be arriving at the moment, in librdkafka's words."""

    async def start(self) -> None:
        """Raises: Unavailable: Kafka does not answer, or has no such topic."""
        self._loop = asyncio.get_running_loop()
        self._scout = Consumer(self._config)
        try:
            for name in self._names:
                self._counts[name] = await asyncio.to_thread(self._count, name)
        except BaseException:
            await asyncio.to_thread(self._scout.close)
            raise
        self._consumer = Consumer(self._config | {"error_cb": self._error})
        self._thread = threading.Thread(target=self._run, name=f"tail-{self._names[0]}", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._consumer.close)
        await asyncio.to_thread(self._scout.close)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def part(self, topic: str, key: str) -> Part:
        """The partition of a key."""
        return Part(topic, keys.partition(key, self._counts[topic]))

    async def follow(self, topic: str) -> None:
        """From its return on, every new record of the topic is delivered, until the end.

        Raises:
            Unavailable: Kafka does not answer.
        """
        self._whole.add(topic)
        for number in range(self._counts[topic]):
            self._listeners[Part(topic, number)] += 1
            await self._assign(Part(topic, number))

    async def listen(self, topic: str, key: str) -> Part:
        """From its return on, every new record of the key is delivered. `leave` must follow.

        Raises:
            Unavailable: Kafka does not answer.
        """
        part = self.part(topic, key)
        self._wanted[topic, key.encode()] += 1
        self._listeners[part] += 1
        try:
            await self._assign(part)
        except BaseException:
            self.leave(topic, key)
            raise
        return part

    def leave(self, topic: str, key: str) -> None:
        wanted, part = (topic, key.encode()), self.part(topic, key)
        self._wanted[wanted] -= 1
        if self._wanted[wanted] <= 0:
            del self._wanted[wanted]
        self._listeners[part] -= 1
        if self._listeners[part] <= 0:
            del self._listeners[part]
            if part in self._assigned:
                self._assigned[part] = time.monotonic()

    async def sweep(self) -> None:
        """Lets go of partitions that nobody has listened to for a while."""
        async with self._assigning:
            old = time.monotonic() - LINGER
            idle = [p for p, used in self._assigned.items() if p not in self._listeners and used < old]
            for part in idle:
                del self._assigned[part]
            if idle:
                places = [TopicPartition(*p) for p in idle]
                self._commands.put(lambda: self._consumer.incremental_unassign(places))

    async def _assign(self, part: Part) -> None:
        if part in self._assigned:
            return
        async with self._assigning:
            if part not in self._assigned:
                end = await asyncio.to_thread(self._end, part)
                where = TopicPartition(part.topic, part.partition, end)
                self._commands.put(lambda: self._consumer.incremental_assign([where]))
                self._assigned[part] = time.monotonic()

    # -- on other threads -----------------------------------------------------------------------------------------

    def _count(self, topic: str) -> int:
        try:
            found = self._scout.list_topics(topic, timeout=10).topics[topic]
        except KafkaException as e:
            raise Unavailable(f"Kafka does not answer at {self._settings.kafka_address}: {e.args[0].str()}") from e
        if found.error is not None:
            raise Unavailable(f"Kafka has no topic {topic}; `weir up` creates it")
        return len(found.partitions)

    def _end(self, part: Part) -> int:
        """The partition's end as an offset: "from the end" would be resolved later, after the first record perhaps."""
        try:
            return int(self._scout.get_watermark_offsets(TopicPartition(*part), timeout=TIMEOUT, cached=False)[1])
        except KafkaException as e:
            raise Unavailable(f"Kafka does not answer for {part.topic}/{part.partition}: {e.args[0].str()}",
                              retry_after=2) from e

    def _run(self) -> None:
        while not self._stopping.is_set():
            while not self._commands.empty():
                self._commands.get()()
            first = self._consumer.poll(POLL)
            if first is None:
                continue
            came = []
            for message in [first, *self._consumer.consume(BATCH, 0)]:
                if (error := message.error()) is not None:
                    self._error(error)
                elif self._wants(message.topic(), message.key()):
                    made = self._decode(from_message(message))
                    if made is not None:
                        came.append(made)
            self.failure = None
            if came and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._deliver, came)

    def _wants(self, topic: str | None, key: bytes | None) -> bool:
        return topic is not None and ((topic, key) in self._wanted or topic in self._whole)

    def _error(self, error: KafkaError) -> None:
        self.failure = error.str()
        log.warning("kafka consumer", code=error.name(), reason=error.str())


def listener_config(settings: Settings, *, committed: bool = False) -> dict[str, object]:
    """A consumer without a group. librdkafka wants a name for one all the same; nothing is ever committed to it.

    A partition that is added waits for the fetch under way, which is over long before an answer has text. Shorter waits
    cost the broker a hundred empty fetches a second.
    """
    isolation = "read_committed" if committed else "read_uncommitted"
    return consumer_config(settings, f"{settings.prefix}gateway-listener", fetch_wait_max_ms=50,
                           auto_offset_reset="latest", isolation_level=isolation) | {"fetch.min.bytes": 1}
