"""The chunks that may answer a question, with the scores of both stores: two rounds, each asking both at once.

    1  embed the question -> the best chunks and the best windows of Milvus   |   the best chunks by BM25
    2  Milvus's scores of what is not known of them                          |   BM25's of what only vectors found

A store that does not answer is left out of both.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from schemas.events import Filter, IndexVersion, Person
from weir.access import elasticsearch_filter, milvus_filter
from weir.errors import Unavailable, WeirError
from weir.retrieval.dense import ChunkScore, Found, VectorCollection
from weir.retrieval.embed import Vectors
from weir.retrieval.embedders import Embeds
from weir.retrieval.facts import Facts
from weir.retrieval.fuse import Candidates
from weir.retrieval.guard import Guard, Stopwatch
from weir.retrieval.keyword import KeywordHit, KeywordIndex
from weir.retrieval.questions import Difficulty
from weir.retrieval.recipe import MOST_ROWS, Recipe

ROWS_OF_CHUNK = 8
"""Rows asked for a chunk whose scores are fetched by id. A chunk of 800 characters has five; of longer passages the
best rows come, and those that do not score so low that the list's minimum stands for them well."""
NAN = math.nan
KEYWORDS, VECTORS = "the keyword search", "the vector search"
"""Names of the two sides for the guard; the question's embedding belongs to the second."""


@dataclass(frozen=True, slots=True)
class Stores:
    """What one index version is asked with."""

    recipe: Recipe
    """Of the index version alone."""
    embedder: Embeds
    keyword: KeywordIndex
    dense: VectorCollection
    facts: Facts


@dataclass(frozen=True, slots=True)
class Query:
    workspace: str
    question: str
    person: Person
    filters: Sequence[Filter] = ()
    also: str = ""
    """Words that count half as much as those of the question, for the keyword search alone."""
    difficulty: Difficulty | None = None
    """As a hosted model read it; None for the rule."""


@dataclass(slots=True)
class Candidate:
    """A chunk that was found."""

    chunk: str
    document: str | None
    """None where only Milvus was asked: it knows a token of the document."""
    version: int
    document_chunks: int
    document_key: str
    """The same for all chunks of one version of a document."""
    ordinal: int = 0
    """Its place in the document; 0 where only Milvus was asked."""
    keyword: float = NAN
    chunk_cosine: float = NAN
    window_cosine: float = NAN

    def dense(self, window_weight: float) -> float:
        return (1 - window_weight) * self.chunk_cosine + window_weight * self.window_cosine


@dataclass(slots=True)
class Searched:
    """All candidates, and what happened on the way."""

    found: list[Candidate] = field(default_factory=list)
    population: int = 0
    vector: Vectors | None = None
    keyword_error: WeirError | None = None
    dense_error: WeirError | None = None

    def to_fuse(self, recipe: Recipe) -> Candidates:
        """As arrays for `fuse`."""
        w = recipe.window_weight
        return Candidates(
            chunks=[c.chunk for c in self.found], documents=[c.document_key for c in self.found],
            document_chunks=[c.document_chunks for c in self.found], ordinals=[c.ordinal for c in self.found],
            keyword=None if self.keyword_error else np.array([c.keyword for c in self.found], np.float64),
            dense=None if self.dense_error else np.array([c.dense(w) for c in self.found], np.float64),
            population=self.population)


Searching = Callable[[IndexVersion, Query, Stores, Recipe, Guard, Stopwatch], Awaitable[Searched]]
"""How the candidates are found: as by `search`. What it gives is not to be changed."""


async def anew(_: IndexVersion, query: Query, stores: Stores, recipe: Recipe, guard: Guard, watch: Stopwatch
               ) -> Searched:
    """Asks the stores."""
    return await search(query, stores, recipe, guard, watch)


