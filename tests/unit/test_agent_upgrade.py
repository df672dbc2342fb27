"""Snapshots of earlier machines: golden bytes of each version go on where they stood."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from schemas import codec
from schemas.events import AgentState, Call, CallStatus, CallTool, Choice, Risk, TaskStatus, Undo
from tests.kit.agent_task import Task, call, request
from weir.agents.machine import transition
from weir.agents.upgrade import UPGRADES, VERSION, upgraded
from weir.errors import BadRecord

GOLDEN = Path(__file__).parents[1] / "golden" / "snapshots"


def snapshot() -> Task:
    """A task that has done something, waits for a decision and has another call running."""
    task = Task("golden")
    task.do(request())
    task.plan(call("put", 0, '{"what":"x"}'))
    task.returns(task.running()[0], undo=Undo(tool="take_back", arguments='{"what":"x"}'), micros=12)
    task.plan(call("mail", 0, '{"to":"é"}'), call("look", 0), call("look", 1))
    return task


def test_this_version_has_golden_bytes() -> None:
    """To write those of a new version: `python -m tests.unit.test_agent_upgrade`."""
    assert (GOLDEN / f"AgentState.v{VERSION}.bin").exists()
    assert set(UPGRADES) == set(range(1, VERSION))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.bin")), ids=lambda p: p.stem)
def test_a_snapshot_of_any_version_goes_on_where_it_stood(path: Path) -> None:
    state = upgraded(codec.decode(path.read_bytes()))
    assert isinstance(state, AgentState)
    assert (state.version, state.status, state.task) == (VERSION, TaskStatus.ACTING, "golden")
    task = snapshot()
    asked, reading = task.pending[0], next(c for c in task.running() if c.attempt == 1)
    task.state = codec.decode(path.read_bytes())
    done = task.decide(Choice.APPROVE, decision=asked)
    effect = done.effects[0]
    assert isinstance(effect.body, CallTool)
    assert (effect.body.tool, effect.body.risk, effect.body.arguments) == ("mail", Risk.IRREVERSIBLE, '{"to":"é"}')
    task.returns(effect)
    assert task.returns(reading).commands, "the second wave begins"
    assert [e.undo.tool for e in task.live.effects] == ["take_back"]


def test_versions_are_upgraded_one_by_one() -> None:
    def first(state: AgentState) -> AgentState:
        return replace(state, message=state.message + "1")

    def second(state: AgentState) -> AgentState:
        return replace(state, message=state.message + "2")

    old = replace(snapshot().live, version=1, message="")
    made = upgraded(old, {1: first, 2: second}, version=3)
    assert (made.version, made.message) == (3, "12")


def test_an_old_snapshot_is_upgraded_when_its_task_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    def upgrade(state: AgentState) -> AgentState:
        calls: list[Call] = [c if c.status is not CallStatus.RUNNING else replace(c, reason="upgraded")
                             for c in state.calls]
        return replace(state, calls=calls)

    monkeypatch.setitem(UPGRADES, 0, upgrade)
    task = snapshot()
    task.state = replace(task.live, version=0)
    task.returns(task.running()[0])
    assert task.live.version == VERSION
    assert [c.reason for c in task.live.calls if c.index == 1] == ["upgraded"]


def test_a_snapshot_of_a_newer_machine_is_refused() -> None:
    task = snapshot()
    newer = replace(task.live, version=VERSION + 1)
    with pytest.raises(BadRecord, match="run a release that knows it"):
        transition(newer, *task.log[-1])


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / f"AgentState.v{VERSION}.bin").write_bytes(codec.encode(snapshot().live))
