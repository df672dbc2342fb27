"""Weir's own processes, each a child of the test, on servers that are there: started, killed, frozen by name.

The servers are those of `WEIR_*` in the environment, or of a `Place` that the test started itself. Everything that the
processes make there carries a prefix of its own and is removed at the end.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from elasticsearch import AsyncElasticsearch, NotFoundError

from infra.local.machine import port_is_free
from infra.local.processes import PROCESSES, metrics_port
from infra.local.server import listens
from infra.local.setup import set_up
from tests.kit.kafka import clean_up
from tests.kit.waiting import until
from weir import identity
from weir.settings import Port, Settings, environment
from weir.stores import elasticsearch, milvus

ROOT = Path(__file__).resolve().parents[2]
TASKS = frozenset({"streams.agents", "streams.planner", "consumers.tools", "infra.local.mail"})
NAMES = tuple(process.name for process in PROCESSES if process.name not in TASKS)
"""What documents and answers need; the tests of tasks name theirs."""
PATIENCE = 180.0
"""Seconds that anything may take on a busy machine."""
STOP_SECONDS = 15.0


class System:
    """The processes of one Weir. Restarted by `start` only: a test says what lives when."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        (settings.home / "logs").mkdir(parents=True, exist_ok=True)

    # -- processes ------------------------------------------------------------------------------------------------

    def launch(self, *names: str) -> None:
        """Starts processes, all where none is named; does not wait for them."""
        for name in names or NAMES:
            child = self._children.get(name)
            if child is not None and child.poll() is None:
                raise ValueError(f"{name} runs already")
            settings = self.settings.model_copy(
                update={"process": name, "metrics_port": metrics_port(self.settings, name)})
            threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            module = next(process.module for process in PROCESSES if process.name == name)
            with self.log(name).open("ab") as log:
                self._children[name] = subprocess.Popen(
                    [sys.executable, "-u", "-m", "tests.kit.child", module], cwd=ROOT,
                    env={**environment(settings), **threads}, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT)

    async def start(self, *names: str) -> None:
        """Starts processes, all where none is named, and waits until each answers on its port."""
        self.launch(*names)
        await self.healthy(*names)

    async def healthy(self, *names: str) -> None:
        """Waits until the named processes, or all, answer on their ports.

        Raises:
            AssertionError: one has ended, or is not there in time; with the end of its log.
        """
        for name in names or NAMES:
            await until(lambda name=name: self._answers(name), what=f"{name} to answer")  # type: ignore[misc]  # bound now

    def _answers(self, name: str) -> bool:
        child = self._children[name]
        assert child.poll() is None, f"{name} ended with {child.returncode}:\n{self.tail(name)}"
        return listens(self.settings.host, self.port(name))

    def port(self, name: str) -> int:
        return self.settings.port(Port.GATEWAY) if name == "gateway" else metrics_port(self.settings, name)

    def kill(self, name: str) -> None:
        """SIGKILL; returns when it has ended."""
        self._children[name].kill()
        self._children[name].wait()

    def freeze(self, *names: str) -> None:
        """SIGSTOP: the process holds all it has and does nothing."""
        for name in names:
            self._children[name].send_signal(signal.SIGSTOP)

    def thaw(self, *names: str) -> None:
        for name in names:
            self._children[name].send_signal(signal.SIGCONT)

    def alive(self, name: str) -> bool:
        child = self._children.get(name)
        return child is not None and child.poll() is None

    def revive(self) -> list[str]:
        """Starts what has ended by itself, as the supervisor would; the names of what it was."""
        ended = [name for name in self._children if not self.alive(name)]
        for name in ended:
            self.launch(name)
        return ended

    def stop(self) -> dict[str, int]:
        """SIGTERM to all, SIGKILL to those that do not end; exit codes by name."""
        for child in self._children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.terminate()
        end = time.monotonic() + STOP_SECONDS
        for child in self._children.values():
            try:
                child.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        codes = {name: child.returncode for name, child in self._children.items()}
        self._children.clear()
        return codes

    def log(self, name: str) -> Path:
        return self.settings.home / "logs" / f"{name}.log"

    def tail(self, name: str, lines: int = 15) -> str:
        return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])

    # -- people ---------------------------------------------------------------------------------------------------

    def token(self, user: str, groups: Iterable[str] = ("everyone",), clearance: int = 0) -> str:
        return identity.issue(self.settings, user, list(groups), clearance)


@asynccontextmanager
async def system(home: Path, servers: Settings | None = None, *, start: bool = True, **changes: Any,
                 ) -> AsyncIterator[System]:
    """A whole Weir, running; removed at the end with all that it made on the servers.

    Args:
        home: its folder.
        servers: settings whose servers to use; those of the environment when None.
        start: whether the processes are started.
        changes: settings that differ.
    """
    made = System(own_settings(home, servers or Settings(), **changes))
    try:
        await set_up(made.settings)
        if start:
            await made.start()
        yield made
    finally:
        made.stop()
        await remove(made.settings)


def own_settings(home: Path, servers: Settings, **changes: Any) -> Settings:
    """Settings with a prefix, ports and a folder of their own on the servers of others."""
    password = servers.milvus_password_file or servers.home.absolute() / "secrets" / "milvus"
    addresses = {
        "kafka": servers.kafka_address, "elasticsearch": ",".join(servers.elasticsearch_urls),
        "milvus": servers.milvus_uri, "milvus_password_file": password if password.exists() else None,
        "triton": servers.triton_address,
    }
    return servers.model_copy(update={
        **addresses, "home": home.absolute(), "servers_dir": servers.servers_dir.absolute(),
        "port_base": free_ports(servers.host), "prefix": f"t-{secrets.token_hex(4)}-", "kafka_partitions": 3,
        **changes})


def free_ports(host: str = "127.0.0.1") -> int:
    """A port base of which no port is taken now, and that no other process of the same test run takes."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    bases = list(range(20_000 + 100 * (worker % 10), 30_000, 1000))
    for base in random.sample(bases, len(bases)):
        if all(port_is_free(host, base + port) for port in (*Port, *range(Port.METRICS, Port.METRICS + len(NAMES)))):
            return base
    raise AssertionError("no hundred free ports were found")


async def remove(settings: Settings) -> None:
    """Deletes topics, groups, indices and collections with the prefix of these settings."""
    if not settings.prefix:
        raise ValueError("only what has a prefix of its own is removed")
    es = elasticsearch(settings)
    try:
        await _remove_indices(es, settings.prefix)
    finally:
        await es.close()
    client, prefix = milvus(settings), settings.prefix.replace("-", "_")
    try:
        for name in await client.run("listing", lambda c: c.list_collections()):
            if name.startswith(prefix):
                await client.run("dropping", lambda c, name=name: c.drop_collection(name))  # type: ignore[misc]  # bound now
    finally:
        await client.close()
    await asyncio.to_thread(clean_up, settings)


async def _remove_indices(es: AsyncElasticsearch, prefix: str) -> None:
    for index in await es.indices.get(index=f"{prefix}*"):
        with suppress(NotFoundError):
            await es.indices.delete(index=index)
