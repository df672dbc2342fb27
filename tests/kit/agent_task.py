"""Tasks by hand: a log, the machine over it, and whatever came out of it."""

from __future__ import annotations

from typing import Any

from schemas import codec
from schemas.events import (
    AgentCommand,
    AgentEvent,
    AgentReply,
    AgentState,
    Amounts,
    Approvals,
    CallModel,
    CallOutcome,
    CallTool,
    Choice,
    Decision,
    DecisionStatus,
    ModelReplied,
    Person,
    Place,
    PlanEnd,
    Risk,
    TaskRequested,
    TaskResult,
    TimerFired,
    ToolCall,
    ToolPolicy,
    ToolReturned,
    Usage,
    VerdictGiven,
)
from weir.agents.machine import transition, wake_at
from weir.agents.transition import Transition

OWNER = Person(subject="ann", groups=["staff"])
BOSS = Person(subject="bob", groups=["staff", "approvers"])
OTHER_BOSS = Person(subject="cem", groups=["approvers"])
STRANGER = Person(subject="eve", groups=["staff"])
PLENTY = Amounts(steps=1000, tokens=10**6, micros=10**6, seconds=10**6)


def policy(name: str, risk: Risk, tries: int = 3, approvers: str = "") -> ToolPolicy:
    return ToolPolicy(name=name, risk=risk, timeout=30.0, tries=tries, backoff=1.0, schema="0" * 16,
                      approvers=approvers)


TOOLS = [policy("look", Risk.READ), policy("put", Risk.WRITE), policy("take_back", Risk.WRITE),
         policy("mail", Risk.IRREVERSIBLE)]


def request(limits: Amounts = PLENTY, *, owner: Person = OWNER, by_owner: bool = False, expires: int = 3600,
            tools: list[ToolPolicy] | None = None, history: list[Place] | None = None) -> TaskRequested:
    return TaskRequested(
        workspace="w", person=owner, goal="do it", request="r", planner="rules", prompt="", limits=limits,
        tools=TOOLS if tools is None else tools, history=history or [],
        approvals=Approvals(approvers="approvers", expires=expires, by_owner=by_owner))


def call(tool: str, wave: int = 0, arguments: str = "{}", invalid: str = "") -> ToolCall:
    return ToolCall(tool=tool, arguments=arguments, reason="because", wave=wave, invalid=invalid)


class Task:
    """One task on a log of its own. Everything that came out is kept; `decisions` is folded by approval."""

    def __init__(self, name: str = "t", at: int = 1_000_000) -> None:
        self.name = name
        self.at = at
        self.state: AgentState | None = None
        self.log: list[tuple[AgentEvent, Place]] = []
        self.commands: list[AgentCommand] = []
        self.effects: list[AgentCommand] = []
        self.decisions: dict[str, Decision] = {}
        self.history: list[Decision] = []
        self.replies: list[AgentReply] = []
        self.usage: list[Usage] = []
        self.results: list[TaskResult] = []
        self.last: Transition | None = None

    @property
    def live(self) -> AgentState:
        assert self.state is not None
        return self.state

    @property
    def result(self) -> TaskResult:
        assert len(self.results) == 1
        return self.results[0]

    @property
    def pending(self) -> list[Decision]:
        return [d for d in self.decisions.values() if d.status is DecisionStatus.PENDING]

    def event(self, body: Any, event: str = "") -> AgentEvent:
        return AgentEvent(task=self.name, event=event or f"e{len(self.log)}", at=self.at, body=body)

    def feed(self, event: AgentEvent) -> Transition:
        """Puts an event on the log and applies it."""
        place = Place(partition=0, offset=len(self.log))
        self.log.append((event, place))
        done = transition(self.state, event, place)
        self.last, self.state = done, done.state
        self.commands += done.commands
        self.effects += done.effects
        self.history += done.decisions
        self.decisions |= {d.approval: d for d in done.decisions}
        self.replies += done.replies
        self.usage += done.usage
        self.results += [] if done.result is None else [done.result]
        return done

    def do(self, body: Any) -> Transition:
        self.at += 1
        return self.feed(self.event(body))

    # -- the others' parts ----------------------------------------------------------------------------------------

    @property
    def asked(self) -> AgentCommand:
        """The latest command to the planner."""
        return [c for c in self.commands if isinstance(c.body, CallModel)][-1]

    def plan(self, *calls: ToolCall, end: PlanEnd = PlanEnd.CALLS, text: str = "", **costs: Any) -> Transition:
        return self.do(ModelReplied(command=self.asked.command, attempt=self.asked.attempt, end=end, text=text,
                                    calls=list(calls), **costs))

    def answer(self, text: str = "done") -> Transition:
        return self.plan(end=PlanEnd.ANSWER, text=text)

    def running(self) -> list[AgentCommand]:
        """Live attempts of tools."""
        live = {(c.command, c.attempt) for c in (self.state.calls if self.state else []) if c.status == "running"}
        return [c for c in (*self.commands, *self.effects)
                if isinstance(c.body, CallTool) and (c.command, c.attempt) in live]

    def returns(self, command: AgentCommand, outcome: CallOutcome = CallOutcome.SUCCEEDED, **more: Any) -> Transition:
        return self.do(ToolReturned(command=command.command, attempt=command.attempt, outcome=outcome, **more))

    def decide(self, choice: Choice = Choice.APPROVE, person: Person = BOSS, decision: Decision | None = None,
               **more: Any) -> Transition:
        decision = decision or self.pending[-1]
        fields: dict[str, Any] = {"approval": decision.approval, "args_hash": decision.args_hash, "choice": choice,
                                  "person": person}
        return self.do(VerdictGiven(**(fields | more)))

    def wait(self) -> Transition:
        """Lets the next moment come that the task waits for."""
        due = wake_at(self.live)
        assert due
        self.at = max(self.at, due)
        return self.feed(self.event(TimerFired(due=due)))


def replay(log: list[tuple[AgentEvent, Place]]) -> list[bytes]:
    """Every state and everything said, as bytes."""
    state, said = None, []
    for event, place in log:
        done = transition(state, event, place)
        state = None if done.state is None else codec.decode(codec.encode(done.state))
        records = (done.state, *done.commands, *done.effects, *done.decisions, *done.replies, *done.usage, done.result)
        said += [b"" if record is None else codec.encode(record) for record in records]
    return said
