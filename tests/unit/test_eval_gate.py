"""The gate: what it lets through, what it refuses, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from schemas.events import Evaluation
from tests.kit.golden import evaluation, result
from weir.evaluation.gate import FEWEST, differences, gate, worst_first
from weir.evaluation.metrics import MAIN
from weir.evaluation.run import figures, paired_with, stages


def run(recalls: list[float], **more: Any) -> Evaluation:
    return evaluation([result(f"q{i}", {MAIN: r, "ndcg@10": r}) for i, r in enumerate(recalls)], **more)


MANY = 30
GOOD = [1.0] * 27 + [0.5] * 3


def test_the_same_passes_and_so_does_the_better() -> None:
    verdict = gate(run(GOOD), run(GOOD))
    assert (verdict.passed, verdict.reasons) == (True, [])
    assert "recall@10 +0.000 (+0.000 to +0.000) over 30 questions" in verdict.remarks[0]
    assert "a loss of more than 0.100 is unlikely" in verdict.remarks[0]
    assert gate(run([0.5] * MANY), run(GOOD)).passed


def test_significantly_worse_recall_is_refused_and_said() -> None:
    worse = gate(run(GOOD), run([0.0] * 8 + GOOD[8:]))
    assert not worse.passed
    assert worse.reasons[0].startswith("recall@10 -0.267 (") and "significantly worse (p = 0.00391)" in worse.reasons[0]
    # Four of thirty lost: two to the power of minus four is not below 5 %.
    within = gate(run(GOOD), run([0.0] * 4 + GOOD[4:]))
    assert within.passed
    assert "a loss of more than 0.2" in within.remarks[0]


def test_a_loss_elsewhere_is_remarked() -> None:
    live = evaluation([result(f"q{i}", {MAIN: 1.0, "mrr": 1.0}) for i in range(MANY)])
    candidate = evaluation([result(f"q{i}", {MAIN: 1.0, "mrr": 0.5}) for i in range(MANY)])
    verdict = gate(live, candidate)
    assert verdict.passed
    assert any(r.startswith("mrr -0.500") for r in verdict.remarks)


def test_too_few_questions_prove_nothing() -> None:
    verdict = gate(run(GOOD[:FEWEST - 1]), run(GOOD[:FEWEST - 1]))
    assert not verdict.passed
    assert "only 19 questions" in verdict.reasons[0]
    none = gate(evaluation([result("q", {"refused": 1.0})]), evaluation([result("q", {"refused": 1.0})]))
    assert "only 0 questions" in none.reasons[0]


def test_where_the_live_version_finds_nothing_there_is_nothing_to_compare() -> None:
    verdict = gate(run([0.0] * MANY), run([0.0] * MANY))
    assert not verdict.passed and "finds nothing of what 'sample' expects" in verdict.reasons[0]
    assert gate(run([0.0] * (MANY - 1) + [0.1]), run([0.0] * (MANY - 1) + [0.1])).passed


def test_a_forbidden_document_refuses() -> None:
    shown = replace(run(GOOD), questions=[*run(GOOD).questions, result("secret", {"withheld": 0.0})])
    assert gate(shown, shown).reasons == ["secret showed a document that the person must not see."]


def test_what_cannot_be_compared_is_not() -> None:
    live = run(GOOD)
    for candidate, why in (
        (run(GOOD, set_change="other", set_version=2), "different questions"),
        (run(GOOD, index="b"), "different indexes"),
        (run(GOOD[1:]), "incomplete"), (run(GOOD, model="openai:m"), "different language models"),
    ):
        verdict = gate(live, candidate)
        assert not verdict.passed and why in verdict.reasons[0], verdict


def test_a_run_of_a_weir_that_was_not_whole_is_not_believed() -> None:
    broken = run(GOOD)
    broken.questions[0] = replace(broken.questions[0], outcome="failed")
    broken.questions[1] = replace(broken.questions[1], notices=["Found by keywords alone: Milvus is away"])
    assert [r.split(" run ")[1].split(":")[0] for r in gate(run(GOOD), broken).reasons] == [
        "q0 failed", "q1 went without one of the stores, so it measured something else"]
    assert "in the live run q0 failed" in gate(broken, run(GOOD)).reasons[0]


def test_similarities_of_different_models_are_not_compared() -> None:
    def of(ruler: str) -> Evaluation:
        return evaluation([result(f"q{i}", {"similarity": 0.5}) for i in range(3)], ruler=ruler)

    assert [d.name for d in differences(of("a@1"), of("a@1"))] == ["similarity"]
    assert differences(of("a@1"), of("b@1")) == []


def test_a_pair_says_what_it_is_worth() -> None:
    live, candidate = run(GOOD, run="live"), run(GOOD, run="new", index_version="v2")
    made = paired_with(live, candidate)
    assert (made.against, made.verdict.passed if made.verdict else None) == ("live", True)
    assert [(d.name, d.count) for d in made.differences] == [(MAIN, MANY), ("ndcg@10", MANY)]
    assert paired_with(live, candidate) == made, "the seed makes it the same each time"


def test_the_worst_come_first() -> None:
    live = [result("lost", {"quality": 1.0}), result("poor", {"quality": 0.1}), result("fine", {"quality": 1.0})]
    now = [result("fine", {"quality": 1.0}), result("poor", {"quality": 0.1}), result("none"),
           result("lost", {"quality": 0.6}), result("broken", outcome="failed")]
    assert [q.id for q in worst_first(now, live)] == ["broken", "lost", "poor", "fine", "none"]
    assert [q.id for q in worst_first(now)] == ["broken", "poor", "lost", "fine", "none"]


def test_figures_and_stages_over_questions() -> None:
    results = [result("a", {"mrr": 1.0, "cited": 1.0}, timings={"total": 10.0, "embed": 1.0}),
               result("b", {"mrr": 0.5}, timings={"total": 30.0})]
    found = {f.name: f for f in figures(results)}
    assert (found["mrr"].value, found["mrr"].count, found["cited"].count) == (0.75, 2, 1)
    assert 0.5 <= found["mrr"].low < found["mrr"].high <= 1.0
    total = stages(results)[-1]
    assert (total.name, total.p50, total.p95) == ("total", 20.0, float(np.quantile([10, 30], 0.95)))
