"""The daemon behind `weir up`: starts the servers and Weir's processes, keeps them running, and ends them in order.

    weir up ──> supervisor ──┬── kafka, elasticsearch, milvus, triton      all at once
                             ├── setup: topics, first index                 once Kafka answers
                             └── gateway, streams.*, consumers.*            each once what it needs is ready

It tells its state in `home/run/state.json` (`infra.local.state`) and its story in `home/logs/supervisor.log`. SIGTERM
ends Weir's processes first and the servers after them, so that nobody loses a server in the middle of handing over.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from infra.local import artefacts, machine, orphans, state
from infra.local.logs import rotate
from infra.local.processes import PROCESSES, Process, metrics_port
from infra.local.server import Launch, Place, Server, listens
from infra.local.servers import SERVERS
from infra.local.state import Kind, State
from infra.local.unit import Backoff, Supervised, Unit, nothing
from weir.errors import WeirError
from weir.settings import Port, Settings, environment, load

ROOT = Path(__file__).resolve().parents[2]
SETUP = [sys.executable, "-m", "infra.local.setup"]
SETUP_NEEDS = frozenset({"kafka", "triton"})
"""Triton says which revision of its model the first index has."""
SERVERS_ONLY = "--servers-only"
STATE_INTERVAL = 0.5
LOG_INTERVAL = 10.0

Say = Callable[[str], None]


class Supervisor:
    """Supervises units of one home until `run` is told to stop.

    Args:
        home: where state and logs go.
        units: what to start, in order; servers and processes.
        setup: done once, after the servers named in `setup_needs` are ready and before any process starts; repeated
            until it succeeds.
    """

    def __init__(
        self,
        home: Path,
        units: Sequence[Unit],
        *,
        setup: Callable[[], None],
        setup_needs: frozenset[str],
        backoff: Backoff,
        say: Say,
    ) -> None:
        self._home = home
        self._setup, self._setup_needs = setup, setup_needs
        self._say = say
        self._stop = threading.Event()
        mark = {orphans.VARIABLE: orphans.mark(home)}
        (home / "logs").mkdir(parents=True, exist_ok=True)
        self._children = [Supervised(unit, self.log(unit.name), mark, backoff, say) for unit in units]
        self.state = State(pid=0, started=time.time(), units=[child.state for child in self._children])

    def log(self, name: str) -> Path:
        return self._home / "logs" / f"{name}.log"

    def ready(self, names: frozenset[str]) -> bool:
        return self.state.ready(names)

    def request_stop(self) -> None:
        self._stop.set()

    def run(self, pid: int) -> None:
        """Starts everything and returns when everything has ended."""
        self.state.pid = pid
        threading.Thread(target=self._set_up, name="setup", daemon=True).start()
        for child in self._children:
            child.start()
        rotated = 0.0
        while not self._stop.wait(STATE_INTERVAL):
            state.write(self._home, self.state)
            if time.monotonic() - rotated > LOG_INTERVAL:
                rotated = time.monotonic()
                for log in (self._home / "logs").glob("*.log"):
                    rotate(log)
        self._end(Kind.PROCESS)
        self._end(Kind.SERVER)
        state.write(self._home, self.state)

    def _end(self, kind: Kind) -> None:
        children = [child for child in self._children if child.unit.kind is kind]
        for child in children:
            child.stop()
        for child in children:
            child.join()
            self._say(f"{child.unit.name} is stopped")

    def _set_up(self) -> None:
        while not self._stop.is_set():
            if not self.ready(self._setup_needs):
                self.state.setup = "waiting for " + ", ".join(sorted(self._setup_needs))
            else:
                try:
                    self._setup()
                except WeirError as error:
                    self.state.setup = str(error)
                    self._say(f"setup: {error}")
                else:
                    self.state.setup = "done"
                    self._say("topics and the first index are there")
                    return
            self._stop.wait(0.2 if not self.ready(self._setup_needs) else 2.0)


def server_unit(server: Server) -> Unit:
    def prepare() -> None:
        server.install()
        server.prepare()

    return Unit(
        name=server.name,
        kind=Kind.SERVER,
        port=server.port,
        launch=server.launch,
        ready=server.ready,
        prepare=prepare,
        settle=server.settle,
    )


def process_unit(process: Process, settings: Settings, may_start: Callable[[], bool]) -> Unit:
    metrics = metrics_port(settings, process.name)
    port = settings.port(Port.GATEWAY) if process.name == "gateway" else metrics
    child = settings.model_copy(update={"process": process.name, "metrics_port": metrics})

    def launch() -> Launch:
        threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        argv = [sys.executable, "-u", "-m", process.module]
        # A worker drains for `drain_timeout` before it hands over.
        return Launch(argv, {**environment(child), **threads}, cwd=ROOT, stop_grace=settings.drain_timeout + 5.0)

    return Unit(
        name=process.name,
        kind=Kind.PROCESS,
        port=port,
        launch=launch,
        ready=lambda: listens(settings.host, port),
        may_start=may_start,
    )


def build(settings: Settings, java_home: Path, say: Say, *, servers_only: bool = False) -> Supervisor:
    """The supervisor of a whole Weir, or of the four servers alone."""
    place = Place(settings, java_home)
    units = [server_unit(server(place)) for server in SERVERS]

    def may_start(process: Process) -> Callable[[], bool]:
        return lambda: supervisor.state.setup == "done" and supervisor.ready(process.needs)

    if not servers_only:
        units += [process_unit(process, settings, may_start(process)) for process in PROCESSES]

    def set_up() -> None:
        artefacts.call(SETUP, "creating the topics and the first index", environment(settings))

    supervisor = Supervisor(
        settings.home,
        units,
        setup=nothing if servers_only else set_up,
        setup_needs=SETUP_NEEDS,
        backoff=Backoff(),
        say=say,
    )
    return supervisor


def say(text: str) -> None:
    print(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {text}", flush=True)


def main() -> None:
    settings = load()
    settings = settings.model_copy(
        update={"home": settings.home.absolute(), "servers_dir": settings.servers_dir.absolute()}
    )
    lock = state.hold(settings.home)
    if lock is None:
        say("another supervisor of this home is running")
        sys.exit(1)
    with lock:
        orphans.end(orphans.mark(settings.home), settings.drain_timeout, say)
        jdk = machine.find_jdk(os.environ)
        if isinstance(jdk, str):
            say(jdk)
            sys.exit(2)
        supervisor = build(settings, jdk, say, servers_only=SERVERS_ONLY in sys.argv)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: supervisor.request_stop())
        supervisor.run(os.getpid())


if __name__ == "__main__":
    main()
