"""The answer cache from the log: finished turns put answers in, erased ones take them out.

Nothing waits for this: a worker that has just started answers at once, and finds what the log of the last hours holds
as it reads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from schemas import keys, topics
from schemas.events import Reuse, Turn
from weir import telemetry
from weir.answers.tail import Tail
from weir.blobs import Blobs
from weir.caches.answers import HOUR, AnswerCache
from weir.clock import Clock
from weir.errors import InputError, Unavailable
from weir.kafka.records import Decoder, Raw
from weir.settings import Settings
from weir.views.freshness import end_offsets_of

PAUSE = 2.0
"""Seconds between two looks whether a workspace wants answers to be given again, and before another try."""

log = telemetry.logger(__name__)


class Filling:
    """Follows `turns` as soon as any workspace wants it: `await run()`."""

    def __init__(self, settings: Settings, cache: AnswerCache, wanted: Callable[[], list[Reuse]], clock: Clock) -> None:
        self._settings, self._cache, self._wanted, self._clock = settings, cache, wanted, clock
        self._decoder = Decoder(settings, Blobs(settings))
        self._arrived: asyncio.Queue[list[Raw]] = asyncio.Queue()

    async def run(self) -> None:
        """Until it is cancelled."""
        while not self._wanted():  # noqa: ASYNC110  # a table of the log, not an event
            await asyncio.sleep(PAUSE)
        topic = topics.TURNS.named(self._settings.prefix)
        tail = Tail(self._settings, topic, self._arrived.put_nowait)
        tail.start()
        try:
            await self._follow(tail, topic)
            while True:
                for raw in await self._arrived.get():
                    await self._take(raw)
        finally:
            await tail.close()

    async def _follow(self, tail: Tail, topic: str) -> None:
        while True:
            since = self._clock() - max((r.hours for r in self._wanted()), default=0) * HOUR
            try:
                for partition in await asyncio.to_thread(end_offsets_of, self._settings, topic):
                    await tail.follow(partition, since)
                return
            except Unavailable as e:
                log.warning("earlier answers are not given again yet", reason=e.message)
                await asyncio.sleep(PAUSE)

    async def _take(self, raw: Raw) -> None:
        try:
            record = self._decoder.now(raw) or await self._decoder.decode(raw)
        except (InputError, Unavailable) as e:
            log.warning("a turn cannot be given again", partition=raw.partition, offset=raw.offset, reason=e.message)
            return
        if isinstance(record.event, Turn):
            self._cache.keep(record.event)
        else:
            self._cache.forget(record.key.rpartition(keys.SEPARATOR)[2])
