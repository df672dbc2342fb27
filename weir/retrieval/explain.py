"""The whole path of a question through retrieval, in values that JSON has.

Documents that the person may not read now are not among them, whatever an index still holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from schemas.events import Filter, Source
from weir.access import may_read
from weir.errors import Unavailable
from weir.retrieval.analysis import keywords
from weir.retrieval.candidates import Stores
from weir.retrieval.conditions import Read
from weir.retrieval.facts import About
from weir.retrieval.fuse import Floats
from weir.retrieval.keyword import StoredChunk
from weir.retrieval.questions import difficulty
from weir.retrieval.ranking import Ranking
from weir.retrieval.recipe import Recipe
from weir.retrieval.views import DocumentViews

EXPLAINED = 50
"""Candidates of the ranking that are shown."""
LISTED = 20
"""Of each store's own list."""


@dataclass(frozen=True, slots=True)
class Part:
    """One question's way to its passages."""

    ranking: Ranking
    sources: list[Source]
    """Passages that the person may read, best first."""
    stored: dict[str, StoredChunk]
    """Chunks that were read, by id."""
    reranked: Mapping[str, float] = field(default_factory=dict)
    """Scores of the cross-encoder by chunk; empty where it was not asked."""
    unread: str = ""
    """Why the cross-encoder was asked and did not answer."""


async def explained(question: str, conditions: Read, filters: Sequence[Filter], parts: Sequence[Part],
                    sources: Sequence[Source], left_out: Mapping[str, str], recipe: Recipe, origin: Mapping[str, str],
                    stores: Stores, views: DocumentViews) -> dict[str, Any]:
    """
    Args:
        filters: all that narrowed the search.
        sources: the passages in the end.
        left_out: chunks that were dropped for the context, and why.
        origin: who set which parameter.

    Raises:
        Unavailable: access cannot be checked.
    """
    plain = {f: condition.said for condition in conditions.conditions for f in map(_filter_key, condition.filters)}
    told = [await _part(part, sources, left_out, stores, views) for part in parts]
    return {
        "question": question, "searched": conditions.rest,
        "filters": [{"field": f.field, "op": f.op.value, "values": [_json(v) for v in f.values],
                     "said": plain.get(_filter_key(f))} for f in filters],
        "recipe": recipe.told(), "origin": dict(origin),
        **(told[0] if len(told) == 1 else {"keywords": keywords(conditions.rest), "candidates": sum(
            t["candidates"] for t in told), "ranking": []}),
        "parts": told if len(told) > 1 else []}


async def _part(part: Part, sources: Sequence[Source], left_out: Mapping[str, str], stores: Stores, views: DocumentViews
                ) -> dict[str, Any]:
    ranking, query = part.ranking, part.ranking.query
    candidates, fused, dense = ranking.searched.found, ranking.fused, ranking.dense
    keyword = np.array([c.keyword for c in candidates], np.float64)
    by_keyword, by_vector = _ranks(keyword, least=0.0), _ranks(dense)
    wanted = {*fused.order[:EXPLAINED].tolist(), *(i for ranks in (by_keyword, by_vector) for i, n in ranks.items()
                                                   if n <= LISTED)}
    about = await _about([candidates[i].chunk for i in wanted], stores)
    open_to = await _open(ranking, {i: about.get(candidates[i].chunk) for i in wanted}, part.stored, views)
    numbers = {source.chunk: source.number for source in sources}
    enough = set(ranking.order)

    def place(i: int) -> dict[str, Any]:
        c = candidates[i]
        known = about.get(c.chunk)
        return {"chunk": c.chunk, "document": c.document or (known.document if known else None), "version": c.version,
                "title": known.title if known else "", "heading_path": list(known.heading_path) if known else []}

    order = [i for i in fused.order[:EXPLAINED].tolist() if i in open_to]
    return {
        "query": query.question, "keywords": keywords(query.question), "also": query.also,
        "difficulty": (query.difficulty or difficulty(query.question)).value, "depth": ranking.recipe.depth,
        "candidates": len(candidates),
        "ranking": [{
            "rank": rank, "source": numbers.get(candidates[i].chunk), **place(i), "keyword": _finite(keyword[i]),
            "keyword_rank": by_keyword.get(i), "chunk_cosine": _finite(candidates[i].chunk_cosine),
            "window_cosine": _finite(candidates[i].window_cosine), "dense": _finite(dense[i]),
            "dense_rank": by_vector.get(i), "keyword_z": float(fused.keyword_z[i]), "dense_z": float(fused.dense_z[i]),
            "dense_weight": _weight(ranking, i), "boosts": _boosts(ranking, i),
            "document_bonus": float(fused.bonus[i]), "score": float(fused.scores[i]),
            "reranked": part.reranked.get(candidates[i].chunk),
            "left_out": left_out.get(candidates[i].chunk) or (None if i in enough else "below the minimum")}
            for rank, i in enumerate(order, 1)],
        "lists": {name: [{"rank": n, **place(i), "score": _finite(scores[i])}
                         for i, n in sorted(ranks.items(), key=lambda each: each[1]) if n <= LISTED and i in open_to]
                  for name, ranks, scores in (("keywords", by_keyword, keyword), ("vectors", by_vector, dense))},
        "reranked": bool(part.reranked)}


async def _about(chunks: list[str], stores: Stores) -> dict[str, About]:
    try:
        return await stores.facts.about(chunks)
    except Unavailable:
        return {}


async def _open(ranking: Ranking, wanted: Mapping[int, About | None], read: Mapping[str, StoredChunk],
                views: DocumentViews) -> set[int]:
    """Which of these candidates the person may know of now."""
    documents = {}
    for i, known in wanted.items():
        candidate = ranking.candidate(i)
        document = candidate.document or (known.document if known else None)
        if candidate.chunk in read:
            document = read[candidate.chunk].document
        if document is not None:
            documents[i] = document
    found = await views.check(ranking.query.workspace, sorted(set(documents.values()))) if documents else {}
    person = ranking.query.person
    return {i for i, document in documents.items() if (view := found.get(document)) is not None and not view.deleted
            and may_read(person, view.groups, view.clearance)}


def _ranks(scores: Floats, least: float | None = None) -> dict[int, int]:
    """Place to rank, of those with a score above `least`."""
    known = [i for i, score in enumerate(scores.tolist()) if score == score and (least is None or score > least)]
    return {i: n for n, i in enumerate(sorted(known, key=lambda i: -scores[i]), 1)}


def _weight(ranking: Ranking, i: int) -> float:
    return float(ranking.weights.dense[i]) if ranking.weights else ranking.recipe.dense_weight


def _boosts(ranking: Ranking, i: int) -> dict[str, float]:
    """What was added, by its reason; nothing for what added nothing."""
    if ranking.weights is None:
        return {}
    all_ = {"heading": ranking.weights.heading[i], "type": ranking.weights.type[i],
            "recency": ranking.weights.recency[i]}
    return {name: float(value) for name, value in all_.items() if value}


def _filter_key(f: Filter) -> tuple[str, str, str]:
    return f.field, f.op.value, repr(f.values)


def _json(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else value.isoformat()


def _finite(value: float) -> float | None:
    return float(value) if value == value else None
