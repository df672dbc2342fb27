"""A task by hand: what each event does."""

from __future__ import annotations

from typing import Any

import pytest

from schemas import codec
from schemas.events import (
    Amounts,
    BudgetAdded,
    CallModel,
    CallOutcome,
    CallStatus,
    CallTool,
    CancelRequested,
    Choice,
    DecisionKind,
    DecisionStatus,
    MessageSent,
    ModelFailed,
    PlanEnd,
    TaskOutcome,
    TaskStatus,
    Undo,
)
from tests.kit.agent_task import BOSS, OTHER_BOSS, OWNER, PLENTY, STRANGER, Task, call, request
from weir.agents.limits import LIFE
from weir.agents.machine import finished, requested, wake_at


def begun(*args: object, **more: object) -> Task:
    task = Task()
    task.do(request(*args, **more))  # type: ignore[arg-type]  # passed on as they are
    return task


def test_a_request_asks_the_planner_for_the_first_step() -> None:
    task = begun()
    body = task.asked.body
    assert isinstance(body, CallModel)
    assert (body.step, body.first, body.history) == (1, task.log[0][1], [])
    assert body.left == PLENTY
    assert task.live.status is TaskStatus.PLANNING
    assert requested(task.live) == request()
    assert [r.accepted for r in task.replies] == [True]


def test_calls_of_a_wave_run_side_by_side_and_the_next_wave_follows() -> None:
    task = begun()
    done = task.plan(call("look", 0, '{"q":1}'), call("put", 0, '{"q":2}'), call("look", 5, '{"q":3}'))
    assert [c.body.arguments for c in done.commands if isinstance(c.body, CallTool)] == ['{"q":1}']
    assert [c.body.arguments for c in done.effects if isinstance(c.body, CallTool)] == ['{"q":2}']
    first, second = task.running()
    assert task.returns(first).commands == []
    assert [c.body.arguments for c in task.returns(second).commands if isinstance(c.body, CallTool)] == ['{"q":3}']
    asked = task.returns(task.running()[0])
    assert [type(c.body) for c in asked.commands] == [CallModel]
    assert task.live.spent.steps == 2
    assert task.asked.body.history == [p for _, p in task.log[1:]]  # type: ignore[union-attr]  # a CallModel
    task.answer("found")
    assert task.state is None
    assert (task.result.outcome, task.result.text, task.result.steps) == (TaskOutcome.SUCCEEDED, "found", 2)


def test_a_failed_call_is_tried_again_and_then_goes_back_to_the_planner() -> None:
    task = begun()
    task.plan(call("look"), call("look", 1))
    for attempt in (1, 2):
        running = task.running()[0]
        assert running.attempt == attempt
        task.returns(running, CallOutcome.FAILED, error="no", retriable=True)
        assert task.live.calls[0].status is CallStatus.BACKOFF
        assert task.live.calls[0].due == task.at + 1000 * attempt
        task.wait()
    task.returns(task.running()[0], CallOutcome.FAILED, error="no", retriable=True)
    assert task.live.status is TaskStatus.PLANNING
    assert task.live.spent.steps == 1


def test_only_the_live_attempt_counts() -> None:
    task = begun()
    task.plan(call("look"))
    first = task.running()[0]
    task.returns(first, CallOutcome.FAILED, retriable=True, micros=5)
    assert not task.returns(first, micros=5).changed
    task.wait()
    assert not task.returns(first, micros=5).changed
    task.returns(task.running()[0], micros=5)
    assert (task.live.status, task.live.spent.micros) == (TaskStatus.PLANNING, 10)


def test_an_invalid_or_unknown_call_is_not_run() -> None:
    task = begun()
    done = task.plan(call("look", invalid="q is missing"), call("rm"))
    assert [type(c.body) for c in done.commands] == [CallModel]
    assert done.effects == []
    assert task.live.spent.steps == 1


