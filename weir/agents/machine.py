"""A task as a function: `transition(state, event, place)`. No clock, no input or output, no randomness.

    TaskRequested -> ask the planner
    ModelReplied  -> waves of calls | the result | a question | giving up
    ToolReturned  -> the next wave, or ask the planner again
    a person      -> verdict, message, cancel, budget: each answered by exactly one AgentReply
    TimerFired    -> whatever is due

The same events in the same order give the same states, commands and ids. An event that arrives twice, late, or for a
task that is no more changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from schemas import codec
from schemas.events import (
    AgentEvent,
    AgentReply,
    AgentState,
    Amounts,
    BudgetAdded,
    CancelRequested,
    MessageSent,
    ModelFailed,
    ModelReplied,
    Place,
    TaskRequested,
    TaskStatus,
    TimerFired,
    ToolReturned,
    VerdictGiven,
)
from weir.agents import on_model, on_person, on_timer, on_tool, verdicts
from weir.agents.draft import HISTORY, SEEN, close_draft, open_draft, pinned
from weir.agents.going_on import go_on
from weir.agents.limits import clamped
from weir.agents.transition import Transition
from weir.agents.upgrade import VERSION, upgraded

_HANDLERS: dict[type, Callable[..., bool]] = {
    TaskRequested: on_person.requested_again,
    ModelReplied: on_model.replied,
    ModelFailed: on_model.failed,
    ToolReturned: on_tool.returned,
    VerdictGiven: verdicts.verdict,
    TimerFired: on_timer.fired,
    MessageSent: on_person.message,
    CancelRequested: on_person.cancel,
    BudgetAdded: on_person.add_budget,
}
FROM_PEOPLE = frozenset({TaskRequested, VerdictGiven, MessageSent, CancelRequested, BudgetAdded})
"""Events that are answered."""
AGAIN = "this was received before, and answered then; look at the task"


def transition(state: AgentState | None, event: AgentEvent, place: Place) -> Transition:
    """What `event` does to a task.

    Args:
        state: the task's snapshot; None where there is none.
        event: what has happened.
        place: where the event stands on `agent-events`.

    Raises:
        BadRecord: a newer machine wrote the snapshot.
    """
    if state is None:
        if type(event.body) is TaskRequested:
            return _begin(event, event.body, place)
        return finished(event)
    if state.version != VERSION:
        state = upgraded(state)
    kind = type(event.body)
    person = kind in FROM_PEOPLE
    if person and event.event in state.seen:
        return replace(_nothing(state), replies=[_refusal(event, "known", AGAIN)])
    draft = open_draft(state, event, place)
    if person:
        draft.seen = [*state.seen[1 - SEEN:], event.event]
    if _HANDLERS[kind](draft, event.body):
        return close_draft(draft)
    if not draft.replies:
        return _nothing(state)
    # A refusal changes nothing, except that this event has been answered.
    return replace(_nothing(state), state=replace(state, seen=draft.seen), replies=draft.replies)


def requested(state: AgentState) -> TaskRequested:
    """What the task pinned when it began; decoded once while the task is busy."""
    return pinned(state.request).request


def wake_at(state: AgentState) -> int:
    """The earliest moment that a task waits for, in milliseconds since the epoch; 0: none."""
    return on_timer.wake_at(state)


def finished(event: AgentEvent) -> Transition:
    """What an event does to a task that is over or never was: a person is told, nothing else happens."""
    if type(event.body) not in FROM_PEOPLE:
        return _nothing(None)
    code, message = ("known", "this task was asked for before and has ended; its result says how") \
        if type(event.body) is TaskRequested else ("finished", "this task has ended, or there never was one")
    return replace(_nothing(None), replies=[_refusal(event, code, message)])


def _refusal(event: AgentEvent, code: str, message: str) -> AgentReply:
    return AgentReply(task=event.task, event=event.event, accepted=False, message=message, at=event.at, code=code)


def _begin(event: AgentEvent, body: TaskRequested, place: Place) -> Transition:
    state = AgentState(
        version=VERSION, task=event.task, request=codec.encode(body), status=TaskStatus.PLANNING, step=0,
        limits=clamped(body.limits), spent=Amounts(steps=0, tokens=0, micros=0, seconds=0), requested_at=event.at,
        updated_at=event.at, events=0, first=place, history=body.history[-HISTORY:], seen=[event.event],
        forked_from=body.forked_from)
    draft = open_draft(state, event, place)
    draft.before = None
    draft.reply(True, "the task has begun")
    go_on(draft)
    return close_draft(draft)


def _nothing(state: AgentState | None) -> Transition:
    return Transition(before=state, state=state, commands=[], effects=[], decisions=[], replies=[], usage=[],
                      result=None)

