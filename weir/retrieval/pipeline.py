"""A question to the passages that answer it: field-notes section 5 on the real servers.

    0     conditions in its own words become filters; a question with several parts becomes several (off by default)
    1, 2  candidates of both stores, each with both scores (candidates.py)
    3     fuse (fuse.py), weighed by what the documents are (weighing.py, off by default)
    4     the texts of the best, and at the same time the newest access of their documents
    5     where the best are close, a cross-encoder reads them (rerank.py, off by default)
    6     passages, best first; for an answer they grow into their sections (select.py)

A store that does not answer is left out with a notice. The check of step 4 is never left out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from elasticsearch import AsyncElasticsearch

from schemas.events import Filter, IndexVersion, Person, PlainFilter, Source
from weir.access import check_filters, elasticsearch_filter, is_version_range, matches, may_read
from weir.clock import day_of, system_clock
from weir.errors import BadRequest, Unavailable
from weir.retrieval.candidates import Query, Searched, Searching, Stores, anew
from weir.retrieval.conditions import Read, begins_like_one, read, with_versions
from weir.retrieval.dense import VectorCollection, weights
from weir.retrieval.embed import Vectors
from weir.retrieval.embedders import Embeds, embedder
from weir.retrieval.explain import Part, explained
from weir.retrieval.facts import Facts
from weir.retrieval.guard import Guard, Stopwatch, Timer
from weir.retrieval.keyword import KeywordIndex, StoredChunk
from weir.retrieval.questions import Difficulty, Reading, deep_enough, difficulty, other_spellings, parts
from weir.retrieval.ranking import Ranking, Searches, rank
from weir.retrieval.recipe import Recipe, origins
from weir.retrieval.remembered import Remembered, VectorCache
from weir.retrieval.rerank import Reranker, close, reread
from weir.retrieval.select import (
    SectionKey,
    interleaved,
    one_version_each,
    section_of,
    select,
    shortened,
)
from weir.retrieval.views import DocumentView, DocumentViews
from weir.settings import Settings
from weir.stores import Milvus
from weir.versions import are_versions

LONGEST_SECTION = 64_000
"""Sections longer than this are not read to put passages together, in characters."""
TEXT_SHARE = 3
"""The passages' text may fill one part in so many of the largest record, since their names and the answer need room."""
TOKEN_CHARS = 4
"""Characters of a token, as a rule of English text: a budget in tokens needs no model's own way to count them."""

Live = Callable[[str], tuple[str, IndexVersion]]
"""Workspace to the name of its index and the version of it that answers."""
Recipes = Callable[[str], Mapping[str, float]]
"""Workspace to what it says of the recipe."""


@dataclass(frozen=True, slots=True)
class Controls:
    """What a question says of how it is to be searched."""

    recipe: Mapping[str, float] = field(default_factory=dict)
    without: Sequence[str] = ()
    """Conditions in the question that are not to narrow it, as they were said."""
    today: date | None = None
    """The day on which it was asked; today where it is not known."""
    reading: Reading | None = None
    """The question as a hosted model read it; None for the rules."""
    anew: bool = False
    """Whether no search that was made before may be used."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one part of a question found."""

    question: str
    chunks: frozenset[str]
    vector: Vectors | None


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
    searched: str
    """The question without the conditions that became filters."""
    recipe: Recipe
    parts: list[Found]
    """The question's parts, one as a rule."""
    vector: Vectors | None = None
    """(dimension,) of the question; None where it could not be embedded, or was searched in parts."""
    cosines: Mapping[str, float] = field(default_factory=dict)
    """Cosine of the question, or of its part, with the chunks of `sources`, by the chunk."""
    filters: list[PlainFilter] = field(default_factory=list)
    """Conditions in the question that narrowed it."""
    below: int = 0
    """Chunks that were found and do not reach the minimum score."""
    reranker: str = ""
    """The cross-encoder that would read the best again where they are close; empty: none."""