def test_an_irreversible_call_waits_for_an_approval_and_is_used_once() -> None:
    task = begun()
    task.plan(call("mail", 0, '{"to":"x"}'))
    assert task.effects == []
    assert task.live.status is TaskStatus.DECIDING
    decision = task.pending[0]
    assert (decision.kind, decision.arguments) == (DecisionKind.CALL, '{"to":"x"}')
    assert decision.expires_at == decision.created_at + 3600_000
    assert wake_at(task.live) == decision.expires_at
    done = task.decide()
    assert [c.body.arguments for c in done.effects if isinstance(c.body, CallTool)] == ['{"to":"x"}']
    assert task.decisions[decision.approval].decided_by == BOSS
    again = task.decide(decision=decision)
    assert (again.effects, [r.code for r in again.replies]) == ([], ["closed"])


@pytest.mark.parametrize(("person", "more", "code"), [
    (STRANGER, {}, "forbidden"), (OWNER, {}, "forbidden"), (BOSS, {"args_hash": "0" * 64}, "stale"),
    (BOSS, {"choice": Choice.AGAIN}, "choice"), (BOSS, {"approval": "other"}, "closed"),
    (BOSS, {"arguments": "{not json"}, "arguments"), (BOSS, {"approval": ""}, "closed")])
def test_a_verdict_without_the_right_changes_nothing_and_is_answered(person, more, code) -> None:  # type: ignore[no-untyped-def]
    task = begun()
    task.plan(call("mail"))
    before = task.live
    done = task.decide(person=person, **more)
    assert [(r.accepted, r.code) for r in done.replies] == [(False, code)]
    assert (done.effects, done.decisions) == ([], [])
    assert (task.live.calls, task.live.events, task.live.status) == (before.calls, before.events, before.status)


def test_an_owner_in_the_group_decides_only_where_the_policy_says_so() -> None:
    for by_owner in (True, False):
        task = begun(owner=BOSS, by_owner=by_owner)
        task.plan(call("mail"))
        assert task.decide(person=BOSS).replies[0].accepted is by_owner


def test_changed_arguments_are_a_new_proposal_for_somebody_else() -> None:
    task = begun()
    task.plan(call("mail", 0, '{"to":"x"}'))
    old = task.pending[0]
    task.decide(arguments='{"to": "y"}')
    assert task.decisions[old.approval].status is DecisionStatus.REPLACED
    new = task.pending[0]
    assert (new.arguments, new.editor, new.approval != old.approval) == ('{"to":"y"}', "bob", True)
    assert task.decide(person=BOSS).replies[0].code == "forbidden"
    assert task.decide(decision=old, person=OTHER_BOSS).replies[0].code == "closed"
    done = task.decide(person=OTHER_BOSS)
    assert [c.body.arguments for c in done.effects if isinstance(c.body, CallTool)] == ['{"to":"y"}']


def test_a_denied_and_an_expired_call_go_back_to_the_planner() -> None:
    task = begun()
    task.plan(call("mail"), call("look", 1))
    task.decide(Choice.DENY, reason="not now")
    assert task.live.status is TaskStatus.PLANNING
    task.plan(call("mail"))
    task.wait()
    assert task.live.status is TaskStatus.PLANNING
    assert [d.status for d in task.decisions.values()] == [DecisionStatus.DENIED, DecisionStatus.EXPIRED]
    assert task.effects == []


def test_a_late_verdict_finds_the_proposal_expired_even_before_the_timer() -> None:
    task = begun()
    task.plan(call("mail"))
    task.at = task.pending[0].expires_at
    assert task.decide().replies[0].code == "stale"


@pytest.mark.parametrize(("choice", "status"), [
    (Choice.DONE, TaskStatus.PLANNING), (Choice.AGAIN, TaskStatus.ACTING), (Choice.STOP, None)])
def test_an_unknown_outcome_is_a_person_s_question(choice: Choice, status: TaskStatus | None) -> None:
    task = begun()
    task.plan(call("put"))
    task.returns(task.running()[0], CallOutcome.UNKNOWN, error="broke off")
    assert (task.live.status, task.pending[0].kind) == (TaskStatus.DECIDING, DecisionKind.UNKNOWN)
    assert task.pending[0].choices == [Choice.DONE, Choice.AGAIN, Choice.STOP]
    done = task.decide(choice)
    assert (task.state.status if task.state else None) is status
    if choice is Choice.AGAIN:
        first, second = task.effects
        assert isinstance(first.body, CallTool) and isinstance(second.body, CallTool)
        assert (second.command, second.attempt, second.body.key) == (first.command, 2, first.body.key)
    else:
        assert done.effects == []


