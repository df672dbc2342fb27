"""A transcript as a tree of steps: what was planned and why, each call with its arguments, how it went, what it cost.

Pure: events and proposals in, steps out. A reply counts where the engine counts it: once, of the attempt that was live,
to the question that was open. Each such reply is a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from schemas import keys
from schemas.events import (
    Artefact,
    BudgetAdded,
    Call,
    CallStatus,
    CancelRequested,
    Choice,
    Decision,
    DecisionKind,
    DecisionStatus,
    MessageSent,
    ModelFailed,
    ModelReplied,
    Person,
    Place,
    PlanEnd,
    ToolCall,
    ToolReturned,
    VerdictGiven,
)
from weir.views.tasks import Happened

ENDED = frozenset({CallStatus.SUCCEEDED, CallStatus.FAILED, CallStatus.DENIED, CallStatus.DROPPED})


@dataclass(slots=True, kw_only=True)
class StepCall:
    """A call of a step."""

    index: int
    wave: int
    tool: str
    arguments: str
    """Canonical JSON; as a person changed them, where one did."""
    reason: str
    status: CallStatus
    attempt: int = 0
    at: int = 0
    """When it returned, in milliseconds since the epoch; 0: not yet."""
    content: str = ""
    error: str = ""
    invalid: str = ""
    artefacts: list[Artefact] = field(default_factory=list)
    micros: int = 0
    seconds: float = 0.0
    approvals: list[str] = field(default_factory=list)
    """Ids of its proposals, oldest first."""


@dataclass(slots=True, kw_only=True)
class Step:
    """One reply of the planner and the calls that it wanted."""

    step: int
    at: int
    """When the planner replied, in milliseconds since the epoch."""
    offset: int
    """Of its reply in `agent-events`."""
    end: PlanEnd
    text: str
    tokens_in: int
    tokens_out: int
    micros: int
    seconds: float
    calls: list[StepCall] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    """What the planner reads of it, for a fork."""

    @property
    def over(self) -> bool:
        """Whether all its calls have ended."""
        return all(c.status in ENDED for c in self.calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something besides the plan: a message, a verdict, a cancellation, more budget, a planner that failed, an effect
    that was taken back."""

    kind: str
    at: int
    person: str
    text: str
    after: int
    """The step that it follows; 0 before the first."""


@dataclass(frozen=True, slots=True)
class Transcript:
    steps: list[Step]
    notes: list[Note]
    last: int
    """Offset of the last event; -1 where there is none."""
    read: int
    """Events that it was folded from."""


def fold(transcript: Sequence[Happened], decisions: Iterable[Decision] = (), live: Sequence[Call] = (),
         step: int = 0) -> Transcript:
    """The steps of a task.

    Args:
        transcript: its events in order.
        decisions: its proposals, oldest first.
        live: calls of the current step, of a task that lives.
        step: the current step.
    """
    folding = _Folding(list(decisions))
    for happened in transcript:
        folding.take(happened)
    for call in live:
        folding.settle(step, call)
    folding.settle_decided()
    return Transcript(folding.steps, folding.notes, transcript[-1].offset if transcript else -1,
                      len(transcript))


