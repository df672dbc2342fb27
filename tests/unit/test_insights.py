"""What is counted of a minute, and that parts add up."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.events import (
    CacheCounts,
    CacheFigures,
    Choice,
    Decision,
    DecisionKind,
    DecisionStatus,
    Feedback,
    Insight,
    Person,
    TaskOutcome,
    TaskResult,
    Turn,
    TurnOutcome,
)
from tests.kit.examples import examples
from weir.agents.limits import no_steps
from weir.erasing import ERASED, PASSAGE_ERASED
from weir.insights.exact import compared, summed, window
from weir.insights.figures import (
    MILLIS,
    MINUTE,
    SCORES,
    Figures,
    again,
    at_step_limit,
    counted,
    quantile,
    totals,
    where,
)

AT = 1_700_000_000_000 // MINUTE * MINUTE


def turn(outcome: TurnOutcome = TurnOutcome.ANSWERED, **fields: Any) -> Turn:
    return Turn(turn="t", conversation="c", workspace="w", person=Person(subject="ann", groups=[]), question="?",
                outcome=outcome, text="", sources=[], citations=[], asked_at=AT, finished_at=AT + 1234, **fields)


def figures(*events: Any) -> Figures:
    made = Figures()
    for event in events:
        made.take(event)
    return made


def test_a_turn_is_counted_in_the_minute_it_ended_in() -> None:
    asked = turn(tokens_in=10, tokens_out=5, cost=0.0015, timings={"total": 120.0, "retrieval": 10.0})
    assert where(asked) == ("w", AT)
    made = figures(asked, turn(TurnOutcome.NOT_IN_SOURCES), turn(TurnOutcome.SEARCHED))
    assert made.counts == {"questions": 2, "searches": 1, "answered": 1, "not_in_sources": 1, "tokens_in": 10,
                           "tokens_out": 5, "micros": 1500}
    assert made.stages["retrieval"][MILLIS.index(10)] == 1 and made.stages["total"][MILLIS.index(250)] == 1
    assert not again(asked)
    assert all(again(replace(asked, notices=[notice])) for notice in (ERASED, PASSAGE_ERASED))


def test_the_best_passage_decides_the_score() -> None:
    example = examples()["Turn"]
    assert isinstance(example, Turn)
    [source] = example.sources
    made = figures(replace(example, sources=[replace(source, score=s) for s in (-1.0, 2.2, 0.4)]))
    assert made.scores[SCORES.index(2.5)] == 1 and sum(made.scores) == 1
    assert figures(replace(example, sources=[replace(source, score=99.0)])).scores[-1] == 1


def decision(**fields: Any) -> Decision:
    example = examples()["Decision"]
    assert isinstance(example, Decision)
    return replace(example, **fields)


def test_verdicts_and_limits() -> None:
    approved = decision(kind=DecisionKind.CALL, choice=Choice.APPROVE, decided_at=AT + 5)
    assert where(approved) == (approved.workspace, AT)
    assert where(decision(kind=DecisionKind.CALL, choice=None)) is None
    limit = decision(kind=DecisionKind.BUDGET, arguments=json.dumps({"steps": 30}), reason=no_steps(30),
                     created_at=AT + 9, choice=None, status=DecisionStatus.PENDING)
    assert at_step_limit(limit) and where(limit) == (limit.workspace, AT) and not again(limit)
    assert again(replace(limit, status=DecisionStatus.WITHDRAWN))
    money = replace(limit, reason="the task has used up its budget of 1 (1.2 so far)")
    assert not at_step_limit(money) and where(money) is None
    assert not at_step_limit(replace(limit, arguments="[]")) and not at_step_limit(replace(limit, arguments="?"))
    made = figures(approved, replace(approved, choice=Choice.DENY), limit)
    assert made.counts == {"approved": 1, "denied": 1, "tasks_at_step_limit": 1}
    good = Feedback(subject="ann", turn="t", workspace="w", good=True, at=AT)
    assert where(good) == ("w", AT) and figures(good, replace(good, good=False)).counts == {
        "feedback_good": 1, "feedback_bad": 1}
    result = examples()["TaskResult"]
    assert isinstance(result, TaskResult)
    assert figures(replace(result, outcome=TaskOutcome.SUCCEEDED)).counts == {
        "tasks": 1, "tasks_succeeded": 1, "task_tokens": result.spent.tokens, "task_micros": result.spent.micros}
    assert where(object()) is None


def test_hits_and_misses_of_the_caches() -> None:
    told = CacheFigures(worker="a", since=AT - 9, until=AT + 1, caches=[
        CacheCounts(cache="answers", workspace="w", lookups={"exact": 2, "semantic": 1, "missed": 4, "number": 5},
                    evictions={}, saved=0.5),
        CacheCounts(cache="retrieval", workspace="v", lookups={"hit": 3}, evictions={"changed": 1}, saved=0.0),
        CacheCounts(cache="vectors", workspace="", lookups={"hit": 9}, evictions={}, saved=0.0)])
    found = counted(told)
    assert found[("w", AT)].counts == {"answers_hits": 3, "answers_misses": 4, "saved_micros": 500_000}
    assert found[("v", AT)].counts == {"retrieval_hits": 3} and len(found) == 2


@given(st.lists(st.sampled_from([TurnOutcome.ANSWERED, TurnOutcome.FAILED, TurnOutcome.SEARCHED]), max_size=20),
       st.integers(0, 20))
def test_parts_add_up_however_they_are_cut(outcomes: list[TurnOutcome], at: int) -> None:
    turns = [turn(o, timings={"total": 10.0 * n}) for n, o in enumerate(outcomes)]
    whole, parts = figures(*turns), [figures(*turns[:at]), figures(*turns[at:])]

    def insight(made: Figures, part: str) -> Insight:
        return Insight(workspace="w", minute=AT, part=part, counts=made.counts, stages=made.stages, scores=made.scores,
                       at=AT)

    early = insight(figures(*turns[:at // 2]), "0")  # an older record of the same part counts no more
    found = totals([early, *(insight(p, str(n)) for n, p in enumerate(parts))])
    assert found == {("w", AT): whole}
    assert compared(found, {("w", AT): whole}) == []


def test_what_differs_is_named() -> None:
    live, exact = {("w", AT): figures(turn())}, {("w", AT): figures(turn(), turn()), ("v", AT): figures(turn())}
    told = [(d.workspace, d.figure, d.live, d.exact) for d in compared(live, exact)]
    assert ("w", "questions", 1, 2) in told and ("v", "questions", 0, 1) in told
    assert window(exact, AT, AT + 1, "v").keys() == {("v", AT)} and window(exact, AT + 1, AT + MINUTE) == {}
    assert summed(exact).counts["questions"] == 3


def test_quantiles_are_the_ends_of_their_buckets() -> None:
    assert quantile([8, 1, 1], 0.5) == MILLIS[0] and quantile([8, 1, 1], 0.95) == MILLIS[2]
    assert quantile([0] * len(MILLIS) + [1], 0.5) == math.inf
