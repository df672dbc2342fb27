"""The loop of every stream and sink: read, work, commit, hand over.

    broker --> ConsumerThread --feed--> Dispatcher --> handler
                     ^                      |
                     +---- offer (100 ms) --+   contiguous positions only

What it promises: each record is handled at least once, in the order of its key where the handler asks for that; an
offset is committed only after every record before it is handled or a dead letter; a record that fails for ever stops
nobody but its own key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from schemas import topics as table
from weir import telemetry
from weir.errors import Unavailable
from weir.kafka.consumer import ConsumerThread
from weir.kafka.dead_letters import Graveyard
from weir.kafka.dispatch import Dispatcher
from weir.kafka.handlers import Batch, Each, Handler
from weir.kafka.item import Assignment, Item, Partition
from weir.kafka.producer import Producer
from weir.kafka.records import Decoder
from weir.settings import Settings

__all__ = ["Batch", "Each", "Handler", "Partition", "Worker"]

log = telemetry.logger(__name__)

COMMIT_SECONDS = 0.1
Hook = Callable[[list[Partition]], Awaitable[None]]


class Worker:
    """A member of the group `<prefix><name>` that works on `topics`, and on its group's share of `replays`.

    Args:
        name: of the group, without the prefix; also the label in metrics and logs.
        topics: names on the broker.
        handler: what to call.
        producer: for dead letters.
        on_assigned: awaited before the first record of these partitions is handled.
        on_revoked: awaited when work on these partitions has ended, whether handed over or lost.
        max_in_flight: records that may be read and unfinished. A handler that holds records open needs room for them.
        max_in_flight_bytes: the same, in bytes as read.
        ahead: read what is not committed yet. Only for work that may be done for nothing, and twice.
        gather: seconds that records may wait at the broker to be read together. For work that nobody waits for: each
            waking costs time that somebody else's record needs.
    """

    def __init__(self, settings: Settings, *, name: str, topics: list[str], handler: Handler, producer: Producer,
                 on_assigned: Hook | None = None, on_revoked: Hook | None = None, max_in_flight: int = 10_000,
                 max_in_flight_bytes: int = 64 * 2**20, ahead: bool = False, gather: float = 0.0) -> None:
        self.settings = settings
        self.name = name
        self.group = settings.prefix + name
        self._replays = table.REPLAYS.named(settings.prefix)
        self._topics = [*topics, self._replays]
        self._producer = producer
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        self._limits = (max_in_flight, max_in_flight_bytes)
        self._ahead, self._gather = ahead, gather
        self._dispatcher = Dispatcher(name, handler, Decoder(settings, producer.blobs), Graveyard(producer, self.group),
                                      self._left, self.crashed)
        self._moved: set[Assignment] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._thread: ConsumerThread | None = None

    @property
    def in_flight(self) -> int:
        """Records that were read and are not finished."""
        return self._thread.in_flight if self._thread else 0

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set, then hands over.

        Raises:
            WeirError: the consumer or the producer cannot go on; a fresh process can.
        """
        self._crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        most, most_bytes = self._limits
        self._thread = thread = ConsumerThread(self.settings, self.group, self._topics, self, replays=self._replays,
                                               worker=self.name, max_in_flight=most, max_in_flight_bytes=most_bytes,
                                               ahead=self._ahead, gather=self._gather)
        thread.start()
        log.info("working", worker=self.name, group=self.group, topics=self._topics)
        stopped: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait([stopped, self._crash, self._producer.failed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            await thread.close()
            if self._timer:
                self._timer.cancel()
            log.info("stopped", worker=self.name)
        for failure in (self._crash, self._producer.failed):
            if failure.done():
                failure.result()

    # -- called by the thread, on the loop ------------------------------------------------------------------------

    def feed(self, items: list[Item]) -> None:
        if self._crash.done():
            return
        try:
            for item in items:
                item.assignment.offsets.read(item.offset)
                self._dispatcher.enter(item)
        except ValueError as e:
            # The partition went back: its log was cut off. A fresh worker starts from what was committed.
            self.crashed(Unavailable(f"{items[0].assignment.partition}: {e}; restart the process"))

    def ended(self, ends: list[tuple[Assignment, int]]) -> None:
        # After a crash in `feed` some of what was read was never taken in.
        for assignment, offset in ends if not self._crash.done() else ():
            assignment.offsets.ended(offset)
            self._move(assignment)

    async def assigned(self, partitions: list[Partition]) -> None:
        log.info("assigned", worker=self.name, partitions=_named(partitions))
        if self._on_assigned and (own := self._own(partitions)):
            await self._on_assigned(own)

    async def revoked(self, assignments: list[Assignment]) -> dict[Assignment, int]:
        await self._release(assignments, self.settings.drain_timeout)
        return {a: position for a in assignments if (position := a.offsets.position) is not None}

    async def lost(self, assignments: list[Assignment]) -> None:
        await self._release(assignments, 0.0)

    async def _release(self, assignments: list[Assignment], drain: float) -> None:
        partitions = [a.partition for a in assignments]
        log.info("handing over", worker=self.name, partitions=_named(partitions))
        await self._dispatcher.release(assignments, drain)
        if self._on_revoked and (own := self._own(partitions)):
            await self._on_revoked(own)

    def recommit(self, assignments: list[Assignment]) -> None:
        for assignment in assignments:
            assignment.offered = None
            self._move(assignment)

    def crashed(self, error: BaseException) -> None:
        if not self._crash.done():
            self._crash.set_exception(error)

    def _own(self, partitions: list[Partition]) -> list[Partition]:
        return [p for p in partitions if p[0] != self._replays]

    # -- commits --------------------------------------------------------------------------------------------------

    def _left(self, item: Item) -> None:
        assert self._thread is not None
        self._thread.left += 1
        self._thread.left_bytes += item.size
        self._move(item.assignment)

    def _move(self, assignment: Assignment) -> None:
        if not assignment.leaving:
            self._moved.add(assignment)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(COMMIT_SECONDS, self._offer)

    def _offer(self) -> None:
        """Offers the thread every position that has moved since the last offer."""
        self._timer = None
        offer: dict[Assignment, int] = {}
        for assignment in self._moved:
            position = assignment.offsets.position
            if position is not None and position != assignment.offered and not assignment.leaving:
                offer[assignment] = assignment.offered = position
        self._moved.clear()
        if offer and self._thread:
            self._thread.offers.append(offer)


def _named(partitions: list[Partition]) -> list[str]:
    return [f"{topic}/{number}" for topic, number in sorted(partitions)]
