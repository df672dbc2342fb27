"""What a task does next, seen from where its calls stand. The only place where anything begins by itself."""

from __future__ import annotations

from enum import Enum

from schemas import keys
from schemas.events import CallStatus, Risk, TaskStatus
from weir.agents.draft import Draft
from weir.agents.ending import wind_down
from weir.agents.limits import used_up
from weir.agents.records import announce_budget, budget_arguments, life_of_proposals, model_command, propose, send
from weir.agents.status import UNDER_WAY, WAITING

_C, _T = CallStatus, TaskStatus


class Begin(Enum):
    NOTHING = 0
    WAVE = 1
    MODEL = 2


def heading(draft: Draft) -> tuple[TaskStatus, Begin]:
    """Where the task stands once nobody holds it up, and what would begin there."""
    if draft.model_call:
        return _T.PLANNING, Begin.NOTHING
    statuses = {call.status for call in draft.calls}
    if statuses & UNDER_WAY:
        return _T.ACTING, Begin.NOTHING
    if statuses & WAITING:
        return _T.DECIDING, Begin.NOTHING
    if _C.PLANNED in statuses and _C.FAILED not in statuses and _C.DENIED not in statuses:
        return _T.ACTING, Begin.WAVE
    if (draft.resumes or draft.status) is _T.ASKING:
        return _T.ASKING, Begin.NOTHING
    return _T.PLANNING, Begin.MODEL


def go_on(draft: Draft) -> None:
    """Starts the next wave, asks the planner, waits, or pauses at a limit."""
    if draft.ending is not None:
        wind_down(draft)
        return
    status, begin = heading(draft)
    if draft.status is _T.PAUSED:
        draft.resumes = status
        return
    if begin is not Begin.NOTHING or status is _T.DECIDING:
        over = used_up(draft, wave=begin is Begin.WAVE)
        if over:
            pause(draft, over)
            return
    draft.move(status)
    if begin is Begin.WAVE:
        _start_wave(draft)
        go_on(draft)
    elif begin is Begin.MODEL:
        ask_planner(draft)


def _start_wave(draft: Draft) -> None:
    draft.wave = min(call.wave for call in draft.calls if call.status is _C.PLANNED)
    draft.spend(steps=1)
    for position, call in enumerate(draft.calls):
        if call.status is not _C.PLANNED or call.wave != draft.wave:
            continue
        if call.invalid:
            draft.put(position, _C.FAILED)
        elif call.risk is Risk.IRREVERSIBLE:
            propose(draft, position, _C.PROPOSED)
        else:
            send(draft, draft.put(position, _C.RUNNING, attempt=1))


def ask_planner(draft: Draft) -> None:
    """Asks for the next step. Calls of the last one that were left behind are dropped."""
    draft.calls = []
    draft.wave = 0
    draft.model_call = keys.command_id(draft.task, draft.step + 1, -1)
    draft.model_attempt, draft.model_due, draft.unread = 1, 0, False
    draft.commands.append(model_command(draft))


def pause(draft: Draft, why: str) -> None:
    """Stops what has not begun, until somebody adds to the budget or stops the task."""
    resumes, _ = heading(draft)
    draft.move(_T.PAUSED)
    draft.resumes, draft.message = resumes, why
    draft.approval = keys.approval_id(draft.task, "budget", draft.step, -1,
                                      keys.args_hash(budget_arguments(draft)), draft.events)
    draft.due = draft.now + life_of_proposals(draft)
    announce_budget(draft)
