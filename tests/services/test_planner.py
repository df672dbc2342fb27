"""The planner's worker on a real broker: it reads by place, ahead of the commit, and loses no command when killed."""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer as Client

from schemas import codec, keys
from schemas.events import (
    AgentCommand,
    AgentEvent,
    Amounts,
    CallModel,
    CallOutcome,
    ModelFailed,
    ModelReplied,
    Place,
    PlanEnd,
    ToolReturned,
)
from streams import planner
from tests.kit import engines
from tests.kit.monkey import Crew
from tests.kit.planning import TOOLS, asked
from weir.clock import system_clock
from weir.kafka import admin
from weir.kafka.config import transactional_config
from weir.kafka.places import Places
from weir.kafka.process import Context
from weir.kafka.producer import Producer
from weir.settings import Settings

TOPICS = ("agent-events", "agent-commands", "tools", "dead-letters", "replays")
PLENTY = Amounts(steps=9, tokens=9000, micros=9000, seconds=900)
GOAL = "Compare the three contracts on price"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with engines.broker(tmp_path_factory.mktemp("broker")) as (_, settings):
        yield settings


class Stage:
    """A log with tasks on it."""

    def __init__(self, settings: Settings, producer: Producer) -> None:
        self.settings, self.producer = settings, producer

    async def put(self, task: str, body: Any) -> Place:
        event = AgentEvent(task=task, event=secrets.token_hex(8), at=1, body=body)
        delivery = await self.producer.send(f"{self.settings.prefix}agent-events", task, event)
        return Place(partition=delivery.partition, offset=delivery.offset)

    def command(self, task: str, first: Place, history: list[Place] | None = None, step: int = 1) -> AgentCommand:
        return AgentCommand(task=task, command=keys.command_id(task, step, -1), attempt=1, at=1, body=CallModel(
            step=step, first=first, history=history or [], left=PLENTY))

    async def send(self, command: AgentCommand) -> None:
        await self.producer.send(f"{self.settings.prefix}agent-commands", command.task, command)

    async def begin(self, task: str, goal: str = GOAL) -> AgentCommand:
        command = self.command(task, await self.put(task, asked(goal)))
        await self.send(command)
        return command

    def replies(self, *tasks: str) -> list[ModelReplied | ModelFailed]:
        found: list[AgentEvent] = engines.events(self.settings, "agent-events")
        return [e.body for e in found if isinstance(e.body, ModelReplied | ModelFailed) and (
            not tasks or e.task in tasks)]

    async def reply(self, task: str, number: int = 1) -> ModelReplied | ModelFailed:
        found = await until(lambda: r if len(r := self.replies(task)) >= number else None)
        return found[number - 1]  # type: ignore[no-any-return]


async def until(condition: Callable[[], Any], within: float = 30.0) -> Any:
    end = time.monotonic() + within
    while not (found := await asyncio.to_thread(condition)):
        assert time.monotonic() < end, f"not within {within} s"
        await asyncio.sleep(0.1)
    return found


@pytest.fixture
async def stage(broker: Settings, tmp_path: Path) -> AsyncIterator[Stage]:
    settings = Settings(**{**broker.model_dump(), "prefix": f"t-{secrets.token_hex(4)}-", "home": tmp_path,
                           "kafka_partitions": 2, "drain_timeout": 2.0})
    await admin.ensure_topics(settings, TOPICS)
    async with Producer(settings) as producer:
        for tool in TOOLS.values():
            await producer.send(f"{settings.prefix}tools", keys.tool_key(tool.name, tool.schema_hash), tool)
        yield Stage(settings, producer)


@asynccontextmanager
async def working(stage: Stage) -> AsyncIterator[None]:
    """A planner in this process."""
    context = Context(stage.settings, stage.producer, asyncio.Event(), system_clock)
    task = asyncio.create_task(planner.main(context))
    try:
        yield
    finally:
        context.stop.set()
        await task


