"""What candidates are worth besides their two scores: by type of document, headings and date. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from weir.answers.terms import coverage, stems, terms
from weir.retrieval.facts import About
from weir.retrieval.fuse import Floats
from weir.retrieval.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Weights:
    """By candidate, in the candidates' order; all (n,)."""

    dense: Floats
    """Share of the dense score."""
    heading: Floats
    type: Floats
    recency: Floats

    @property
    def boost(self) -> Floats:
        """What is added to the fused score."""
        return np.asarray(self.heading + self.type + self.recency)


def weigh(question: str, about: Sequence[About | None], recipe: Recipe, today: date) -> Weights:
    """
    Args:
        about: of each candidate; of None nothing is known, and it gets no boost.
        today: from which a document's age is taken.
    """
    asked = terms(question)
    dense, heading, kind, recency = (np.zeros(len(about)) for _ in range(4))
    weights, boosts = dict(recipe.dense_weights), dict(recipe.type_boosts)
    for i, each in enumerate(about):
        dense[i] = recipe.dense_weight
        if each is None:
            continue
        dense[i] = next((weights[name] for name in each.types if name in weights), recipe.dense_weight)
        kind[i] = sum(boosts.get(name, 0.0) for name in each.types)
        if recipe.heading_boost and asked:
            heading[i] = recipe.heading_boost * coverage(asked, stems(" ".join([each.title, *each.heading_path])))
        recency[i] = recipe.recency_weight * _recent(each, recipe, today)
    return Weights(dense, heading, kind, recency)


def _recent(about: About, recipe: Recipe, today: date) -> float:
    """1 for a document of today or later, half of it after each half-life, 0 for one without a date."""
    for name, half_life in recipe.half_lives:
        value = about.metadata.get(name)
        if isinstance(value, date):
            return float(0.5 ** (max(0, (today - value).days) / half_life))
    return 0.0
