"""Engines that are killed, frozen past their session and stopped, and a broker that dies, under a paced load of tasks.

Short by default; WEIR_CHAOS_SECONDS sets how long the monkey plays.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from bench.echo import Echo, requested, waves
from tests.kit import engines
from tests.kit.broker import own_broker
from tests.kit.engine_check import faults
from tests.kit.engines import events
from tests.kit.monkey import Crew, Monkey
from weir.errors import Unavailable
from weir.settings import Settings

pytestmark = pytest.mark.timeout(900)

SECONDS = float(os.environ.get("WEIR_CHAOS_SECONDS", "30"))
STEPS = 10
IN_FLIGHT = 100


class Load:
    """Keeps so many tasks in flight, as long as it is let."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tasks: list[str] = []
        self.ended: set[str] = set()
        # A tool takes a while, so that tasks are caught in the middle.
        self.echo = Echo(settings, waves(STEPS), delay=0.05)
        self.going = True

    async def run(self) -> None:
        while self.going:
            while len(self.tasks) - len(self.ended) < IN_FLIGHT:
                event = requested(str(len(self.tasks)))
                self.tasks.append(event.task)
                self.echo.send(event)
            await asyncio.sleep(0.2)
            await self._look()

    async def _look(self) -> None:
        self.echo.poll()
        # While the broker is away there is nothing to see.
        with contextlib.suppress(KafkaException, Unavailable):
            self.ended = {r.task for r in await asyncio.to_thread(events, self.settings, "task-results")}

    async def end(self, crew: Crew, within: float = 90) -> None:
        """Waits for the tasks that are under way."""
        self.going = False
        for _ in range(int(within / 0.5)):
            revive(crew)
            await self._look()
            if len(self.ended) == len(self.tasks):
                return
            await asyncio.sleep(0.5)
        missing = len(self.tasks) - len(self.ended)
        raise AssertionError(f"{missing} of {len(self.tasks)} tasks did not end\n{crew.tail()}")


def revive(crew: Crew) -> None:
    """The supervisor's part: an engine that was shut out ends, and is started again."""
    for number, process in list(crew.running.items()):
        if process.poll() not in (None, -signal.SIGKILL):
            del crew.running[number]
            crew.start(number)


class Supervised(Monkey):
    """A monkey whose victims may also end by themselves, shut out after a freeze."""

    async def _play(self, trick: str, number: int, seconds: float) -> None:
        revive(self.crew)
        self.did.append(f"{trick} {number}")
        process = self.crew.running[number]
        if trick == "freeze":
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            process.send_signal(signal.SIGCONT)
        else:
            process.send_signal(signal.SIGKILL if trick == "kill" else signal.SIGTERM)
            await asyncio.to_thread(process.wait, 30)
            self.crew.start(number)
        self._busy.discard(number)


@pytest.mark.parametrize("seed", [5])
async def test_engines_may_be_killed_frozen_and_stopped_at_any_moment(tmp_path: Path, seed: int) -> None:
    async with own_broker(tmp_path) as (broker, settings):
        await engines.topics_for(settings)
        crew = Crew("tests.kit.engines", settings, tmp_path, {"ENGINE_SESSION": "6000"})
        for number in (1, 2):
            crew.start(number)
        load = Load(settings)
        try:
            loading = asyncio.create_task(load.run())
            # Some freezes are shorter than the session of six seconds, some longer.
            monkey = Supervised(crew, seed, freeze=(1.0, 9.0))
            await monkey.play(SECONDS)
            broker.kill()
            await asyncio.sleep(1)
            await broker.start()
            await asyncio.sleep(3)
            load.going = False
            await loading
            await load.end(crew)
        finally:
            crew.stop()
            load.echo.close()
        assert len(monkey.did) >= SECONDS / 4, monkey.did
        found = await asyncio.to_thread(faults, settings, load.tasks, steps=STEPS)
        assert not found, (found[:10], monkey.did)
        assert len(load.tasks) > IN_FLIGHT
