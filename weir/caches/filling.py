"""The answer cache from the log: finished turns put answers in, erased ones take them out.

Nothing waits for this: a worker that has just started answers at once, and finds what the log of the last hours holds
as it reads it. Turns are decoded on a thread of their own, which waits until what it read before has been taken, so
that a day's turns neither hold questions up nor pile up in memory.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from schemas import keys, topics
from schemas.events import Reuse, Turn
from weir import telemetry
from weir.blobs import Blobs
from weir.caches import HOUR
from weir.caches.answers import AnswerCache, fit
from weir.clock import Clock
from weir.errors import InputError, Unavailable
from weir.kafka.follow import Follower
from weir.kafka.records import Decoder, Raw
from weir.settings import Settings

PAUSE = 2.0
"""Seconds between two looks whether a workspace wants answers to be given again, and before another try."""

log = telemetry.logger(__name__)

Read = Raw | tuple[str, Turn | None]
"""A turn's id, with it where it may be given again; as bytes where it travels as a claim check."""


class Filling:
    """Follows `turns` as soon as any workspace wants it: `await run()`."""

    def __init__(self, settings: Settings, cache: AnswerCache, wanted: Callable[[], list[Reuse]], clock: Clock) -> None:
        self._settings, self._cache, self._wanted, self._clock = settings, cache, wanted, clock
        self._decoder = Decoder(settings, Blobs(settings))

    async def run(self) -> None:
        """Until it is cancelled."""
        while not self._wanted():  # noqa: ASYNC110  # a table of the log, not an event
            await asyncio.sleep(PAUSE)
        since = self._clock() - max(reuse.hours for reuse in self._wanted()) * HOUR
        self._loop = asyncio.get_running_loop()
        follower = Follower(self._settings, topics.TURNS.named(self._settings.prefix), self._read, lambda: None,
                            since=since)
        thread = threading.Thread(target=self._follow, args=(follower,), name="turns", daemon=True)
        thread.start()
        try:
            await asyncio.Event().wait()
        finally:
            follower.stop()
            await asyncio.to_thread(thread.join)

    # -- on the thread --------------------------------------------------------------------------------------------

    def _follow(self, follower: Follower) -> None:
        while not follower.stopped:
            try:
                follower.run()
            except Exception as e:
                log.warning("reading turns anew", reason=str(e))
                time.sleep(PAUSE)

    def _read(self, raws: list[Raw]) -> None:
        found: list[Read] = []
        for raw in raws:
            try:
                record = self._decoder.now(raw)
            except InputError as e:
                log.warning("a turn cannot be given again", offset=raw.offset, reason=e.message)
                continue
            if record is None:
                found.append(raw)
            else:
                turn = record.event if isinstance(record.event, Turn) and fit(record.event) else None
                found.append((record.key.rpartition(keys.SEPARATOR)[2], turn))
        asyncio.run_coroutine_threadsafe(self._take(found), self._loop).result()

    # -- on the loop ----------------------------------------------------------------------------------------------

    async def _take(self, found: list[Read]) -> None:
        for read in found:
            if isinstance(read, Raw):
                try:
                    record = await self._decoder.decode(read)
                except (InputError, Unavailable) as e:
                    log.warning("a turn cannot be given again", offset=read.offset, reason=e.message)
                    continue
                read = record.key.rpartition(keys.SEPARATOR)[2], record.event
            turn, event = read
            if event is not None:
                self._cache.keep(event)
            else:
                self._cache.forget(turn)
