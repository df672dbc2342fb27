"""A librdkafka consumer on a thread of its own.

The library's calls block, so they never run on the event loop. The thread polls, hands what it read to the loop,
commits what the loop offers, and stops reading (not polling: the session must live) while too much is in flight.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from weir import telemetry
from weir.errors import Unavailable
from weir.kafka.config import Outages, consumer_config
from weir.kafka.item import Assignment, Item, Partition
from weir.kafka.pausing import Pausing
from weir.kafka.records import from_message
from weir.settings import Settings

log = telemetry.logger(__name__)
T = TypeVar("T")

POLL_SECONDS = 0.1
GATHER_BYTES = 2**20
"""What ends the wait of a worker that gathers."""
READ_AHEAD = 500
"""Records taken from the library at a time."""
LAG_SECONDS = 5.0
MISSING_TOPIC_SECONDS = 60.0
"""How long a subscribed topic may be missing before the process gives up and is restarted."""
HARMLESS = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT,
            KafkaError._MAX_POLL_EXCEEDED}


class Owner(Protocol):
    """Who works on the records; all calls come on the loop."""

    def feed(self, items: list[Item]) -> None: ...

    def ended(self, ends: list[tuple[Assignment, int]]) -> None:
        """Everything before these offsets was fed."""

    async def assigned(self, partitions: list[Partition]) -> None: ...

    async def revoked(self, assignments: list[Assignment]) -> dict[Assignment, int]:
        """Ends work on them; returns what may be committed."""

    async def lost(self, assignments: list[Assignment]) -> None: ...

    def recommit(self, assignments: list[Assignment]) -> None:
        """A commit did not arrive."""

    def crashed(self, error: BaseException) -> None: ...


class ConsumerThread:
    """Start with `start`, end with `close`. Counters are written by one side and read by the other."""

    def __init__(self, settings: Settings, group: str, topics: list[str], owner: Owner, *, replays: str, worker: str,
                 max_in_flight: int, max_in_flight_bytes: int, ahead: bool = False, gather: float = 0.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._topics = topics
        self._owner = owner
        self._replays = replays
        self._worker = worker
        self._limits = (max_in_flight, max_in_flight_bytes)
        self._assigned: dict[Partition, Assignment] = {}
        self._closing = False
        self._read = self._read_bytes = 0
        self.left = self.left_bytes = 0
        """Items and bytes that are done with; the loop counts them up."""
        self.offers: deque[dict[Assignment, int]] = deque()
        """Positions to commit; the loop appends, the thread takes."""
        self._missing_since = 0.0
        self._outages = Outages(worker)
        self._lag_at = 0.0
        # A record ends the wait at once; only a new assignment may wait for all of it. At 50 ms the empty answers to a
        # dozen idle workers cost the broker a tenth of a core.
        config = consumer_config(settings, group, fetch_wait_max_ms=500, enable_partition_eof=True)
        config |= {"error_cb": self._error, "on_commit": self._committed}
        if ahead:
            # A command is seen when it is produced and not when its transaction ends.
            config |= {"isolation.level": "read_uncommitted"}
        if gather:
            config |= {"fetch.min.bytes": GATHER_BYTES, "fetch.wait.max.ms": int(gather * 1000)}
        self._client = Client(config, logger=logging.getLogger("librdkafka"))
        self._pausing = Pausing(self._client)
        self._thread = threading.Thread(target=self._run, name=f"kafka-{worker}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def close(self) -> None:
        """Hands everything over and leaves the group."""
        self._closing = True
        await asyncio.to_thread(self._thread.join)

    @property
    def in_flight(self) -> int:
        return self._read - self.left

    # -- on the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._client.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke,
                                   on_lost=self._on_lost)
            while not self._closing:
                self._turn()
            self._on_revoke(self._client, [TopicPartition(*p) for p in self._assigned])
        except BaseException as e:
            self._tell(self._owner.crashed, e)
        finally:
            self._client.close()

    def _turn(self) -> None:
        """One turn: read, hand over, commit, mind the limits."""
        message = self._client.poll(POLL_SECONDS)
        if message is not None:
            self._hand([message])
            if not self._full:
                # consume() with a time-out waits for all it was asked for; with none it takes what is there.
                self._hand(self._client.consume(READ_AHEAD, 0))
        offer: dict[Assignment, int] = {}
        while self.offers:
            offer |= self.offers.popleft()
        self._commit(offer, wait=False)
        self._mind_limits()
        if time.monotonic() - self._lag_at > LAG_SECONDS:
            self._lag_at = time.monotonic()
            self._measure_lag()

    def _hand(self, messages: list[Message]) -> None:
        items, ends = [], []
        for message in messages:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                self._event(error)
                continue
            # What was read before a revocation that happened inside the same call is not ours any more.
            assignment = self._assigned.get((message.topic() or "", message.partition() or 0))
            if assignment is None:
                continue
            self._pausing.flows(assignment.partition)
            if error is not None:
                ends.append((assignment, message.offset() or 0))
            else:
                raw = from_message(message)
                items.append(Item(assignment, raw.offset, raw.size, raw, replay=raw.topic == self._replays))
        if items:
            self._missing_since = 0.0
            self._read += len(items)
            self._read_bytes += sum(item.size for item in items)
            self._tell(self._owner.feed, items)
        if ends:
            self._tell(self._owner.ended, ends)

    @property
    def _full(self) -> bool:
        most, most_bytes = self._limits
        return self._read - self.left >= most or self._read_bytes - self.left_bytes >= most_bytes

    def _mind_limits(self) -> None:
        most, most_bytes = self._limits
        if self._full:
            self._pausing.pause()
        elif self._read - self.left <= most * 3 // 4 and self._read_bytes - self.left_bytes <= most_bytes * 3 // 4:
            self._pausing.resume()

    def _commit(self, offer: dict[Assignment, int], *, wait: bool) -> None:
        offsets = [TopicPartition(*a.partition, offset) for a, offset in offer.items()
                   if self._assigned.get(a.partition) is a]
        if not offsets:
            return
        try:
            if wait:
                self._client.commit(offsets=offsets, asynchronous=False)
            else:
                self._client.commit(offsets=offsets, asynchronous=True)
        except KafkaException as e:
            # At worst these records are handled again.
            log.warning("commit failed", worker=self._worker, reason=e.args[0].str(), waited=wait)
            self._tell(self._owner.recommit, list(offer))

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        if error is not None and error.code() != KafkaError._NO_OFFSET:
            log.warning("commit failed", worker=self._worker, reason=error.str())
            self._tell(self._owner.recommit, self._ours(partitions))

    def _measure_lag(self) -> None:
        lag = dict.fromkeys(self._topics, 0)
        here = self._client.position([TopicPartition(*p) for p in self._assigned])
        for place in here:
            _, end = self._client.get_watermark_offsets(place, cached=True)
            if place.offset >= 0 and end > place.offset:
                lag[place.topic] = lag.get(place.topic, 0) + end - place.offset
        for topic, records in lag.items():
            telemetry.LAG.labels(self._worker, topic).set(records)
        telemetry.IN_FLIGHT.labels(self._worker).set(self.in_flight)

    # -- the group ------------------------------------------------------------------------------------------------

    def _on_assign(self, client: Client, partitions: list[TopicPartition]) -> None:
        self._wait(self._owner.assigned([(p.topic, p.partition) for p in partitions]))
        for p in partitions:
            self._assigned[p.topic, p.partition] = Assignment((p.topic, p.partition))
        client.incremental_assign(partitions)

    def _on_revoke(self, client: Client, partitions: list[TopicPartition]) -> None:
        """1. Work on them ends. 2. What it finished is committed. 3. Only then may another worker have them."""
        leaving = self._ours(partitions)
        offer = self._wait(self._owner.revoked(leaving)) if leaving else {}
        self._commit(offer or {}, wait=True)
        for assignment in leaving:
            del self._assigned[assignment.partition]
        if leaving:
            self._pausing.leave(a.partition for a in leaving)
            client.incremental_unassign([TopicPartition(*a.partition) for a in leaving])

    def _on_lost(self, client: Client, partitions: list[TopicPartition]) -> None:
        leaving = self._ours(partitions)
        log.warning("partitions were lost", worker=self._worker, partitions=len(leaving))
        for assignment in leaving:
            del self._assigned[assignment.partition]
        self._wait(self._owner.lost(leaving))
        self._pausing.leave(a.partition for a in leaving)
        client.incremental_unassign(partitions)

    def _ours(self, partitions: list[TopicPartition]) -> list[Assignment]:
        found = (self._assigned.get((p.topic, p.partition)) for p in partitions)
        return [assignment for assignment in found if assignment is not None]

    # -- errors ---------------------------------------------------------------------------------------------------

    def _event(self, error: KafkaError) -> None:
        if error.fatal():
            raise Unavailable(f"the consumer cannot go on: {error.str()}; restart the process")
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            now = time.monotonic()
            self._missing_since = self._missing_since or now
            if now - self._missing_since > MISSING_TOPIC_SECONDS:
                raise Unavailable(f"{error.str()}; create the topics with `weir up`")
        if error.code() not in HARMLESS:
            log.warning("kafka consumer", worker=self._worker, code=error.name(), reason=error.str())

    def _error(self, error: KafkaError) -> None:
        self._outages.say(error)
        if error.fatal():
            self._tell(self._owner.crashed, Unavailable(f"the consumer cannot go on: {error.str()}"))

    # -- to the loop ----------------------------------------------------------------------------------------------

    def _tell(self, call: Callable[[T], None], argument: T) -> None:
        self._loop.call_soon_threadsafe(call, argument)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
