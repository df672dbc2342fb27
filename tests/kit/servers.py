"""The real servers for tests: attached to, or started in a home and on ports of their own.

LocalWeir(home, port_base)                 its own supervisor; the whole of Weir, or the servers alone
    .start() ... .kill("streams.answers") ... .stop()
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from cli import operate
from infra.local import state
from infra.local.server import Place, listens
from infra.local.servers import servers
from infra.local.state import Phase, State, UnitState
from weir.settings import Port, Settings

ROOT = Path(__file__).resolve().parents[2]
TEST_HOME = ROOT / ".weir-test"
TEST_PORT_BASE = 18600
SERVER_PORTS = (Port.KAFKA, Port.ELASTICSEARCH, Port.MILVUS, Port.TRITON_GRPC)
STARTS_WITHIN = 240.0


class LocalWeir:
    """A Weir, or its servers alone, under a supervisor of its own. Nothing else on the machine is touched.

    Args:
        home: its folder; the installed servers are shared.
        port_base: first of its 100 ports.
        servers_only: leave Weir's processes out.
    """

    def __init__(self, home: Path, port_base: int, *, servers_only: bool = False) -> None:
        self.settings = operate.absolute(Settings(home=home, port_base=port_base, servers_dir=ROOT / ".servers"))
        self.servers_only = servers_only

    def start(self) -> None:
        """Installs what is missing, starts everything and returns when all of it is ready; harmless if it runs.

        Raises:
            SettingsError: something is in the way on this machine.
            TimeoutError: not all was ready in time.
        """
        if not self.running:
            jdk = operate.check(self.settings)
            for server in servers(Place(self.settings, jdk)):
                server.install()
            operate.start(self.settings, servers_only=self.servers_only)
        operate.people(self.settings)
        self.until_ready()

    def stop(self) -> None:
        operate.stop(self.settings, lambda _: None)

    @property
    def running(self) -> bool:
        return state.running(self.settings.home) is not None

    @property
    def state(self) -> State:
        return operate.read(self.settings)

    def unit(self, name: str) -> UnitState:
        return next(unit for unit in self.state.units if unit.name == name)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Sends the signal to that server or process and returns its pid; the supervisor starts it again."""
        pid = self.unit(name).pid
        if pid is None:
            raise LookupError(f"{name} does not run: {self.unit(name)}")
        os.kill(pid, number)
        return pid

    def until_ready(self, *names: str, timeout: float = STARTS_WITHIN) -> None:
        """Returns when these, or all, are ready.

        Raises:
            TimeoutError: they were not in time; the message says which.
        """

        def ready() -> bool:
            return all(unit.phase is Phase.READY for unit in self.state.units if not names or unit.name in names)

        if not _until(ready, timeout):
            raise TimeoutError(
                "not ready: " + "; ".join(str(u) for u in self.state.units if u.phase is not Phase.READY)
            )

    def until_replaced(self, name: str, pid: int, timeout: float = STARTS_WITHIN) -> None:
        """Returns when another process has taken the place of that one and is ready.

        Raises:
            TimeoutError: it has not in time.
        """

        def replaced() -> bool:
            unit = self.unit(name)
            return unit.pid not in (None, pid) and unit.phase is Phase.READY

        if not _until(replaced, timeout):
            raise TimeoutError(f"{name} was not started again: {self.unit(name)}")


def of_the_tests() -> LocalWeir:
    """The servers that all tests of a run share."""
    return LocalWeir(TEST_HOME, TEST_PORT_BASE, servers_only=True)


def running(settings: Settings) -> bool:
    """Whether all four servers listen where the settings say."""
    return all(listens(settings.host, settings.port(port)) for port in SERVER_PORTS)


def _until(condition: Callable[[], bool], timeout: float) -> bool:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return condition()
