"""Fusion: what it must agree with (the recipe over a whole collection) and what must not change it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.errors import SettingsError
from weir.retrieval.fuse import Candidates, best_of_document, fuse, standardise
from weir.retrieval.recipe import Recipe

RECIPE = Recipe()
SCORES = st.lists(st.floats(-50, 50).map(lambda x: round(x, 3)), min_size=1, max_size=60)


def candidates(keyword: list[float] | None, dense: list[float] | None, documents: list[int] | None = None,
               population: int = 0, chunks_of: list[int] | None = None, ordinals: list[int] | None = None
               ) -> Candidates:
    n = len(keyword if keyword is not None else dense or [])
    documents = documents or list(range(n))
    sizes = chunks_of or [documents.count(d) for d in documents]
    return Candidates([f"c{i:03d}" for i in range(n)], [f"d{d}" for d in documents], sizes, ordinals or [0] * n,
                      None if keyword is None else np.array(keyword), None if dense is None else np.array(dense),
                      population)


def whole_collection(keyword: list[float], dense: list[float], documents: list[int]) -> np.ndarray:
    """The recipe as it is defined, with every chunk of the collection scored."""
    def z(of: list[float]) -> np.ndarray:
        top = np.sort(of)[-RECIPE.depth:]
        return (np.array(of) - top.mean()) / max(top.std(), 1e-9)

    fused = 0.5 * z(keyword) + 0.5 * z(dense)
    best = {d: np.sort(fused[[i for i, e in enumerate(documents) if e == d]])[-3:].mean() for d in documents}
    return fused + 0.1 * np.array([best[d] for d in documents])


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(-20, 20), st.integers(0, 5)), min_size=2, max_size=80))
def test_with_every_chunk_a_candidate_the_scores_are_the_recipe_s(rows: list[tuple[int, int, int]]) -> None:
    keyword, dense, documents = [float(a) for a, _, _ in rows], [b / 20 for _, b, _ in rows], [d for _, _, d in rows]
    fused = fuse(candidates(keyword, dense, documents), RECIPE)
    np.testing.assert_allclose(fused.scores, whole_collection(keyword, dense, documents), atol=1e-9)


@given(SCORES, st.integers(0, 300))
def test_chunks_without_a_word_of_the_question_count_as_zeros(scores: list[float], unmatched: int) -> None:
    positive = [abs(s) for s in scores]
    z = standardise(np.array(positive), 200, unmatched)
    whole = standardise(np.array([*positive, *[0.0] * unmatched]), 200)
    np.testing.assert_allclose(z, whole[:len(positive)], atol=1e-9)


@given(SCORES)
def test_an_unknown_score_counts_as_the_least_known_one(scores: list[float]) -> None:
    z = standardise(np.array([*scores, math.nan]), 200)
    assert z[-1] == pytest.approx(z[:-1].min())


@given(SCORES, st.floats(0.5, 20), st.floats(-5, 5))
def test_a_store_s_unit_and_zero_do_not_matter(scores: list[float], unit: float, zero: float) -> None:
    if np.std(scores) < 1e-3:
        return
    np.testing.assert_allclose(standardise(np.array(scores), 200), standardise(np.array(scores) * unit + zero, 200),
                               atol=1e-6)


@given(SCORES, st.randoms(use_true_random=False))
def test_equal_scores_are_ranked_by_id_whatever_their_order(scores: list[float], random: object) -> None:
    few = [round(s / 25) for s in scores]  # many ties
    made = candidates([float(s) for s in few], [0.0] * len(few))
    ranked = [made.chunks[i] for i in fuse(made, RECIPE).order]
    places = list(range(len(few)))
    random.shuffle(places)  # type: ignore[attr-defined]  # hypothesis gives it as object
    shuffled = Candidates([made.chunks[i] for i in places], [made.documents[i] for i in places],
                          [1] * len(places), [0] * len(places), np.array([float(few[i]) for i in places]),
                          np.zeros(len(places)), 0)
    assert [shuffled.chunks[i] for i in fuse(shuffled, RECIPE).order] == ranked


def test_a_passage_that_a_document_holds_twice_is_first_given_where_it_stands_first() -> None:
    noise = 1e-8  # of the stores, which count in single precision
    fused = fuse(candidates([2.0, 2.0, 1.0, 2.0], [0.5 + noise, 0.5, 0.1, 0.5], [1, 1, 1, 1], ordinals=[7, 2, 0, 4]),
                 RECIPE)
    assert fused.order.tolist() == [1, 3, 0, 2]


def test_with_one_store_alone_its_order_counts() -> None:
    keyword = fuse(candidates([1.0, 3.0, 2.0], None), RECIPE)
    assert keyword.order.tolist() == [1, 2, 0]
    dense = fuse(candidates(None, [0.1, 0.2, 0.9]), RECIPE)
    assert dense.order.tolist() == [2, 1, 0]
    assert not dense.keyword_z.any()


def test_a_document_whose_chunks_are_all_good_rises() -> None:
    sizes = [3, 3, 3, 3]
    alone = fuse(candidates([5, 5, 1, 0], [0.5, 0.5, 0.1, 0], documents=[1, 2, 3, 4], chunks_of=sizes), RECIPE)
    assert alone.scores[0] == pytest.approx(alone.scores[1])
    together = fuse(candidates([5, 5, 4, 0], [0.5, 0.5, 0.4, 0], documents=[1, 2, 2, 4], chunks_of=sizes), RECIPE)
    assert together.order[0] == 1


def test_chunks_that_were_not_found_pull_their_document_down_to_the_worst_candidate() -> None:
    fused = np.array([2.0, 1.0, -1.0])
    whole = best_of_document(fused, ["a", "b", "c"], [1, 5, 1], 3)
    assert whole.tolist() == pytest.approx([2.0, (1.0 - 1.0 - 1.0) / 3, -1.0])


def test_nothing_found_is_an_empty_ranking() -> None:
    fused = fuse(candidates([], []), RECIPE)
    assert fused.order.tolist() == [] and fused.scores.tolist() == []


def test_a_recipe_s_parameters_are_checked() -> None:
    assert Recipe.with_overrides({"depth": 100.0, "dense_weight": 0.4}) == Recipe(depth=100, dense_weight=0.4)
    with pytest.raises(SettingsError, match="dept; its parameters are depth"):
        Recipe.with_overrides({"dept": 100})
    with pytest.raises(SettingsError, match="between 0 and 1"):
        Recipe.with_overrides({"window_weight": 2})
