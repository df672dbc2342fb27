"""What candidates are worth by type, heading and date, and what that does to a ranking."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from weir.retrieval.facts import About, media_name
from weir.retrieval.fuse import Candidates, fuse
from weir.retrieval.recipe import Recipe
from weir.retrieval.weighing import weigh

TODAY = date(2026, 11, 21)


def about(*types: str, title: str = "", headings: tuple[str, ...] = (), **metadata: Any) -> About:
    return About("d", title, headings, types, metadata)


def test_a_type_has_its_own_weight_and_boost() -> None:
    recipe = Recipe().changed({"dense_weight.contract": 0.9, "dense_weight.pdf": 0.1, "type_boost.pdf": 1.5,
                               "type_boost.contract": -0.5})
    found = weigh("notice", [about("contract", "pdf"), about("pdf"), about("text"), None], recipe, TODAY)
    assert found.dense.tolist() == [0.9, 0.1, 0.5, 0.5], "what the metadata says goes before the format"
    assert found.boost.tolist() == [1.0, 1.5, 0.0, 0.0]


def test_a_heading_counts_by_the_share_of_the_question_in_it() -> None:
    recipe = Recipe().changed({"heading_boost": 2})
    found = weigh("notice period", [about(title="Contract", headings=("Notice period",)), about(title="Notices"),
                                    about(title="Price")], recipe, TODAY)
    assert found.boost.tolist() == pytest.approx([2.0, 1.0, 0.0])


def test_half_of_the_recency_is_left_after_a_half_life() -> None:
    recipe = Recipe().changed({"recency_weight": 2, "half_life.signed": 100, "half_life.written": 10})
    found = weigh("x", [about(signed=date(2026, 8, 13)), about(signed=TODAY), about(signed=date(2027, 1, 1)),
                        about(written=date(2026, 11, 11)), about(signed="2026-08-13"), about()], recipe, TODAY)
    assert found.boost.tolist() == pytest.approx([1.0, 2.0, 2.0, 1.0, 0.0, 0.0])


def test_a_boost_moves_a_candidate_and_a_weight_decides_which_store_counts() -> None:
    made = Candidates(["a", "b", "c"], ["a", "b", "c"], [1, 1, 1], [0, 0, 0], np.array([3.0, 2.0, 1.0]),
                      np.array([0.1, 0.2, 0.3]), 3)
    only_keyword, only_dense = np.zeros(3), np.ones(3)
    assert fuse(made, Recipe(), only_keyword).order.tolist() == [0, 1, 2]
    assert fuse(made, Recipe(), only_dense).order.tolist() == [2, 1, 0]
    assert fuse(made, Recipe(), only_keyword, np.array([0.0, 0.0, 9.0])).order.tolist() == [2, 0, 1]


def test_with_one_store_away_the_other_counts_whatever_the_type_says() -> None:
    made = Candidates(["a", "b"], ["a", "b"], [1, 1], [0, 0], np.array([1.0, 2.0]), None, 2)
    assert fuse(made, Recipe(), np.ones(2)).order.tolist() == [1, 0]


@pytest.mark.parametrize(("media_type", "name"), [
    ("text/markdown; charset=utf-8", "markdown"), ("application/pdf", "pdf"), ("text/x-python", "text"),
    ("application/x-passages+json", "passages"), ("image/png", "text")])
def test_formats_have_short_names(media_type: str, name: str) -> None:
    assert media_name(media_type) == name
