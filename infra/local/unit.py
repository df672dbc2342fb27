"""One supervised child: started, watched, started again with back-off, stopped."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from infra.local.server import Launch
from infra.local.state import Kind, Phase, UnitState
from weir.errors import WeirError

Clock = Callable[[], float]


def nothing() -> None:
    """For a unit that needs no preparation."""


@dataclass(frozen=True)
class Unit:
    """What to supervise."""

    name: str
    kind: Kind
    port: int
    launch: Callable[[], Launch]
    ready: Callable[[], bool]
    prepare: Callable[[], None] = nothing
    """Before each start."""
    settle: Callable[[], None] = nothing
    """Each time it has become ready, before the others are told."""
    may_start: Callable[[], bool] = lambda: True
    """Asked before the first start."""


@dataclass(frozen=True)
class Backoff:
    """Seconds of waiting before a restart: doubled each time, forgotten after a healthy while."""

    first: float = 0.5
    longest: float = 30.0
    healthy: float = 60.0

    def after(self, failures: int) -> float:
        """The wait before the restart that follows so many failures in a row (1 or more)."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 20))


@dataclass(frozen=True)
class Child:
    """A running child. The handle is a pidfd: it stays this child's, whatever happens to its number."""

    process: subprocess.Popen[bytes]
    handle: int
    launch: Launch


class Supervised:
    """Runs one unit on a thread of its own. `state` is what the world is told; only this thread writes it."""

    def __init__(
        self, unit: Unit, log: Path, environment: Mapping[str, str], backoff: Backoff, say: Callable[[str], None]
    ) -> None:
        self.unit = unit
        self.state = UnitState(unit.name, unit.kind, unit.port)
        self._log = log
        self._environment = environment
        self._backoff = backoff
        self._say = say
        self._stopping = threading.Event()
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name=unit.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Asks it to end; `join` waits until it has."""
        self._stopping.set()
        os.write(self._waker, b"x")

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set() and not self.unit.may_start():
            self._sleep(0.1)
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                child = self._spawn()
            except Exception as error:  # whatever it is, the next try may go better
                self.state.last_exit = f"could not start: {error}"
            else:
                self._watch(child)
                self._end(child)
                self.state.last_exit = describe(child.process.returncode)
            self.state.pid = self.state.started = None
            if self._stopping.is_set():
                break
            failures = 1 if time.monotonic() - began > self._backoff.healthy else failures + 1
            wait = self._backoff.after(failures)
            self.state.phase = Phase.BACKOFF
            self.state.restarts += 1
            self._say(f"{self.unit.name} {self.state.last_exit}; starting it again in {wait:.1f} s")
            self._sleep(wait)
        self.state.phase = Phase.STOPPED

    def _spawn(self) -> Child:
        self.state.phase = Phase.STARTING
        self.unit.prepare()
        launch = self.unit.launch()
        # The child writes to the file itself: its output outlives a supervisor that is killed.
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                launch.argv,
                env={**os.environ, **launch.environment, **self._environment},
                cwd=launch.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.state.pid, self.state.started = process.pid, time.time()
        self._say(f"{self.unit.name} started as process {process.pid}")
        return Child(process, os.pidfd_open(process.pid), launch)

    def _watch(self, child: Child) -> None:
        """Keeps the phase true until the child ends or is to be stopped."""
        settled = False
        while not self._stopping.is_set():
            answers = self._answers()
            if answers and not settled:
                settled = self._settle()
            if settled:
                self.state.phase = Phase.READY if answers else Phase.SILENT
            ended, _, _ = select.select([child.handle, self._wake], [], [], 5.0 if settled else 0.2)
            if child.handle in ended:
                return

    def _answers(self) -> bool:
        try:
            return self.unit.ready()
        except Exception as error:  # a question that breaks is no answer, and must not end the watch
            self._say(f"{self.unit.name}: {type(error).__name__}: {error}")
            return False

    def _settle(self) -> bool:
        try:
            self.unit.settle()
        except WeirError as error:
            self._say(f"{self.unit.name}: {error}")
            return False
        took = time.time() - (self.state.started or 0.0)
        self._say(f"{self.unit.name} is ready after {took:.1f} s")
        return True

    def _end(self, child: Child) -> None:
        """Stops the child if it lives, and whatever it started: all are in its process group."""
        with suppress(ProcessLookupError):
            if self._stopping.is_set():
                signal.pidfd_send_signal(child.handle, child.launch.stop_signal)
                select.select([child.handle], [], [], child.launch.stop_grace)
            # The leader is not reaped yet, so the group's number is still ours.
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()
        os.close(child.handle)

    def _sleep(self, seconds: float) -> None:
        """Ends early when the unit is to be stopped."""
        self._stopping.wait(seconds)


def describe(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"