class _Folding:
    def __init__(self, decisions: list[Decision]) -> None:
        self.steps: list[Step] = []
        self.notes: list[Note] = []
        self._decisions = {d.approval: d for d in decisions}
        self._seen: set[str] = set()
        self._attempt = 1
        """The live attempt of the planner."""
        self._calls: dict[str, tuple[Step, StepCall]] = {}
        """By id of the command."""
        self._places: dict[tuple[int, int], StepCall] = {}

    def take(self, happened: Happened) -> None:
        event = happened.event
        if event.event in self._seen:
            return
        self._seen.add(event.event)
        match event.body:
            case ModelReplied() as body if self._asked(event.task, body.command, body.attempt):
                self._plan(happened, body)
            case ModelFailed() as body if self._asked(event.task, body.command, body.attempt):
                self._attempt += 1
                self._note("planner_failed", event.at, None, body.message)
            case ToolReturned() as body:
                self._returned(happened, body)
            case MessageSent() as body:
                self._remember(happened)
                self._note("message", event.at, body.person, body.text)
            case CancelRequested() as body:
                self._note("cancel", event.at, body.person, body.reason)
            case BudgetAdded() as body:
                self._note("budget", event.at, body.person, _amounts(body))
            case VerdictGiven() as body if self._counted(body):
                if body.choice not in (Choice.APPROVE, Choice.AGAIN) or body.arguments is not None:
                    self._remember(happened)
                text = f"{body.choice.value}: {body.reason}" if body.reason else body.choice.value
                self._note("verdict", event.at, body.person, text)
            case _:
                return

    def settle(self, step: int, live: Call) -> None:
        """What the snapshot says of a call of the current step."""
        call = self._places.get((step, live.index))
        if call is not None:
            call.status, call.attempt = live.status, live.attempt
            call.arguments = live.arguments or call.arguments

    def settle_decided(self) -> None:
        for decision in self._decisions.values():
            call = self._places.get((decision.step, decision.index))
            if decision.kind is DecisionKind.UNDO:
                self._note("undo", decision.decided_at or decision.created_at, decision.decided_by,
                           f"{decision.tool}: {decision.status.value}")
            elif call is not None:
                call.approvals.append(decision.approval)
                if decision.kind is DecisionKind.CALL:
                    call.arguments = decision.arguments
                    if decision.status in (DecisionStatus.DENIED, DecisionStatus.EXPIRED):
                        call.status = CallStatus.DENIED
                elif decision.choice is Choice.DONE:
                    call.status = CallStatus.SUCCEEDED
        self.notes.sort(key=lambda n: n.at)

    def _asked(self, task: str, command: str, attempt: int) -> bool:
        """Whether this answers what the planner was asked last."""
        return attempt == self._attempt and command == keys.command_id(task, len(self.steps) + 1, -1)

    def _plan(self, happened: Happened, body: ModelReplied) -> None:
        task, number = happened.event.task, len(self.steps) + 1
        self._attempt = 1
        step = Step(step=number, at=happened.event.at, offset=happened.offset, end=body.end, text=body.text,
                    tokens_in=body.tokens_in, tokens_out=body.tokens_out, micros=body.micros, seconds=body.seconds)
        for index, wanted in enumerate(body.calls):
            call = _planned(index, wanted)
            step.calls.append(call)
            self._places[number, index] = call
            changes = sum(d.step == number and d.index == index for d in self._decisions.values())
            for revision in range(changes + 1):
                self._calls[keys.command_id(task, number, index, revision)] = step, call
        self.steps.append(step)
        self._remember(happened)

    def _returned(self, happened: Happened, body: ToolReturned) -> None:
        step, call = self._calls.get(body.command, (None, None))
        if step is None or call is None:
            self._note("taken_back", happened.event.at, None, body.error or body.content)
        elif body.attempt > call.attempt:
            call.status = CallStatus(body.outcome.value)
            call.attempt, call.at, call.content, call.error = (
                body.attempt, happened.event.at, body.content, body.error)
            call.artefacts, call.seconds = body.artefacts, body.seconds
            call.micros += body.micros
            step.places.append(Place(partition=happened.partition, offset=happened.offset))

    def _remember(self, happened: Happened) -> None:
        if self.steps:
            self.steps[-1].places.append(Place(partition=happened.partition, offset=happened.offset))

    def _counted(self, body: VerdictGiven) -> bool:
        """Whether this verdict is the one that decided."""
        decision = self._decisions.get(body.approval)
        return (decision is not None and decision.decided_by is not None
                and decision.decided_by.subject == body.person.subject and decision.choice in (None, body.choice))

    def _note(self, kind: str, at: int, person: Person | None, text: str) -> None:
        self.notes.append(Note(kind=kind, at=at, person=person.name or person.subject if person else "", text=text,
                               after=self.steps[-1].step if self.steps else 0))


def _planned(index: int, wanted: ToolCall) -> StepCall:
    return StepCall(index=index, wave=wanted.wave, tool=wanted.tool, arguments=wanted.arguments, reason=wanted.reason,
                    status=CallStatus.FAILED if wanted.invalid else CallStatus.DROPPED, invalid=wanted.invalid)


def _amounts(body: BudgetAdded) -> str:
    added = body.added
    said = {"steps": added.steps, "tokens": added.tokens, "millionths": added.micros, "seconds": added.seconds}
    return ", ".join(f"{amount:+,} {unit}" for unit, amount in said.items() if amount)
