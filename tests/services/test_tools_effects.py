"""The protocol of effects on a real broker: killed at each named point, frozen while another takes over."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.events import AgentCommand, AgentEvent, CallOutcome, Effect, EffectStatus, Risk, ToolReturned
from tests.kit import engines, tool_workers
from tests.kit.monkey import Crew
from tests.kit.tool_workers import Act, Look, command, recorded
from tests.kit.waiting import until
from weir.kafka import admin
from weir.kafka.producer import Producer
from weir.settings import Settings

TAKEN_OVER = 45.0
"""Seconds in which a successor has settled what a frozen worker left: its session is 10 s."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with engines.broker(tmp_path_factory.mktemp("broker")) as (_, settings):
        yield settings


class Stage:
    """Workers, the world outside, and a log to put commands on."""

    def __init__(self, settings: Settings, producer: Producer, folder: Path) -> None:
        self.settings, self.producer, self.folder = settings, producer, folder
        self.recorder, self.flag = folder / "recorder", folder / "flag"
        self.kind = "plain"
        self.crew = Crew("tests.kit.tool_workers", settings, folder)

    @property
    def tool(self) -> Act:
        return Act(self.recorder, self.kind)

    def start(self, number: int = 0, *, point: str = "", action: str = "kill", variant: str = "") -> None:
        self.crew.extra = {"TOOL_RECORDER": str(self.recorder), "TOOL_KIND": self.kind, "TOOL_POINT": point,
                           "TOOL_ACTION": action, "TOOL_FLAG": str(self.flag), "TOOL_VARIANT": variant}
        self.crew.start(number)

    async def act(self, task: str, **more: Any) -> AgentCommand:
        made = command(task, "something", self.tool, **more)
        await self.producer.send(f"{self.settings.prefix}agent-effects", task, made)
        return made

    def returned(self, task: str, attempt: int = 1) -> list[ToolReturned]:
        found: list[AgentEvent] = engines.events(self.settings, "agent-events")
        return [e.body for e in found if e.task == task and isinstance(e.body, ToolReturned)
                and e.body.attempt == attempt]

    async def outcome(self, task: str, attempt: int = 1, within: float = 30.0) -> ToolReturned:
        return (await self.until(lambda: self.returned(task, attempt), within))[0]  # type: ignore[no-any-return]

    async def until(self, condition: Any, within: float = 30.0) -> Any:
        until = time.monotonic() + within
        while not (found := await asyncio.to_thread(condition)):
            assert time.monotonic() < until, f"not within {within} s\n{self.crew.tail()}"
            await asyncio.sleep(0.1)
        return found

    def log(self) -> list[Effect]:
        return engines.events(self.settings, "effect-log")

    async def killed(self, number: int = 0) -> None:
        """Returns when the worker has killed itself."""
        code = await asyncio.to_thread(self.crew.wait, number)
        assert code == -signal.SIGKILL, f"it ended with {code} instead"


@pytest.fixture
async def stage(broker: Settings, tmp_path: Path) -> AsyncIterator[Stage]:
    settings = Settings(**{**broker.model_dump(), "prefix": f"t-{secrets.token_hex(4)}-", "home": tmp_path,
                           "kafka_partitions": 2, "drain_timeout": 2.0})
    await admin.ensure_topics(settings, tool_workers.TOPICS)
    async with Producer(settings) as producer:
        made = Stage(settings, producer, tmp_path)
        yield made
        for process in made.crew.running.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            await asyncio.to_thread(process.wait)


async def test_an_effect_is_done_once_and_the_task_is_told(stage: Stage) -> None:
    stage.start()
    sent = await stage.act("t1")
    outcome = await stage.outcome("t1")
    assert (outcome.outcome, outcome.content) == (CallOutcome.SUCCEEDED, "did something")
    assert recorded(stage.recorder) == [sent.body.key]  # type: ignore[union-attr]
    log = await stage.until(lambda: [e for e in stage.log() if e.reported])
    assert [e.status for e in stage.log()][:2] == [EffectStatus.INTENT, EffectStatus.SUCCEEDED]
    assert log[0].key == sent.body.key  # type: ignore[union-attr]
    assert stage.crew.stop() == {0: 0}


POINTS = {
    # point: (effects done, what the task is told) without a way to find out
    "before intent": (1, CallOutcome.SUCCEEDED),
    "before commit": (1, CallOutcome.SUCCEEDED),
    "after intent": (0, CallOutcome.UNKNOWN),
    "before effect": (0, CallOutcome.UNKNOWN),
    "after effect": (1, CallOutcome.UNKNOWN),
    "after outcome": (1, CallOutcome.SUCCEEDED),
    "after report": (1, CallOutcome.SUCCEEDED),
}


