"""The engine on a real broker: what it writes, when, and what it knows after a restart."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from bench.echo import APPROVER, answer, calls, requested
from schemas import codec, keys
from schemas.events import (
    AgentCommand,
    AgentEvent,
    CallModel,
    CallOutcome,
    CallTool,
    Choice,
    DecisionStatus,
    EngineMark,
    TaskOutcome,
    TimerFired,
    ToolCall,
    ToolReturned,
    VerdictGiven,
)
from tests.kit import engines
from tests.kit.engines import engine, events, read
from tests.kit.waiting import until
from weir.engine.partition import FINISHED_MILLIS
from weir.errors import Unavailable
from weir.kafka.config import client_config
from weir.kafka.producer import Producer
from weir.settings import Settings


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with engines.broker(tmp_path_factory.mktemp("broker")) as (_, settings):
        yield settings


@pytest.fixture
async def settings(broker: Settings) -> Settings:
    own = Settings(**{**broker.model_dump(), "prefix": f"t-{secrets.token_hex(4)}-"})
    await engines.topics_for(own)
    return own


class People:
    """Puts events on the log, and waits for what the engine makes of them."""

    def __init__(self, settings: Settings, producer: Producer) -> None:
        self.settings, self.producer = settings, producer
        self.now = producer.clock

    async def send(self, event: AgentEvent) -> int:
        topic = f"{self.settings.prefix}agent-events"
        return (await self.producer.send(topic, event.task, event)).offset

    async def ask(self, request: str, **more: Any) -> str:
        event = requested(request, clock=self.now, **more)
        await self.send(event)
        return event.task

    async def command(self, topic: str, task: str, kind: type, *, committed: bool = False, after: int = 0,
                      ) -> AgentCommand:
        def found() -> Any:
            these = [c for c in events(self.settings, topic, committed=committed)
                     if c.task == task and isinstance(c.body, kind)]
            return these[after:after + 1]

        (command,) = await wait(found)
        return command  # type: ignore[no-any-return]

    async def tell(self, task: str, body: Any, event: str = "") -> None:
        name = event or f"{getattr(body, 'command', 'event')}/{getattr(body, 'attempt', 0)}"
        await self.send(AgentEvent(task=task, event=name, at=self.now(), body=body))

    async def plan(self, task: str, *wanted: ToolCall) -> None:
        """Lets the planner want these calls."""
        await self.tell(task, calls(await self.command("agent-commands", task, CallModel), wanted))

    async def returned(self, command: AgentCommand, **more: Any) -> None:
        await self.tell(command.task, ToolReturned(command=command.command, attempt=command.attempt,
                                                   **{"outcome": CallOutcome.SUCCEEDED, **more}))

    async def proposed(self, task: str, status: DecisionStatus = DecisionStatus.PENDING) -> Any:
        return (await wait(lambda: [d for d in events(self.settings, "decisions")
                                    if d.task == task and d.status is status]))[-1]


async def wait(condition: Any, within: float = 20.0) -> Any:
    """Reading topics blocks, the engine's edges do not."""
    for _ in range(int(within / 0.02)):
        if found := await asyncio.to_thread(condition):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"not true within {within} s: {condition}")


ECHO = ToolCall(tool="echo", arguments='{"n":1}')
WRITE = ToolCall(tool="write", arguments='{"n":2}')
ACT = ToolCall(tool="act", arguments='{"n":3}')


async def run_one(them: People, request: str) -> str:
    """A task from its request to its result."""
    task = await them.ask(request)
    await them.plan(task, ECHO)
    await them.returned(await them.command("agent-commands", task, CallTool))
    await them.tell(task, answer(await them.command("agent-commands", task, CallModel, after=1)))
    await wait(lambda: [r for r in events(them.settings, "task-results") if r.task == task])
    return task


def state_of(settings: Settings) -> dict[str, bytes | None]:
    return {(m.key() or b"").decode(): m.value() for m in read(settings, "agent-state")}


async def test_a_task_that_ends_leaves_a_result_a_mark_and_a_tombstone_in_one_transaction(settings: Settings) -> None:
    async with engine(settings), Producer(settings) as producer:
        task = await run_one(People(settings, producer), "r")
    (result,) = events(settings, "task-results")
    assert result.outcome is TaskOutcome.SUCCEEDED and result.steps == 1
    state = state_of(settings)
    assert state[task] is None
    finished = codec.decode(state[f"!finished/{task}"] or b"")
    number = keys.partition(task, 4)
    offset = codec.decode(state[f"!offset/{number}"] or b"")
    assert isinstance(offset, EngineMark) and offset.offset == 4
    assert finished.offset == 3
    assert {u.task for u in events(settings, "usage")} == {task}


