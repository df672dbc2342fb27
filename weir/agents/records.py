"""The commands and decisions that a task sends out."""

from __future__ import annotations

from schemas import keys
from schemas.events import (
    AgentCommand,
    Call,
    CallModel,
    CallStatus,
    CallTool,
    Choice,
    Decision,
    DecisionKind,
    DecisionStatus,
    Person,
    Risk,
    TaskStatus,
    TrailStep,
)
from weir.agents.canonical import canonical
from weir.agents.draft import Draft
from weir.agents.limits import LIFE, left

CHOICES = {DecisionKind.CALL: [Choice.APPROVE, Choice.DENY], DecisionKind.UNDO: [Choice.APPROVE, Choice.DENY],
           DecisionKind.UNKNOWN: [Choice.DONE, Choice.AGAIN, Choice.STOP], DecisionKind.BUDGET: [Choice.STOP]}
WARNINGS = {
    DecisionKind.CALL: "This cannot be undone.",
    DecisionKind.UNKNOWN: "This may have been done already. Trying again may do it twice.",
    DecisionKind.UNDO: "This takes back what the task did.",
    DecisionKind.BUDGET: "The task goes on when somebody adds to its budget.",
}


def model_command(draft: Draft) -> AgentCommand:
    """The live attempt's call of the planner."""
    body = CallModel(step=draft.step + 1, first=draft.first, history=draft.history, left=left(draft))
    return AgentCommand(task=draft.task, command=draft.model_call, attempt=draft.model_attempt, at=draft.event.at,
                        body=body)


def tool_command(draft: Draft, call: Call) -> AgentCommand:
    """The live attempt's call of a tool. The idempotency key is the same for every attempt."""
    request, policy = draft.pins.request, draft.pins.policies[call.tool]
    body = CallTool(
        workspace=request.workspace, person=request.person, step=draft.step, index=call.index, tool=call.tool,
        risk=call.risk, arguments=call.arguments, schema=policy.schema, timeout=policy.timeout,
        key=keys.idempotency_key(draft.task, draft.step, call.index, call.revision, call.tool, call.arguments))
    return AgentCommand(task=draft.task, command=call.command, attempt=call.attempt, at=draft.event.at, body=body)


def send(draft: Draft, call: Call) -> None:
    """Sends a call to where its risk belongs: reads may run ahead of the commit, effects never."""
    (draft.commands if call.risk is Risk.READ else draft.writes).append(tool_command(draft, call))


def life_of_proposals(draft: Draft) -> int:
    """How long a proposal stays open, in milliseconds."""
    return min(LIFE, max(1, draft.pins.request.approvals.expires)) * 1000


def approvers_of(draft: Draft, tool: str) -> str:
    policy = draft.pins.policies.get(tool)
    return (policy.approvers if policy else "") or draft.pins.request.approvals.approvers


def kind_of(draft: Draft, call: Call) -> DecisionKind:
    """What a call that waits for a person waits for."""
    if call.status is CallStatus.UNKNOWN:
        return DecisionKind.UNKNOWN
    return DecisionKind.UNDO if draft.status is TaskStatus.UNDOING else DecisionKind.CALL


def choices_of(draft: Draft, kind: DecisionKind) -> list[Choice]:
    """What may be decided; a task that is being stopped tries nothing again."""
    if kind is DecisionKind.UNKNOWN and draft.status is TaskStatus.STOPPING:
        return [Choice.DONE, Choice.STOP]
    return CHOICES[kind]


def propose(draft: Draft, position: int, status: CallStatus) -> None:
    """Puts the call at `position` before a person: PROPOSED or UNKNOWN.

    An approval's id is bound to the arguments, to how often they were replaced and, of an unknown outcome, to the
    attempt, so that no verdict can ever meet another question than the one it answers.
    """
    call = draft.calls[position]
    kind = DecisionKind.UNKNOWN if status is CallStatus.UNKNOWN else (
        DecisionKind.UNDO if draft.status is TaskStatus.UNDOING else DecisionKind.CALL)
    number = call.attempt if kind is DecisionKind.UNKNOWN else call.revision
    approval = keys.approval_id(draft.task, kind, draft.step, call.index, keys.args_hash(call.arguments), number)
    call = draft.put(position, status, approval=approval, due=draft.now + life_of_proposals(draft))
    announce(draft, call)


def announce(draft: Draft, call: Call, status: DecisionStatus = DecisionStatus.PENDING, *,
             choice: Choice | None = None, person: Person | None = None, why: str = "") -> None:
    """Writes where a call's open proposal stands. To be called while the call still carries it."""
    request, kind = draft.pins.request, kind_of(draft, call)
    trail = [TrailStep(step=draft.step, tool=c.tool, reason=c.reason, status=c.status)
             for c in draft.calls if c.index != call.index]
    draft.decisions.append(Decision(
        approval=call.approval, task=draft.task, workspace=request.workspace, kind=kind, step=draft.step,
        index=call.index, tool=call.tool, risk=call.risk, arguments=call.arguments,
        args_hash=keys.args_hash(call.arguments), reason=call.reason, goal=request.goal, trail=trail,
        owner=request.person, approvers=approvers_of(draft, call.tool), by_owner=request.approvals.by_owner,
        choices=choices_of(draft, kind), created_at=call.due - life_of_proposals(draft), expires_at=call.due,
        status=status, warning=WARNINGS[kind], editor=call.editor, choice=choice, decided_by=person,
        decided_at=0 if status is DecisionStatus.PENDING else draft.now, why=why))


def budget_arguments(draft: Draft) -> str:
    """What a proposal about the budget shows: the limits it ran into."""
    limits = draft.limits
    return canonical({"steps": limits.steps, "tokens": limits.tokens, "micros": limits.micros,
                      "seconds": limits.seconds})


def announce_budget(draft: Draft, status: DecisionStatus = DecisionStatus.PENDING, *, choice: Choice | None = None,
                    person: Person | None = None, why: str = "") -> None:
    """Writes where the open proposal about the budget stands. To be called before limits or message change."""
    request, arguments = draft.pins.request, budget_arguments(draft)
    draft.decisions.append(Decision(
        approval=draft.approval, task=draft.task, workspace=request.workspace, kind=DecisionKind.BUDGET,
        step=draft.step, index=-1, tool="", risk=Risk.READ, arguments=arguments, args_hash=keys.args_hash(arguments),
        reason=draft.message, goal=request.goal, trail=[], owner=request.person,
        approvers=request.approvals.approvers, by_owner=True, choices=CHOICES[DecisionKind.BUDGET],
        created_at=draft.due - life_of_proposals(draft), expires_at=draft.due, status=status,
        warning=WARNINGS[DecisionKind.BUDGET], choice=choice, decided_by=person,
        decided_at=0 if status is DecisionStatus.PENDING else draft.now, why=why))