@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_killed_at_any_point_does_nothing_twice_and_loses_nothing(stage: Stage, point: str) -> None:
    stage.start(point=point)
    await stage.act("t1")
    await stage.killed()
    stage.start()
    done, told = POINTS[point]
    outcome = await stage.outcome("t1")
    assert outcome.outcome is told
    assert (outcome.outcome is CallOutcome.UNKNOWN) == ("may have been done" in outcome.error)
    assert len(recorded(stage.recorder)) == done
    # The partition goes on.
    await stage.act("t1b")
    assert (await stage.outcome("t1b")).outcome is CallOutcome.SUCCEEDED
    assert {r.outcome for r in stage.returned("t1")} == {told}, "told one thing and another"


async def test_what_the_outside_shows_was_done_is_not_asked_of_a_person(stage: Stage) -> None:
    stage.kind = "reconciles"
    stage.start(point="after effect")
    await stage.act("t1")
    await stage.killed()
    stage.start()
    outcome = await stage.outcome("t1")
    assert (outcome.outcome, outcome.content) == (CallOutcome.SUCCEEDED, "did something")
    assert len(recorded(stage.recorder)) == 1


async def test_a_no_from_reconcile_proves_nothing(stage: Stage) -> None:
    stage.kind = "reconciles"
    stage.start(point="before effect")
    await stage.act("t1")
    await stage.killed()
    stage.start()
    assert (await stage.outcome("t1")).outcome is CallOutcome.UNKNOWN
    assert recorded(stage.recorder) == []


async def test_a_service_that_deduplicates_is_asked_again_with_the_same_key(stage: Stage) -> None:
    stage.kind = "deduplicates"
    stage.start(point="after effect")
    sent = await stage.act("t1")
    await stage.killed()
    stage.start()
    assert (await stage.outcome("t1")).outcome is CallOutcome.SUCCEEDED
    assert recorded(stage.recorder) == [sent.body.key] * 2  # type: ignore[union-attr]


async def test_a_person_who_says_again_gets_another_attempt(stage: Stage) -> None:
    stage.start(point="before effect")
    await stage.act("t1")
    await stage.killed()
    stage.start()
    assert (await stage.outcome("t1")).outcome is CallOutcome.UNKNOWN
    await stage.act("t1", attempt=2)
    assert (await stage.outcome("t1", attempt=2)).outcome is CallOutcome.SUCCEEDED
    assert len(recorded(stage.recorder)) == 1


async def test_the_first_of_two_attempts_is_never_marked_over_the_second(stage: Stage) -> None:
    stage.start(point="after effect")
    stage.flag.touch()
    await stage.act("t1", fails="retriable")
    first = await stage.outcome("t1")
    assert (first.outcome, first.retriable) == (CallOutcome.FAILED, True)
    stage.flag.unlink()
    await stage.act("t1", attempt=2, fails="retriable")
    await stage.killed()
    stage.start()
    assert (await stage.outcome("t1", attempt=2)).outcome is CallOutcome.UNKNOWN


async def test_a_worker_frozen_after_its_intent_and_replaced_begins_nothing(stage: Stage) -> None:
    stage.start(0, point="after intent", action="freeze")
    await stage.act("t1")
    await until(stage.flag.exists)
    stage.start(1)
    assert (await stage.outcome("t1", within=TAKEN_OVER)).outcome is CallOutcome.UNKNOWN
    stage.crew.signal(0, signal.SIGCONT)
    assert await asyncio.to_thread(stage.crew.wait, 0) == 1, "it goes on although it was replaced"
    assert recorded(stage.recorder) == []


async def test_a_worker_frozen_in_its_effect_does_it_once_and_a_person_is_asked(stage: Stage) -> None:
    stage.kind = "reconciles"
    stage.start(0, point="before effect", action="freeze")
    await stage.act("t1")
    await until(stage.flag.exists)
    stage.start(1)
    assert (await stage.outcome("t1", within=TAKEN_OVER)).outcome is CallOutcome.UNKNOWN
    stage.crew.signal(0, signal.SIGCONT)
    assert await asyncio.to_thread(stage.crew.wait, 0) == 1, "it goes on although it was replaced"
    assert len(recorded(stage.recorder)) == 1
    assert {r.outcome for r in stage.returned("t1")} == {CallOutcome.UNKNOWN}, "the replaced one has told the task too"
    latest = {e.key: e for e in stage.log()}
    assert [e.status for e in latest.values()] == [EffectStatus.UNKNOWN], "the replaced one has written over the log"


async def test_a_worker_frozen_between_its_offsets_and_the_commit_loses_no_effect(stage: Stage) -> None:
    stage.start(0, point="before commit", action="freeze")
    await stage.act("t1")
    await until(stage.flag.exists)
    stage.start(1)
    outcome = await stage.outcome("t1", within=TAKEN_OVER)
    stage.crew.signal(0, signal.SIGCONT)
    assert await asyncio.to_thread(stage.crew.wait, 0) == 1, "it goes on although it was replaced"
    assert outcome.outcome is CallOutcome.SUCCEEDED
    assert len(recorded(stage.recorder)) == 1


