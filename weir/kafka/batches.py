"""All records that are there in one call; the poison among them found one by one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from weir import telemetry
from weir.errors import WeirError
from weir.kafka.handlers import Batch, Retry, verdict
from weir.kafka.item import Item

if TYPE_CHECKING:
    from weir.kafka.dispatch import Dispatcher

log = telemetry.logger(__name__)


class Batches:
    """The queue of decoded items and the one task that calls the handler with them."""

    def __init__(self, dispatcher: Dispatcher, handler: Batch) -> None:
        self._dispatcher = dispatcher
        self._handler = handler
        self._queue: deque[Item] = deque()
        self._queued_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._seconds = telemetry.RECORD_SECONDS.labels(dispatcher.name)
        self._retrying = telemetry.RETRYING.labels(dispatcher.name)

    @property
    def full(self) -> bool:
        """Whether decoding more would only fill memory."""
        return self._queued_bytes >= 2 * self._handler.max_bytes

    def add(self, item: Item) -> None:
        self._queue.append(item)
        self._queued_bytes += _size(item)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._dispatcher.ended)

    def hurry(self) -> None:
        """Ends a wait between two tries: some of the items may have to be dropped."""
        self._hurry.set()

    async def _run(self) -> None:
        # One turn of the loop, so that everything which was read together is called together.
        await asyncio.sleep(0)
        while self._queue:
            items = self._take()
            self._dispatcher.pump()
            await self._call_until_done(items)
        self._task = None

    def _take(self) -> list[Item]:
        items: list[Item] = []
        size = 0
        while self._queue and len(items) < self._handler.max_records:
            if items and size + _size(self._queue[0]) > self._handler.max_bytes:
                break
            item = self._queue.popleft()
            size += _size(item)
            items.append(item)
        self._queued_bytes -= size
        return items

    async def _call_until_done(self, items: list[Item]) -> None:
        tries = 0
        while items := self._still_ours(items):
            error = await self._joined(items, self._call(items))
            if error is None or isinstance(error, asyncio.CancelledError):
                continue
            tries += 1
            follows = verdict(error, tries, 0.0)
            if not (isinstance(follows, Retry) and isinstance(error, WeirError)):
                await self._one_by_one(items)
                return
            telemetry.RETRIES.labels(self._dispatcher.name, follows.code).inc()
            log.warning("trying a batch again", worker=self._dispatcher.name, records=len(items), reason=str(error),
                        tries=tries, seconds=round(follows.delay, 2), code=follows.code)
            await self._pause(items, follows.delay)

    def _still_ours(self, items: list[Item]) -> list[Item]:
        """Drops those whose partition has left."""
        for item in items:
            if item.assignment.leaving and not item.done:
                self._dispatcher.drop(item)
        return [item for item in items if not item.done]

    async def _joined(self, items: list[Item], work: Any) -> BaseException | None:
        """Runs work that belongs to several items; a hand-over of any of their partitions waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        for assignment in {item.assignment for item in items}:
            assignment.running.add(task)
            task.add_done_callback(assignment.running.discard)
        await asyncio.wait([task])
        return asyncio.CancelledError() if task.cancelled() else task.exception()

    async def _call(self, items: list[Item]) -> None:
        records = [item.record for item in items if item.record is not None]
        links = [context for r in records[:64] if (context := telemetry.extract(r.headers))]
        since = time.perf_counter()
        with (telemetry.bound(worker=self._dispatcher.name, records=len(records)),
              telemetry.span(f"{self._dispatcher.name} batch", kind=SpanKind.CONSUMER, links=links)):
            await self._handler.fn(records)
        self._seconds.observe(time.perf_counter() - since)
        for item in items:
            item.handled = True
        for item in items:
            await self._dispatcher.settle(item)
            self._dispatcher.finish(item)

    async def _one_by_one(self, items: list[Item]) -> None:
        """Each record in a call of its own, tried as a single record is."""
        for item in items:
            while self._still_ours([item]):
                error = await self._joined([item], self._alone(item))
                if error is None or isinstance(error, asyncio.CancelledError):
                    continue
                delay = self._dispatcher.judge(item, error)
                await self._pause([item], delay or 0.0)

    async def _alone(self, item: Item) -> None:
        if item.verdict is not None:
            await self._dispatcher.bury(item, item.verdict)
        else:
            await self._dispatcher.call(self._handler.fn, [item.record], item)

    async def _pause(self, items: list[Item], seconds: float) -> None:
        self._retrying.inc(len(items))
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), seconds)
        self._retrying.dec(len(items))


def _size(item: Item) -> int:
    record = item.record
    return len(record.value or b"") if record else 0
