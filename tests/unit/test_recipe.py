"""The parameters of retrieval: who may set which, within which limits, and that nobody setting any changes nothing."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.errors import BadRequest, SettingsError
from weir.retrieval import parameters
from weir.retrieval.fuse import Candidates, best_of_document, fuse, standardise
from weir.retrieval.parameters import PARAMETERS
from weir.retrieval.recipe import Recipe, origins

NUMBERS = st.lists(st.tuples(st.floats(0, 30), st.floats(-1, 1), st.integers(0, 5)), min_size=1, max_size=60)


def test_every_parameter_is_told_once_and_the_page_is_current() -> None:
    assert [p.field for p in PARAMETERS] == [f.name for f in fields(Recipe)]
    assert parameters.PAGE.read_text() == parameters.page(), "run `python -m weir.retrieval.parameters`"
    for p in PARAMETERS:
        value = getattr(Recipe(), p.field)
        assert isinstance(value, tuple) == p.keyed
        assert p.keyed or p.low <= value <= p.high, p.name
        assert p.asked is None or (p.low <= p.asked[0] < p.asked[1] <= p.high), p.name


def test_each_layer_goes_before_the_one_below() -> None:
    version, workspace = {"depth": 100.0, "dense_weight": 0.4, "dense_weight.contract": 0.2}, {"dense_weight": 0.6}
    recipe = Recipe.with_overrides(version).changed(workspace).asked({"depth": 50, "dense_weight.pdf": 1})
    assert recipe == replace(Recipe(), depth=50, windows=100, dense_weight=0.6,
                             dense_weights=(("contract", 0.2), ("pdf", 1.0))), "its depth changes the windows too"
    assert recipe.told()["dense_weight.contract"] == 0.2
    assert origins(version, workspace, {"depth": 50}) == {
        "depth": "question", "dense_weight": "workspace", "dense_weight.contract": "version"}


@pytest.mark.parametrize(("values", "why"), [
    ({"dept": 1}, "names dept; its parameters are depth, windows"), ({"depth.pdf": 1}, "names depth.pdf"),
    ({"type_boost": 1}, "names type_boost"), ({"type_boost.": 1}, "names type_boost"),
    ({"depth": 0}, "between 1 and 10000; 0 was given"), ({"depth": 2.5}, "a whole number"),
    ({"expand": 0.5}, "a whole number"), ({"dense_weight": float("nan")}, "between 0 and 1"),
    ({"half_life.signed": 0}, "between 0.01 and 36525")])
def test_what_makes_no_sense_is_refused_by_name(values: dict[str, float], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        Recipe().changed(values)
    with pytest.raises(BadRequest):
        Recipe().asked(values)


def test_a_question_may_set_less_than_a_workspace() -> None:
    assert Recipe().changed({"depth": 900, "fetch": 80}).depth == 900
    with pytest.raises(BadRequest, match="depth of a recipe must lie between 10 and 400"):
        Recipe().asked({"depth": 900})
    with pytest.raises(BadRequest, match="fetch is set for an index version or a workspace"):
        Recipe().asked({"fetch": 80})


@given(NUMBERS)
def test_defaults_rank_to_the_last_bit_as_before_there_were_controls(rows: list[tuple[float, float, int]]) -> None:
    keyword, dense = np.array([k for k, _, _ in rows]), np.array([d for _, d, _ in rows])
    documents = [f"d{n}" for _, _, n in rows]
    sizes = [documents.count(d) for d in documents]
    made = Candidates([f"c{i}" for i in range(len(rows))], documents, sizes, [0] * len(rows), keyword, dense, 200)
    zk, zd = standardise(keyword, 200, unmatched=200 - len(rows)), standardise(dense, 200)
    fused = (1 - 0.5) * zk + 0.5 * zd
    expected = fused + 0.1 * best_of_document(fused, documents, sizes, 3)
    found = fuse(made, Recipe())
    assert found.scores.tolist() == expected.tolist()
    weighed = fuse(made, Recipe(), np.full(len(rows), 0.5), np.zeros(len(rows)))
    assert weighed.scores.tolist() == expected.tolist() and weighed.order.tolist() == found.order.tolist()


def test_defaults_read_no_document_to_weigh_it() -> None:
    assert not Recipe().looks_at_documents
    assert not Recipe().changed({"recency_weight": 1}).looks_at_documents, "no field says how old a document is"
    assert Recipe().changed({"recency_weight": 1, "half_life.signed": 90}).looks_at_documents
    assert Recipe().changed({"type_boost.contract": 1}).looks_at_documents
