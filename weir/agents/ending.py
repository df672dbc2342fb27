"""How a task ends before it has succeeded: its calls wind down, then a person is asked, effect by effect, what to take
back, the last one first; then it is over."""

from __future__ import annotations

from schemas import keys
from schemas.events import Call, CallStatus, DecisionStatus, Risk, TaskOutcome, TaskStatus
from weir.agents.draft import Draft
from weir.agents.records import announce, announce_budget, propose
from weir.agents.status import OPEN

_C = CallStatus


def close_budget(draft: Draft, status: DecisionStatus = DecisionStatus.WITHDRAWN) -> None:
    """Closes the proposal about the budget, if there is one."""
    if draft.approval:
        announce_budget(draft, status)
        draft.approval, draft.due = "", 0


def stop(draft: Draft, outcome: TaskOutcome, message: str) -> None:
    """Ends a task: nothing begins any more, reads are abandoned, effects under way are waited for."""
    close_budget(draft)
    draft.ending, draft.message, draft.resumes = outcome, message, None
    draft.model_call, draft.model_due, draft.unread = "", 0, False
    unknown = []
    for position, call in enumerate(draft.calls):
        if call.status is _C.PROPOSED:
            announce(draft, call, DecisionStatus.WITHDRAWN)
        if call.status in (_C.PLANNED, _C.PROPOSED, _C.BACKOFF) or (
                call.status is _C.RUNNING and call.risk is Risk.READ):
            draft.put(position, _C.DROPPED, approval="", due=0)
        if call.status is _C.UNKNOWN:
            unknown.append(call)
    draft.move(TaskStatus.STOPPING)
    for call in unknown:  # the same question, now without the choice to try again
        announce(draft, call)
    wind_down(draft)


def wind_down(draft: Draft) -> None:
    """The next step of an end that has begun: wait, ask about the next effect, or finish."""
    if any(call.status in OPEN for call in draft.calls):
        return
    if draft.status is TaskStatus.STOPPING:
        if not draft.effects:
            _over(draft)
            return
        draft.move(TaskStatus.UNDOING)
        draft.step += 1
        below = len(draft.effects)
    else:
        call = draft.calls[0]
        below = call.index
        if call.status is _C.SUCCEEDED:
            draft.effects = [*draft.effects[:below], *draft.effects[below + 1:]]
    _ask_to_undo(draft, below)


def _ask_to_undo(draft: Draft, below: int) -> None:
    """Asks about the last effect before place `below`. An effect keeps its place until it is taken back, so that the
    place says how far the asking has come."""
    for place in range(below - 1, -1, -1):
        effect = draft.effects[place]
        policy = draft.pins.policies.get(effect.undo.tool)
        if policy is None:
            continue
        risk = Risk.WRITE if policy.risk is Risk.READ else policy.risk
        draft.calls = [Call(command=keys.command_id(draft.task, draft.step, place), index=place, wave=0,
                            tool=effect.undo.tool, risk=risk, arguments=effect.undo.arguments,
                            reason=f"take back what {effect.tool} did", status=_C.PLANNED)]
        propose(draft, 0, _C.PROPOSED)
        return
    _over(draft)


def give_up_undoing(draft: Draft) -> None:
    """Ends the asking, for a task whose time is over. An undo that runs is waited for."""
    call = draft.calls[0]
    if call.status is _C.PROPOSED:
        announce(draft, call, DecisionStatus.EXPIRED)
        draft.put(0, _C.DROPPED, approval="", due=0)
        _over(draft)


def _over(draft: Draft) -> None:
    draft.finish(draft.ending or TaskOutcome.FAILED, draft.message)
