"""An engine as a process of its own on topics of its own, for the bench."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka.admin import AdminClient

from bench.echo import Reader, requested
from schemas import codec, topics
from schemas.events import AgentEvent, Decision
from weir.errors import SettingsError
from weir.kafka import admin, restore
from weir.kafka.config import client_config
from weir.settings import Settings, environment

TOPICS = (topics.AGENT_EVENTS, topics.AGENT_STATE, topics.AGENT_COMMANDS, topics.AGENT_EFFECTS, topics.AGENT_REPLIES,
          topics.DECISIONS, topics.TASK_RESULTS, topics.USAGE, topics.DEAD_LETTERS)
PARTITIONS = 4
"""Of each topic: enough for four engines. A batch is written partition by partition, so that more of them cost one
engine more requests and not more time for anything that matters."""
WAIT = 600.0


def until(condition: Callable[[], Any], what: str, within: float = WAIT, pause: float = 0.002) -> Any:
    """Waits for `condition` and returns what it gave.

    Raises:
        SettingsError: it does not come true.
    """
    end = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() > end:
            raise SettingsError(f"{what}: not within {within:g} s; see `weir status`")
        time.sleep(pause)
    return found


@contextlib.contextmanager
def own_topics(settings: Settings) -> Iterator[Settings]:
    """Settings with a prefix of their own and its topics, which are deleted afterwards."""
    own = Settings(**{**settings.model_dump(), "prefix": f"bench-{secrets.token_hex(4)}-",
                      "kafka_partitions": PARTITIONS})
    names = [topic.name for topic in TOPICS]
    asyncio.run(admin.ensure_topics(own, names))
    try:
        yield own
    finally:
        client = AdminClient(client_config(own))
        for future in client.delete_topics([own.prefix + name for name in names]).values():
            with contextlib.suppress(Exception):
                future.result(10)


class EngineProcess:
    """`python -m streams.agents`."""

    def __init__(self, settings: Settings, log: Path, interval: float) -> None:
        self.settings = settings
        self._log = log
        self._environment = environment(settings) | {
            "WEIR_ENGINE_INTERVAL": str(interval), "WEIR_METRICS_PORT": "0", "WEIR_PROCESS": "streams.agents"}
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as out:
            self._process = subprocess.Popen([sys.executable, "-m", "streams.agents"], env=self._environment,
                                             stdout=out, stderr=subprocess.STDOUT)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def restores(self) -> list[str]:
        """The lines that tell of a restore."""
        return [line for line in self._log.read_text().splitlines() if '"restored"' in line]

    @property
    def memory(self) -> int:
        """Resident bytes."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None


class Waiting:
    """Tasks that wait for a person, each with the proposal that it waits for."""

    def __init__(self, settings: Settings) -> None:
        self.decisions: dict[str, Decision] = {}
        self._reader = Reader(settings, topics.DECISIONS.named(settings.prefix), self._take)

    def _take(self, message: Any) -> None:
        decision: Decision = codec.decode(message.value())
        if decision.choice is None:
            self.decisions[decision.task] = decision

    def begin(self, send: Callable[[AgentEvent], None], number: int, name: str, at_a_time: int = 2_000) -> None:
        """Starts so many tasks and waits until each waits itself."""
        left = [requested(f"{name}-{n}") for n in range(number)]
        begun: set[str] = set()
        while left or begun:
            while left and len(begun) < at_a_time:
                begun.add(left[-1].task)
                send(left.pop())
            until(partial(self._some, frozenset(begun)), "tasks come to wait")
            begun -= self.decisions.keys()

    def _some(self, tasks: frozenset[str]) -> bool:
        return not tasks.isdisjoint(self.decisions)

    def close(self) -> None:
        self._reader.close()


def snapshot_bytes(settings: Settings) -> tuple[int, float]:
    """Live tasks on `agent-state` and the mean size of their snapshots."""
    topic = topics.AGENT_STATE.named(settings.prefix)
    live: dict[bytes, int] = {}

    def take(messages: Any) -> None:
        for message in messages:
            key = message.key() or b""
            if message.value() is None:
                live.pop(key, None)
            elif not key.startswith(b"!"):
                live[key] = len(message.value())

    restore.read_to(settings, topic, restore.ends(settings, topic, restore.partitions(settings, topic)), take)
    return len(live), sum(live.values()) / max(1, len(live))