async def test_reads_run_ahead_of_the_commit_and_effects_wait_for_it(settings: Settings) -> None:
    class Held(engines.Producer):
        hold = False

        def flush(self, *arguments: Any) -> int:
            return super().flush(*arguments) + self.hold

    writes = engines.producer(settings, Held)
    assert isinstance(writes, Held)
    async with engine(settings, writes=writes), Producer(settings) as producer:
        them = People(settings, producer)
        task = await them.ask("r")
        await them.command("agent-commands", task, CallModel, committed=True)
        writes.hold = True
        await them.plan(task, ECHO, WRITE)
        # No transaction can be committed now, so each is aborted and the event comes again.
        await them.command("agent-commands", task, CallTool)
        await them.command("agent-effects", task, CallTool)
        assert not [c for c in events(settings, "agent-commands") if isinstance(c.body, CallTool)]
        assert not events(settings, "agent-effects")
        writes.hold = False
        await wait(lambda: events(settings, "agent-effects"))
        ahead = [c for c in events(settings, "agent-commands", committed=False) if isinstance(c.body, CallTool)]
        assert len({c.command for c in ahead}) == 1 and len({codec.encode(c) for c in ahead}) == 1


async def test_what_somebody_waits_for_is_committed_at_once(settings: Settings) -> None:
    patient = Settings(**{**settings.model_dump(), "engine_interval": 2.0})
    async with engine(patient), Producer(settings) as producer:
        them = People(settings, producer)
        loop = asyncio.get_running_loop()
        task = await them.ask("r")
        await wait(lambda: events(settings, "agent-replies"), 1.5)
        began = loop.time()
        await them.plan(task, WRITE)
        await wait(lambda: events(settings, "agent-effects"), 1.5)
        assert loop.time() - began < 1.5
        (effect,) = events(settings, "agent-effects")
        await them.returned(effect)
        await them.command("agent-commands", task, CallModel, after=1)
        # Nobody waits for this one.
        assert len([c for c in events(settings, "agent-commands") if isinstance(c.body, CallModel)]) == 1


async def test_poison_becomes_a_dead_letter_before_its_offset_moves_and_stops_nobody(settings: Settings) -> None:
    number = keys.partition(requested("r").task, 4)
    async with engine(settings), Producer(settings) as producer:
        them = People(settings, producer)
        client = engines.Producer({"bootstrap.servers": settings.kafka_address})
        topic = f"{settings.prefix}agent-events"
        client.produce(topic, b"no avro", b"k", number)
        client.produce(topic, codec.encode(EngineMark(offset=1, at=1)), b"k", number)
        client.produce(topic, codec.encode(requested("elsewhere")), b"another key", number)
        client.produce(topic, None, b"k", number)
        stray = next(e for n in range(99) if keys.partition((e := requested(str(n))).task, 4) != number)
        client.produce(topic, codec.encode(stray), stray.task.encode(), number)
        client.flush()
        await run_one(them, "r")
    letters = events(settings, "dead-letters")
    assert sorted(x.offset for x in letters) == [0, 1, 2, 3, 4]
    assert {x.code for x in letters} == {"bad_record"}
    assert {x.group for x in letters} == {f"{settings.prefix}streams.agents"}


async def test_a_task_that_is_asked_for_again_after_its_end_does_not_start_again(settings: Settings) -> None:
    clock = [1_800_000_000_000]

    def now() -> int:
        return clock[0]

    async with Producer(settings, clock=now) as producer:
        them = People(settings, producer)
        async with engine(settings, clock=now):
            task = await run_one(them, "r")
            clock[0] += FINISHED_MILLIS - 1
            await them.send(requested("r", clock=now))
            await wait(lambda: len(events(settings, "agent-replies")) == 2)
            assert events(settings, "agent-replies")[1].code == "known"
        async with engine(settings, clock=now):
            # A restart knows it too.
            await them.send(requested("r", clock=now))
            await wait(lambda: len(events(settings, "agent-replies")) == 3)
            assert len([c for c in events(settings, "agent-commands", committed=False)
                        if isinstance(c.body, CallModel)]) == 2
            clock[0] += 1
            await them.send(requested("r", clock=now))
            await them.command("agent-commands", task, CallModel, after=2)
            await wait(lambda: state_of(settings)[task])
            assert state_of(settings)[f"!finished/{task}"] is None