def test_the_truth_that_comes_late_answers_an_unknown_outcome() -> None:
    task = begun()
    task.plan(call("put"))
    running = task.running()[0]
    task.returns(running, CallOutcome.UNKNOWN)
    task.returns(running)
    assert [d.status for d in task.decisions.values()] == [DecisionStatus.WITHDRAWN]
    assert task.live.status is TaskStatus.PLANNING


def test_a_read_with_an_unknown_outcome_has_merely_failed() -> None:
    task = begun()
    task.plan(call("look"))
    task.returns(task.running()[0], CallOutcome.UNKNOWN, retriable=True)
    assert task.live.calls[0].status is CallStatus.BACKOFF


def test_the_planner_is_asked_again_when_it_fails_and_five_times_at_most() -> None:
    task = begun()
    for attempt in range(1, 6):
        assert task.asked.attempt == attempt
        task.do(ModelFailed(command=task.asked.command, attempt=attempt, code="unavailable", message="down",
                            retriable=True, micros=7))
        if attempt < 5:
            task.wait()
    assert task.result.outcome is TaskOutcome.FAILED
    assert "down" in task.result.text
    assert task.result.spent.micros == 35
    assert sum(u.cost for u in task.usage) == pytest.approx(35e-6)


def test_the_planner_asks_and_a_message_answers() -> None:
    task = begun()
    task.plan(end=PlanEnd.ASK, text="which three?")
    assert (task.live.status, task.live.message) == (TaskStatus.ASKING, "which three?")
    assert task.do(MessageSent(person=STRANGER, text="all")).replies[0].code == "forbidden"
    task.do(MessageSent(person=OWNER, text="the first"))
    assert task.live.status is TaskStatus.PLANNING
    assert [p.offset for p in task.asked.body.history] == [1, 3]  # type: ignore[union-attr]  # a CallModel


def test_what_a_person_says_meanwhile_is_read_before_the_task_ends() -> None:
    task = begun()
    task.do(MessageSent(person=OWNER, text="and the fourth"))
    task.answer("three")
    assert task.results == []
    assert [p.offset for p in task.asked.body.history] == [1, 2]  # type: ignore[union-attr]  # a CallModel
    task.answer("four")
    assert task.result.text == "four"


def test_steps_run_out_before_a_wave_and_a_person_lets_it_go_on() -> None:
    task = begun(Amounts(steps=2, tokens=10**6, micros=10**6, seconds=10**6))
    task.plan(call("look"), call("look", 1), call("look", 2))
    task.returns(task.running()[0])
    task.returns(task.running()[0])
    assert (task.live.status, task.running()) == (TaskStatus.PAUSED, [])
    decision = task.pending[0]
    assert (decision.kind, decision.choices) == (DecisionKind.BUDGET, [Choice.STOP])
    assert task.decide().replies[0].code == "choice"
    added = Amounts(steps=1, tokens=0, micros=0, seconds=0)
    assert task.do(BudgetAdded(person=OWNER, added=added)).replies[0].code == "forbidden"
    task.do(BudgetAdded(person=BOSS, added=added))
    assert (task.live.status, len(task.running())) == (TaskStatus.ACTING, 1)
    assert task.decisions[decision.approval].status is DecisionStatus.APPROVED


def test_without_steps_the_planner_may_still_say_what_it_found() -> None:
    task = begun(Amounts(steps=1, tokens=10**6, micros=10**6, seconds=10**6))
    task.plan(call("look"))
    task.returns(task.running()[0])
    assert task.asked.body.left.steps == 0  # type: ignore[union-attr]  # a CallModel
    task.answer("this much")
    assert task.result.outcome is TaskOutcome.SUCCEEDED


def test_tokens_and_money_stop_a_task_and_stop_hands_over_what_it_has() -> None:
    every: list[dict[str, Any]] = [{"tokens_in": 60, "tokens_out": 40}, {"micros": 100}]
    for costs in every:
        task = begun(Amounts(steps=10, tokens=100, micros=100, seconds=100))
        task.plan(call("look"), **costs)
        assert task.live.status is TaskStatus.PAUSED
        assert task.running() == []
        task.decide(Choice.STOP, person=OWNER)
        assert task.result.outcome is TaskOutcome.FAILED
        assert "used up" in task.result.text


