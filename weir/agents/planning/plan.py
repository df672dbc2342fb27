"""What a planner is to Weir: everything that it may know in, what it wants next out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from schemas.events import AgentEvent, Amounts, PlanEnd, TaskRequested, Tool, ToolCall


@dataclass(frozen=True, slots=True)
class Situation:
    """A task that waits for its planner."""

    request: TaskRequested
    events: Sequence[AgentEvent]
    """What makes up the prompt, oldest first."""
    tools: Mapping[str, Tool]
    """By name, those of the request's tools whose worker has said what they take."""
    left: Amounts
    """What is left of the budget."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done next: the parts of a ModelReplied that a planner decides."""

    end: PlanEnd
    text: str
    calls: Sequence[ToolCall] = field(default_factory=tuple)
    prompt: str = ""
    """The prompt as sent, JSON; empty where there is none."""
    reply: str = ""
    """The reply as received, JSON; empty where there is none."""
    tokens_in: int = 0
    tokens_out: int = 0
    micros: int = 0


class Planner(Protocol):
    """Plans tasks."""

    async def plan(self, situation: Situation) -> Plan:
        """What the task does next.

        Raises:
            WeirError: it cannot say; `retriable` says whether it may later.
        """

    async def close(self) -> None:
        """Gives back connections."""
