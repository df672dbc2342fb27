"""A person decides about a proposal. A verdict that is late, for other arguments, or from somebody without the right
changes nothing and is answered with the reason."""

from __future__ import annotations

from dataclasses import replace

from schemas import keys
from schemas.events import (
    Call,
    CallStatus,
    Choice,
    DecisionKind,
    DecisionStatus,
    Person,
    TaskOutcome,
    TaskStatus,
    VerdictGiven,
)
from weir.agents.canonical import recanonical
from weir.agents.draft import Draft
from weir.agents.ending import stop
from weir.agents.going_on import go_on
from weir.agents.limits import used_up
from weir.agents.records import (
    announce,
    announce_budget,
    approvers_of,
    budget_arguments,
    choices_of,
    kind_of,
    propose,
    send,
)
from weir.agents.refusals import LONGEST_ARGUMENTS

_C = CallStatus
CLOSED = "this proposal is not open: it was decided, has expired or was replaced; look at the task's open proposals"


def verdict(draft: Draft, body: VerdictGiven) -> bool:
    """Applies a verdict, or refuses it."""
    if body.approval and body.approval == draft.approval:
        return _about_budget(draft, body)
    for position, call in enumerate(draft.calls):
        if body.approval and call.approval == body.approval:
            return _about_call(draft, position, call, body)
    return draft.refuse("closed", CLOSED)


def may_decide(draft: Draft, person: Person, approvers: str) -> str:
    """Why a person may not decide; empty: he or she may."""
    request = draft.pins.request
    if approvers not in person.groups:
        return f"only members of the group {approvers} decide about this"
    if person.subject == request.person.subject and not request.approvals.by_owner:
        return "who asked for the task may not decide about it; ask another member of the group " + approvers
    return ""


def _stale(draft: Draft, body: VerdictGiven, arguments: str, due: int) -> str:
    if keys.args_hash(arguments) != body.args_hash:
        return "the verdict is about other arguments than those proposed; look at the proposal again"
    return CLOSED if due and draft.now >= due else ""


def _about_call(draft: Draft, position: int, call: Call, body: VerdictGiven) -> bool:
    kind = kind_of(draft, call)
    stale = _stale(draft, body, call.arguments, call.due)
    if stale:
        return draft.refuse("stale", stale)
    forbidden = may_decide(draft, body.person, approvers_of(draft, call.tool))
    if forbidden:
        return draft.refuse("forbidden", forbidden)
    if body.choice not in choices_of(draft, kind):
        return draft.refuse("choice", f"{body.choice} is no answer here; "
                            f"choose one of {', '.join(choices_of(draft, kind))}")
    if body.arguments is not None:
        return _replace(draft, position, call, body, kind)
    starts = body.choice in (Choice.APPROVE, Choice.AGAIN)
    if starts and call.editor == body.person.subject and kind is DecisionKind.CALL:
        return draft.refuse("forbidden", "you changed these arguments; somebody else has to approve them")
    if starts and draft.ending is None and (over := used_up(draft)):
        return draft.refuse("budget", f"{over}; add to its budget first")
    status = DecisionStatus.DENIED if body.choice in (Choice.DENY, Choice.STOP) else DecisionStatus.APPROVED
    announce(draft, call, status, choice=body.choice, person=body.person, why=body.reason)
    if starts:
        send(draft, draft.put(position, _C.RUNNING, approval="", due=0, attempt=call.attempt + 1))
    elif body.choice is Choice.DONE:
        draft.put(position, _C.SUCCEEDED, approval="", due=0)
        draft.remember()
    else:
        draft.put(position, _C.DENIED if body.choice is Choice.DENY else _C.FAILED, approval="", due=0)
        draft.remember()
    draft.reply(True, f"{call.tool}: {body.choice}")
    if body.choice is Choice.STOP and draft.ending is None:
        stop(draft, TaskOutcome.FAILED, _stopped(body, f"{call.tool} may have been done, and nobody can tell"))
    else:
        go_on(draft)
    return True


def _replace(draft: Draft, position: int, call: Call, body: VerdictGiven, kind: DecisionKind) -> bool:
    if kind is not DecisionKind.CALL:
        return draft.refuse("choice", "only the arguments of a call that is to be approved can be changed")
    if body.choice is not Choice.APPROVE:
        return draft.refuse("choice", "other arguments are a new proposal; a denial carries none")
    try:
        arguments = recanonical(body.arguments or "")
    except ValueError as e:
        return draft.refuse("arguments", f"the new arguments are not JSON: {e}")
    if len(arguments) > LONGEST_ARGUMENTS:
        return draft.refuse("arguments", f"the new arguments are longer than {LONGEST_ARGUMENTS} characters")
    if arguments == call.arguments:
        return draft.refuse("arguments", "these are the arguments already proposed")
    announce(draft, call, DecisionStatus.REPLACED, choice=body.choice, person=body.person, why=body.reason)
    revision = call.revision + 1
    changed = replace(call, arguments=arguments, revision=revision, editor=body.person.subject,
                      command=keys.command_id(draft.task, draft.step, call.index, revision))
    draft.calls = [*draft.calls[:position], changed, *draft.calls[position + 1:]]
    propose(draft, position, _C.PROPOSED)
    draft.remember()
    draft.reply(True, "the changed call is a new proposal, to be approved by somebody else")
    return True


def _about_budget(draft: Draft, body: VerdictGiven) -> bool:
    stale = _stale(draft, body, budget_arguments(draft), draft.due)
    if stale:
        return draft.refuse("stale", stale)
    owner = body.person.subject == draft.pins.request.person.subject
    if not owner and draft.pins.request.approvals.approvers not in body.person.groups:
        return draft.refuse("forbidden", may_decide(draft, body.person, draft.pins.request.approvals.approvers))
    if body.choice is not Choice.STOP or body.arguments is not None:
        return draft.refuse("choice", "to let the task go on, add to its budget; the only verdict here is stop")
    announce_budget(draft, DecisionStatus.DENIED, choice=body.choice, person=body.person, why=body.reason)
    draft.approval, draft.due = "", 0
    draft.reply(True, "the task stops with what it has")
    stop(draft, TaskOutcome.FAILED, _stopped(body, draft.message))
    return True


def _stopped(body: VerdictGiven, why: str) -> str:
    return f"Stopped: {why}." + (f" {body.reason}" if body.reason else "")


def expire(draft: Draft, position: int) -> None:
    """Closes a proposal that nobody decided in time: a denial, and of an unknown outcome the end of the task."""
    call = draft.calls[position]
    announce(draft, call, DecisionStatus.EXPIRED)
    unknown = call.status is _C.UNKNOWN
    draft.put(position, _C.FAILED if unknown else _C.DENIED, approval="", due=0)
    draft.remember()
    if unknown and draft.ending is None:
        stop(draft, TaskOutcome.FAILED, f"Stopped: {call.tool} may have been done, and nobody decided in time.")


def asking_again(draft: Draft) -> bool:
    """Whether the task waits for an answer to the planner's question."""
    return (draft.resumes if draft.status is TaskStatus.PAUSED else draft.status) is TaskStatus.ASKING
