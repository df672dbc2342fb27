"""Tasks in memory: a waiting one is the bytes of its snapshot and nothing else.

A hundred thousand tasks may wait for a person at a time, so that only the ones at work are decoded. What has changed
since the last commit is kept apart, by task: however often a task moves within a transaction, one snapshot is written.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet

from schemas import codec
from schemas.events import AgentState

ACTIVE = 2_000
"""Decoded snapshots that are kept."""

Load = Callable[[bytes], AgentState]


class Table:
    """The live tasks of one partition.

    Args:
        load: makes a state of a snapshot's bytes.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._snapshots: dict[str, bytes] = {}
        self._active: dict[str, AgentState] = {}
        self._changed: dict[str, AgentState | None] = {}
        self.timers = Timers()

    def __len__(self) -> int:
        return len(self._snapshots)

    def put(self, task: str, snapshot: bytes, due: int) -> None:
        """Takes in a snapshot of the log."""
        self._snapshots[task] = snapshot
        self.timers.set(task, due)

    def drop(self, task: str) -> None:
        """Takes in a tombstone of the log."""
        self._snapshots.pop(task, None)
        self.timers.set(task, 0)

    def get(self, task: str) -> AgentState | None:
        """A task's state; None for a task that is not live."""
        if task in self._changed:
            return self._changed[task]
        state = self._active.pop(task, None)
        if state is None:
            if (snapshot := self._snapshots.get(task)) is None:
                return None
            state = self._load(snapshot)
        self._remember(task, state)
        return state

    def set(self, task: str, state: AgentState | None, due: int) -> None:
        """A task's new state; None: it has ended.

        Args:
            due: when it wants to be woken, in milliseconds since the epoch; 0: never.
        """
        self._changed[task] = state
        self.timers.set(task, due)

    def live(self) -> AbstractSet[str]:
        """The tasks that are live."""
        live = self._snapshots.keys() | self._changed.keys()
        return {task for task in live if self._changed.get(task, b"") is not None}

    def changes(self) -> Iterator[tuple[str, bytes | None, int]]:
        """Task, snapshot (None: a tombstone) and due time of everything that has changed since the last call."""
        changed, self._changed = self._changed, {}
        for task, state in changed.items():
            if state is None:
                self._active.pop(task, None)
                if self._snapshots.pop(task, None) is not None:
                    yield task, None, 0
                continue
            self._remember(task, state)
            snapshot = self._snapshots[task] = codec.encode(state)
            yield task, snapshot, self.timers.due(task)

    def _remember(self, task: str, state: AgentState) -> None:
        self._active.pop(task, None)
        self._active[task] = state
        if len(self._active) > ACTIVE:
            del self._active[next(iter(self._active))]


class Timers:
    """When each task wants to be woken. A heap of all that was ever set; what no longer holds is skipped."""

    def __init__(self) -> None:
        self._due: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def due(self, task: str) -> int:
        return self._due.get(task, 0)

    def set(self, task: str, due: int) -> None:
        """Replaces a task's timer; 0 takes it away."""
        if due == self._due.get(task, 0):
            return
        if due:
            self._due[task] = due
            heapq.heappush(self._heap, (due, task))
        else:
            del self._due[task]
        # A task that ends leaves its timer in the heap, perhaps for weeks.
        if len(self._heap) > 2 * len(self._due) + 1_000:
            self._heap = [(moment, name) for name, moment in self._due.items()]
            heapq.heapify(self._heap)

    def first(self) -> int | None:
        """The next moment, in milliseconds since the epoch."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: int) -> list[tuple[str, int]]:
        """Task and moment of every timer whose moment has come; each is given once, unless it is set again."""
        taken = []
        while (due := self.first()) is not None and due <= now:
            taken.append((heapq.heappop(self._heap)[1], due))
        return taken

    def again(self, task: str, due: int) -> None:
        """Gives a timer back that could not be fired."""
        if self._due.get(task) == due:
            heapq.heappush(self._heap, (due, task))
