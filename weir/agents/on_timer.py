"""A moment has come. The event says only that; what is due follows from the task, so that a timer which fires twice,
early or late does no harm."""

from __future__ import annotations

from schemas.events import AgentState, CallStatus, DecisionStatus, TaskOutcome, TaskStatus, TimerFired
from weir.agents.draft import Draft
from weir.agents.ending import close_budget, give_up_undoing, stop
from weir.agents.going_on import go_on, pause
from weir.agents.limits import BOUNDED, life_end, used_up, wall_end
from weir.agents.records import model_command, send
from weir.agents.status import WAITING
from weir.agents.verdicts import expire

_C, _T = CallStatus, TaskStatus


def wake_at(state: AgentState) -> int:
    """The earliest moment that a task waits for, in milliseconds since the epoch; 0: none."""
    dues = [call.due for call in state.calls if call.due and (
        call.status in WAITING or (call.status is _C.BACKOFF and state.status is not _T.PAUSED))]
    if state.model_due and state.status is not _T.PAUSED:
        dues.append(state.model_due)
    if state.approval:
        dues.append(state.due)
    if state.status in BOUNDED:
        dues.append(wall_end(state))
    if state.ending is None or (state.status is _T.UNDOING and state.calls[0].status is _C.PROPOSED):
        dues.append(life_end(state))
    return min(dues, default=0)


def fired(draft: Draft, body: TimerFired) -> bool:
    """Does what is due at the later of the timer's moment and the event's."""
    if draft.ending is None and draft.now >= life_end(draft):
        stop(draft, TaskOutcome.FAILED, "Stopped: no task lives longer than 60 days.")
        return True
    if draft.status is _T.UNDOING and draft.now >= life_end(draft) and draft.calls[0].status is _C.PROPOSED:
        give_up_undoing(draft)
        return True
    if draft.approval and draft.now >= draft.due:
        close_budget(draft, DecisionStatus.EXPIRED)
        stop(draft, TaskOutcome.FAILED, f"Stopped: {draft.message}, and nobody added to its budget in time.")
        return True
    ending = draft.ending
    begun = False
    for position, call in enumerate(draft.calls):
        if call.status in WAITING and 0 < call.due <= draft.now:
            begun = True
            expire(draft, position)
            if draft.ending is not ending:  # what else is due waits for the next timer, which fires at once
                return True
    if draft.status in BOUNDED and draft.now >= wall_end(draft):
        pause(draft, used_up(draft) or "the task has used up its time")
        return True
    if draft.status is not _T.PAUSED:
        begun = _retry(draft) or begun
    if begun:
        go_on(draft)
    return begun


def _retry(draft: Draft) -> bool:
    """Begins the tries that are due; at a limit the task pauses instead. Taking back has no limit."""
    due = [i for i, call in enumerate(draft.calls) if call.status is _C.BACKOFF and call.due <= draft.now]
    model = bool(draft.model_due) and draft.model_due <= draft.now
    if not due and not model:
        return False
    if draft.ending is None and (over := used_up(draft)):
        pause(draft, over)
        return True
    for position in due:
        send(draft, draft.put(position, _C.RUNNING, due=0, attempt=draft.calls[position].attempt + 1))
    if model:
        draft.model_attempt, draft.model_due, draft.unread = draft.model_attempt + 1, 0, False
        draft.commands.append(model_command(draft))
    return True