async def test_it_plans_from_the_records_that_a_command_names(stage: Stage) -> None:
    async with working(stage):
        first = await stage.begin("t1")
        planned = await stage.reply("t1")
        assert isinstance(planned, ModelReplied)
        assert (planned.command, planned.end, [c.tool for c in planned.calls]) == (
            first.command, PlanEnd.CALLS, ["list_documents"])
        assert isinstance(first.body, CallModel)
        thought = await stage.put("t1", planned)
        found = await stage.put("t1", ToolReturned(
            command=keys.command_id("t1", 1, 0), attempt=1, outcome=CallOutcome.SUCCEEDED,
            content='[{"document":"a","title":"Contract A","source":""},{"document":"b","title":"Contract B",'
                    '"source":""},{"document":"c","title":"Contract C","source":""}]'))
        for _ in range(50):  # others' events in between
            await stage.put("t2", asked(GOAL))
        await stage.send(stage.command("t1", first.body.first, [thought, found], step=2))
        following = await stage.reply("t1", 3)  # the reply, its copy above, and this one
        assert isinstance(following, ModelReplied)
        assert [(c.tool, c.arguments) for c in following.calls] == [
            ("extract_fields", '{"documents":["a","b","c"],"fields":["price"]}')]


async def test_it_plans_ahead_of_the_commit_and_drops_what_it_has_seen(stage: Stage) -> None:
    config = transactional_config(stage.settings, f"{stage.settings.prefix}engine")
    client = Client(config)
    await asyncio.to_thread(client.init_transactions)
    command = stage.command("t1", await stage.put("t1", asked(GOAL)))
    async with working(stage):
        client.begin_transaction()
        client.produce(f"{stage.settings.prefix}agent-commands", codec.encode(command), b"t1")
        client.flush()
        assert isinstance(await stage.reply("t1"), ModelReplied)
        await asyncio.to_thread(client.abort_transaction)
        await stage.send(command)  # the engine's successor says the same again
        await stage.begin("t2")
        await stage.reply("t2")
        assert len(stage.replies("t1")) == 1


async def test_it_says_why_it_cannot_plan(stage: Stage) -> None:
    async with working(stage):
        await stage.send(stage.command("t1", Place(partition=0, offset=10_000)))
        gone = await stage.reply("t1")
        assert isinstance(gone, ModelFailed)
        assert (gone.code, gone.retriable) == ("transcript_gone", False)
        await stage.send(stage.command("t2", await stage.put("t2", asked(GOAL, planner="openai:other"))))
        unknown = await stage.reply("t2")
        assert isinstance(unknown, ModelFailed)
        assert "openai:other" in unknown.message and not unknown.retriable


async def test_records_are_read_by_place_near_and_far(stage: Stage) -> None:
    places = [await stage.put(f"t{number % 7}", asked(f"goal {number}")) for number in range(1200)]
    reader = Places(stage.settings, f"{stage.settings.prefix}agent-events", stage.producer.blobs, most_bytes=100_000)
    try:
        for _ in range(3):
            wanted = random.Random(5).sample(range(1200), 40)
            found = await reader.events([(places[i].partition, places[i].offset) for i in wanted])
            assert [e.body.goal for e in found if e] == [f"goal {i}" for i in wanted]
        gone, there = await reader.events([(0, 10**6), (places[3].partition, places[3].offset)])
        assert gone is None
        assert there is not None and there.body.goal == "goal 3"
    finally:
        await reader.close()


async def test_a_killed_planner_loses_no_command(stage: Stage, tmp_path: Path) -> None:
    crew = Crew("streams.planner", stage.settings, tmp_path)
    for number in range(2):
        crew.start(number)
    chance = random.Random(20261121)
    tasks = [f"task-{number}" for number in range(120)]
    try:
        await stage.begin("warm")
        await stage.reply("warm")

        async def kills() -> None:
            for _ in range(5):
                await asyncio.sleep(chance.uniform(0.3, 1.2))
                number = chance.choice(sorted(crew.running))
                crew.signal(number, signal.SIGKILL)
                await asyncio.to_thread(crew.wait, number)
                crew.start(number)

        killing = asyncio.create_task(kills())
        for task in tasks:
            await stage.begin(task)
            await asyncio.sleep(0.03)
        await killing
        answered = {keys.command_id(task, 1, -1) for task in tasks}
        await until(lambda: answered <= {r.command for r in stage.replies()}, within=60)
        assert all(isinstance(reply, ModelReplied) for reply in stage.replies())
    finally:
        codes = await asyncio.to_thread(crew.stop)
    assert set(codes.values()) <= {0, -signal.SIGTERM}
