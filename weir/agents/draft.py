"""A task while one event is applied to it: a copy that may be changed, and what is to be told to the others.

Nothing outside a transition ever sees a draft. Its lists are those of the snapshot: they are replaced, never changed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any

from schemas import codec
from schemas.events import (
    AgentCommand,
    AgentEvent,
    AgentReply,
    AgentState,
    Amounts,
    Artefact,
    Call,
    CallStatus,
    Decision,
    DoneEffect,
    Place,
    TaskOutcome,
    TaskRequested,
    TaskResult,
    TaskStatus,
    TimerFired,
    ToolPolicy,
    Usage,
)
from weir.agents.status import SETTLED, check_call, check_task
from weir.agents.transition import Transition

HISTORY = 64
"""Most records that a prompt is made of, besides the first."""
SEEN = 32
"""Latest events from people whose ids are kept."""


class Pinned:
    """What a task pinned when it began."""

    __slots__ = ("policies", "request")

    def __init__(self, request: TaskRequested) -> None:
        self.request = request
        self.policies: dict[str, ToolPolicy] = {policy.name: policy for policy in request.tools}


@lru_cache(maxsize=4096)
def pinned(request: bytes) -> Pinned:
    """The pinned request of a snapshot, decoded once while the task is busy."""
    return Pinned(codec.decode(request))


@dataclass(slots=True, kw_only=True)
class Draft:
    """The fields of AgentState, and below them the event's moment, place and consequences."""

    version: int
    task: str
    request: bytes
    status: TaskStatus
    step: int
    limits: Amounts
    spent: Amounts
    requested_at: int
    updated_at: int
    events: int
    first: Place
    history: list[Place]
    model_call: str
    model_attempt: int
    model_due: int
    unread: bool
    calls: list[Call]
    wave: int
    effects: list[DoneEffect]
    artefacts: list[Artefact]
    seen: list[str]
    ending: TaskOutcome | None
    message: str
    resumes: TaskStatus | None
    approval: str
    due: int
    forked_from: str

    pins: Pinned
    before: AgentState | None
    event: AgentEvent
    place: Place
    now: int
    """The event's moment, in milliseconds since the epoch: the only clock there is."""
    commands: list[AgentCommand]
    writes: list[AgentCommand]
    decisions: list[Decision]
    replies: list[AgentReply]
    usage: list[Usage]
    result: TaskResult | None

    def move(self, status: TaskStatus) -> None:
        check_task(self.status, status)
        self.status = status

    def put(self, position: int, status: CallStatus, **changes: Any) -> Call:
        """The call at `position` with another status and `changes`."""
        call = self.calls[position]
        check_call(call.status, status)
        if status in SETTLED:  # nobody reads its arguments any more, and a snapshot is small
            changes["arguments"] = ""
        # As `dataclasses.replace`, in a third of its time: it was two fifths of what a transition costs.
        call = Call(**{**dict(zip(CALL_FIELDS, _call_values(call), strict=True)), "status": status, **changes})
        self.calls = [*self.calls[:position], call, *self.calls[position + 1:]]
        return call

    def remember(self) -> None:
        """Makes the event part of the planner's prompt."""
        self.history = [*self.history[1 - HISTORY:], self.place]

    def reply(self, accepted: bool, message: str, code: str = "") -> None:
        self.replies.append(AgentReply(task=self.task, event=self.event.event, accepted=accepted, message=message,
                                       at=self.event.at, code=code))

    def refuse(self, code: str, message: str) -> bool:
        """Answers a person that nothing was changed; False, for the handler to return."""
        self.reply(False, message, code)
        return False

    def spend(self, *, tokens: int = 0, micros: int = 0, steps: int = 0) -> None:
        spent = self.spent
        self.spent = Amounts(steps=spent.steps + steps, tokens=spent.tokens + max(0, tokens),
                             micros=spent.micros + max(0, micros), seconds=spent.seconds)

    def finish(self, outcome: TaskOutcome, text: str) -> None:
        check_task(self.status, None)
        request = self.pins.request
        self.result = TaskResult(
            task=self.task, workspace=request.workspace, owner=request.person, goal=request.goal, outcome=outcome,
            text=text, artefacts=self.artefacts, steps=self.spent.steps, spent=self.spent, limits=self.limits,
            requested_at=self.requested_at, finished_at=self.now, events=self.events, first=self.first,
            kept=self.effects, forked_from=self.forked_from)


FIELDS = tuple(field.name for field in fields(AgentState))
CALL_FIELDS = tuple(field.name for field in fields(Call))
_values, _call_values = attrgetter(*FIELDS), attrgetter(*CALL_FIELDS)


def open_draft(state: AgentState, event: AgentEvent, place: Place) -> Draft:
    now = max(event.at, event.body.due) if type(event.body) is TimerFired else event.at
    draft = Draft(**dict(zip(FIELDS, _values(state), strict=True)), pins=pinned(state.request), before=state,
                  event=event, place=place, now=now, commands=[], writes=[], decisions=[], replies=[], usage=[],
                  result=None)
    draft.events += 1
    spent, seconds = state.spent, max(0, now - state.requested_at) // 1000
    if spent.seconds != seconds:
        draft.spent = Amounts(steps=spent.steps, tokens=spent.tokens, micros=spent.micros, seconds=seconds)
    return draft


def close_draft(draft: Draft) -> Transition:
    """The transition of a draft that an event has changed."""
    state = None
    if draft.result is None:
        draft.updated_at = draft.event.at
        state = AgentState(**dict(zip(FIELDS, _values(draft), strict=True)))
    return Transition(before=draft.before, state=state, commands=draft.commands, effects=draft.writes,
                      decisions=draft.decisions, replies=draft.replies, usage=draft.usage, result=draft.result)
