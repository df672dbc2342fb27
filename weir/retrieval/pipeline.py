"""A question to the passages that answer it: field-notes section 5 on the real servers.

    1, 2  candidates of both stores, each with both scores (candidates.py)
    3     fuse (fuse.py)
    4     the texts of the best, and at the same time the newest access of their documents
    5     passages, best first; for an answer they grow into their sections (select.py)

A store that does not answer is left out with a notice. The check of step 4 is never left out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from elasticsearch import AsyncElasticsearch

from schemas.events import Filter, IndexVersion, Person, Source
from weir.access import matches, may_read
from weir.errors import BadRequest
from weir.retrieval.analysis import keywords
from weir.retrieval.candidates import Candidate, Query, Searched, Stores, search
from weir.retrieval.dense import VectorCollection, weights
from weir.retrieval.embed import Vectors
from weir.retrieval.embedders import Embeds, embedder
from weir.retrieval.fuse import Fused, fuse
from weir.retrieval.guard import Guard, Stopwatch, Timer
from weir.retrieval.keyword import KeywordIndex, StoredChunk
from weir.retrieval.recipe import Recipe
from weir.retrieval.remembered import Remembered, VectorCache
from weir.retrieval.select import PARENT_CHARS, SectionKey, one_version_each, section_of, select, shortened
from weir.settings import Settings
from weir.stores import Milvus

LONGEST_SECTION = 64_000
"""Sections longer than this are not read to put passages together, in characters."""
TEXT_SHARE = 3
"""The passages' text may fill one part in so many of the largest record, since their names and the answer need room."""
EXPLAINED = 50
"""Candidates that an explanation shows."""


class DocumentView(Protocol):
    """What the newest event says of a document."""

    @property
    def version(self) -> int: ...
    @property
    def deleted(self) -> bool: ...
    @property
    def groups(self) -> Sequence[str]: ...
    @property
    def clearance(self) -> int: ...


class DocumentViews(Protocol):
    async def check(self, workspace: str, documents: Sequence[str]) -> Mapping[str, DocumentView]:
        """The view of each document that exists, as of now.

        Raises:
            Unavailable: the views are too far behind to tell.
        """


Live = Callable[[str], tuple[str, IndexVersion]]
"""Workspace to the name of its index and the version of it that answers."""
Searching = Callable[[IndexVersion, Query, Stores, Guard, Stopwatch], Awaitable[Searched]]
"""How the candidates are found: as by `search`."""


async def anew(_: IndexVersion, query: Query, stores: Stores, guard: Guard, watch: Stopwatch) -> Searched:
    """Asks the stores."""
    return await search(query, stores, guard, watch)


@dataclass(frozen=True, slots=True)
class Retrieved:
    sources: list[Source]
    """Best first, numbered from 1."""
    notices: list[str]
    timings: dict[str, float]
    """Milliseconds by stage; stages of one round overlap."""
    explain: dict[str, Any] | None
    index: str
    index_version: str
    vector: Vectors | None = None
    """(dimension,) of the question; None where it could not be embedded."""


