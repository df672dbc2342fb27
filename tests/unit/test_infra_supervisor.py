"""What dies is started again, what was killed leaves nothing behind, and nobody else's process is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra.local import logs, orphans, state
from infra.local.state import Kind, Phase, State, UnitState
from infra.local.unit import Backoff, describe

ROOT = Path(__file__).parents[2]


def until(condition: Callable[[], bool], timeout: float = 20.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


class Small:
    """`tests.kit.small_weir` in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "said").open("ab") as said:
            argv = [sys.executable, "-m", "tests.kit.small_weir", str(self.home)]
            self.process = subprocess.Popen(argv, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
        return self.process

    def unit(self, name: str) -> UnitState | None:
        known = state.read(self.home)
        if known is None or self.process is None or known.pid != self.process.pid:
            return None
        return next(unit for unit in known.units if unit.name == name)

    def ready(self, name: str) -> UnitState:
        def is_ready() -> bool:
            unit = self.unit(name)
            return unit is not None and unit.phase is Phase.READY

        until(is_ready)
        unit = self.unit(name)
        assert unit is not None and unit.pid is not None
        return unit

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        orphans.end(orphans.mark(self.home), 1.0, print)

    @property
    def said(self) -> str:
        return (self.home / "said").read_text()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    made = Small(tmp_path / "home")
    made.start()
    yield made
    made.end()


def test_a_killed_process_is_started_again(small: Small) -> None:
    before = small.ready("polite")
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)

    def replaced() -> bool:
        unit = small.unit("polite")
        return unit is not None and unit.phase is Phase.READY and unit.pid != before.pid

    until(replaced)
    after = small.ready("polite")
    assert after.restarts == 1 and after.last_exit == "was killed by SIGKILL"


def test_what_crashes_at_once_is_started_with_growing_pauses(small: Small) -> None:
    until(lambda: small.said.count("crasher ended with status 3") >= 6)
    pauses = [float(line.split(" in ")[1].split()[0]) for line in small.said.splitlines() if "crasher ended" in line]
    assert pauses[:6] == [0.1, 0.2, 0.4, 0.8, 0.8, 0.8]
    unit = small.unit("crasher")
    assert unit is not None and unit.restarts >= 5


def test_processes_start_once_the_set_up_is_done_and_end_before_the_servers(small: Small) -> None:
    small.ready("polite")
    known = state.read(small.home)
    assert known is not None and known.setup == "done"
    small.end()
    told = [line.split(" ", 1)[1] for line in small.said.splitlines()]
    assert told.index("polite is stopped") < told.index("steady is stopped")
    assert logs.tail(small.home / "logs" / "polite.log", 1) == ["bye"]
    assert state.running(small.home) is None


def test_the_next_start_ends_what_a_killed_supervisor_left_behind(small: Small) -> None:
    steady, polite = small.ready("steady"), small.ready("polite")
    assert steady.pid is not None and polite.pid is not None and small.process is not None
    (grandchild,) = psutil.Process(steady.pid).children()
    # Somebody else's process, of the same program, that has nothing of ours.
    stranger = subprocess.Popen(["sleep", "600"])
    small.process.kill()
    small.process.wait()
    assert state.running(small.home) is None
    assert psutil.pid_exists(steady.pid) and psutil.pid_exists(polite.pid), "children outlive their supervisor"

    small.start()
    again = small.ready("steady")
    assert again.pid != steady.pid
    for pid in (steady.pid, polite.pid, grandchild.pid):
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_second_supervisor_of_a_home_ends_at_once(small: Small) -> None:
    before = small.ready("polite")
    second = subprocess.run(
        [sys.executable, "-m", "tests.kit.small_weir", str(small.home)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1 and "another supervisor" in second.stderr
    assert small.ready("polite").pid == before.pid


def test_the_mark_of_one_home_is_not_that_of_another(tmp_path: Path) -> None:
    one, other = orphans.mark(tmp_path / "one"), orphans.mark(tmp_path / "other")
    assert one != other and orphans.mark(tmp_path / "one") == one
    child = subprocess.Popen(["sleep", "600"], env={orphans.VARIABLE: one})
    until(lambda: orphans.find(one) == [child.pid])
    assert orphans.end(other, 0.1, print) == 0 and child.poll() is None
    assert orphans.end(one, 1.0, print) == 1
    assert child.wait() == -signal.SIGTERM


def test_an_orphan_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    mark = orphans.mark(tmp_path)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", deaf], env={orphans.VARIABLE: mark}, stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        child.stdout.readline()
        assert orphans.end(mark, 0.2, print) == 1
    assert child.wait() == -signal.SIGKILL


def test_the_pause_doubles_up_to_the_longest() -> None:
    backoff = Backoff(first=0.5, longest=30.0)
    assert [backoff.after(n) for n in (1, 2, 3, 7, 8, 10_000)] == [0.5, 1.0, 2.0, 30.0, 30.0, 30.0]


def test_the_end_of_a_child_is_told_in_words() -> None:
    assert describe(3) == "ended with status 3"
    assert describe(-9) == "was killed by SIGKILL"


def test_the_state_survives_writing_and_reading(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    told = State(pid=7, started=1.5, setup="done", units=[UnitState("kafka", Kind.SERVER, 18401, Phase.READY, 8, 2.5)])
    state.write(tmp_path, told)
    assert state.read(tmp_path) == told
    assert told.ready(frozenset({"kafka"})) and not told.ready(frozenset({"kafka", "milvus"}))


def test_without_a_state_nothing_is_made_up(tmp_path: Path) -> None:
    assert state.read(tmp_path) is None and state.running(tmp_path) is None


def test_a_large_log_is_moved_on_while_its_writer_goes_on_appending(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with log.open("ab", buffering=0) as writer:
        for generation in (b"first", b"second", b"third"):
            assert not logs.rotate(log, largest=100)
            writer.write(generation * 40)
            assert logs.rotate(log, largest=100)
        writer.write(b"now\n")
    assert log.read_bytes() == b"now\n"
    assert (tmp_path / "a.log.1").read_bytes() == b"third" * 40
    assert (tmp_path / "a.log.2").read_bytes() == b"second" * 40
    assert not (tmp_path / "a.log.3").exists()
