"""Snapshots of earlier versions of the machine, brought to today's when a task wakes.

Avro fills fields that a snapshot's schema did not have yet; what the machine itself means by a field is upgraded
here, one version at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from schemas.events import AgentState
from weir.errors import BadRecord

VERSION = 1
"""Version of the state machine, which every snapshot carries."""

UPGRADES: dict[int, Callable[[AgentState], AgentState]] = {}
"""By version, what makes the next version's snapshot of it."""


def upgraded(state: AgentState, upgrades: dict[int, Callable[[AgentState], AgentState]] | None = None,
             version: int = VERSION) -> AgentState:
    """A snapshot as today's machine would have written it.

    Raises:
        BadRecord: it was written by a newer machine, or by one that nothing upgrades from.
    """
    steps = UPGRADES if upgrades is None else upgrades
    while state.version != version:
        if state.version not in steps:
            raise BadRecord(f"the snapshot of task {state.task} has version {state.version}, which this machine "
                            f"(version {version}) cannot read; run a release that knows it")
        state = replace(steps[state.version](state), version=state.version + 1)
    return state
