"""Live figures on Faust: what comes out, what a kill costs, and that it costs nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient
from playwright.async_api import Browser, expect

from schemas import keys, topics
from schemas.events import Done, Feedback, Insight, Outcome, Person, Turn, TurnOutcome
from tests.kit.answers import Asker
from tests.kit.chromium import overflowing, page_of
from tests.kit.gateway import Gateway, gateway, gateway_settings
from tests.kit.kafka import kafka, own_settings
from tests.kit.rivers import RIVERS, WET, library
from tests.kit.system import free_ports
from weir.answers.attempts import Effect
from weir.clock import system_clock
from weir.erasing import broker
from weir.insights.exact import compared, exact, live, summed
from weir.insights.figures import MILLIS, MINUTE, SCORES
from weir.kafka.admin import committed, lag
from weir.kafka.config import client_config
from weir.kafka.producer import Producer
from weir.settings import Settings, environment

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
PATIENCE = 90.0
FIGURES = (topics.INSIGHTS, topics.CACHE_FIGURES)
"""What is counted: by workers of insights, and by those of answers now and then."""
NAMES = [t.name for t in topics.TOPICS if "{" not in t.name]


@pytest.fixture
async def producer(tmp_path: Path) -> AsyncIterator[Producer]:
    async with kafka(own_settings(tmp_path), NAMES) as made:
        yield made


@asynccontextmanager
async def worker(settings: Settings, folder: Path) -> AsyncIterator[Process]:
    """The real process, with its log in a folder; every warning of what it runs is an error."""
    with (folder / "insights.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-m", "streams.insights", cwd=ROOT, stdout=log, stderr=log,
            env=environment(settings))
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
                code = await asyncio.wait_for(process.wait(), 30)
                assert code == 0, (folder / "insights.log").read_text()[-3000:]


def weir_insights(settings: Settings, *options: str) -> Any:
    """What `weir insights` prints."""
    done = subprocess.run([sys.executable, "-m", "cli.main", "insights", *options], cwd=ROOT, env=environment(settings),
                          capture_output=True, check=True)
    return json.loads(done.stdout)


async def ask(producer: Producer, number: int, workspace: str = "library") -> None:
    now = system_clock()
    turn = Turn(turn=f"t{number}", conversation=f"c{number % 40}", workspace=workspace, question="?", text="!",
                person=Person(subject="ann", groups=[]), outcome=TurnOutcome.ANSWERED, sources=[], citations=[],
                asked_at=now, finished_at=now, timings={"total": 40.0}, tokens_in=3)
    await producer.send(topics.TURNS.named(producer.settings.prefix), keys.turn_key(turn.conversation, turn.turn), turn,
                        partition_key=turn.conversation)


async def until(look: Any, holds: Any, within: float = PATIENCE) -> Any:
    for _ in range(int(within / 0.5)):
        if holds(found := await look()):
            return found
        await asyncio.sleep(0.5)
    raise AssertionError(f"it did not get there: {found}")


async def test_figures_come_out_and_agree_with_an_exact_count(producer: Producer, tmp_path: Path) -> None:
    settings, port = producer.settings, free_ports() + 50
    async with worker(settings.model_copy(update={"metrics_port": port}), tmp_path):
        for n in range(60):
            await ask(producer, n, "library" if n % 3 else "other")
        await producer.send(topics.FEEDBACK.named(settings.prefix), "ann", Feedback(
            subject="ann", turn="t1", workspace="library", good=True, at=system_clock()))
        await until(lambda: live(settings), lambda f: summed(f).counts.get("questions") == 60
                    and summed(f).counts.get("feedback_good") == 1)
        assert compared(await live(settings), await exact(settings)) == []
        async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/metrics") as response:
            told = await response.text()
        assert 'weir_insights_total{figure="questions",workspace="other"} 20.0' in told
        assert 'weir_insights_stage_seconds_count{stage="total"} 60.0' in told
        async with gateway(gateway_settings(settings, tmp_path / "gateway")) as here:
            admin = {"user": "root", "groups": ("weir-admins",)}
            _, shown = await until(lambda: here.call("GET", "/v1/insights?minutes=10", **admin),
                                   lambda r: r[1]["total"].get("questions") == 60)
            assert shown["workspaces"] == ["library", "other"] and shown["stages"]["total"]["p95"] == 50
            assert (len(shown["points"]), shown["step"]) == (10, 1)
            assert sum(point["counts"].get("questions", 0) for point in shown["points"]) == 60
            _, other = await here.call("GET", "/v1/insights?minutes=1440&workspace=other", **admin)
            assert (other["total"]["questions"], len(other["points"]), other["step"]) == (20, 180, 8)
            await here.call("PUT", "/v1/workspaces/other", json={"publishers": ["editors"]}, **admin)
            editor: dict[str, Any] = {"user": "eve", "groups": ("editors",)}
            assert (await here.call("GET", "/v1/insights", **editor))[1]["total"]["questions"] == 20
            assert (await here.call("GET", "/v1/insights?workspace=library", **editor))[0] == 403
            _, none = await here.call("GET", "/v1/insights", user="rob")
            assert (none["total"], none["workspaces"]) == ({}, [])
    found = await asyncio.to_thread(weir_insights, settings, "--exact", "--json")
    assert found["counts"]["questions"] == 60 and found["differences"] == []


def records(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """All that the topics hold, but for the figures."""
    return {name: sorted((r.partition, r.offset, r.key, r.value) for r in broker.read(settings, name))
            for name, topic in broker.topics_there(settings).items() if topic not in FIGURES}


async def offsets(settings: Settings) -> dict[tuple[str, int], dict[str, int]]:
    """How far every group has come, but for the one of the figures."""
    found = await committed(settings, "")
    mine = f"{settings.prefix}streams.insights"
    return {place: others for place, at in found.items() if (others := {g: o for g, o in at.items() if g != mine})}


async def calm(settings: Settings) -> bool:
    """Whether every other group has read all there is."""
    behind = {group: topics for group, topics in (await lag(settings)).items() if not group.endswith(".insights")}
    return len(behind) > 3 and not any(sum(topics.values()) for topics in behind.values())


async def members(settings: Settings) -> int:
    """How many workers share the topics, once each has its partitions."""
    group = f"{settings.prefix}streams.insights"
    admin = AdminClient(client_config(settings))
    found = await asyncio.to_thread(lambda: admin.describe_consumer_groups([group])[group].result(30))
    shares = [len(member.assignment.topic_partitions) for member in found.members]
    return len(shares) if found.state is ConsumerGroupState.STABLE and all(shares) else 0


async def test_killed_workers_touch_nothing_but_the_figures(tmp_path: Path) -> None:
    async with library() as weir, Asker(weir.settings, weir.producer) as asker, AsyncExitStack() as stack:
        settings = weir.settings

        async def start(count: int) -> Process:
            """One more worker; all of them have partitions."""
            made = await stack.enter_async_context(worker(settings, tmp_path))
            await until(lambda: members(settings), lambda n: n == count)
            return made

        async def kill(process: Process) -> None:
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()

        async def ask(count: int) -> list[str]:
            asked = [await asker.ask(WET.format(RIVERS[n % len(RIVERS)])) for n in range(count)]
            for answer in asked:
                ended = (await asker.ended(answer)).terminal
                assert isinstance(ended, Done) and ended.outcome is Outcome.ANSWERED
            return asked

        async def questions() -> int:
            return summed(await live(settings)).counts.get("questions", 0)

        async def told_exactly() -> tuple[Any, int] | None:
            """What `weir insights --exact` says, and the live count that was the same before and after it."""
            before = await questions()
            told = await asyncio.to_thread(weir_insights, settings, "--exact", "--json")
            return (told, before) if await questions() == before else None

        # Workers die while people ask.
        first = await start(1)
        asked = await ask(8)
        second = await start(2)
        asked += await ask(4)
        await kill(first)
        asked += await ask(8)
        third = await start(2)
        asked += await ask(4)
        await kill(second)
        await kill(third)
        asked += await ask(4)
        await until(lambda: calm(settings), bool)
        turns = [r.key.decode().split("/")[1] for r in broker.read(settings, weir.topic(topics.TURNS)) if r.key]
        assert sorted(turns) == sorted(asked), "one turn for each answer"
        assert not any(effect is Effect.RESET for answer in asked for effect, *_ in asker.effects[answer])

        # Workers come, count what was left and die while nobody asks.
        before, places = await asyncio.to_thread(records, settings), await offsets(settings)
        await kill(await start(1))
        last = await start(1)
        counted = await until(questions, lambda n: n > 0)
        await start(2)
        await kill(last)
        assert await asyncio.to_thread(records, settings) == before
        assert await offsets(settings) == places

        # Faust may have lost some and counted some twice, and the exact count says which.
        true = await exact(settings)
        assert summed(true).counts["questions"] == len(asked)
        assert counted <= 2 * len(asked)
        # The worker that is left may still count what the killed one held: compare while the live figures stand still.
        told, now = await until(told_exactly, lambda pair: pair is not None)
        assert told["counts"]["questions"] == len(asked)
        assert sum(d["live"] - d["exact"] for d in told["differences"] if d["figure"] == "questions") == (
            now - len(asked))
    lines = [json.loads(line) for line in (tmp_path / "insights.log").read_text().splitlines()]
    assert all(line["process"] == "streams.insights" for line in lines), "what Faust says is in the process's log"


def part(minute: int, workspace: str, number: int) -> Insight:
    """What a worker may have counted of a minute."""
    slow = [0] * (len(MILLIS) + 1)
    slow[3], slow[4], slow[6] = 6, 3, 1 + number % 3
    scores = [0] * (len(SCORES) + 1)
    scores[4], scores[5] = 6, 4
    return Insight(workspace=workspace, minute=minute, part="p", at=minute, scores=scores, stages={
        "first_text": slow, "total": slow, "retrieval": slow, "embed": [*slow[1:], 0]}, counts={
            "questions": 8 + number % 7, "answered": 7, "cited": 6, "not_in_sources": 1 + number % 2, "searches": 2,
            "feedback_good": 2, "feedback_bad": 1, "tokens_in": 900, "tokens_out": 100 * number, "micros": 1500,
            "approved": 3, "denied": 1, "tasks": 2, "tasks_at_step_limit": number % 2})


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="module")
async def test_the_page_shows_the_figures_and_no_other_workspace(chromium: Browser, tmp_path: Path) -> None:
    async with kafka(own_settings(tmp_path), NAMES) as producer:
        await counted(producer)
        (tmp_path / "people.json").write_text(json.dumps([{"user": "pia", "name": "Pia", "groups": ["publishers"]}]))
        async with gateway(gateway_settings(producer.settings, tmp_path)) as here:
            await look(chromium, here)


async def counted(producer: Producer) -> None:
    """Half an hour of two workspaces."""
    now = system_clock() // MINUTE * MINUTE
    for n in range(30):
        for workspace in ("library", "secrets"):
            insight = part(now - n * MINUTE, workspace, n)
            key = keys.insight_key(workspace, insight.minute, insight.part)
            await producer.send(topics.INSIGHTS.named(producer.settings.prefix), key, insight, partition_key=workspace)


async def look(chromium: Browser, here: Gateway) -> None:
    """Pia sees what she publishes into, on a phone and on a desk."""
    for workspace, publisher in (("library", "publishers"), ("secrets", "others")):
        await here.call("PUT", f"/v1/workspaces/{workspace}", json={"publishers": [publisher]}, user="adam",
                        groups=("weir-admins",))
    for width in (360, 1280):
        async with page_of(chromium, here, "pia", "/insights", tolerated="status of (403|503)",
                           viewport={"width": width, "height": 900}) as made:
            asked = made.locator(".small", has_text="Questions")
            await expect(asked.locator("strong")).to_have_text(str(sum(8 + n % 7 for n in range(30))))
            await expect(asked.locator("rect")).to_have_count(30)
            await expect(made.locator(".small", has_text="Feedback").locator("strong")).to_have_text("60 / 30")
            await expect(made.locator(".stages tr")).to_have_count(4)
            await expect(made.locator("#workspaces li")).to_have_text(["All", "library"])
            await made.get_by_role("button", name="Day").click()
            await expect(made.locator("#state")).to_contain_text("8 minutes a point")
            await made.goto(here.url + "/insights#workspace=secrets")
            await expect(made.locator("#problem")).to_contain_text("you may not publish into 'secrets'")
            assert await overflowing(made) == []
