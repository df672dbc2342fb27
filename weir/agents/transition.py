"""What a transition gives back."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.events import AgentCommand, AgentReply, AgentState, Decision, TaskResult, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A task after an event, and what is to be told to the others. Nobody may change the lists."""

    before: AgentState | None
    """The task before the event."""
    state: AgentState | None
    """The task after it; None: there is none (any more)."""
    commands: list[AgentCommand]
    """Calls of the planner and of tools that only read: safe to do twice."""
    effects: list[AgentCommand]
    """Calls of tools that write: only to be read once committed."""
    decisions: list[Decision]
    """Proposals that were opened or closed."""
    replies: list[AgentReply]
    """Answers to people."""
    usage: list[Usage]
    """What was used."""
    result: TaskResult | None
    """The result, with the event that ended the task."""

    @property
    def changed(self) -> bool:
        """Whether the snapshot is another one than before."""
        return self.state is not self.before
