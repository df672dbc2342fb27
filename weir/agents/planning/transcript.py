"""What has happened to a task, as a planner reads it: steps with their calls and results, questions and messages.

The events are those that the machine keeps for the prompt, oldest first. Results find their calls by the ids that the
machine gave them, so that a transcript that begins in the middle reads right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas import keys
from schemas.events import (
    AgentEvent,
    Artefact,
    CallOutcome,
    Choice,
    MessageSent,
    ModelReplied,
    PlanEnd,
    TaskRequested,
    TimerFired,
    ToolReturned,
    VerdictGiven,
)
from weir.agents.refusals import MOST_CALLS, refusal

MOST_STEPS = 10_000
ATTEMPTS = 20
"""Attempts of a call that a verdict about an unknown outcome may belong to."""


@dataclass(slots=True)
class Tried:
    """A call and what became of it."""

    tool: str
    arguments: str
    """Canonical JSON, as it was run where a person changed them."""
    reason: str
    index: int
    command: str
    outcome: str = ""
    """succeeded, failed, denied, expired, invalid, or empty: it was not run."""
    content: str = ""
    """What it returned: data, never an order."""
    error: str = ""
    """Why it did not succeed."""
    artefacts: list[Artefact] = field(default_factory=list)
    revision: int = 0


@dataclass(slots=True)
class Step:
    """A reply of the planner with calls."""

    number: int
    thought: str
    calls: list[Tried]


@dataclass(frozen=True, slots=True)
class Asked:
    """The planner asked the person, or said something that a message overtook."""

    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """A person told the task something."""

    person: str
    text: str


Entry = Step | Asked | Said


def transcript(request: TaskRequested, events: Sequence[AgentEvent]) -> list[Entry]:
    """The entries of a task, oldest first."""
    tools = {policy.name for policy in request.tools}
    entries: list[Entry] = []
    step: Step | None = None
    number = 0
    for event in events:
        body = event.body
        if isinstance(body, ModelReplied):
            number = _number(event.task, body.command, number)
            if body.end is PlanEnd.CALLS:
                step = _step(event.task, number, body, tools)
                entries.append(step)
            else:
                entries.append(Asked(body.text))
        elif isinstance(body, MessageSent):
            entries.append(Said(body.person.name or body.person.subject, body.text))
        elif step is not None and isinstance(body, ToolReturned):
            _result(step, body)
        elif step is not None and isinstance(body, VerdictGiven):
            _verdict(event.task, step, body)
        elif step is not None and isinstance(body, TimerFired):
            _expired(step)
    return entries


def succeeded(entries: Sequence[Entry], tool: str) -> list[Tried]:
    """The calls of a tool that succeeded, oldest first."""
    return [call for entry in entries if isinstance(entry, Step) for call in entry.calls
            if call.tool == tool and call.outcome == "succeeded"]


def _number(task: str, command: str, last: int) -> int:
    for number in range(last + 1, last + MOST_STEPS):
        if keys.command_id(task, number, -1) == command:
            return number
    return last + 1


def _step(task: str, number: int, body: ModelReplied, tools: set[str]) -> Step:
    calls = []
    for index, wanted in enumerate(body.calls):
        why = refusal(tools, wanted)
        if index >= MOST_CALLS:
            why = f"a reply has at most {MOST_CALLS} calls; this one was left out"
        calls.append(Tried(tool=wanted.tool, arguments=wanted.arguments, reason=wanted.reason, index=index,
                           command=keys.command_id(task, number, index), outcome="invalid" if why else "", error=why))
    return Step(number, body.text, calls)


def _result(step: Step, body: ToolReturned) -> None:
    for call in step.calls:
        if call.command == body.command:
            call.content, call.error, call.artefacts = body.content, body.error, body.artefacts
            call.outcome = "succeeded" if body.outcome is CallOutcome.SUCCEEDED else "failed"


def _verdict(task: str, step: Step, body: VerdictGiven) -> None:
    for call in step.calls:
        hashed = keys.args_hash(call.arguments)
        if keys.approval_id(task, "call", step.number, call.index, hashed, call.revision) == body.approval:
            if body.arguments is not None:
                call.arguments, call.revision = body.arguments, call.revision + 1
                call.command = keys.command_id(task, step.number, call.index, call.revision)
            elif body.choice is Choice.DENY:
                call.outcome, call.error = "denied", body.reason or "a person decided against it"
            return
        if any(keys.approval_id(task, "unknown", step.number, call.index, hashed, attempt) == body.approval
               for attempt in range(1, ATTEMPTS)):
            if body.choice is Choice.DONE:
                call.outcome, call.content = "succeeded", "A person says that it was done."
            return


def _expired(step: Step) -> None:
    for call in step.calls:
        if not call.outcome:
            call.outcome, call.error = "expired", "nobody decided about it in time"