async def waiting_task(them: People, request: str = "r") -> Any:
    task = await them.ask(request)
    await them.plan(task, ACT)
    return await them.proposed(task)


def verdict(decision: Any, choice: Choice = Choice.APPROVE) -> VerdictGiven:
    return VerdictGiven(approval=decision.approval, args_hash=decision.args_hash, choice=choice, person=APPROVER)


async def test_a_restarted_engine_goes_on_with_waiting_tasks_also_when_the_groups_offsets_are_gone(settings: Settings,
                                                                                                   ) -> None:
    async with Producer(settings) as producer:
        them = People(settings, producer)
        async with engine(settings, reads=engines.consumer(settings, session_timeout_ms=2000)):
            decision = await waiting_task(them)
        await without_offsets(settings)
        async with engine(settings):
            await them.tell(decision.task, verdict(decision), "verdict")
            effect = await them.command("agent-effects", decision.task, CallTool, committed=True)
            assert effect.body.arguments == ACT.arguments
    # "Earliest" would have applied the first events once more.
    assert len(events(settings, "agent-replies")) == 2
    assert {c.command for c in events(settings, "agent-commands")} == {keys.command_id(decision.task, 1, -1)}
    assert len(events(settings, "agent-commands")) == 1


async def without_offsets(settings: Settings) -> None:
    """Deletes the engines' group. A static member stays in it until its session ends."""
    group = f"{settings.prefix}streams.agents"
    admin = AdminClient(client_config(settings))
    await wait(lambda: not admin.describe_consumer_groups([group])[group].result(10).members, 30)
    admin.delete_consumer_groups([group])[group].result(10)


async def test_state_without_an_offset_is_an_error_and_never_earliest(settings: Settings) -> None:
    async with Producer(settings) as producer:
        them = People(settings, producer)
        async with engine(settings, reads=engines.consumer(settings, session_timeout_ms=2000)):
            decision = await waiting_task(them)
        number = keys.partition(decision.task, 4)
        await producer.send(f"{settings.prefix}agent-state", f"!offset/{number}", None, partition=number)
        await without_offsets(settings)
        async with engine(settings) as task:
            with pytest.raises(Unavailable, match="Nothing is guessed"):
                await asyncio.wait_for(asyncio.shield(task), 20)
    assert len(events(settings, "agent-commands", committed=False)) == 1


async def test_timers_fire_as_events_outside_of_any_transaction_also_after_a_restart(settings: Settings) -> None:
    async with Producer(settings) as producer:
        them = People(settings, producer)
        async with engine(settings):
            task = await them.ask("r", expires=2)
            await them.plan(task, ACT)
            decision = await them.proposed(task)
        async with engine(settings):
            await them.proposed(task, DecisionStatus.EXPIRED)
            await them.command("agent-commands", task, CallModel, after=1)
    (fired,) = [e for e in events(settings, "agent-events") if isinstance(e.body, TimerFired)]
    assert fired.body.due == decision.expires_at and fired.at >= decision.expires_at
    headers = {(m.key() or b"").decode(): dict(m.headers() or []) for m in read(settings, "agent-state")
               if m.offset() is not None and not (m.key() or b"").startswith(b"!")}
    assert int(headers[task]["due"])


async def test_a_timer_is_on_the_log_though_the_transaction_at_its_time_never_ends(settings: Settings) -> None:
    class Never(engines.Producer):
        never = False

        def flush(self, *arguments: Any) -> int:
            return super().flush(*arguments) + self.never

    writes = engines.producer(settings, Never)
    assert isinstance(writes, Never)
    async with engine(settings, writes=writes), Producer(settings) as producer:
        them = People(settings, producer)
        task = await them.ask("r", expires=2)
        await them.plan(task, ACT)
        await them.proposed(task)
        writes.never = True
        await wait(lambda: [e for e in events(settings, "agent-events") if isinstance(e.body, TimerFired)])
        assert all(d.status is DecisionStatus.PENDING for d in events(settings, "decisions"))


async def test_topics_that_do_not_match_are_refused(settings: Settings) -> None:
    admin = AdminClient(client_config(settings))
    name = f"{settings.prefix}agent-state"
    admin.delete_topics([name])[name].result(10)
    await until(lambda: name not in admin.list_topics(timeout=10).topics)
    admin.create_topics([NewTopic(name, 3, 1)])[name].result(10)
    await until(lambda: name in admin.list_topics(timeout=10).topics)
    async with engine(settings) as task:
        with pytest.raises(Unavailable, match="equally many partitions"):
            await asyncio.wait_for(asyncio.shield(task), 20)
