"""The planner has replied, or could not."""

from __future__ import annotations

from schemas import keys
from schemas.events import Call, CallStatus, ModelFailed, ModelReplied, PlanEnd, Risk, TaskOutcome, TaskStatus
from weir.agents.draft import Draft
from weir.agents.ending import close_budget, stop
from weir.agents.going_on import go_on
from weir.agents.refusals import MOST_CALLS, refusal
from weir.agents.usage import planned

TRIES = 5
"""Most attempts to ask the planner for one step."""
BACKOFF = 2000
"""Milliseconds before the second attempt; doubled before each further one."""


def _live(draft: Draft, command: str, attempt: int) -> bool:
    return bool(command) and (command, attempt, 0) == (draft.model_call, draft.model_attempt, draft.model_due)


def replied(draft: Draft, body: ModelReplied) -> bool:
    """The live attempt's reply; any other is ignored.

    What a person said after the planner was asked is read before the task ends or asks: then the planner speaks again.
    """
    if not _live(draft, body.command, body.attempt):
        return False
    draft.spend(tokens=max(0, body.tokens_in) + max(0, body.tokens_out), micros=body.micros)
    draft.step += 1
    draft.usage.append(planned(draft, draft.step, body.micros, body.tokens_in, body.tokens_out))
    unread, draft.unread, draft.model_call, draft.calls = draft.unread, False, "", []
    if body.end is PlanEnd.CALLS:
        draft.calls = [_call(draft, body, index) for index in range(min(MOST_CALLS, len(body.calls)))]
        draft.remember()
        go_on(draft)
    elif unread:
        draft.remember()
        go_on(draft)
    elif body.end is PlanEnd.ANSWER:
        close_budget(draft)
        draft.finish(TaskOutcome.SUCCEEDED, body.text)
    elif body.end is PlanEnd.ASK:
        draft.remember()
        draft.message = body.text
        if draft.status is TaskStatus.PAUSED:
            draft.resumes = TaskStatus.ASKING
        else:
            draft.move(TaskStatus.ASKING)
    else:
        stop(draft, TaskOutcome.FAILED, body.text)
    return True


def _call(draft: Draft, body: ModelReplied, index: int) -> Call:
    wanted = body.calls[index]
    policy = draft.pins.policies.get(wanted.tool)
    invalid = refusal(draft.pins.policies, wanted)
    return Call(command=keys.command_id(draft.task, draft.step, index), index=index, wave=wanted.wave,
                tool=wanted.tool, risk=policy.risk if policy else Risk.READ,
                arguments="" if invalid else wanted.arguments, reason=wanted.reason, status=CallStatus.PLANNED,
                invalid=invalid)


def failed(draft: Draft, body: ModelFailed) -> bool:
    """The live attempt has failed: another one later, or the end."""
    if not _live(draft, body.command, body.attempt):
        return False
    draft.spend(micros=body.micros)
    if body.micros > 0:
        draft.usage.append(planned(draft, draft.step + 1, body.micros))
    if body.retriable and body.attempt < TRIES:
        draft.model_due = draft.now + BACKOFF * 2 ** (body.attempt - 1)
    else:
        stop(draft, TaskOutcome.FAILED, f"The planner could not reply: {body.message}")
    return True
