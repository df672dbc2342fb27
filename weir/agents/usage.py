"""What a task used, by step."""

from __future__ import annotations

from schemas.events import Usage
from weir.agents.draft import Draft


def planned(draft: Draft, step: int, micros: int, tokens_in: int = 0, tokens_out: int = 0) -> Usage:
    """A call of the planner for `step`."""
    request = draft.pins.request
    return Usage(subject=request.person.subject, workspace=request.workspace, kind="plan", model=request.planner,
                 tokens_in=tokens_in, tokens_out=tokens_out, cost=micros / 1e6, at=draft.event.at, task=draft.task,
                 step=step)


def called(draft: Draft, tool: str, micros: int) -> Usage:
    """A call of a tool."""
    request = draft.pins.request
    return Usage(subject=request.person.subject, workspace=request.workspace, kind="tool", cost=micros / 1e6,
                 at=draft.event.at, task=draft.task, step=draft.step, tool=tool)
