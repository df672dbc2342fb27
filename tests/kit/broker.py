"""A Kafka of a test's own, which it may kill and start again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from infra.local.kafka import Kafka
from infra.local.machine import find_jdk
from infra.local.server import Place
from tests.kit.system import free_ports
from weir.settings import Settings


class Broker:
    """One broker; its data survive `kill` and `start`."""

    def __init__(self, settings: Settings) -> None:
        jdk = find_jdk(os.environ)
        assert isinstance(jdk, Path), jdk
        self._server = Kafka(Place(settings, jdk))
        self._log = settings.home / "kafka.log"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns once the broker answers."""
        self._process = await asyncio.to_thread(self._launch)
        for _ in range(600):
            if await asyncio.to_thread(self._server.ready):
                return
            if self._process.poll() is not None:
                break
            await asyncio.sleep(0.1)
        raise AssertionError(f"the broker did not come up:\n{self._log.read_text()[-3000:]}")

    def _launch(self) -> subprocess.Popen[bytes]:
        launch = self._server.launch()
        with self._log.open("ab") as log:
            return subprocess.Popen(launch.argv, cwd=launch.cwd, env={**os.environ, **launch.environment}, stdout=log,
                                    stderr=subprocess.STDOUT)

    def install(self) -> None:
        self._server.install()
        self._server.prepare()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None


@asynccontextmanager
async def own_broker(folder: Path) -> AsyncIterator[tuple[Broker, Settings]]:
    """A running broker of one's own, on ports that nobody has, and the settings that lead to it."""
    shared = Settings()
    settings = Settings(home=folder, port_base=free_ports(), kafka="", kafka_heap="256m", kafka_partitions=4, prefix="",
                        servers_dir=shared.servers_dir.absolute())
    broker = Broker(settings)
    await asyncio.to_thread(broker.install)
    try:
        await broker.start()
        yield broker, settings
    finally:
        broker.kill()
