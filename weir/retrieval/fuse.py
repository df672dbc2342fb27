"""Two lists of scores to one ranking. Pure: arrays in, arrays out, nothing else.

    fused(chunk)  = (1 - w) z(keyword) + w z(dense)                        w = recipe.dense_weight
    z(score)      = (score - mean) / deviation, both over the best `depth` scores of the list
    ranked(chunk) = fused + boost + bonus x mean of the best three fused scores of its document

`w` may differ by candidate, and there may be a boost: weighing.py makes both of what a document is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weir.retrieval.recipe import Recipe

Floats = npt.NDArray[np.float64]

SCORE_DIGITS = 5
"""Decimals of a fused score that mean something: the stores count in single precision."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What is known of each candidate; all sequences have the same length n."""

    chunks: Sequence[str]
    documents: Sequence[str]
    """The document of each; two versions of a document are two documents here."""
    document_chunks: Sequence[int]
    """How many chunks that document has in all."""
    ordinals: Sequence[int]
    """The place of each in its document."""
    keyword: Floats | None
    """(n,) BM25 scores, NaN where unknown; None where the keyword store did not answer."""
    dense: Floats | None
    """(n,) dense scores, NaN where unknown; None where the vector store did not answer."""
    population: int
    """How many chunks could have been found, as far as one needs to know: any number from `depth` is as good."""


@dataclass(frozen=True, slots=True)
class Fused:
    """Scores by candidate, in the candidates' order, and the ranking."""

    order: npt.NDArray[np.intp]
    """(n,) places of the candidates from best to worst; equal scores in reading order, then by the chunk's id."""
    scores: Floats
    """(n,) what the ranking is by."""
    keyword_z: Floats
    """(n,), zeros where the keyword store did not answer."""
    dense_z: Floats
    """(n,), zeros where the vector store did not answer."""
    bonus: Floats
    """(n,) the document's share in `scores`."""
    boost: Floats
    """(n,) what else was added to `scores`."""


def fuse(candidates: Candidates, recipe: Recipe, weights: Floats | None = None, boost: Floats | None = None) -> Fused:
    """Ranks the candidates. With one store missing, the other one's order counts alone.

    Args:
        weights: (n,) share of the dense score by candidate; None for the recipe's.
        boost: (n,) what is added to the fused scores.
    """
    n = len(candidates.chunks)
    w: float | Floats = recipe.dense_weight if weights is None else weights
    keyword_z = dense_z = np.zeros(n)
    if candidates.keyword is not None:
        keyword_z = standardise(candidates.keyword, recipe.depth, unmatched=candidates.population - n)
        w = w if candidates.dense is not None else 0.0
    if candidates.dense is not None:
        dense_z = standardise(candidates.dense, recipe.depth)
        w = w if candidates.keyword is not None else 1.0
    fused = (1 - w) * keyword_z + w * dense_z
    bonus = recipe.document_bonus * best_of_document(
        fused, candidates.documents, candidates.document_chunks, recipe.document_best)
    boost = np.zeros(n) if boost is None else boost
    scores = fused + boost + bonus
    # A passage that stands in a document twice gets its score twice, but for what the stores round.
    equal = np.round(scores, SCORE_DIGITS)
    order = np.array(sorted(range(n), key=lambda i: (-equal[i], candidates.ordinals[i], candidates.chunks[i])),
                     dtype=np.intp)
    return Fused(order, scores, keyword_z, dense_z, bonus, boost)


def standardise(scores: Floats, depth: int, unmatched: int = 0) -> Floats:
    """z of each score over the best `depth` of its list. An unknown score counts as the least known one.

    Args:
        scores: (n,), NaN where unknown.
        unmatched: chunks besides these that are known to score zero, such as those without any word of the question.
    """
    if not len(scores):
        return scores.copy()
    known = scores[~np.isnan(scores)]
    if not len(known):
        return np.zeros(len(scores))
    filled = np.where(np.isnan(scores), known.min(), scores)
    best = np.sort(known)[::-1][:depth]
    if len(best) < depth and unmatched > 0:
        best = np.concatenate([best, np.zeros(min(unmatched, depth - len(best)))])
    return np.asarray((filled - best.mean()) / max(float(best.std()), 1e-9))


def best_of_document(fused: Floats, documents: Sequence[str], document_chunks: Sequence[int], best: int) -> Floats:
    """(n,) the mean of the best `best` fused scores of each candidate's document.

    Chunks of the document that are no candidates are at most as good as the worst candidate, so that one's score stands
    for them; a document of fewer chunks has the mean of what it has.
    """
    if not len(fused):
        return fused.copy()
    _, first, document = np.unique(np.asarray(documents), return_index=True, return_inverse=True)
    order = np.lexsort((-fused, document))  # by document, best first
    begins = np.searchsorted(document[order], np.arange(len(first)))
    counted = order[np.arange(len(fused)) - begins[document[order]] < best]
    total = np.bincount(document[counted], fused[counted], len(first))
    count = np.bincount(document[counted], minlength=len(first))
    lacking = np.maximum(np.minimum(best, np.asarray(document_chunks)[first]) - count, 0)
    return np.asarray(((total + float(fused.min()) * lacking) / (count + lacking))[document])
