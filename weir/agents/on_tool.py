"""A call of a tool has ended."""

from __future__ import annotations

from schemas.events import CallOutcome, CallStatus, DecisionStatus, DoneEffect, Risk, TaskStatus, ToolReturned
from weir.agents.draft import Draft
from weir.agents.going_on import go_on
from weir.agents.records import announce, propose
from weir.agents.usage import called

ARTEFACTS = 64
"""Latest artefacts that a task keeps."""

_C = CallStatus


def returned(draft: Draft, body: ToolReturned) -> bool:
    """The live attempt's outcome; any other is ignored."""
    for position, call in enumerate(draft.calls):  # noqa: B007 (the position is used below)
        if call.command == body.command:
            break
    else:
        return False
    late = call.status is _C.UNKNOWN and body.outcome is CallOutcome.SUCCEEDED
    if call.attempt != body.attempt or not (call.status is _C.RUNNING or late):
        return False
    draft.spend(micros=body.micros)
    draft.usage.append(called(draft, call.tool, body.micros))
    if late:  # whoever was taken for dead has reported: nobody needs to guess any more
        announce(draft, call, DecisionStatus.WITHDRAWN, why="the outcome became known")
    policy = draft.pins.policies[call.tool]
    if body.outcome is CallOutcome.SUCCEEDED:
        draft.put(position, _C.SUCCEEDED, approval="", due=0)
        if body.artefacts:
            draft.artefacts = [*draft.artefacts, *body.artefacts][-ARTEFACTS:]
        if body.undo is not None and call.risk is not Risk.READ and draft.status is not TaskStatus.UNDOING:
            draft.effects = [*draft.effects, DoneEffect(command=call.command, tool=call.tool, undo=body.undo)]
        draft.remember()
    elif body.outcome is CallOutcome.UNKNOWN and call.risk is not Risk.READ:
        propose(draft, position, _C.UNKNOWN)
    elif body.retriable and call.attempt < policy.tries and draft.status is not TaskStatus.STOPPING:
        draft.put(position, _C.BACKOFF, due=draft.now + int(policy.backoff * 1000 * 2 ** (call.attempt - 1)))
    else:
        draft.put(position, _C.FAILED)
        draft.remember()
    go_on(draft)
    return True
