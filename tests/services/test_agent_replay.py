"""The replay finds what does not follow from the log, and nothing else."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest

from schemas import codec, keys
from schemas.events import AgentState, CallTool, EngineMark
from tests.kit import engines
from tests.kit.engines import engine, events
from tests.services.test_agent_engine import ACT, ECHO, People, run_one, state_of, waiting_task
from weir.agents.replay import replay
from weir.kafka.producer import Producer
from weir.settings import Settings


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with engines.broker(tmp_path_factory.mktemp("broker")) as (_, settings):
        yield settings


async def test_a_replay_proves_states_and_finds_each_that_the_log_does_not_lead_to(broker: Settings) -> None:
    settings = Settings(**{**broker.model_dump(), "prefix": f"t-{secrets.token_hex(4)}-"})
    await engines.topics_for(settings)
    async with engine(settings), Producer(settings) as producer:
        them = People(settings, producer)
        await producer.send(f"{settings.prefix}agent-events", "k", EngineMark(offset=0, at=0))
        await run_one(them, "ends")
        waits = (await waiting_task(them, "waits")).task
        acts = await them.ask("acts")
        await them.plan(acts, ECHO, ACT)
        await them.command("agent-commands", acts, CallTool)
        await them.proposed(acts)
    good = await asyncio.to_thread(replay, settings)
    assert not good.differences, good.differences
    assert good.tasks == 3 and good.live == 2 and good.snapshots >= 3 and good.poison == 1
    only = await asyncio.to_thread(replay, settings, [waits])
    assert (only.tasks, only.live, only.differences) == (1, 1, []) and only.events < good.events

    state = codec.decode(state_of(settings)[waits] or b"")
    assert isinstance(state, AgentState)
    number = keys.partition(waits, 4)
    async with Producer(settings) as producer:
        topic = f"{settings.prefix}agent-state"
        await producer.send(topic, waits, replace(state, message="somebody was here"), partition=number)
        await producer.send(topic, acts, None, partition=keys.partition(acts, 4))
    bad = await asyncio.to_thread(replay, settings)
    assert {(d.task, d.message.split(",")[0]) for d in bad.differences} == {
        (waits, "the log does not lead to this snapshot"), (waits, "it is the latest snapshot"),
        (acts, "the log leads to a live task that has no snapshot")}
    assert events(settings, "dead-letters")
