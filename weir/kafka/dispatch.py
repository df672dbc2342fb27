"""From records that were read to records that are finished: lanes, tries, dead letters. Runs on the loop alone.

    enter -> lane of its key -> ready -> one try --ok----------------------> finished
                                 ^         |--retriable--> wait --+
                                 +---------|----------------------+
                                           |--poison--> dead letter -------> finished

A lane holds the records of one key that wait for the one at its head.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, cast

from opentelemetry.trace import SpanKind

from schemas.events import DeadLetter
from weir import telemetry
from weir.kafka.batches import Batches
from weir.kafka.dead_letters import Graveyard, origin
from weir.kafka.handlers import Each, GiveUp, Handler, verdict
from weir.kafka.item import Assignment, Item
from weir.kafka.records import Decoder, Record

log = telemetry.logger(__name__)

Lane = tuple[str, str]
"""Topic and key, or topic and what the handler makes of the key."""
DECODERS = 8
"""Records that are decoded at a time for a batch; only claim checks take long."""


class Dispatcher:
    """Runs a handler over items; `left` is told of each that is finished with or whose partition has left.

    `crashed` is told of an error after which records may hang.
    """

    def __init__(self, name: str, handler: Handler, decoder: Decoder, graveyard: Graveyard,
                 left: Callable[[Item], None], crashed: Callable[[BaseException], None]) -> None:
        self.name = name
        self._handler = handler
        self._decoder = decoder
        self._graveyard = graveyard
        self._left = left
        self._crashed = crashed
        self._lanes: dict[Lane, deque[Item]] = {}
        self._ready: deque[Item] = deque()
        self._active = 0
        self._ordered = isinstance(handler, Each) and handler.ordered is not False
        self._lane_of = handler.ordered if isinstance(handler, Each) and callable(handler.ordered) else None
        self._batches: Batches | None = None
        self._limit = DECODERS
        if isinstance(handler, Each):
            self._limit = handler.concurrency or 1 << 30
        else:
            self._batches = Batches(self, handler)
        self._seconds = telemetry.RECORD_SECONDS.labels(name)
        self._outcome = {o: telemetry.RECORDS.labels(name, o) for o in ("handled", "dead_letter", "skipped")}
        self._retrying = telemetry.RETRYING.labels(name)

    def enter(self, item: Item) -> None:
        """Takes an item that was read. Items of a partition come in the partition's order."""
        key = (item.raw.key or b"").decode(errors="replace")
        lane = item.raw.topic, self._lane_of(key) if self._lane_of else key
        if (waiting := self._lanes.get(lane)) is not None:
            waiting.append(item)
            return
        self._lanes[lane] = deque()
        item.lane = lane
        self._ready.append(item)
        self.pump()

    async def release(self, assignments: Collection[Assignment], drain: float) -> None:
        """Ends all work on assignments: what has not started is dropped, what runs gets `drain` seconds."""
        running: set[asyncio.Task[None]] = set()
        for assignment in assignments:
            assignment.leaving = True
            running |= assignment.running
            for item in list(assignment.waiting):
                self._stop_waiting(item)
                self.drop(item)
        self.pump()
        if self._batches:
            self._batches.hurry()
        if isinstance(self._handler, Each) and not self._handler.drain:
            drain = 0.0
        if running and drain > 0:
            _, running = await asyncio.wait(running, timeout=drain)
        for task in running:
            task.cancel()
        if running:
            # A call that swallows its cancellation must not hold the partition.
            await asyncio.wait(running, timeout=1.0)
        for assignment in assignments:
            assignment.released = True

    def pump(self) -> None:
        """Starts what may start."""
        while self._ready and self._active < self._limit and not (self._batches and self._batches.full):
            item = self._ready.popleft()
            if item.assignment.leaving:
                self.drop(item)
                continue
            self._active += 1
            task = asyncio.get_running_loop().create_task(self._try(item))
            item.assignment.running.add(task)
            task.add_done_callback(item.assignment.running.discard)
            task.add_done_callback(partial(self._tried, item))

    def _tried(self, item: Item, task: asyncio.Task[None]) -> None:
        """After a try. One that is cancelled before its first step has not run a line of `_try`."""
        self._active -= 1
        if task.cancelled() and not item.done:
            self.drop(item)
        self.pump()
        self.ended(task)

    def ended(self, task: asyncio.Task[None]) -> None:
        """An error that no try has caught is one of this frame: the worker must not go on without the record."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crashed(error)

    # -- one try --------------------------------------------------------------------------------------------------

    async def _try(self, item: Item) -> None:
        """One try of one item. Afterwards it is finished, dropped, waiting for the next try, ready, or in a batch."""
        try:
            await self._step(item)
        except asyncio.CancelledError as e:
            task = asyncio.current_task()
            if item.assignment.leaving or (task and task.cancelling()):
                self.drop(item)
                raise
            # Nobody cancelled this try: a library inside the handler did that to itself.
            self._failed(item, e)
        except Exception as e:
            self._failed(item, e)

    async def _step(self, item: Item) -> None:
        if item.verdict is not None:
            await self.bury(item, item.verdict)
            return
        if item.record is None:
            item.record = self._decoder.now(item.raw, item.attempt)
        if item.record is None:
            item.record = await self._decoder.decode(item.raw, item.attempt)
        if item.replay:
            self._unwrap(item, cast("DeadLetter", item.record.event))
        elif self._batches:
            self._advance(item)
            self._batches.add(item)
        else:
            assert isinstance(self._handler, Each)
            if not self._ordered:
                self._advance(item)
                self.pump()
            await self.call(self._handler.fn, item.record, item)

    def _unwrap(self, item: Item, letter: DeadLetter) -> None:
        """A replay becomes the record it carries, and queues behind the others of its key."""
        self._advance(item)
        item.replay = False
        if letter.group != self._graveyard.group:
            self.finish(item, "skipped")
            return
        item.raw, item.attempt, item.record = origin(letter), letter.attempts + 1, None
        self.enter(item)

    async def call(self, fn: Callable[[Any], Any], argument: Any, item: Item) -> None:
        """Calls the handler for one item and finishes it."""
        record = item.record
        assert record is not None
        if not item.handled:
            since = time.perf_counter()
            with (telemetry.span(f"{self.name} {record.topic}", telemetry.extract(record.headers),
                                 kind=SpanKind.CONSUMER),
                  telemetry.bound(worker=self.name, topic=record.topic, partition=record.partition,
                                  offset=record.offset, **_ids(record))):
                await fn(argument)
            self._seconds.observe(time.perf_counter() - since)
            item.handled = True
        await self.settle(item)
        self.finish(item)

    def _failed(self, item: Item, error: BaseException) -> None:
        delay = self.judge(item, error)
        if delay is None:
            self._ready.append(item)
            return
        self._retrying.inc()
        item.waiting = asyncio.get_running_loop().call_later(delay, self._waited, item)
        item.assignment.waiting.add(item)

    def judge(self, item: Item, error: BaseException) -> float | None:
        """Seconds until the item's next try; None where it has its verdict."""
        now = time.monotonic()
        item.tries += 1
        item.failing_since = item.failing_since or now
        follows = verdict(error, item.tries, now - item.failing_since)
        where = {"worker": self.name, "topic": item.raw.topic, "partition": item.raw.partition,
                 "offset": item.raw.offset, "code": follows.code, **(_ids(item.record) if item.record else {})}
        if context := telemetry.extract(item.raw.headers):
            where["trace"] = f"{context.trace_id:032x}"
        if isinstance(follows, GiveUp):
            log.error("giving a record up", reason=follows.reason,
                      exc_info=error if follows.code == "internal" else None, **where)
            item.verdict, item.tries, item.failing_since = follows, 0, 0.0
            return None
        telemetry.RETRIES.labels(self.name, follows.code).inc()
        log.warning("trying a record again", reason=str(error) or type(error).__name__, tries=item.tries,
                    seconds=round(follows.delay, 2), **where)
        return follows.delay

    def _waited(self, item: Item) -> None:
        self._stop_waiting(item)
        self._ready.append(item)
        self.pump()

    def _stop_waiting(self, item: Item) -> None:
        item.assignment.waiting.discard(item)
        if item.waiting is not None:
            item.waiting.cancel()
            item.waiting = None
            self._retrying.dec()

    # -- the end of an item ---------------------------------------------------------------------------------------

    async def bury(self, item: Item, given_up: GiveUp) -> None:
        """Makes it a dead letter and finishes it."""
        await self._graveyard.bury(item.raw, given_up, attempts=item.attempt)
        telemetry.DEAD_LETTERS.labels(self.name, given_up.code).inc()
        self.finish(item, "dead_letter")

    async def settle(self, item: Item) -> None:
        """A replay that went well: its letter is settled."""
        if item.attempt > 1:
            await self._graveyard.settle(item.raw)

    def finish(self, item: Item, outcome: str = "handled") -> None:
        """Its effects are durable: its offset may be committed."""
        self._outcome[outcome].inc()
        if not item.assignment.released:
            item.assignment.offsets.finish(item.offset)
        self.drop(item)

    def drop(self, item: Item) -> None:
        """Takes it out without a word about its offset: another worker reads it again."""
        item.done = True
        self._advance(item)
        self._left(item)

    def _advance(self, item: Item) -> None:
        """Makes the next record of the item's lane ready. The caller pumps."""
        lane, item.lane = item.lane, None
        if lane is None:
            return
        if not (waiting := self._lanes[lane]):
            del self._lanes[lane]
            return
        following = waiting.popleft()
        following.lane = lane
        self._ready.append(following)


def _ids(record: Record) -> dict[str, str]:
    """What a reader of logs looks for: the document or the answer."""
    found = {name: value for name in ("answer", "document", "turn") if (value := getattr(record.event, name, None))}
    return found or {"key": record.key}


