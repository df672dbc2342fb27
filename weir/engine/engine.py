"""What the engine does with records: restore tasks, move them, write down what follows, fire timers.

    agent-events --> Partition.apply --> agent-commands, agent-effects, decisions, agent-replies, usage, task-results
                          |
                          +--> agent-state: snapshots, `!offset/<partition>`, `!finished/<task>`

`weir.kafka.transactional.Loop` runs it, which knows about transactions and hand-overs and nothing about tasks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from confluent_kafka import Message, Producer

from schemas import codec, topics
from schemas.events import AgentEvent, AgentState, CallTool, EngineMark, Place, TimerFired
from weir import telemetry
from weir.agents.transition import Transition
from weir.blobs import BlobMissing
from weir.clock import Clock
from weir.engine import metrics, reading
from weir.engine.partition import Partition
from weir.errors import InputError, Unavailable
from weir.kafka.handlers import GiveUp
from weir.kafka.records import Raw, from_message
from weir.settings import Settings

log = telemetry.logger(__name__)

OFFSET = "!offset/"
FINISHED = "!finished/"
COMMANDS = 64
"""Most commands that are given to the library at once. It sends whatever it has whenever it can, so that records which
come to it one by one, with the work of an event in between, travel in requests of two or three."""
Out = tuple[str, bytes | None, bytes, int, Any]
"""Topic, value, key, partition (-1: the key's) and headers of a record."""
DUE = "due"
"""Header of a snapshot: when its task wants to be woken, in milliseconds since the epoch."""


class Edges(Protocol):
    """What the engine asks of the world besides its transaction. Every call blocks until it is done, but `fire`."""

    def decode(self, raw: Raw) -> Any:
        """The event of a record that may be a claim check, or poison.

        Raises:
            BadRecord: it cannot be read; BlobMissing: its blob is not there; Unavailable: the object store is not.
        """

    def claim(self, value: bytes) -> bytes:
        """A claim check for a value too large for a record."""

    def bury(self, raw: Raw, given_up: GiveUp) -> None:
        """Writes a dead letter; returns when Kafka has it."""

    def fire(self, event: AgentEvent, partition: int) -> Future[Any]:
        """Writes a timer's event to `agent-events`, outside of any transaction."""


class Engine:
    """The work of a `Loop`.

    Args:
        producer: that of the loop: what is produced belongs to its open transaction.
        partitions: of `agent-events` and of `agent-state`.
    """

    def __init__(self, settings: Settings, producer: Producer, edges: Edges, clock: Clock, partitions: int) -> None:
        self._producer = producer
        self._edges = edges
        self._clock = clock
        self._count = partitions
        self._limit = settings.max_record_bytes
        self._parts: dict[int, Partition] = {}
        self._moved: set[int] = set()
        self._ended: list[tuple[Partition, str, EngineMark]] = []
        self._fired: list[tuple[Partition, str, int, Future[Any]]] = []
        self._counted: Counter[tuple[str, str]] = Counter()
        self._ahead: list[Out] = []
        """Commands, which are read before they are committed."""
        self._held: list[Out] = []
        """What is seen by nobody before the commit, and therefore sent with it: in one request a partition."""
        self.events, self.state, self._commands, self._effects, self._decisions, self._replies, self._usage, \
            self._results = (topic.named(settings.prefix) for topic in (
                topics.AGENT_EVENTS, topics.AGENT_STATE, topics.AGENT_COMMANDS, topics.AGENT_EFFECTS, topics.DECISIONS,
                topics.AGENT_REPLIES, topics.USAGE, topics.TASK_RESULTS))

    @property
    def written(self) -> list[str]:
        """Topics that its transactions write."""
        return [self.state, self._commands, self._effects, self._decisions, self._replies, self._usage, self._results]

    # -- restore --------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        self._parts.clear()
        self._moved.clear()
        self._ended.clear()
        self._counted.clear()
        self._ahead.clear()
        self._held.clear()

    def load(self, messages: Sequence[Message]) -> None:
        for message in messages:
            part = self._part(message.partition() or 0)
            key, value = (message.key() or b"").decode(), message.value()
            if key.startswith("!"):
                _load_mark(part, key, value)
            elif value is None:
                part.table.drop(key)
            else:
                part.table.put(key, value, _due(message))

    def loaded(self, partition: int, committed: int | None) -> int | None:
        """
        Raises:
            Unavailable: what is in memory and the group's offset cannot belong together.
        """
        part = self._part(partition)
        if part.offset is None and (committed is not None or len(part.table)):
            raise Unavailable(
                f"{self.events}/{partition}: the group's offset is {committed} and {self.state} has {len(part.table)} "
                "tasks, but not the offset that they stand for. Nothing is guessed here: bring the topic back from a "
                "backup, or delete it and the group's offsets to rebuild all of it from the events")
        if committed is not None and committed != part.offset:
            # The state's own offset was read together with the state.
            log.warning("the group's offset is not the state's", partition=partition, group=committed,
                        state=part.offset)
        metrics.TASKS.set(sum(len(p.table) for p in self._parts.values()))
        return part.offset

    def _part(self, number: int) -> Partition:
        if (part := self._parts.get(number)) is None:
            part = self._parts[number] = Partition(number, self._state_of)
        return part

    def _state_of(self, snapshot: bytes) -> AgentState:
        return reading.state_of(snapshot, self.state, self._edges.decode)

    # -- work -----------------------------------------------------------------------------------------------------

    def handle(self, messages: Sequence[Message]) -> bool:
        urgent = False
        for message in messages:
            part = self._parts[message.partition() or 0]
            offset = message.offset() or 0
            event = self._event(message, part)
            part.offset = offset + 1
            self._moved.add(part.number)
            if event is None:
                continue
            try:
                transition = part.apply(event, Place(partition=part.number, offset=offset))
            except Exception as e:
                log.exception("an event that the machine cannot take", task=event.task, at=event.event)
                self._bury(message, GiveUp("transition", f"{type(e).__name__}: {e}"))
                continue
            self._counted["event", type(event.body).__name__] += 1
            urgent |= self._follow(transition, part, event, _trace(message))
            if len(self._ahead) >= COMMANDS:
                self.release()
        return urgent

    def _event(self, message: Message, part: Partition) -> AgentEvent | None:
        """The record's event, or None once it is a dead letter."""
        try:
            return reading.event_of(message, part.number, self._count, self._edges.decode)
        except (InputError, BlobMissing) as e:
            self._bury(message, GiveUp(e.code, e.message))
            return None

    def _bury(self, message: Message, given_up: GiveUp) -> None:
        log.error("giving a record up", topic=message.topic(), partition=message.partition(), offset=message.offset(),
                  code=given_up.code, reason=given_up.reason)
        self._edges.bury(from_message(message), given_up)
        telemetry.DEAD_LETTERS.labels("streams.agents", given_up.code).inc()

    def _follow(self, what: Transition, part: Partition, event: AgentEvent, trace: Any) -> bool:
        """Writes down what follows from a transition; whether somebody waits for its commit."""
        task = event.task.encode()
        for command in what.commands:
            self._count_step(command.body)
            self._ahead.append(self._out(self._commands, task, codec.encode(command), trace))
        if not (what.effects or what.decisions or what.replies or what.usage or what.result):
            return False
        for command in what.effects:
            self._count_step(command.body)
            self._hold(self._effects, task, command, trace)
        for decision in what.decisions:
            self._hold(self._decisions, decision.approval.encode(), decision, trace)
        for reply in what.replies:
            self._hold(self._replies, task, reply, trace)
        for usage in what.usage:
            self._hold(self._usage, usage.subject.encode(), usage, trace)
        if what.result is not None:
            self._counted["result", what.result.outcome.value] += 1
            self._hold(self._results, task, what.result, trace)
            self._ended.append((part, event.task, EngineMark(offset=(part.offset or 1) - 1, at=event.at)))
        return bool(what.effects or what.decisions or what.replies or what.result)

    def _count_step(self, body: Any) -> None:
        if isinstance(body, CallTool):
            self._counted["step", body.risk.value] += 1

    def _hold(self, topic: str, key: bytes, event: Any, trace: Any) -> None:
        self._held.append(self._out(topic, key, codec.encode(event), trace))

    def _out(self, topic: str, key: bytes, value: bytes | None, headers: Any = None, partition: int = -1) -> Out:
        if value is not None and len(value) > self._limit:
            value = self._edges.claim(value)
        return topic, value, key, partition, headers

    def release(self) -> None:
        self._produce(self._ahead)

    def _produce(self, records: list[Out]) -> None:
        for topic, value, key, partition, headers in records:
            while True:
                try:
                    self._producer.produce(topic, value, key, partition, headers=headers)
                    break
                except BufferError:
                    self._producer.poll(0.1)
        records.clear()

    def finish(self) -> dict[int, int]:
        """Writes the snapshots of what has changed, then each partition's offset and what has finished."""
        moved: dict[int, int] = {}
        for number in sorted(self._moved):
            part = self._parts[number]
            assert part.offset is not None
            for task, snapshot, due in part.table.changes():
                headers = [(DUE, b"%d" % due)] if due else None
                self._held.append(self._out(self.state, task.encode(), snapshot, headers, number))
            for task in part.forgotten():
                self._held.append(self._out(self.state, (FINISHED + task).encode(), None, None, number))
            self._mark(part, f"{OFFSET}{number}", EngineMark(offset=part.offset, at=self._clock()))
            moved[number] = part.offset
        for part, task, mark in self._ended:
            self._mark(part, FINISHED + task, mark)
        self.release()
        self._produce(self._held)
        self._ended.clear()
        self._moved.clear()
        self._tell()
        return moved

    def _mark(self, part: Partition, key: str, mark: EngineMark) -> None:
        self._held.append(self._out(self.state, key.encode(), codec.encode(mark), None, part.number))

    def _tell(self) -> None:
        families = {"event": metrics.EVENTS, "step": metrics.STEPS, "result": metrics.RESULTS}
        for (family, label), number in self._counted.items():
            families[family].labels(label).inc(number)
        self._counted.clear()
        metrics.TASKS.set(sum(len(p.table) for p in self._parts.values()))

    # -- timers ---------------------------------------------------------------------------------------------------

    def wake_at(self) -> float | None:
        first = min((due for p in self._parts.values() if (due := p.table.timers.first()) is not None), default=None)
        return None if first is None else time.monotonic() + (first - self._clock()) / 1000

    def wake(self) -> None:
        """Fires what is due. A timer that fires twice, or for a state that was never committed, changes nothing: the
        machine compares it with what the task waits for."""
        now = self._clock()
        for part in self._parts.values():
            for task, due in part.table.timers.take(now):
                event = AgentEvent(task=task, event=f"timer/{due}", at=max(now, due), body=TimerFired(due=due))
                self._fired.append((part, task, due, self._edges.fire(event, part.number)))
                metrics.TIMERS.inc()
        if self._fired:
            self._fired = [fired for fired in self._fired if not _arrived(*fired)]


def _arrived(part: Partition, task: str, due: int, written: Future[Any]) -> bool:
    if not written.done():
        return False
    if (error := written.exception()) is not None:
        log.warning("a timer's event was not written; trying again", task=task, reason=str(error))
        part.table.timers.again(task, due)
    return True


def _load_mark(part: Partition, key: str, value: bytes | None) -> None:
    mark = None if value is None else codec.decode(value)
    if key.startswith(OFFSET):
        part.offset = mark.offset if isinstance(mark, EngineMark) else None
    elif key.startswith(FINISHED):
        task = key.removeprefix(FINISHED)
        part.finished.pop(task, None)
        if isinstance(mark, EngineMark):
            part.finished[task] = mark.at


def _due(message: Message) -> int:
    return next((int(value or 0) for name, value in _headers(message) if name == DUE), 0)


def _trace(message: Message) -> list[tuple[str, bytes]] | None:
    """The trace goes on in what follows from an event."""
    return [(name, value) for name, value in _headers(message) if name == telemetry.TRACEPARENT] or None


def _headers(message: Message) -> Any:
    return message.headers() or ()


