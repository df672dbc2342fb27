"""What the supervisor says about itself: one small JSON file in the home, replaced as a whole, for all to read."""

from __future__ import annotations

import fcntl
import os
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO

import orjson


class Kind(StrEnum):
    SERVER = "server"
    PROCESS = "process"


class Phase(StrEnum):
    WAITING = "waiting"
    """For what it needs before its first start."""
    STARTING = "starting"
    READY = "ready"
    SILENT = "silent"
    """Runs, was ready, and does not answer now."""
    BACKOFF = "backoff"
    """Died or could not start; will be started again."""
    STOPPED = "stopped"


@dataclass
class UnitState:
    """One server or process. Times are Unix seconds."""

    name: str
    kind: Kind
    port: int
    phase: Phase = Phase.WAITING
    pid: int | None = None
    started: float | None = None
    restarts: int = 0
    last_exit: str = ""
    """How it last ended, in words."""


@dataclass
class State:
    pid: int
    started: float
    setup: str = ""
    """What stands in the way of the topics and the first index; `done` when they are there."""
    units: list[UnitState] = field(default_factory=list)

    def phase(self, name: str) -> Phase | None:
        return next((unit.phase for unit in self.units if unit.name == name), None)

    def ready(self, names: frozenset[str]) -> bool:
        return all(self.phase(name) is Phase.READY for name in names)


def path(home: Path) -> Path:
    return home / "run" / "state.json"


def write(home: Path, state: State) -> None:
    part = path(home).with_suffix(".part")
    part.write_bytes(orjson.dumps(asdict(state), option=orjson.OPT_INDENT_2))
    part.replace(path(home))


def read(home: Path) -> State | None:
    """The last state written, or None where there is none. Whether it is of a living supervisor, `running` tells."""
    try:
        content = orjson.loads(path(home).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    units = [
        UnitState(**{**unit, "kind": Kind(unit["kind"]), "phase": Phase(unit["phase"])})
        for unit in content.pop("units")
    ]
    return State(**content, units=units)


def hold(home: Path) -> IO[str] | None:
    """Takes the lock that only one supervisor of a home can have, while the file is open; None if taken."""
    (home / "run").mkdir(parents=True, exist_ok=True)
    file = (home / "run" / "supervisor.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def running(home: Path) -> int | None:
    """Pid of the living supervisor of that home. The kernel drops a dead one's lock, so there is no stale answer."""
    try:
        with (home / "run" / "supervisor.lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read().strip() or 0) or None
            return None
    except OSError:
        return None