async def test_canary_without_an_intent_a_kill_does_it_twice(stage: Stage) -> None:
    stage.start(point="after effect", variant="no-intent")
    await stage.act("t1")
    await stage.killed()
    stage.start(variant="no-intent")
    await stage.outcome("t1")
    assert len(recorded(stage.recorder)) == 2, "the tests above would not notice a worker without an Intent"


async def test_what_must_not_be_run_is_refused_before_anything_else(stage: Stage) -> None:
    stage.start()
    wrong = {"schema": {"schema": "0" * 16}, "arguments": {"body": '{"what":1}'}, "risk": {"risk": Risk.READ},
             "large": {"body": '{"what":"%s"}' % ("x" * 300_000)}}
    for task, how in wrong.items():
        await stage.act(task, **how)
    said = {task: await stage.outcome(task) for task in wrong}
    assert {o.outcome for o in said.values()} == {CallOutcome.FAILED}
    assert "begin a new task" in said["schema"].error and "begin a new task" in said["risk"].error
    assert "what: 1 is not of type 'string'" in said["arguments"].error and "300,011" in said["large"].error
    assert recorded(stage.recorder) == []


async def test_an_effect_that_broke_off_is_unknown_and_one_that_was_refused_is_not(stage: Stage) -> None:
    stage.start()
    await stage.act("broken", fails="broken")
    await stage.act("refused", fails="failed")
    assert (await stage.outcome("broken")).outcome is CallOutcome.UNKNOWN
    refused = await stage.outcome("refused")
    assert (refused.outcome, refused.error, refused.retriable) == (CallOutcome.FAILED, "the outside refuses", False)


async def test_poison_becomes_a_dead_letter_and_stops_nobody(stage: Stage) -> None:
    stage.start()
    topic = f"{stage.settings.prefix}agent-effects"
    stage.producer._client.produce(topic, b"\xc3\x01nonsense", b"t1")
    await stage.act("t1")
    assert (await stage.outcome("t1")).outcome is CallOutcome.SUCCEEDED
    (letter,) = engines.events(stage.settings, "dead-letters")
    assert letter.value == b"\xc3\x01nonsense"


async def test_a_hand_over_waits_for_what_runs(stage: Stage) -> None:
    stage.start(0)
    await stage.act("t1", seconds=1.0)
    await stage.until(stage.log)
    stage.crew.signal(0, signal.SIGTERM)
    assert await asyncio.to_thread(stage.crew.wait, 0) == 0
    assert stage.returned("t1")[0].outcome is CallOutcome.SUCCEEDED
    stage.start(0)
    await stage.act("t2")
    await stage.outcome("t2")
    assert len(recorded(stage.recorder)) == 2


async def test_more_effects_than_places_are_all_done_once(stage: Stage) -> None:
    stage.settings = Settings(**{**stage.settings.model_dump(), "tool_concurrency": 2})
    stage.crew.settings = stage.settings
    stage.start()
    for n in range(12):
        await stage.act(f"t{n}", seconds=0.1)
    for n in range(12):
        assert (await stage.outcome(f"t{n}")).outcome is CallOutcome.SUCCEEDED
    assert len(set(recorded(stage.recorder))) == len(recorded(stage.recorder)) == 12


async def test_a_worker_whose_places_are_taken_hands_over_and_goes_on_with_what_stays(stage: Stage) -> None:
    stage.settings = Settings(**{**stage.settings.model_dump(), "tool_concurrency": 2})
    stage.crew.settings = stage.settings
    stage.start(0)
    for n in range(30):
        await stage.act(f"t{n}", seconds=1.0)
    await stage.until(lambda: recorded(stage.recorder))
    stage.start(1)
    for n in range(30):
        assert (await stage.outcome(f"t{n}")).outcome is CallOutcome.SUCCEEDED
    assert len(set(recorded(stage.recorder))) == len(recorded(stage.recorder)) == 30
    assert all('"event": "effect"' in stage.crew.log(number).read_text() for number in (0, 1))


async def test_reads_are_run_ahead_of_the_commit_and_dropped_when_they_come_again(stage: Stage) -> None:
    look = Look(stage.recorder)
    stage.start()
    topic = f"{stage.settings.prefix}agent-commands"
    await stage.producer.send(topic, "t1", command("t1", "a view", look))
    assert (await stage.outcome("t1")).content == "a view"
    for _ in range(3):
        await stage.producer.send(topic, "t1", command("t1", "a view", look))
    await stage.producer.send(topic, "t1b", command("t1b", "another", look))
    await stage.outcome("t1b")
    assert len(recorded(stage.recorder)) == 2
    await stage.producer.send(topic, "t2", command("t2", "a deed", stage.tool, risk=Risk.WRITE))
    assert (await stage.outcome("t2")).outcome is CallOutcome.FAILED
    await stage.producer.send(topic, "t3", command("t3", "a deed", stage.tool, risk=Risk.READ))
    assert (await stage.outcome("t3")).outcome is CallOutcome.FAILED
    assert len(recorded(stage.recorder)) == 2
