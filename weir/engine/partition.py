"""One partition of tasks: what an event does to them, as a function of the log alone.

The engine and `weir task replay` both run this, so that what the one wrote the other can prove.
"""

from __future__ import annotations

from schemas.events import AgentEvent, Place, TaskRequested
from weir.agents import machine
from weir.agents.transition import Transition
from weir.engine.table import Load, Table

FINISHED_MILLIS = 15 * 60_000
"""How long a finished task is remembered: asked for again it does not start again. A gateway tries for less."""


class Partition:
    """The tasks of one partition of `agent-events`.

    Args:
        load: makes a state of a snapshot's bytes.
    """

    def __init__(self, number: int, load: Load) -> None:
        self.number = number
        self.table = Table(load)
        self.offset: int | None = None
        """Of the next event; None where nothing was read yet."""
        self.finished: dict[str, int] = {}
        """Tasks that have finished a while ago and when, in milliseconds since the epoch; the first one first."""
        self._now = 0

    def apply(self, event: AgentEvent, place: Place) -> Transition:
        """Moves the event's task; changes nothing where it raises."""
        if isinstance(event.body, TaskRequested) and self._finished_lately(event):
            transition = machine.finished(event)
        else:
            transition = machine.transition(self.table.get(event.task), event, place)
        self._now = max(self._now, event.at)
        if transition.changed:
            state = transition.state
            self.table.set(event.task, state, 0 if state is None else machine.wake_at(state))
        if transition.result is not None:
            self.finished.pop(event.task, None)
            self.finished[event.task] = event.at
        return transition

    def forgotten(self) -> list[str]:
        """Takes out the tasks that finished long enough ago. Long enough by the time of the events: by the clock, two
        owners might start a task that one of them knows as finished."""
        long_ago = []
        for task, at in self.finished.items():
            if at + FINISHED_MILLIS > self._now:
                break
            long_ago.append(task)
        for task in long_ago:
            del self.finished[task]
        return long_ago

    def _finished_lately(self, event: AgentEvent) -> bool:
        at = self.finished.get(event.task)
        return at is not None and event.at < at + FINISHED_MILLIS

