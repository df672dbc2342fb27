"""A person tells a task something, stops it, or adds to its budget."""

from __future__ import annotations

from schemas.events import (
    BudgetAdded,
    CancelRequested,
    Choice,
    DecisionStatus,
    MessageSent,
    Person,
    TaskOutcome,
    TaskRequested,
    TaskStatus,
)
from weir.agents.draft import Draft
from weir.agents.ending import stop
from weir.agents.going_on import Begin, go_on, heading, pause
from weir.agents.limits import plus, used_up
from weir.agents.records import announce_budget
from weir.agents.verdicts import asking_again, may_decide

LONGEST_MESSAGE = 32_768
"""Most characters of a message."""
ENDING = "the task is ending"


def requested_again(draft: Draft, body: TaskRequested) -> bool:
    return draft.refuse("known", "this task was asked for before and is under way")


def message(draft: Draft, body: MessageSent) -> bool:
    """Adds to what the planner reads; answers its question where it asked one."""
    if draft.ending is not None:
        return draft.refuse("ending", ENDING)
    if forbidden := _may_steer(draft, body.person):
        return draft.refuse("forbidden", forbidden)
    if not body.text.strip() or len(body.text) > LONGEST_MESSAGE:
        return draft.refuse("bad_request", f"a message has 1 to {LONGEST_MESSAGE} characters")
    draft.remember()
    draft.unread = bool(draft.model_call)
    draft.reply(True, "the task reads it before its next step")
    if asking_again(draft):
        draft.message = ""
        if draft.status is TaskStatus.PAUSED:
            draft.resumes = TaskStatus.PLANNING
        else:
            draft.move(TaskStatus.PLANNING)
        go_on(draft)
    return True


def cancel(draft: Draft, body: CancelRequested) -> bool:
    if draft.ending is not None:
        return draft.refuse("ending", ENDING)
    if forbidden := _may_steer(draft, body.person):
        return draft.refuse("forbidden", forbidden)
    draft.reply(True, "the task is cancelled; what it did is listed, and can be taken back where that is possible")
    stop(draft, TaskOutcome.CANCELLED, body.reason or "cancelled")
    return True


def add_budget(draft: Draft, body: BudgetAdded) -> bool:
    """Raises the limits; a paused task goes on if they suffice now."""
    if draft.ending is not None:
        return draft.refuse("ending", ENDING)
    if forbidden := may_decide(draft, body.person, draft.pins.request.approvals.approvers):
        return draft.refuse("forbidden", forbidden)
    added = body.added
    if min(added.steps, added.tokens, added.micros, added.seconds) < 0:
        return draft.refuse("bad_request", "a budget is added to, never taken from")
    limits = plus(draft.limits, added)
    if limits == draft.limits:
        return draft.refuse("bad_request", "this adds nothing; a task lives 60 days at most")
    if draft.status is not TaskStatus.PAUSED or draft.resumes is None:
        draft.limits = limits
        draft.reply(True, "added")
        return True
    announce_budget(draft, DecisionStatus.APPROVED, choice=Choice.APPROVE, person=body.person)
    draft.approval, draft.due, draft.limits = "", 0, limits
    draft.move(draft.resumes)
    _, begin = heading(draft)
    over = used_up(draft, wave=begin is Begin.WAVE)
    if over:
        pause(draft, over)
        draft.reply(True, f"added, but {over}: add more")
        return True
    draft.resumes, draft.message = None, ""
    draft.reply(True, "added; the task goes on")
    go_on(draft)
    return True


def _may_steer(draft: Draft, person: Person) -> str:
    """Why a person may not steer the task; empty: the owner and who decides about it may."""
    request = draft.pins.request
    if person.subject == request.person.subject or request.approvals.approvers in person.groups:
        return ""
    return "only who asked for the task, and who decides about it, may do this"
