"""The engine's memory of tasks: one snapshot a transaction, timers, what has finished."""

from __future__ import annotations

from typing import Any

import pytest

from bench.echo import answer, requested, waves
from schemas import codec
from schemas.events import AgentCommand, AgentEvent, CallModel, CallOutcome, Place, ToolReturned
from weir.agents.transition import Transition
from weir.engine import table
from weir.engine.partition import FINISHED_MILLIS, Partition
from weir.engine.table import Table, Timers

AT = 1_800_000_000_000


class Tasks:
    """A partition and the offset of its next event."""

    def __init__(self, load: Any = codec.decode) -> None:
        self.part = Partition(0, load)
        self._offset = 0

    def apply(self, event: AgentEvent) -> Transition:
        self._offset += 1
        return self.part.apply(event, Place(partition=0, offset=self._offset - 1))

    def reply(self, command: AgentCommand, body: Any, at: int = AT) -> Transition:
        return self.apply(AgentEvent(task=command.task, event=command.command, at=at, body=body))

    def run(self, request: str, at: int = AT) -> str:
        """A task that is answered at once."""
        began = self.apply(requested(request, clock=lambda: at))
        self.reply(began.commands[0], answer(began.commands[0]), at)
        return began.commands[0].task


def test_however_often_a_task_moves_one_snapshot_of_it_is_written() -> None:
    tasks = Tasks()
    (command,) = tasks.apply(requested("r", clock=lambda: AT)).commands
    assert isinstance(command.body, CallModel)
    (command,) = tasks.reply(command, waves(10)(command, command.body)).commands
    for _ in range(5):
        (command,) = tasks.reply(command, ToolReturned(command=command.command, attempt=1,
                                                       outcome=CallOutcome.SUCCEEDED)).commands
    changes = list(tasks.part.table.changes())
    assert [task for task, _, _ in changes] == [command.task]
    state = codec.decode(changes[0][1] or b"")
    assert state.events == 7 and state.spent.steps == 6
    assert not list(tasks.part.table.changes())


def test_a_task_that_begins_and_ends_within_a_transaction_leaves_no_tombstone() -> None:
    tasks = Tasks()
    tasks.run("r")
    assert not list(tasks.part.table.changes())
    tasks.apply(requested("s", clock=lambda: AT))
    ((task, snapshot, _),) = tasks.part.table.changes()
    assert snapshot and len(tasks.part.table) == 1
    state = tasks.part.table.get(task)
    assert state is not None
    tasks.apply(AgentEvent(task=task, event="e", at=AT, body=answer(AgentCommand(
        task=task, command=state.model_call, attempt=1, at=AT, body=CallModel(
            step=1, first=state.first, history=[], left=state.limits)))))
    assert list(tasks.part.table.changes()) == [(task, None, 0)]
    assert not len(tasks.part.table) and not tasks.part.table.live()


def test_only_tasks_at_work_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "ACTIVE", 2)
    source = Tasks()
    for n in range(5):
        source.apply(requested(str(n), clock=lambda: AT))
    written = list(source.part.table.changes())
    loads: list[bytes] = []

    def load(snapshot: bytes) -> Any:
        loads.append(snapshot)
        return codec.decode(snapshot)

    restored = Table(load)
    for task, snapshot, due in written:
        restored.put(task, snapshot or b"", due)
    assert not loads and restored.live() == {task for task, _, _ in written}
    names = [task for task, _, _ in written]
    for task in (*names[:2], *names[:2]):
        assert restored.get(task) is not None
    assert len(loads) == 2
    restored.get(names[2])
    restored.get(names[0])
    assert len(loads) == 4
    assert restored.get("unknown") is None


def test_a_finished_task_is_forgotten_by_the_time_of_the_events() -> None:
    tasks = Tasks()
    task = tasks.run("r")
    again = tasks.apply(requested("r", clock=lambda: AT + FINISHED_MILLIS - 1))
    assert not again.changed and not again.commands and [r.code for r in again.replies] == ["known"]
    assert not tasks.part.forgotten()
    tasks.run("s", AT + FINISHED_MILLIS)
    assert tasks.part.forgotten() == [task] and not tasks.part.forgotten()
    assert tasks.apply(requested("r", clock=lambda: AT + FINISHED_MILLIS)).commands


def test_timers_come_in_their_order_once_and_only_while_they_hold() -> None:
    timers = Timers()
    timers.set("a", 30)
    timers.set("b", 10)
    timers.set("c", 20)
    timers.set("b", 40)
    assert timers.first() == 20 and timers.due("b") == 40
    assert timers.take(30) == [("c", 20), ("a", 30)] and timers.take(30) == []
    timers.set("a", 30)
    assert timers.take(35) == [], "the same moment set again is the same timer"
    timers.again("a", 30)
    assert timers.take(35) == [("a", 30)]
    timers.set("a", 0)
    timers.again("a", 30)
    assert timers.take(100) == [("b", 40)] and timers.first() is None


def test_timers_of_ended_tasks_do_not_pile_up() -> None:
    timers = Timers()
    for n in range(10_000):
        timers.set(str(n), 10**12 + n)
        timers.set(str(n), 0)
    assert len(timers._heap) < 2_000
