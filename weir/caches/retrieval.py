"""Searches that are used again: the candidates of both stores with their scores, by index version, recipe, log
position, filters and access.

What is kept are ids and scores, never a text: the texts are fetched and their documents' newest versions and access
checked each time, as after a search that was just made. So a hit can show nothing that a miss would not, and by
`positions.py` it misses nothing that a miss would find.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from schemas.events import IndexVersion
from weir import telemetry
from weir.caches import MISSED, RETRIEVAL
from weir.caches.figures import Figures
from weir.caches.keys import search_key
from weir.caches.positions import Changed, Positions
from weir.errors import Unavailable
from weir.retrieval.candidates import Query, Searched, Stores, search
from weir.retrieval.guard import Guard, Stopwatch
from weir.retrieval.recipe import Recipe
from weir.settings import Settings

SECONDS = 600.0
"""How long a search is kept at most: nobody's question stays in memory for longer."""
FOLLOWED = 2
"""Index versions whose logs are followed: the live one, and one that was live a moment ago."""
PAUSE = 5.0
"""Seconds until a log that could not be followed is tried again."""

log = telemetry.logger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    searched: Searched
    mark: tuple[int, int]
    """Where the log of the workspace stood."""
    at: float


class Searches:
    """Searches, or uses a search again. `await close()` at the end. All calls on one event loop.

    Args:
        most: searches that are held.
        changed: see `Positions`.
    """

    def __init__(self, settings: Settings, most: int, changed: Changed, figures: Figures,
                 monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._most, self._changed, self._figures = settings, most, changed, figures
        self._monotonic = monotonic
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._positions: OrderedDict[str, asyncio.Task[Positions]] = OrderedDict()
        """By the stores of an index version."""
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._kept)

    async def search(self, version: IndexVersion, query: Query, stores: Stores, recipe: Recipe, guard: Guard,
                     watch: Stopwatch) -> Searched:
        """See `weir.retrieval.candidates.Searching`."""
        positions = self._following(version)
        if positions is None:
            return await search(query, stores, recipe, guard, watch)
        key = search_key(version, query, recipe)
        with watch.stage("cache"):
            kept = await self._look_up(key, query.workspace, positions)
        if kept is not None:
            return kept.searched
        # Taken before the search begins: what is written while it runs makes it old at once.
        mark = positions.settled(query.workspace)
        searched = await search(query, stores, recipe, guard, watch)
        if mark is not None and searched.keyword_error is None and searched.dense_error is None:
            self._kept[key] = Kept(searched, mark, self._monotonic())
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
                self._figures.evicted(RETRIEVAL, query.workspace, "full")
            self._figures.held(RETRIEVAL, len(self._kept))
        return searched

    async def _look_up(self, key: str, workspace: str, positions: Positions) -> Kept | None:
        kept = self._kept.get(key)
        reason = None
        if kept is not None:
            if kept.at < self._monotonic() - SECONDS:
                reason = "age"
            elif not await positions.still(workspace, kept.mark):
                reason = "changed"
        if reason is not None:
            if self._kept.pop(key, None) is not None:
                self._figures.evicted(RETRIEVAL, workspace, reason)
            kept = None
        self._figures.looked(RETRIEVAL, workspace, MISSED if kept is None else "hit")
        if kept is not None and key in self._kept:
            self._kept.move_to_end(key)
        return kept

    # -- the log --------------------------------------------------------------------------------------------------

    def _following(self, version: IndexVersion) -> Positions | None:
        """What follows the log behind the version, once it does."""
        name = f"{version.cut.name}/{version.collection}/{version.keyword_index}"
        task = self._positions.get(name)
        if task is None:
            task = self._positions[name] = asyncio.create_task(self._follow(version), name=f"log behind {name}")
            while len(self._positions) > FOLLOWED:
                self._forget(self._positions.popitem(last=False)[1])
        self._positions.move_to_end(name)
        return task.result() if task.done() and not task.cancelled() and task.exception() is None else None

    async def _follow(self, version: IndexVersion) -> Positions:
        positions = Positions(self._settings, version, self._changed)
        while True:
            try:
                await positions.start()
                return positions
            except Unavailable as e:
                log.warning("searches are not used again yet", index_version=version.name, reason=e.message)
                await positions.close()
                await asyncio.sleep(PAUSE)
                positions = Positions(self._settings, version, self._changed)
            except BaseException:
                await positions.close()
                raise

    def _forget(self, task: asyncio.Task[Positions]) -> None:
        closing = asyncio.create_task(_closed(task))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        for task in self._positions.values():
            self._forget(task)
        self._positions.clear()
        await asyncio.gather(*self._closing)


async def _closed(task: asyncio.Task[Positions]) -> None:
    task.cancel()
    (positions,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(positions, Positions):
        await positions.close()