async def search(query: Query, stores: Stores, recipe: Recipe, guard: Guard, watch: Stopwatch) -> Searched:
    """The candidates of a question.

    Raises:
        BadRequest: a filter cannot be used.
        Unavailable: neither store answers.
        Mismatch: the version's model and stores do not belong together.
    """
    searched = Searched()
    es_filter = elasticsearch_filter(query.workspace, query.person, query.filters)
    row_filter = milvus_filter(query.workspace, query.person, query.filters)

    async def by_keywords() -> list[KeywordHit]:
        with watch.stage("keyword"):
            return await stores.keyword.search(query.workspace, query.question, es_filter, recipe.depth, query.also)

    async def by_vector() -> Found:
        with watch.stage("embed"):
            searched.vector = (await stores.embedder.embed([query.question]))[0]
        with watch.stage("dense"):
            return await stores.dense.search(searched.vector, row_filter, recipe.depth, recipe.windows)

    words, vectors = await asyncio.gather(guard.tried(KEYWORDS, by_keywords), guard.tried(VECTORS, by_vector))
    if isinstance(words, WeirError) and isinstance(vectors, WeirError):
        raise _neither(words, vectors)
    if isinstance(words, WeirError):
        searched.keyword_error, words = words, []
    if isinstance(vectors, WeirError):
        searched.dense_error, vectors = vectors, Found({}, exhausted=False)

    near = _best(vectors.chunks, recipe.depth)
    hits = {hit.chunk: hit for hit in words}
    only_near = [chunk for chunk in near if chunk not in hits]
    incomplete = [chunk for chunk in {**near, **hits} if not _complete(near.get(chunk))]

    async def missing_keyword() -> list[KeywordHit]:
        with watch.stage("keyword_scores"):
            return await stores.keyword.scores(query.workspace, query.question, only_near, es_filter, query.also)

    async def missing_dense() -> dict[str, ChunkScore]:
        assert searched.vector is not None
        with watch.stage("dense_scores"):
            return await stores.dense.scores(searched.vector, incomplete, row_filter,
                                             min(MOST_ROWS, ROWS_OF_CHUNK * len(incomplete)))

    more_words, more_vectors = await asyncio.gather(
        _unless(searched.keyword_error, guard, KEYWORDS, missing_keyword, []),
        _unless(searched.dense_error, guard, VECTORS, missing_dense, {}))
    if isinstance(more_words, WeirError):
        searched.keyword_error, more_words = more_words, []
    if isinstance(more_vectors, WeirError):
        searched.dense_error, more_vectors = more_vectors, {}
    if searched.keyword_error is not None and searched.dense_error is not None:
        raise _neither(searched.keyword_error, searched.dense_error)
    hits.update((hit.chunk, hit) for hit in more_words)
    near.update(more_vectors)
    searched.found = _candidates(hits, near, keywords_known=searched.keyword_error is None)
    searched.population = len(vectors.chunks) if vectors.exhausted else recipe.depth
    return searched


def _neither(words: WeirError, vectors: WeirError) -> Unavailable:
    return Unavailable(f"neither store can be searched. {words.message} {vectors.message}", retry_after=2)


async def _unless(error: WeirError | None, guard: Guard, store: str, call: Any, nothing: Any) -> Any:
    return nothing if error is not None else await guard.tried(store, call)


def _best(chunks: dict[str, ChunkScore], depth: int) -> dict[str, ChunkScore]:
    """The best `depth` chunks by what is known of them."""
    if len(chunks) <= depth:
        return dict(chunks)
    ranked = sorted(chunks.items(), key=lambda item: (-_known(item[1]), item[0]))
    return dict(ranked[:depth])


def _known(score: ChunkScore) -> float:
    known = [value for value in (score.chunk, score.window) if value is not None]
    return sum(known) / len(known)


def _complete(score: ChunkScore | None) -> bool:
    return score is not None and score.chunk is not None and score.window is not None


def _candidates(hits: dict[str, KeywordHit], near: dict[str, ChunkScore], keywords_known: bool) -> list[Candidate]:
    """One candidate a chunk. Where Elasticsearch answered, only chunks that it has: no other can be read."""
    found = []
    for chunk in sorted(hits if keywords_known else near):
        hit, score = hits.get(chunk), near.get(chunk)
        if hit is not None:
            candidate = Candidate(chunk, hit.document, hit.version, hit.document_chunks,
                                  f"{hit.version}/{hit.document}", hit.ordinal, keyword=hit.score)
        else:
            assert score is not None
            candidate = Candidate(chunk, None, score.version, score.document_chunks,
                                  f"{score.version}/{score.document}")
        if score is not None:
            # A chunk without windows has one row, which counts as both; so does the one kind of row that is known.
            candidate.chunk_cosine = score.chunk if score.chunk is not None else score.window or NAN
            candidate.window_cosine = score.window if score.window is not None else candidate.chunk_cosine
        found.append(candidate)
    return found