def test_time_runs_out_while_a_person_is_waited_for() -> None:
    task = begun(Amounts(steps=10, tokens=100, micros=100, seconds=100))
    task.plan(call("mail"))
    task.wait()
    assert task.live.status is TaskStatus.PAUSED
    call_, budget = sorted(task.pending, key=lambda d: d.kind != DecisionKind.CALL)
    assert task.decide(decision=call_).replies[0].code == "budget"
    assert task.effects == []
    task.do(BudgetAdded(person=BOSS, added=Amounts(steps=0, tokens=0, micros=0, seconds=1000)))
    assert task.live.calls[0].status is CallStatus.PROPOSED
    task.decide(decision=call_)
    assert len(task.effects) == 1
    assert task.decisions[budget.approval].status is DecisionStatus.APPROVED


def test_a_paused_task_stops_when_nobody_adds_to_its_budget() -> None:
    task = begun(Amounts(steps=0, tokens=100, micros=100, seconds=10**6))
    task.plan(call("look"))
    task.wait()
    assert task.result.outcome is TaskOutcome.FAILED
    assert [d.status for d in task.decisions.values()] == [DecisionStatus.EXPIRED]


def test_a_cancelled_task_waits_for_effects_and_drops_the_rest() -> None:
    task = begun()
    task.plan(call("look"), call("put"), call("mail"), call("look", 1))
    read = next(c for c in task.running() if c.body.tool == "look")  # type: ignore[union-attr]  # a CallTool
    effect = next(c for c in task.running() if c.body.tool == "put")  # type: ignore[union-attr]  # a CallTool
    task.do(CancelRequested(person=OWNER, reason="no need"))
    assert task.live.status is TaskStatus.STOPPING
    assert [d.status for d in task.decisions.values()] == [DecisionStatus.WITHDRAWN]
    assert not task.returns(read).changed
    task.returns(effect)
    assert (task.result.outcome, task.result.text) == (TaskOutcome.CANCELLED, "no need")


def test_what_was_done_is_taken_back_last_first_as_a_person_says() -> None:
    task = begun()
    for name in "abc":
        task.plan(call("put"))
        task.returns(task.running()[0], undo=Undo(tool="take_back", arguments=f'{{"name":"{name}"}}'))
    task.plan(end=PlanEnd.GIVE_UP, text="cannot")
    shown = []
    for choice in (Choice.APPROVE, Choice.DENY, Choice.APPROVE):
        assert task.live.status is TaskStatus.UNDOING
        assert [d.kind for d in task.pending] == [DecisionKind.UNDO]
        shown.append(task.pending[0].arguments)
        task.decide(choice)
        if choice is Choice.APPROVE:
            task.returns(task.running()[0])
    assert shown == ['{"name":"c"}', '{"name":"b"}', '{"name":"a"}']
    assert (task.result.outcome, task.result.text) == (TaskOutcome.FAILED, "cannot")
    assert [e.undo.arguments for e in task.result.kept] == ['{"name":"b"}']


def test_no_task_outlives_its_transcript() -> None:
    task = begun(Amounts(steps=5, tokens=5, micros=5, seconds=10**9), expires=10**9)
    assert task.live.limits.seconds == LIFE
    task.plan(call("mail"))
    for _ in range(5):
        if task.state is not None:
            task.wait()
    assert task.result.finished_at == task.result.requested_at + LIFE * 1000


def test_whoever_asks_a_finished_task_is_told() -> None:
    task = begun()
    task.answer()
    done = task.do(MessageSent(person=OWNER, text="hello"))
    assert (done.changed, [r.code for r in done.replies]) == (False, ["finished"])
    assert [r.code for r in finished(task.log[0][0]).replies] == ["known"]


def test_history_and_snapshot_do_not_grow() -> None:
    task = begun()
    sizes = []
    for _ in range(200):
        task.plan(call("look", 0, '{"q":"' + "x" * 500 + '"}'))
        task.returns(task.running()[0], content="y" * 1000)
        sizes.append(len(codec.encode(task.live)))
    assert len(task.live.history) == 64
    assert max(sizes[100:]) < min(sizes[100:]) + 20
    assert max(sizes) < 1500
