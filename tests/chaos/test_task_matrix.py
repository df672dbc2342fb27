"""The kill matrix of tasks: everything that runs them is killed and frozen, at random and at each named point.

At least a hundred tasks of ten steps are in flight until the last blow. Short here; `make chaos` deals 300 blows.
A recorder outside counts the effects and merges nothing.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from elasticsearch import AsyncElasticsearch

from consumers.tools.catalogue import offer_of
from schemas import keys, topics
from schemas.events import DecisionStatus, TaskOutcome, Workspace
from tests.kit.broker import own_broker
from tests.kit.matrix import EFFECTS, PLAN, Gatherings, Log, People, scripted_model
from tests.kit.monkey import Crew
from tests.kit.tool_workers import Act, Look, Sign, recorded
from tests.kit.waiting import until
from weir.agents.replay import replay
from weir.clock import system_clock
from weir.kafka import dead_letters
from weir.kafka.admin import ensure_topics
from weir.kafka.producer import Producer
from weir.settings import Settings, load
from weir.stores import elasticsearch

BLOWS = int(os.environ.get("WEIR_CHAOS_BLOWS", "40"))
CANARY_BLOWS = 4
CANARY_IN_FLIGHT = 20
SEED = int(os.environ.get("WEIR_CHAOS_SEED", "7"))
PACE = 1.5
"""Seconds between two tries to strike; a process that starts takes a core for about as long."""
IN_FLIGHT = 100
RESERVE = 30
"""Tasks more than that, so that blows are not put off while the gateway is away."""
SETTLED = 400.0

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900 + 12 * BLOWS)]


async def test_no_task_no_step_and_no_effect_is_lost_or_doubled(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with matrix(tmp_path) as (settings, gatherings, people, log):
        async with under_load(gatherings, people, log, IN_FLIGHT) as in_flight:
            await asyncio.gather(gatherings.disturb(BLOWS, PACE, lambda: in_flight() >= IN_FLIGHT),
                                 restart(gatherings, BLOWS))
        with capsys.disabled():
            print(f"\n{gatherings.tabulated()}\n{len(people.tasks)} tasks, {len(log.unknown)} outcomes that a person "
                  "was asked about")
        check(people, log, tmp_path / "recorder")
        await asyncio.sleep(0.5)
        report = await asyncio.to_thread(replay, settings)
        assert report.snapshots and not report.differences, report.differences[:5]
        assert await dead_letters.letters(settings) == []


async def test_canary_the_matrix_notices_a_worker_without_intents(tmp_path: Path) -> None:
    async with matrix(tmp_path, tools={"TOOL_VARIANT": "no-intent"}) as (_, gatherings, people, log):
        async with under_load(gatherings, people, log, CANARY_IN_FLIGHT):
            await gatherings.kill_at("tools", "after effect", CANARY_BLOWS)
        assert done_twice(tmp_path / "recorder")
        with pytest.raises(AssertionError):
            check(people, log, tmp_path / "recorder")


@asynccontextmanager
async def matrix(folder: Path, *, tools: dict[str, str] | None = None,
                 ) -> AsyncIterator[tuple[Settings, Gatherings, People, Log]]:
    """All that runs tasks, on a broker of its own, with people who ask and decide."""
    async with AsyncExitStack() as stack:
        shared = load()
        url = await stack.enter_async_context(scripted_model())
        broker, own = await stack.enter_async_context(own_broker(folder))
        settings = Settings(**{
            **own.model_dump(), "prefix": f"t-{secrets.token_hex(4)}-", "kafka": own.kafka_address,
            "elasticsearch": ",".join(shared.elasticsearch_urls), "milvus": shared.milvus_uri,
            "triton": shared.triton_address, "model": "openai:scripted", "model_url": url, "tasks_per_minute": 100_000,
            "public_url": ""})
        es = elasticsearch(settings)
        stack.push_async_callback(es.close)
        stack.push_async_callback(_remove, es, settings)
        recorder = folder / "recorder"
        await ensure_topics(settings)
        await offer(await stack.enter_async_context(Producer(settings)), recorder)
        outside = {"TOOL_RECORDER": str(recorder), "TOOL_LOOKS": str(folder / "looks"), **(tools or {})}
        members: dict[str, tuple[str, int, dict[str, str]]] = {
            "engine": ("tests.kit.engines", 2, {"ENGINE_SESSION": "10000"}),
            "tools": ("tests.kit.tool_workers", 2, outside), "planner": ("streams.planner", 2, {}),
            "gateway": ("gateway", 1, {}), "views": ("consumers.views", 1, {})}
        crews = {who: Crew(module, settings, folder, extra) for who, (module, _, extra) in members.items()}
        gatherings = Gatherings(crews, folder, random.Random(SEED), broker)
        for crew in crews.values():
            stack.callback(crew.kill)
        for who, (_, count, _) in members.items():
            for number in range(count):
                gatherings.start(who, number)
        log = Log(settings)
        stack.callback(log.close)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield settings, gatherings, People(settings, log, recorder, session, gatherings), log


@asynccontextmanager
async def under_load(gatherings: Gatherings, people: People, log: Log, wanted: int
                     ) -> AsyncIterator[Callable[[], int]]:
    """Keeps so many tasks under way while the body deals its blows, and gives it their number; ends when these have
    ended, or should."""
    going = True

    def in_flight() -> int:
        return len(people.tasks) - len(log.results)

    async def follow() -> None:
        while True:
            await asyncio.to_thread(log.poll)
            await people.decide()

    async def ask() -> None:
        while going:
            missing = wanted + RESERVE - in_flight()
            await asyncio.gather(*(people.ask() for _ in range(min(20, max(0, missing)))))
            await asyncio.sleep(0.1)

    def ended() -> bool:
        gatherings.thaw()
        gatherings.revive()
        assert not following.done(), following.exception()
        return len({r.task for r in log.results}) >= len(people.tasks)

    following, asking = asyncio.create_task(follow()), asyncio.create_task(ask())
    try:
        # Tasks are at all their steps by then.
        await until(lambda: in_flight() >= wanted and len(log.results) >= wanted * 3 // 10,
                    within=SETTLED, what="tasks in flight")
        yield in_flight
        going = False
        await asking
        with suppress(AssertionError):  # what is missing is said by the check
            await until(ended, within=SETTLED, what="the tasks to end")
    finally:
        for task in (following, asking):
            task.cancel()
        await people.leave()


async def restart(gatherings: Gatherings, blows: int) -> None:
    """Kills the broker at half-time."""
    await until(lambda: sum(gatherings.table.values()) > blows // 2, within=60 + 15 * blows, what="half of the blows")
    gatherings.broker.kill(signal.SIGKILL)
    await asyncio.sleep(1)
    await gatherings.broker.start()
    gatherings.table["broker", "at random", "killed"] += 1


async def _remove(es: AsyncElasticsearch, settings: Settings) -> None:
    for index in await es.indices.get(index=f"{settings.prefix}*"):
        await es.indices.delete(index=index)


async def offer(producer: Producer, recorder: Path) -> None:
    """Publishes the tools and the workspace."""
    settings = producer.settings
    for tool in (Look(recorder), Act(recorder, "plain"), Sign(recorder, "plain")):
        await producer.send(topics.TOOLS.named(settings.prefix), keys.tool_key(tool.name, tool.schema_hash),
                            offer_of(tool, system_clock()))
    await producer.send(topics.WORKSPACES.named(settings.prefix), "library", Workspace(
        workspace="library", changed_at=int(time.time() * 1000), changed_by="test"))


def check(people: People, log: Log, recorder: Path) -> None:
    results = Counter(r.task for r in log.results)
    lost = [task for task in people.tasks if task not in results]
    waiting = {d.task for d in log.decisions.values() if d.status is DecisionStatus.PENDING}
    assert not lost, (f"{len(lost)} of {len(people.tasks)} tasks did not end, {len(waiting & set(lost))} of them wait "
                      f"for a person: {lost[:3]}")
    assert set(results.values()) == {1}, "a task ended twice"
    assert results.keys() == set(people.tasks)
    wrong = [(r.task, r.outcome, r.text, r.steps) for r in log.results
             if r.outcome is not TaskOutcome.SUCCEEDED or r.steps != len(PLAN)]
    assert not wrong, f"{len(wrong)} did not succeed in {len(PLAN)} steps: {wrong[:3]}"
    twice = done_twice(recorder)
    assert not twice, f"{len(twice)} effects were done twice"
    assert len(set(recorded(recorder))) == EFFECTS * len(people.tasks), "an effect was not done"
    open_ones = [d for d in log.decisions.values() if d.status is DecisionStatus.PENDING]
    assert not open_ones, f"proposals are left: {open_ones[:2]}"


def done_twice(recorder: Path) -> list[str]:
    return [key for key, count in Counter(recorded(recorder)).items() if count > 1]
