"""Proves that the log reproduces every state that was committed, byte for byte.

    agent-events --the same transitions--> states  ==?  agent-state

`agent-state` is compacted, so that of a task's older snapshots some are there and some are not; each that is there
must be one that its events lead to, and the latest must be the one they lead to by the engine's own offset.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Message

from schemas import codec, topics
from schemas.events import AgentState, EngineMark, Place
from weir.agents.upgrade import VERSION
from weir.blobs import BlobMissing, Blobs
from weir.engine import reading
from weir.engine.engine import OFFSET
from weir.engine.partition import Partition
from weir.errors import InputError
from weir.kafka import restore
from weir.kafka.records import Decoder, Raw
from weir.settings import Settings


@dataclass(frozen=True, slots=True)
class Difference:
    """A snapshot that the log does not lead to, or one that it leads to and that is not there."""

    task: str
    partition: int
    events: int
    """Events that the snapshot counts."""
    message: str


@dataclass(slots=True)
class Report:
    """What was compared."""

    tasks: int = 0
    """Tasks of which at least one snapshot was compared."""
    live: int = 0
    """Tasks that are live at the engine's offsets."""
    events: int = 0
    """Events that were applied."""
    snapshots: int = 0
    """Snapshots that the log leads to."""
    poison: int = 0
    """Records of `agent-events` that are no events; the engine made dead letters of them."""
    beyond: int = 0
    """Snapshots that cannot be compared: their task's first events have left the log, or another version of the machine
    wrote them."""
    differences: list[Difference] = field(default_factory=list)


@dataclass(slots=True)
class _Written:
    """What `agent-state` holds of a partition."""

    offset: int = 0
    """Of the first event that no snapshot knows."""
    snapshots: dict[str, dict[int, set[bytes]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))
    """By task and by the number of events they count, those not yet found."""
    latest: dict[str, bytes] = field(default_factory=dict)
    """Of the live tasks."""


def replay(settings: Settings, tasks: Collection[str] | None = None) -> Report:
    """Applies the events that the engine has committed once more and compares. Blocks; no event loop may run here.

    Args:
        tasks: only these; None: all.

    Raises:
        Unavailable: Kafka or the object store does not answer.
    """
    with asyncio.Runner() as runner:
        decoder = Decoder(settings, Blobs(settings))

        def decode(raw: Raw) -> Any:
            return runner.run(decoder.decode(raw)).event

        return _Replay(settings, None if tasks is None else frozenset(tasks), decode).run()


class _Replay:
    def __init__(self, settings: Settings, tasks: frozenset[str] | None, decode: reading.Decode) -> None:
        self._settings, self._tasks, self._decode = settings, tasks, decode
        self._events = topics.AGENT_EVENTS.named(settings.prefix)
        self._state = topics.AGENT_STATE.named(settings.prefix)
        self._written: dict[int, _Written] = defaultdict(_Written)
        self._parts: dict[int, Partition] = {}
        self._first: dict[int, int] = {}
        self._partitions = restore.partitions(settings, self._events)
        self._report = Report()

    def run(self) -> Report:
        """The state first: the events that it knows are in the log by then."""
        restore.read_to(self._settings, self._state, restore.ends(self._settings, self._state, self._partitions),
                        self._take)
        restore.read_to(self._settings, self._events, {n: w.offset for n, w in self._written.items()}, self._apply)
        for number, written in self._written.items():
            self._compare(number, written)
        return self._report

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            written = self._written[message.partition() or 0]
            key, value = (message.key() or b"").decode(), message.value()
            if key.startswith("!"):
                if key.startswith(OFFSET) and value is not None:
                    mark = codec.decode(value)
                    assert isinstance(mark, EngineMark)
                    written.offset = mark.offset
            elif self._tasks is None or key in self._tasks:
                if value is None:
                    written.latest.pop(key, None)
                else:
                    state = self._state_of(value)
                    written.snapshots[key][state.events].add(value)
                    written.latest[key] = value

    def _state_of(self, snapshot: bytes) -> AgentState:
        return reading.state_of(snapshot, self._state, self._decode)

    def _apply(self, messages: Sequence[Message]) -> None:
        for message in messages:
            number, offset = message.partition() or 0, message.offset() or 0
            self._first.setdefault(number, offset)
            part = self._parts.get(number) or self._parts.setdefault(number, Partition(number, self._state_of))
            try:
                event = reading.event_of(message, number, len(self._partitions), self._decode)
            except (InputError, BlobMissing):
                self._report.poison += 1
                continue
            if self._tasks is not None and event.task not in self._tasks:
                continue
            try:
                transition = part.apply(event, Place(partition=number, offset=offset))
            except Exception:
                # The engine could not either.
                self._report.poison += 1
                continue
            self._report.events += 1
            state = transition.state
            if transition.changed and state is not None:
                waiting = self._written[number].snapshots.get(event.task, {}).get(state.events)
                if waiting and (snapshot := codec.encode(state)) in waiting:
                    waiting.discard(snapshot)
                    self._report.snapshots += 1

    def _compare(self, number: int, written: _Written) -> None:
        """What is left over, then the latest."""
        part = self._parts.get(number) or Partition(number, self._state_of)
        self._report.tasks += len(written.snapshots)
        self._report.live += len(written.latest)
        for task, by_events in written.snapshots.items():
            for events, left in by_events.items():
                for snapshot in left:
                    state = self._state_of(snapshot)
                    if state.version != VERSION or state.first.offset < self._first.get(number, 0):
                        self._report.beyond += 1
                    else:
                        self._differ(task, number, events, "the log does not lead to this snapshot")
        for task, snapshot in written.latest.items():
            known, leads_to = self._state_of(snapshot), part.table.get(task)
            if known.version != VERSION or known.first.offset < self._first.get(number, 0):
                continue
            if leads_to is None or codec.encode(leads_to) != snapshot:
                self._differ(task, number, known.events, "it is the latest snapshot, and the log leads to "
                             + ("the task's end" if leads_to is None else f"one of {leads_to.events} events"))
        for task in part.table.live() - written.latest.keys():
            self._differ(task, number, 0, "the log leads to a live task that has no snapshot")

    def _differ(self, task: str, partition: int, events: int, message: str) -> None:
        self._report.differences.append(Difference(task, partition, events, message))
