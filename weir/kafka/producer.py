"""Events to Kafka from asyncio: one librdkafka producer, one thread that collects its acknowledgements."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Client

from schemas import codec, keys
from schemas.events import ClaimCheck
from weir import telemetry
from weir.blobs import Blobs
from weir.clock import Clock, system_clock
from weir.errors import BadRecord, Forbidden, Unavailable, WeirError
from weir.kafka.config import Outages, producer_config
from weir.settings import Settings

log = telemetry.logger(__name__)

OVERFLOW = 10_000
"""Records that wait here once librdkafka's own queue is full."""
PARTITIONS_SECONDS = 60.0
"""How long the number of a topic's partitions is believed."""


class Delivery(NamedTuple):
    """Where a record stands in its topic."""

    partition: int
    offset: int


class Produce(NamedTuple):
    """One record on its way."""

    topic: str
    key: bytes
    value: bytes | None
    headers: dict[str, bytes]
    partition: int
    future: asyncio.Future[Delivery]


class Producer:
    """Publishes events. Use as `async with Producer(settings) as producer`; belongs to the loop that entered it.

    Records of one partition keep the order of the calls. A record that was acknowledged is on every in-sync replica.
    """

    def __init__(self, settings: Settings, *, clock: Clock = system_clock, blobs: Blobs | None = None) -> None:
        self.settings = settings
        self.clock = clock
        self.blobs = blobs or Blobs(settings)
        self._partitions: dict[str, tuple[int, float]] = {}
        self._arrived: deque[tuple[Produce, float, KafkaError | None, Delivery | None]] = deque()
        self._wake_pending = False
        self._overflow: deque[Produce] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self._closing = threading.Event()
        self._outages = Outages("producer")

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[None] = self._loop.create_future()
        """Gets the exception after which this producer can never send again."""
        self._client = Client({**producer_config(self.settings), "error_cb": self._error},
                              logger=logging.getLogger("librdkafka"))
        self._thread = threading.Thread(target=self._collect, name="kafka-producer", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        left = await asyncio.to_thread(self._client.flush, 10.0)
        self._closing.set()
        await asyncio.to_thread(self._thread.join)
        self._settle()
        if left or self._overflow:
            log.warning("closed with records that Kafka did not acknowledge", records=left + len(self._overflow))
        for waiting in self._overflow:
            _fail(waiting.future, Unavailable(f"the producer closed before {waiting.topic} took the record"))
        self.failed.cancel()

    async def send(self, topic: str, key: str, event: Any | None, *, partition_key: str | None = None,
                   headers: dict[str, bytes] | None = None, partition: int | None = None) -> Delivery:
        """Publishes an event (None: a tombstone) and waits until Kafka has it. Large ones travel as claim checks.

        Args:
            topic: name on the broker.
            key: the whole key.
            event: one of `schemas.events.EVENTS`.
            partition_key: what is hashed to find the partition, where that is not the whole key.
            headers: the current trace is added to them.
            partition: its number, where neither key nor partition key decides.

        Raises:
            Unavailable: Kafka or the object store did not take it in time; it may have been written all the same.
            BadRecord: the event breaks its schema.
        """
        value = _encoded(event)
        if value is not None and len(value) > self.settings.max_record_bytes:
            value = codec.encode(ClaimCheck(blob=await self.blobs.put(value), size=len(value)))
        await self._room.wait()
        if partition_key is not None and not self._partitions_known(topic):
            await asyncio.to_thread(self.partitions, topic)
        return await self._produce(topic, key, value, partition_key, headers, partition)

    def post(self, topic: str, key: str, event: Any | None, *, partition_key: str | None = None,
             headers: dict[str, bytes] | None = None) -> asyncio.Future[Delivery]:
        """As `send`, but nothing is awaited: order is kept and the future tells what became of the record.

        Raises:
            Unavailable: too many records wait already.
            BadRecord: the event breaks its schema, or is so large that only `send` may carry it.
        """
        value = _encoded(event)
        if value is not None and len(value) > self.settings.max_record_bytes:
            raise BadRecord(f"a record of {len(value)} bytes for {topic} is too large to post; `send` it")
        return self._produce(topic, key, value, partition_key, headers)

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Blocks for a round trip when it is not known yet.

        Raises:
            Unavailable: Kafka does not answer, or there is no such topic.
        """
        if self._partitions_known(topic):
            return self._partitions[topic][0]
        try:
            found = self._client.list_topics(topic, timeout=10).topics[topic]
        except KafkaException as e:
            raise unavailable(e.args[0], topic) from e
        if found.error is not None:
            raise unavailable(found.error, topic)
        self._partitions[topic] = (len(found.partitions), time.monotonic())
        return len(found.partitions)

    async def flush(self) -> None:
        """Waits until everything that was posted has its fate."""
        await self._room.wait()
        await asyncio.to_thread(self._client.flush)
        await asyncio.sleep(0)

    def _partitions_known(self, topic: str) -> bool:
        known = self._partitions.get(topic)
        return known is not None and time.monotonic() - known[1] < PARTITIONS_SECONDS

    def _produce(self, topic: str, key: str, value: bytes | None, partition_key: str | None,
                 headers: dict[str, bytes] | None, partition: int | None = None) -> asyncio.Future[Delivery]:
        headers = dict(headers or {})
        telemetry.inject(headers)
        if partition is None:
            partition = -1 if partition_key is None else keys.partition(partition_key, self.partitions(topic))
        record = Produce(topic, key.encode(), value, headers, partition, self._loop.create_future())
        if self._overflow or not self._take(record):
            if len(self._overflow) >= OVERFLOW:
                raise Unavailable(f"{len(self._overflow)} records wait for Kafka already; try again later",
                                  retry_after=1.0)
            self._overflow.append(record)
            self._room.clear()
        return record.future

    def _take(self, record: Produce) -> bool:
        """Gives a record to librdkafka; False where its queue is full."""
        try:
            self._client.produce(record.topic, record.value, record.key, record.partition,
                                 partial(self._delivered, record, time.perf_counter()),
                                 headers=list(record.headers.items()))
        except BufferError:
            return False
        except KafkaException as e:
            _fail(record.future, unavailable(e.args[0], record.topic))
        return True

    # -- on the collecting thread ---------------------------------------------------------------------------------

    def _collect(self) -> None:
        while not self._closing.is_set():
            self._client.poll(0.1)
            if self._overflow:
                self._wake()

    def _delivered(self, record: Produce, since: float, error: KafkaError | None, message: Message) -> None:
        delivery = None if error else Delivery(message.partition() or 0, message.offset() or 0)
        self._arrived.append((record, time.perf_counter() - since, error, delivery))
        self._wake()

    def _wake(self) -> None:
        # One call into the loop carries all acknowledgements that came since the last.
        if not self._wake_pending and not self._loop.is_closed():
            self._wake_pending = True
            self._loop.call_soon_threadsafe(self._settle)

    def _error(self, error: KafkaError) -> None:
        self._outages.say(error)
        if error.fatal():
            failure = Unavailable(f"the producer cannot go on: {error.str()}; restart the process")
            self._loop.call_soon_threadsafe(_fail, self.failed, failure)

    # -- on the loop ----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        self._wake_pending = False
        while self._arrived:
            record, seconds, error, delivery = self._arrived.popleft()
            if delivery is None:
                _fail(record.future, unavailable(error, record.topic))
                continue
            telemetry.PRODUCED.labels(record.topic).inc()
            telemetry.PRODUCE_SECONDS.observe(seconds)
            if not record.future.done():
                record.future.set_result(delivery)
        while self._overflow and self._take(self._overflow[0]):
            self._overflow.popleft()
        if not self._overflow:
            self._room.set()


def _encoded(event: Any | None) -> bytes | None:
    try:
        return None if event is None else codec.encode(event)
    except codec.CodecError as e:
        raise BadRecord(str(e)) from e


def _fail(future: asyncio.Future[Any], error: WeirError) -> None:
    if not future.done():
        future.set_exception(error)
        # Marks it as seen: a posted record's future may have no reader.
        future.exception()


def unavailable(error: KafkaError | None, topic: str) -> WeirError:
    """An error of librdkafka as one of Weir's."""
    if error is None:
        return Unavailable(f"Kafka did not take a record for {topic}")
    match error.code():
        case KafkaError.UNKNOWN_TOPIC_OR_PART | KafkaError._UNKNOWN_TOPIC | KafkaError._UNKNOWN_PARTITION:
            return Unavailable(f"Kafka has no topic {topic}; `weir up` creates it")
        case KafkaError.TOPIC_AUTHORIZATION_FAILED | KafkaError.CLUSTER_AUTHORIZATION_FAILED:
            return Forbidden(f"this process may not write {topic}; see the ACLs in docs/reference/topics.md")
        case KafkaError.MSG_SIZE_TOO_LARGE:
            return BadRecord(f"Kafka refuses a record for {topic} as too large; lower WEIR_MAX_RECORD_BYTES")
        case _:
            return Unavailable(f"Kafka did not take a record for {topic}: {error.str()}")
