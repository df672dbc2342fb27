"""Any events in any order, against what must always hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from schemas import codec, keys
from schemas.events import (
    AgentCommand,
    AgentEvent,
    Amounts,
    BudgetAdded,
    CallModel,
    CallOutcome,
    CallStatus,
    CallTool,
    CancelRequested,
    Choice,
    DecisionKind,
    MessageSent,
    ModelFailed,
    ModelReplied,
    PlanEnd,
    Risk,
    TaskStatus,
    TimerFired,
    ToolReturned,
    Undo,
    VerdictGiven,
)
from tests.kit.agent_task import BOSS, OTHER_BOSS, OWNER, STRANGER, Task, call, replay, request
from weir.agents.machine import FROM_PEOPLE, transition, wake_at

PEOPLE = st.sampled_from([BOSS, OTHER_BOSS, OWNER, STRANGER])
SOME = st.integers(0, 10**6)
CALLS = st.lists(st.builds(
    call, st.sampled_from(["put", "mail", "look", "put", "mail", "no such tool"]), st.integers(0, 2),
    st.sampled_from(["{}", '{"n":1}', '{"n":1.0}']), st.sampled_from([""] * 9 + ["n is missing"])),
    min_size=1, max_size=4)
OUTCOMES = st.sampled_from([CallOutcome.SUCCEEDED] * 4 + list(CallOutcome))
CHOICES = st.sampled_from([Choice.APPROVE] * 4 + list(Choice))
LIMITS = st.builds(Amounts, steps=st.sampled_from([1, 3, 100]), tokens=st.sampled_from([20, 10**6]),
                   micros=st.sampled_from([20, 10**6]), seconds=st.sampled_from([1, 20, 10**6, 10**6, 10**6]))


def alive(self: Any) -> bool:
    """Whether the task lives."""
    return self.task.state is not None


def lately(self: Any) -> bool:
    """Whether the task lives or has ended a few events ago."""
    return self.task.state is not None or self.afterlife < 4


class AnyOrder(RuleBasedStateMachine):
    """Planner, tools, timers and people who do what they like; the invariants are what the engine promises."""

    def __init__(self) -> None:
        super().__init__()
        self.begin()

    def begin(self) -> None:
        self.task = Task()
        self.approved: dict[str, int] = {}
        """By the hash of the arguments and the command, approvals that were given."""
        self.done: list[str] = []
        """Undo arguments of effects, first done first."""
        self.undo_asked: list[str] = []
        self.number = 0
        self.patience = 12
        """Events before anybody ends the task."""
        self.afterlife = 0

    def apply(self, body: Any, event: AgentEvent | None = None) -> None:
        task = self.task
        before, at = task.state, task.at
        unknown_before = {c.command for c in before.calls if c.status is CallStatus.UNKNOWN} if before else set()
        event = event or task.event(body)
        self.afterlife += before is None and bool(task.log)
        done = task.feed(event)
        body = event.body
        # Whoever speaks is answered, exactly once; nobody else is.
        assert len(done.replies) == (type(body) in FROM_PEOPLE)
        # Reads run ahead, effects wait.
        assert all(isinstance(c.body, CallModel) or c.body.risk is Risk.READ for c in done.commands)
        assert all(isinstance(c.body, CallTool) and c.body.risk is not Risk.READ for c in done.effects)
        if isinstance(body, VerdictGiven) and done.replies[0].accepted:
            self._verdict(body)
        for effect in done.effects:
            self._effect(effect, body, unknown_before)
        if done.commands or done.effects:
            self._within_limits(at if not isinstance(body, TimerFired) else max(at, body.due))
        for decision in done.decisions:
            if decision.kind is DecisionKind.UNDO and decision.status == "pending":
                self.undo_asked.append(decision.arguments)
        if isinstance(body, ToolReturned) and body.outcome is CallOutcome.UNKNOWN and done.changed and before:
            returned = next(c for c in before.calls if c.command == body.command)
            asked = [d.kind for d in done.decisions]
            assert returned.risk is Risk.READ or DecisionKind.UNKNOWN in asked, "an unknown outcome was not shown"

    def _verdict(self, body: VerdictGiven) -> None:
        decision = self.task.decisions[body.approval]
        if decision.kind is not DecisionKind.BUDGET:
            assert "approvers" in body.person.groups and body.person != OWNER
            assert decision.args_hash == body.args_hash
        if decision.kind in (DecisionKind.CALL, DecisionKind.UNDO) and decision.status == "approved":
            assert decision.editor != body.person.subject
            name = f"{decision.step}/{decision.index}/{decision.tool}/{decision.args_hash}"
            self.approved[name] = self.approved.get(name, 0) + 1

    def _effect(self, effect: AgentCommand, body: Any, unknown_before: set[str]) -> None:
        call = effect.body
        assert isinstance(call, CallTool)
        undo = self.task.state is not None and self.task.state.status is TaskStatus.UNDOING
        if effect.attempt == 1 and (call.risk is Risk.IRREVERSIBLE or undo):
            name = f"{call.step}/{call.index}/{call.tool}/{keys.args_hash(call.arguments)}"
            assert self.approved.pop(name, 0) == 1, "an effect without an approval of its own"
        if effect.attempt > 1:  # only what failed for certain, or what a person wants again
            again = effect.command in unknown_before
            assert again == isinstance(body, VerdictGiven)

    def _within_limits(self, now: int) -> None:
        state = self.task.state
        if state is None or state.ending is not None:  # taking back has no limit
            return
        assert state.spent.steps <= state.limits.steps
        assert state.spent.tokens < state.limits.tokens
        assert state.spent.micros < state.limits.micros
        assert now - state.requested_at < state.limits.seconds * 1000

    # -- what happens ---------------------------------------------------------------------------------------------

    @initialize(limits=LIMITS, patience=st.integers(5, 40))
    def asked(self, limits: Amounts, patience: int) -> None:
        self.patience = patience
        self.apply(request(limits, expires=10))

    @precondition(lambda self: self.task.state is None)
    @rule(limits=LIMITS, patience=st.integers(5, 40))
    def another_one(self, limits: Amounts, patience: int) -> None:
        self.teardown()
        self.begin()
        self.asked(limits, patience)

    @precondition(alive)
    @rule(calls=CALLS, outcome=OUTCOMES, choice=CHOICES, tokens=st.integers(-1, 9), micros=st.integers(-1, 9),
          undo=st.booleans(), boss=st.sampled_from([BOSS, OTHER_BOSS]), pick=SOME)
    def the_next_thing(self, calls: list[Any], outcome: CallOutcome, choice: Choice, tokens: int, micros: int,
                       undo: bool, boss: Any, pick: int) -> None:
        """What a well-behaved world does: it is what brings a task far."""
        state = self.task.state
        assert state is not None
        if state.model_call and not state.model_due:
            self.apply(ModelReplied(command=state.model_call, attempt=state.model_attempt, end=PlanEnd.CALLS,
                                    text="text", calls=calls, tokens_in=tokens, micros=micros))
        elif running := self.task.running():
            self._return(running[pick % len(running)], outcome, True, micros, undo)
        elif pending := self.task.pending:
            decision = pending[pick % len(pending)]
            if decision.kind is DecisionKind.BUDGET and choice is not Choice.STOP:
                self.apply(BudgetAdded(person=boss, added=Amounts(steps=9, tokens=90, micros=90, seconds=900)))
                return
            choice = choice if choice in decision.choices else decision.choices[pick % len(decision.choices)]
            self.apply(VerdictGiven(approval=decision.approval, args_hash=decision.args_hash, choice=choice,
                                    person=boss))
        elif (due := wake_at(state)) and state.status is not TaskStatus.ASKING:
            self.task.at = max(self.task.at, due)
            self.apply(TimerFired(due=due))

    @precondition(lambda self: lately(self) and len(self.task.log) > self.patience)
    @rule(end=st.sampled_from(list(PlanEnd)), pick=SOME)
    def planner_ends(self, end: PlanEnd, pick: int) -> None:
        asked = [c for c in self.task.commands if isinstance(c.body, CallModel)]
        if asked:  # the live one or one of long ago
            command = asked[-1 - (pick % len(asked))]
            self.apply(ModelReplied(command=command.command, attempt=command.attempt, end=end, text="text"))

    @precondition(lately)
    @rule(retriable=st.integers(0, 9), micros=st.integers(0, 9))
    def planner_fails(self, retriable: int, micros: int) -> None:
        asked = [c for c in self.task.commands if isinstance(c.body, CallModel)]
        if asked:
            self.apply(ModelFailed(command=asked[-1].command, attempt=asked[-1].attempt, code="x", message="x",
                                   retriable=retriable > 0, micros=micros))

    @precondition(lately)
    @rule(pick=SOME, outcome=OUTCOMES, retriable=st.booleans(),
          micros=st.integers(-1, 9), undo=st.booleans())
    def tool(self, pick: int, outcome: CallOutcome, retriable: bool, micros: int, undo: bool) -> None:
        every = [c for c in (*self.task.commands, *self.task.effects) if isinstance(c.body, CallTool)]
        if every:
            self._return(every[pick % len(every)], outcome, retriable, micros, undo)

    def _return(self, command: AgentCommand, outcome: CallOutcome, retriable: bool, micros: int, undo: bool) -> None:
        assert isinstance(command.body, CallTool)
        self.number += 1
        back = Undo(tool="take_back", arguments=f'{{"n":{self.number}}}') if undo else None
        effects = len(self.task.state.effects) if self.task.state else 0
        self.apply(ToolReturned(command=command.command, attempt=command.attempt, outcome=outcome, retriable=retriable,
                                micros=micros, undo=back))
        if back and self.task.state and len(self.task.state.effects) > effects:
            self.done.append(back.arguments)

    @precondition(lately)
    @rule(pick=SOME, choice=CHOICES,
          person=st.sampled_from([BOSS, OTHER_BOSS, BOSS, OWNER, STRANGER]), wrong=st.integers(0, 9),
          arguments=st.sampled_from([None, None, None, '{"n": 2}']))
    def verdict(self, pick: int, choice: Choice, person: Any, wrong: int, arguments: str | None) -> None:
        some = self.task.pending if pick % 5 else list(self.task.decisions.values())
        if some:
            decision = some[pick % len(some)]
            self.apply(VerdictGiven(approval=decision.approval, args_hash="" if wrong == 0 else decision.args_hash,
                                    choice=choice, person=person, arguments=arguments))

    @precondition(lately)
    @rule(early=st.integers(0, 3))
    def timer(self, early: int) -> None:
        state = self.task.state
        due = wake_at(state) if state else 0
        if not due or early == 0 or (due > self.task.at + 60_000 and len(self.task.log) < self.patience):
            self.apply(TimerFired(due=self.task.at))
            return
        self.task.at = max(self.task.at, due)
        self.apply(TimerFired(due=due))
        if self.task.state is not None:
            assert self.task.last is not None and self.task.last.changed, "a timer that was due did nothing"

    @precondition(alive)
    @rule(milliseconds=st.sampled_from([1, 500, 3000, 11_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.task.at += milliseconds

    @precondition(lately)
    @rule(person=PEOPLE, text=st.sampled_from(["more", ""]))
    def message(self, person: Any, text: str) -> None:
        self.apply(MessageSent(person=person, text=text))

    @precondition(lately)
    @rule(person=PEOPLE, steps=st.integers(-1, 3), more=st.integers(0, 30))
    def budget(self, person: Any, steps: int, more: int) -> None:
        self.apply(BudgetAdded(person=person, added=Amounts(steps=steps, tokens=more, micros=more, seconds=more)))

    @precondition(lambda self: lately(self) and len(self.task.log) > self.patience)
    @rule(person=PEOPLE)
    def cancel(self, person: Any) -> None:
        self.apply(CancelRequested(person=person))

    @precondition(lately)
    @rule(pick=SOME)
    def again(self, pick: int) -> None:
        """What was on the log already comes once more."""
        event, _ = self.task.log[pick % len(self.task.log)]
        if self.task.state is None and len(self.task.log) == pick % len(self.task.log) + 1:
            return
        if self.task.results and event.body == self.task.log[0][0].body:
            return  # the engine knows which tasks have finished
        before = self.task.state
        timer = isinstance(event.body, TimerFired)
        self.apply(None, replace(event, at=self.task.at))
        latest = [e.event for e, _ in self.task.log if type(e.body) in FROM_PEOPLE][-33:-1]
        if before is not None and not timer and (type(event.body) not in FROM_PEOPLE or event.event in latest):
            assert self.task.state is before, "an event that came twice counted twice"

    # -- what always holds ----------------------------------------------------------------------------------------

    @invariant()
    def one_live_attempt_per_call(self) -> None:
        sent = [(c.command, c.attempt) for c in (*self.task.commands, *self.task.effects)]
        assert len(sent) == len(set(sent))
        by_command: dict[str, list[int]] = {}
        for command, attempt in sent:
            by_command.setdefault(command, []).append(attempt)
        assert all(sorted(a) == list(range(1, len(a) + 1)) for a in by_command.values())

    @invariant()
    def what_is_open_is_what_the_queue_shows(self) -> None:
        state = self.task.state
        open_ = {c.approval for c in state.calls if c.approval} | {state.approval} - {""} if state else set()
        assert {d.approval for d in self.task.pending} == open_

    @invariant()
    def the_status_says_what_is_waited_for(self) -> None:
        state = self.task.state
        if state is None:
            return
        statuses = {c.status for c in state.calls}
        running, waiting = statuses & {"running", "backoff"}, statuses & {"proposed", "unknown"}
        match state.status:
            case TaskStatus.PLANNING:
                assert state.model_call and not running and not waiting
            case TaskStatus.ACTING:
                assert running
            case TaskStatus.DECIDING:
                assert waiting and not running
            case TaskStatus.ASKING:
                assert not running and not waiting and not state.model_call
            case TaskStatus.PAUSED:
                assert state.approval and state.resumes
            case _:
                assert (running or waiting) and state.ending
        assert (state.status is TaskStatus.PAUSED) == bool(state.approval) == bool(state.resumes)
        assert len(state.history) <= 64 and len(state.seen) <= 32

    @invariant()
    def undone_last_first(self) -> None:
        assert self.undo_asked == self.done[::-1][:len(self.undo_asked)]

    @invariant()
    def it_ends_once(self) -> None:
        assert len(self.task.results) <= 1
        assert not (self.task.results and self.task.state)

    @invariant()
    def something_is_waited_for(self) -> None:
        state = self.task.state
        assert state is None or state.status is TaskStatus.ASKING or self.task.pending or self.task.running() or (
            state.model_call or wake_at(state))

    def teardown(self) -> None:
        once, twice = replay(self.task.log), replay(self.task.log)
        assert once == twice
        assert once[-1:] == ([b""] if not self.task.last or self.task.last.result is None
                             else [codec.encode(self.task.last.result)])


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestAnyOrder = AnyOrder.TestCase


def test_a_log_replayed_from_bytes_gives_what_the_live_task_gave() -> None:
    task = Task()
    task.do(request())
    task.plan(call("look"), call("put"), call("mail", 1))
    for command in task.running():
        task.returns(command)
    task.decide()
    task.returns(task.running()[0])
    task.answer()
    state, said = None, []
    for event, place in task.log:
        done = transition(state, codec.decode(codec.encode(event)), place)
        state = done.state
        said += [*done.commands, *done.effects]
    assert sorted(c.command for c in said) == sorted(c.command for c in (*task.commands, *task.effects))
