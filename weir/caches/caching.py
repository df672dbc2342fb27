"""The caches of one answers worker, with what keeps them going."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from schemas.events import IndexVersion, Reuse, Workspace
from weir.caches.answers import AnswerCache
from weir.caches.figures import Figures
from weir.caches.filling import Filling
from weir.caches.retrieval import Searches
from weir.clock import Clock
from weir.kafka.producer import Producer
from weir.kafka.table import Table
from weir.models.protocol import Embed
from weir.retrieval.candidates import Query, Searched, Stores, search
from weir.retrieval.guard import Guard, Stopwatch
from weir.retrieval.recipe import Recipe
from weir.retrieval.remembered import VectorCache
from weir.retrieval.views import DocumentViews
from weir.settings import Settings


class Caching:
    """`answers` once, then `start`; `await close()` at the end. All on one event loop.

    Args:
        producer: writes the figures.
    """

    def __init__(self, settings: Settings, workspaces: Table, views: DocumentViews, producer: Producer, clock: Clock
                 ) -> None:
        self._settings, self._workspaces, self._views, self._clock = settings, workspaces, views, clock
        self._producer = producer
        self._figures = Figures(f"{settings.process or 'streams.answers'}-{settings.instance}", clock)
        self._searches = Searches(settings, settings.kept_searches, self._changed, self._figures)
        self._answers: AnswerCache | None = None
        self._running: list[asyncio.Task[None]] = []

    def answers(self, embedder: Callable[[str], Embed | None], vectors: VectorCache) -> AnswerCache:
        """The cache of answers; see there.

        Args:
            vectors: those of the questions, whose hits are told with the others.
        """
        self._figures.counts(vectors)
        self._answers = AnswerCache(self._settings.kept_answers, self.reuse, self._views, embedder, self._figures,
                                    self._clock)
        return self._answers

    async def search(self, version: IndexVersion, query: Query, stores: Stores, recipe: Recipe, guard: Guard,
                     watch: Stopwatch) -> Searched:
        """What `Retriever` searches with."""
        if self._settings.kept_searches == 0:
            return await search(query, stores, recipe, guard, watch)
        return await self._searches.search(version, query, stores, recipe, guard, watch)

    def reuse(self, workspace: str, /) -> Reuse | None:
        """What the workspace allows now."""
        found = self._workspaces.get(workspace)
        return found.reuse if isinstance(found, Workspace) else None

    def start(self) -> None:
        assert self._answers is not None
        filling = Filling(self._settings, self._answers, self._wanted, self._clock)
        self._running = [asyncio.create_task(filling.run(), name="turns into the answer cache"),
                         asyncio.create_task(self._figures.keep_telling(self._producer), name="figures of the caches")]

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._searches.close()
        await self._figures.tell(self._producer)

    def _wanted(self) -> list[Reuse]:
        return [event.reuse for _, event in self._workspaces.items()
                if isinstance(event, Workspace) and event.reuse is not None]

    def _changed(self, workspace: str, document: str) -> None:
        if self._answers is not None:
            self._answers.changed(workspace, document)