class Retriever:
    """Finds passages in the live version of the index that serves a workspace."""

    def __init__(self, settings: Settings, es: AsyncElasticsearch, milvus: Milvus, views: DocumentViews, live: Live,
                 timer: Timer = time.perf_counter, searching: Searching = anew) -> None:
        self._settings, self._es, self._milvus, self._views = settings, es, milvus, views
        self._live, self._timer, self._searching = live, timer, searching
        self._guard = Guard(timer)
        self._vectors = VectorCache(settings)
        self._stores: dict[str, tuple[IndexVersion, Stores]] = {}
        self._embedders: list[Embeds] = []

    async def retrieve(
        self, workspace: str, question: str, person: Person, filters: Sequence[Filter] = (), limit: int = 10,
        explain: bool = False, context_chars: int | None = None,
    ) -> Retrieved:
        """The best passages that the person may read now.

        Very long passages end early, with a notice, so that the frame that carries them stays a normal record.

        Args:
            limit: how many chunks.
            context_chars: None for the chunks as they are; for an answer, how many characters they may have together
                once they have grown into their sections.

        Raises:
            BadRequest: the question is empty or a filter cannot be used.
            Unavailable: neither store answers, or access cannot be checked.
            Mismatch: the version's model and stores do not belong together.
        """
        if not question.strip():
            raise BadRequest("the question is empty: say what to look for.")
        watch = Stopwatch(self._timer)
        # Once, here: whatever goes live meanwhile, this question ends on the version that it begins with.
        index, version = self._live(workspace)
        stores = self.stores(version)
        query = Query(workspace, question, person, filters)
        searched = await self._searching(version, query, stores, self._guard, watch)
        with watch.stage("fuse"):
            fused = fuse(searched.to_fuse(stores.recipe), stores.recipe)
        ranked = [searched.found[i] for i in fused.order]
        scores = dict(zip((c.chunk for c in searched.found), fused.scores.tolist(), strict=True))
        sources, chunks = await self._readable(query, stores, ranked, scores, limit, watch)
        if context_chars is not None:
            with watch.stage("select"):
                sources = select(sources, await _sections(stores.keyword, sources, chunks), context_chars)
        whole, sources = sources, shortened(sources, self._settings.max_record_bytes // TEXT_SHARE)
        told = _explained(query, stores.recipe, searched, fused, sources) if explain else None
        notices = _notices(searched, sources, sources != whole)
        return Retrieved(sources, notices, watch.stop(), told, index, version.name, searched.vector)

    def stores(self, version: IndexVersion) -> Stores:
        """What that index version is asked with."""
        known = self._stores.get(version.name)
        if known is None or known[0] != version:
            made = Stores(
                Recipe.with_overrides(version.recipe),
                Remembered(embedder(self._settings, version), version.revision, self._vectors),
                KeywordIndex(self._es, self._settings, version.keyword_index, version.cut),
                VectorCollection(self._milvus, version.collection, version.dimension,
                                 weights(version.model, version.revision)))
            known = self._stores[version.name] = version, made
            self._embedders.append(made.embedder)
        return known[1]

    def embedder(self, index_version: str) -> Callable[[Sequence[str]], Awaitable[Vectors]] | None:
        """The model that the version's vectors were made with, also when the version is gone from the index; None where
        it has not been asked here."""
        known = self._stores.get(index_version)
        return known[1].embedder.embed if known else None

    async def close(self) -> None:
        """Closes the embedders; the clients of the stores belong to the caller."""
        for made in self._embedders:
            await made.close()

    async def _readable(self, query: Query, stores: Stores, ranked: Sequence[Candidate], scores: Mapping[str, float],
                        limit: int, watch: Stopwatch) -> tuple[list[Source], dict[str, StoredChunk]]:
        """Step 4, a batch at a time until `limit` passages are found that the person may read now."""
        step = max(stores.recipe.fetch, limit)
        views: dict[str, DocumentView] = {}
        versions: dict[str, int] = {}
        sources: list[Source] = []
        kept: dict[str, StoredChunk] = {}
        for at in range(0, len(ranked), step):
            batch = ranked[at:at + step]
            known = {c.document for c in batch if c.document is not None} - views.keys()
            with watch.stage("fetch"):
                chunks, checked = await asyncio.gather(
                    stores.keyword.fetch([c.chunk for c in batch]), self._checked(query.workspace, known))
                unknown = {chunk.document for chunk in chunks.values()} - known - views.keys()
                views.update(checked, **await self._checked(query.workspace, unknown))
            there = [chunks[c.chunk] for c in batch if c.chunk in chunks]
            versions = {**one_version_each([(chunk.document, chunk.version) for chunk in there]), **versions}
            for chunk in there:
                view = views.get(chunk.document)
                if (view is None or view.deleted or not may_read(query.person, view.groups, view.clearance)
                        or chunk.version != versions[chunk.document]
                        or not matches(query.filters, chunk.document, chunk.metadata)):
                    continue
                kept[chunk.chunk] = chunk
                sources.append(_source(chunk, len(sources) + 1, scores[chunk.chunk], view.version > chunk.version))
                if len(sources) == limit:
                    return sources, kept
        return sources, kept

    async def _checked(self, workspace: str, documents: set[str]) -> Mapping[str, DocumentView]:
        return await self._views.check(workspace, sorted(documents)) if documents else {}


def _source(chunk: StoredChunk, number: int, score: float, being_replaced: bool) -> Source:
    return Source(
        number=number, chunk=chunk.chunk, document=chunk.document, version=chunk.version, title=chunk.title,
        heading_path=chunk.heading_path, text=chunk.text, section=chunk.section, start=chunk.start, end=chunk.end,
        score=score, source=chunk.source, passage=chunk.passage, being_replaced=being_replaced, metadata=chunk.metadata)


async def _sections(keyword: KeywordIndex, sources: Sequence[Source], chunks: Mapping[str, StoredChunk]
                    ) -> dict[SectionKey, str]:
    """Texts of the sections that passages could grow into or be put together in."""
    several = [section_of(source) for source in sources]
    wanted = {}
    for source in sources:
        chunk = chunks[source.chunk]
        grows = len(chunk.text) < chunk.section_chars <= PARENT_CHARS
        if grows or (chunk.section_chars <= LONGEST_SECTION and several.count(section_of(source)) > 1):
            wanted[chunk.section_chunk] = section_of(source)
    found = await keyword.sections(list(wanted))
    return {wanted[i]: section.text for i, section in found.items()}


def _notices(searched: Searched, sources: Sequence[Source], cut: bool) -> list[str]:
    notices = ["Long passages end early: ask for fewer to see more of each."] if cut else []
    if searched.dense_error is not None:
        notices.append(f"Found by keywords alone: {searched.dense_error.message}")
    if searched.keyword_error is not None:
        notices.append(f"Found by vectors alone: {searched.keyword_error.message}")
    replaced = len({source.document for source in sources if source.being_replaced})
    if replaced:
        notices.append(f"{replaced} of the documents {'is' if replaced == 1 else 'are'} being replaced: a newer "
                       "version is on its way into the index.")
    return notices


def _explained(query: Query, recipe: Recipe, searched: Searched, fused: Fused, sources: Sequence[Source]
               ) -> dict[str, Any]:
    """The path of retrieval in values that JSON has."""
    numbers = {source.chunk: source.number for source in sources}
    ranking = []
    for rank, i in enumerate(fused.order[:EXPLAINED].tolist(), 1):
        c = searched.found[i]
        ranking.append({
            "rank": rank, "source": numbers.get(c.chunk), "chunk": c.chunk, "document": c.document,
            "version": c.version, "keyword": _finite(c.keyword), "chunk_cosine": _finite(c.chunk_cosine),
            "window_cosine": _finite(c.window_cosine), "keyword_z": float(fused.keyword_z[i]),
            "dense_z": float(fused.dense_z[i]), "document_bonus": float(fused.bonus[i]),
            "score": float(fused.scores[i])})
    return {"question": query.question, "keywords": keywords(query.question), "candidates": len(searched.found),
            "recipe": {name: getattr(recipe, name) for name in recipe.__slots__}, "ranking": ranking}


def _finite(value: float) -> float | None:
    return value if value == value else None
