"""One question to a ranking of chunks: candidates of both stores, fused, weighed by what their documents are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date

import numpy as np

from weir.errors import Unavailable
from weir.retrieval.candidates import Candidate, Query, Searched, Stores
from weir.retrieval.fuse import Floats, Fused, fuse
from weir.retrieval.guard import Stopwatch
from weir.retrieval.recipe import Recipe
from weir.retrieval.weighing import Weights, weigh


@dataclass(frozen=True, slots=True)
class Ranking:
    query: Query
    recipe: Recipe
    searched: Searched
    fused: Fused
    weights: Weights | None
    """None where the recipe does not look at documents, or they could not be read."""
    unweighed: str = ""
    """Why documents that should have been weighed were not."""

    @property
    def order(self) -> list[int]:
        """Places of the candidates that reach the minimum, best first."""
        enough = self.fused.scores >= self.recipe.min_score
        if self.recipe.min_cosine > -1 and self.searched.dense_error is None:
            enough &= self.dense >= self.recipe.min_cosine
        return [i for i in self.fused.order.tolist() if enough[i]]

    @property
    def dense(self) -> Floats:
        """(n,) dense scores, NaN where unknown."""
        weight = self.recipe.window_weight
        return np.array([c.dense(weight) for c in self.searched.found], np.float64)

    def candidate(self, place: int) -> Candidate:
        return self.searched.found[place]


Searches = Callable[[Query, Recipe], Awaitable[Searched]]
"""The candidates of a question."""


async def rank(query: Query, search: Searches, stores: Stores, recipe: Recipe, today: date, watch: Stopwatch
               ) -> Ranking:
    """
    Args:
        today: from which the age of documents is taken.

    Raises:
        BadRequest: a filter cannot be used.
        Unavailable: neither store answers.
        Mismatch: the version's model and stores do not belong together.
    """
    searched = await search(query, recipe)
    weights, unweighed = None, ""
    if recipe.looks_at_documents:
        with watch.stage("weigh"):
            chunks = [c.chunk for c in searched.found]
            try:
                about = await stores.facts.about(chunks)
                weights = weigh(query.question, [about.get(chunk) for chunk in chunks], recipe, today)
            except Unavailable as e:
                unweighed = e.message
    with watch.stage("fuse"):
        fused = fuse(searched.to_fuse(recipe), recipe, *((weights.dense, weights.boost) if weights else ()))
    return Ranking(query, recipe, searched, fused, weights, unweighed)
