"""Tool workers killed and frozen at random while effects stream through: nothing done twice, nothing lost."""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from schemas.events import AgentCommand, CallOutcome, CallTool, ToolReturned
from tests.kit import engines, tool_workers
from tests.kit.broker import own_broker
from tests.kit.monkey import Crew
from tests.kit.tool_workers import Act, command, recorded
from weir.kafka import admin
from weir.kafka.producer import Producer
from weir.settings import Settings

pytestmark = pytest.mark.timeout(600)

SEED = 20261121
EFFECTS = 120
PACE = 0.35
"""Seconds between two effects: they come until after the last kill."""
SESSION = 10.0
PATIENCE = 180.0
"""Seconds until everybody is told: a commit that hangs is given up after 45, a broker may take 30 to come back."""
WORKERS = 2


class Outside:
    """Keeps workers running, as a supervisor does, and hurts them."""

    def __init__(self, crew: Crew, seed: int) -> None:
        self.crew, self._random = crew, random.Random(seed)
        self.did: Counter[str] = Counter()
        self._frozen: set[int] = set()

    async def keep(self) -> None:
        while True:
            for number, process in list(self.crew.running.items()):
                if process.poll() is not None:
                    self.did[f"ended with {process.returncode}"] += 1
                    self.crew.start(number)
            await asyncio.sleep(0.2)

    async def hurt(self, until: float) -> None:
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < until:
                await asyncio.sleep(self._random.uniform(1.0, 3.0))
                number = self._random.randrange(WORKERS)
                if number in self._frozen:
                    continue
                if self._random.random() < 0.25 and not self._frozen:
                    group.create_task(self._freeze(number))
                else:
                    self.did["killed"] += 1
                    self.crew.signal(number, signal.SIGKILL)

    async def _freeze(self, number: int) -> None:
        self._frozen.add(number)
        self.did["frozen"] += 1
        process = self.crew.running[number]
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(self._random.uniform(SESSION + 1, SESSION + 3))
        process.send_signal(signal.SIGCONT)
        self._frozen.discard(number)


async def test_no_effect_is_lost_or_done_twice_whatever_happens_to_the_workers(tmp_path: Path) -> None:
    async with own_broker(tmp_path / "broker") as (_, broker):
        settings = Settings(**{**broker.model_dump(), "prefix": f"t-{secrets.token_hex(4)}-", "home": tmp_path,
                               "kafka_partitions": 4})
        await admin.ensure_topics(settings, tool_workers.TOPICS)
        recorder = tmp_path / "recorder"
        crew = Crew("tests.kit.tool_workers", settings, tmp_path, {"TOOL_RECORDER": str(recorder)})
        act = Act(recorder, "plain")
        sent: dict[str, AgentCommand] = {}
        async with Producer(settings) as producer:
            async def send(task: str, attempt: int = 1) -> None:
                sent[task] = command(task, "something", act, attempt=attempt, seconds=0.05)
                await producer.send(f"{settings.prefix}agent-effects", task, sent[task])

            outside = Outside(crew, SEED)
            for number in range(WORKERS):
                crew.start(number)
            keeping = asyncio.create_task(outside.keep())
            try:
                hurting = asyncio.create_task(outside.hurt(time.monotonic() + EFFECTS * PACE - 2))
                for n in range(EFFECTS):
                    await send(f"t{n}")
                    await asyncio.sleep(PACE)
                await hurting
                told = await until_told(settings, sent)
                # Everybody is thawed: a person looks at the outside, and says again only where nothing was done.
                unknown = {task for task, outcome in told.items() if outcome is CallOutcome.UNKNOWN}
                done = set(recorded(recorder))
                for task in unknown:
                    if key(sent[task]) not in done:
                        await send(task, attempt=2)
                told = await until_told(settings, sent)
            finally:
                keeping.cancel()
                for process in crew.running.values():
                    process.send_signal(signal.SIGCONT)
                    process.kill()
                    await asyncio.to_thread(process.wait)
        counts = Counter(recorded(recorder))
        print(f"\n{dict(outside.did)}; {len(sent)} effects, {len(unknown)} asked of a person")
        assert [k for k, times in counts.items() if times > 1] == [], "done twice"
        assert {key(c) for c in sent.values()} - counts.keys() == set(), "lost"
        assert outside.did["killed"] >= 8 and outside.did["frozen"] >= 1, outside.did


async def test_a_broker_that_is_killed_and_comes_back_loses_no_effect_and_doubles_none(tmp_path: Path) -> None:
    async with own_broker(tmp_path / "broker") as (kafka, broker):
        settings = Settings(**{**broker.model_dump(), "prefix": f"t-{secrets.token_hex(4)}-", "home": tmp_path,
                               "kafka_partitions": 4})
        await admin.ensure_topics(settings, tool_workers.TOPICS)
        recorder = tmp_path / "recorder"
        crew = Crew("tests.kit.tool_workers", settings, tmp_path, {"TOOL_RECORDER": str(recorder)})
        act, sent = Act(recorder, "plain"), {}
        async with Producer(settings) as producer:
            outside = Outside(crew, SEED)
            crew.start(0)
            keeping = asyncio.create_task(outside.keep())
            try:
                for n in range(60):
                    if n in (20, 40):
                        await asyncio.to_thread(kafka.kill)
                        await kafka.start()
                    sent[f"t{n}"] = command(f"t{n}", "something", act, seconds=0.2)
                    await producer.send(f"{settings.prefix}agent-effects", f"t{n}", sent[f"t{n}"])
                    await asyncio.sleep(0.1)
                told = await until_told(settings, sent)
            finally:
                keeping.cancel()
                await asyncio.to_thread(crew.stop)
        counts = Counter(recorded(recorder))
        unknown = [task for task, outcome in told.items() if outcome is CallOutcome.UNKNOWN]
        print(f"\n{dict(outside.did)}; {len(unknown)} asked of a person")
        assert [k for k, times in counts.items() if times > 1] == [], "done twice"
        lost = {task for task, made in sent.items() if key(made) not in counts}
        assert lost <= set(unknown), "lost"


def key(made: AgentCommand) -> str:
    assert isinstance(made.body, CallTool)
    return made.body.key


async def until_told(settings: Settings, sent: dict[str, AgentCommand]) -> dict[str, CallOutcome]:
    """What each task was told of its latest attempt, once all were; telling one task two things is an error."""
    until = time.monotonic() + PATIENCE
    while True:
        told: dict[str, set[CallOutcome]] = {}
        events: list[Any] = await asyncio.to_thread(engines.events, settings, "agent-events")
        for event in events:
            if isinstance(event.body, ToolReturned) and event.body.attempt == sent[event.task].attempt:
                told.setdefault(event.task, set()).add(event.body.outcome)
        if told.keys() == sent.keys():
            assert all(len(outcomes) == 1 for outcomes in told.values()), "one task was told one thing and another"
            return {task: next(iter(outcomes)) for task, outcomes in told.items()}
        assert time.monotonic() < until, f"never told: {sorted(sent.keys() - told.keys())}"
        await asyncio.sleep(0.5)