class Retriever:
    """Finds passages in the live version of the index that serves a workspace."""

    def __init__(self, settings: Settings, es: AsyncElasticsearch, milvus: Milvus, views: DocumentViews, live: Live,
                 timer: Timer = time.perf_counter, recipes: Recipes = lambda workspace: {}, searching: Searching = anew
                 ) -> None:
        self._settings, self._es, self._milvus, self._views = settings, es, milvus, views
        self._live, self._timer, self._recipes, self._searching = live, timer, recipes, searching
        self._guard = Guard(timer)
        self.vectors = VectorCache(settings)
        self._stores: dict[str, tuple[IndexVersion, Stores]] = {}
        self._embedders: list[Embeds] = []
        self._reranker = Reranker(settings) if settings.rerank_model else None

    async def retrieve(
        self, workspace: str, question: str, person: Person, filters: Sequence[Filter] = (), limit: int = 10,
        explain: bool = False, context_chars: int | None = None, controls: Controls | None = None,
    ) -> Retrieved:
        """The best passages that the person may read now.

        Very long passages end early, with a notice, so that the frame that carries them stays a normal record.

        Args:
            limit: how many chunks.
            context_chars: None for the chunks as they are; for an answer, how many characters they may have together
                once they have grown into their sections.
            controls: what the question says of how it is to be searched.

        Raises:
            BadRequest: the question is empty, a filter cannot be used, or it asks for what a question may not set.
            Unavailable: neither store answers, or access cannot be checked.
            Mismatch: the version's model and stores do not belong together.
        """
        if not question.strip():
            raise BadRequest("the question is empty: say what to look for.")
        watch, controls = Stopwatch(self._timer), controls or Controls()
        # Once, here: whatever goes live meanwhile, this question ends on the version that it begins with.
        index, version = self._live(workspace)
        stores, own = self.stores(version), self._recipes(workspace)
        recipe = stores.recipe.changed(own).asked(controls.recipe)
        today = controls.today or day_of(system_clock())
        given, conditions, unread = await self._narrowed(workspace, question, person, filters, stores, recipe,
                                                         controls.without, today, watch)
        queries = [Query(workspace, piece, person, given, *_other_words(piece, recipe, controls.reading))
                   for piece in _pieces(conditions.rest, recipe, controls.reading)]
        # An explanation shows the whole way, so it is gone.
        searching = anew if controls.anew or explain else self._searching

        async def search(query: Query, how: Recipe) -> Searched:
            return await searching(version, query, stores, how, self._guard, watch)

        found = await asyncio.gather(*(self._part(query, search, stores, recipe, limit, today, watch)
                                       for query in queries))
        sources = interleaved([part.sources for part in found], limit) if len(found) > 1 else found[0].sources[:limit]
        chunks = {chunk: stored for part in found for chunk, stored in part.stored.items()}
        left_out: dict[str, str] = {}
        if (budget := _budget(recipe, context_chars)) is not None:
            with watch.stage("select"):
                sections = await _sections(stores.keyword, sources, chunks, recipe.parent_chars)
                chosen = select(sources, sections, budget, recipe.parent_chars)
                sources, left_out = chosen.sources, chosen.left_out
        whole, sources = sources, shortened(sources, self._settings.max_record_bytes // TEXT_SHARE)
        told = None
        if explain:
            with watch.stage("explain"):
                told = await explained(question, conditions, given, found, sources, left_out, recipe,
                                       origins(version.recipe, own, controls.recipe), stores, self._views)
        read_as = [PlainFilter(said=c.said, shown=c.shown) for c in conditions.conditions]
        pieces_found = [Found(part.ranking.query.question, frozenset(part.stored), part.ranking.searched.vector)
                        for part in found]
        return Retrieved(
            sources, _notices(found, sources, sources != whole, conditions, unread), watch.stop(), told, index,
            version.name, conditions.rest, recipe, pieces_found,
            vector=pieces_found[0].vector if len(found) == 1 else None,
            cosines=_cosines(found, sources), filters=read_as,
            below=sum(len(part.ranking.searched.found) - len(part.ranking.order) for part in found),
            reranker=self._settings.rerank_model)

    def recipe(self, workspace: str, asked: Mapping[str, float]) -> Recipe:
        """How a question is searched that says this of it. Raises BadRequest where a question may not say that."""
        return self.stores(self._live(workspace)[1]).recipe.changed(self._recipes(workspace)).asked(asked)

    def stores(self, version: IndexVersion) -> Stores:
        """What that index version is asked with."""
        known = self._stores.get(version.name)
        if known is None or known[0] != version:
            made = Stores(
                Recipe.with_overrides(version.recipe),
                Remembered(embedder(self._settings, version), version.revision, self.vectors),
                KeywordIndex(self._es, self._settings, version.keyword_index, version.cut),
                VectorCollection(self._milvus, version.collection, version.dimension,
                                 weights(version.model, version.revision)),
                Facts(self._es, version.keyword_index))
            known = self._stores[version.name] = version, made
            self._embedders.append(made.embedder)
        return known[1]

    def embedder(self, index_version: str) -> Callable[[Sequence[str]], Awaitable[Vectors]] | None:
        """The model that the version's vectors were made with, also when the version is gone from the index; None where
        it has not been asked here."""
        known = self._stores.get(index_version)
        return known[1].embedder.embed if known else None

    async def close(self) -> None:
        """Closes the embedders and the reranker; the clients of the stores belong to the caller."""
        for made in self._embedders:
            await made.close()
        if self._reranker is not None:
            await self._reranker.close()

    async def _narrowed(self, workspace: str, question: str, person: Person, filters: Sequence[Filter], stores: Stores,
                        recipe: Recipe, without: Sequence[str], today: date, watch: Stopwatch
                        ) -> tuple[list[Filter], Read, str]:
        """Step 0: all filters of the question, what was read of its words, and why nothing could be read. Filters are
        only ever added."""
        check_filters(filters)
        plain = recipe.plain_filters and begins_like_one(question)
        ranges = any(is_version_range(f) for f in filters)
        if not plain and not ranges:
            return list(filters), Read(question), ""
        # Of what the person may read: nothing else names a field, or a version.
        theirs = elasticsearch_filter(workspace, person)
        with watch.stage("conditions"):
            whole = [await stores.facts.whole(name, theirs)
                     for name in {f.field: None for f in filters if is_version_range(f)}]
            given = with_versions(filters, whole)
            try:
                found = await self._read(question, theirs, stores, today, without) if plain else Read(question)
            except Unavailable as e:
                return given, Read(question), e.message
        return [*given, *(f for condition in found.conditions for f in condition.filters)], found, ""

    async def _read(self, question: str, theirs: list[dict[str, Any]], stores: Stores, today: date,
                    without: Sequence[str]) -> Read:
        fields = await stores.facts.fields(theirs)
        found = read(question, fields, today, without)
        listed = {f.name for f in fields if are_versions(f.texts)} & {c.field for c in found.conditions}
        if not listed:
            return found
        # A range of versions is the list of those there are: all of them, not only those seen in passing.
        more = {name: (await stores.facts.whole(name, theirs)).texts for name in sorted(listed)}
        return read(question, [replace(f, texts=more.get(f.name, f.texts)) for f in fields], today, without)

    async def _part(self, query: Query, search: Searches, stores: Stores, recipe: Recipe, limit: int, today: date,
                    watch: Stopwatch) -> Part:
        """Steps 1 to 5 for one question."""
        if recipe.adaptive_depth:
            recipe = deep_enough(query.difficulty or difficulty(query.question), recipe)
        ranking = await rank(query, search, stores, recipe, today, watch)
        wanted = max(limit, recipe.rerank if self._reranker else 0)
        sources, stored = await self._readable(ranking, stores, wanted, watch)
        if self._reranker is None or not close(sources, recipe):
            return Part(ranking, sources[:limit], stored)
        with watch.stage("rerank"):
            try:
                again = await reread(self._reranker, query.question, sources[:recipe.rerank], stored)
            except Unavailable as e:
                return Part(ranking, sources[:limit], stored, unread=e.message)
        return Part(ranking, [*again.sources, *sources[recipe.rerank:]][:limit], stored, again.scores)

    async def _readable(self, ranking: Ranking, stores: Stores, limit: int, watch: Stopwatch
                        ) -> tuple[list[Source], dict[str, StoredChunk]]:
        """Step 4, a batch at a time until `limit` passages are found that the person may read now."""
        query, order = ranking.query, ranking.order
        step = max(ranking.recipe.fetch, limit)
        views: dict[str, DocumentView] = {}
        versions: dict[str, int] = {}
        sources: list[Source] = []
        kept: dict[str, StoredChunk] = {}
        for at in range(0, len(order), step):
            batch = {ranking.candidate(i).chunk: float(ranking.fused.scores[i]) for i in order[at:at + step]}
            known = {c.document for i in order[at:at + step] if (c := ranking.candidate(i)).document is not None}
            known -= views.keys()
            with watch.stage("fetch"):
                chunks, checked = await asyncio.gather(
                    stores.keyword.fetch(list(batch)), self._checked(query.workspace, known))
                unknown = {chunk.document for chunk in chunks.values()} - known - views.keys()
                views.update(checked, **await self._checked(query.workspace, unknown))
            there = [chunks[chunk] for chunk in batch if chunk in chunks]
            versions = {**one_version_each([(chunk.document, chunk.version) for chunk in there]), **versions}
            for chunk in there:
                view = views.get(chunk.document)
                if (view is None or view.deleted or not may_read(query.person, view.groups, view.clearance)
                        or chunk.version != versions[chunk.document]
                        or not matches(query.filters, chunk.document, chunk.metadata)):
                    continue
                kept[chunk.chunk] = chunk
                sources.append(_source(chunk, len(sources) + 1, batch[chunk.chunk], view.version > chunk.version))
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


def _pieces(question: str, recipe: Recipe, reading: Reading | None) -> list[str]:
    """The questions to search for, where one with several parts is to be taken apart."""
    if not recipe.decompose:
        return [question]
    if reading is None:
        return parts(question)
    return list(reading.parts) if len(reading.parts) > 1 else [question]


def _other_words(piece: str, recipe: Recipe, reading: Reading | None) -> tuple[str, Difficulty | None]:
    """Other words for a part, and how hard it is where that was read."""
    if reading is None:
        return other_spellings(piece) if recipe.expand else "", None
    return reading.also if recipe.expand else "", reading.difficulty


def _budget(recipe: Recipe, context_chars: int | None) -> int | None:
    """Characters that all passages may have together; None for the passages as they are."""
    if not recipe.context_tokens:
        return context_chars
    return min(recipe.context_tokens * TOKEN_CHARS, context_chars or recipe.context_tokens * TOKEN_CHARS)


async def _sections(keyword: KeywordIndex, sources: Sequence[Source], chunks: Mapping[str, StoredChunk],
                    parent_chars: int) -> dict[SectionKey, str]:
    """Texts of the sections that passages could grow into or be put together in."""
    several = [section_of(source) for source in sources]
    wanted = {}
    for source in sources:
        chunk = chunks[source.chunk]
        grows = len(chunk.text) < chunk.section_chars <= parent_chars
        if grows or (chunk.section_chars <= LONGEST_SECTION and several.count(section_of(source)) > 1):
            wanted[chunk.section_chunk] = section_of(source)
    found = await keyword.sections(list(wanted))
    return {wanted[i]: section.text for i, section in found.items()}


def _cosines(found: Sequence[Part], sources: Sequence[Source]) -> dict[str, float]:
    wanted = {source.chunk for source in sources}
    return {c.chunk: c.chunk_cosine for part in reversed(found) for c in part.ranking.searched.found
            if c.chunk in wanted and c.chunk_cosine == c.chunk_cosine}


def _notices(found: Sequence[Part], sources: Sequence[Source], cut: bool, conditions: Read,
             unread: str) -> list[str]:
    notices = [condition.shown for condition in conditions.conditions]
    if unread:
        notices.append(f"Conditions in the question were not read: {unread}")
    if cut:
        notices.append("Long passages end early: ask for fewer to see more of each.")
    for part in found:
        searched = part.ranking.searched
        if searched.dense_error is not None:
            notices.append(f"Found by keywords alone: {searched.dense_error.message}")
        if searched.keyword_error is not None:
            notices.append(f"Found by vectors alone: {searched.keyword_error.message}")
        if part.ranking.unweighed:
            notices.append(f"Ranked without what documents are: {part.ranking.unweighed}")
        if part.unread:
            notices.append(f"Ranked without the cross-encoder: {part.unread}")
    replaced = len({source.document for source in sources if source.being_replaced})
    if replaced:
        notices.append(f"{replaced} of the documents {'is' if replaced == 1 else 'are'} being replaced: a newer "
                       "version is on its way into the index.")
    if not sources and any(part.ranking.searched.found and not part.ranking.order for part in found):
        notices.append("What was found does not reach the minimum score that this workspace asks for.")
    return list(dict.fromkeys(notices))
