"""A transcript folded into steps says what the machine of tasks made of the same events."""

from __future__ import annotations

from schemas.events import (
    CallOutcome,
    CallStatus,
    Choice,
    MessageSent,
    ModelFailed,
    ModelReplied,
    PlanEnd,
    ToolReturned,
)
from tests.kit.agent_task import BOSS, OTHER_BOSS, OWNER, Task, call, request
from weir.views.steps import Transcript, fold
from weir.views.tasks import Happened


def folded(task: Task) -> Transcript:
    happened = [Happened(place.partition, place.offset, event) for event, place in task.log]
    live = task.state
    return fold(happened, task.decisions.values(), live.calls if live else [], live.step if live else 0)


def begun() -> Task:
    task = Task()
    task.do(request())
    return task


def test_steps_calls_and_costs_are_those_of_the_machine() -> None:
    task = begun()
    task.plan(call("look"), call("put", wave=1), micros=5, tokens_in=7)
    [look] = task.running()
    task.returns(look, content="seen", micros=2)
    [put] = task.running()
    task.returns(put, CallOutcome.FAILED, error="it is full", micros=1)
    task.plan(call("nothing like it"), call("mail"), micros=3)
    shown = folded(task)
    assert [s.step for s in shown.steps] == [1, 2]
    first, second = shown.steps
    assert [(c.tool, c.status, c.content or c.error) for c in first.calls] == [
        ("look", CallStatus.SUCCEEDED, "seen"), ("put", CallStatus.FAILED, "it is full")]
    assert [c.status for c in second.calls] == [c.status for c in task.live.calls]
    assert sum(s.micros + sum(c.micros for c in s.calls) for s in shown.steps) == task.live.spent.micros == 11
    assert second.calls[1].approvals == [d.approval for d in task.pending]
    assert (first.over, second.over) == (True, False)


def test_what_is_late_or_comes_twice_counts_once() -> None:
    task = begun()
    asked = task.asked
    task.do(ModelFailed(command=asked.command, attempt=1, code="busy", message="busy", retriable=True))
    late = task.event(ModelReplied(command=asked.command, attempt=1, end=PlanEnd.ANSWER, text="too late"))
    task.feed(late)
    task.wait()
    task.plan(call("look"), text="in time")
    task.feed(late)
    [look] = task.running()
    task.returns(look, content="seen")
    task.do(ToolReturned(command=look.command, attempt=look.attempt, outcome=CallOutcome.FAILED, error="again"))
    shown = folded(task)
    assert [(s.text, s.calls[0].content, s.calls[0].status) for s in shown.steps] == [
        ("in time", "seen", CallStatus.SUCCEEDED)]
    assert [n.kind for n in shown.notes] == ["planner_failed"]


def test_what_a_fork_reads_is_what_the_planner_read() -> None:
    task = begun()
    task.plan(call("look"))
    task.returns(task.running()[0], content="seen")
    task.do(MessageSent(person=OWNER, text="and quickly"))
    task.plan(call("mail", arguments='{"to":"a"}'))
    task.decide(Choice.APPROVE, BOSS, arguments='{"to":"b"}')
    task.decide(Choice.DENY, OTHER_BOSS)
    task.plan(call("mail"))
    task.decide(Choice.APPROVE, BOSS)
    task.returns(task.running()[0])
    shown = folded(task)
    places = sorted((p for s in shown.steps for p in s.places), key=lambda p: p.offset)
    assert places == task.live.history
    assert [c.arguments for s in shown.steps for c in s.calls] == ["{}", '{"to":"b"}', "{}"]
    assert [c.status for s in shown.steps for c in s.calls] == ["succeeded", "denied", "succeeded"]
    assert [(n.kind, n.person, n.after) for n in shown.notes] == [
        ("message", "ann", 1), ("verdict", "bob", 2), ("verdict", "cem", 2), ("verdict", "bob", 3)]


def test_an_answer_and_a_task_without_events() -> None:
    task = begun()
    task.answer("done")
    shown = folded(task)
    assert [(s.end, s.text, s.calls) for s in shown.steps] == [(PlanEnd.ANSWER, "done", [])]
    assert fold([]) == Transcript([], [], -1, 0)

