"""Who may commit, and what a successor must have seen first. Each rule is shown with an engine that breaks it."""

from __future__ import annotations

import asyncio
import secrets
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from bench.echo import Echo, requested, waves
from tests.kit import engines
from tests.kit.engine_check import faults
from tests.kit.engines import engine, events
from tests.kit.monkey import Crew
from tests.services.test_agent_engine import wait
from weir.errors import Unavailable
from weir.kafka.config import client_config, consumer_config, stateful_config, transactional_config
from weir.kafka.transactional import Loop, generation
from weir.settings import Settings

STEPS = 5


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with engines.broker(tmp_path_factory.mktemp("broker")) as (_, settings):
        yield settings


@pytest.fixture
async def settings(broker: Settings) -> Settings:
    own = Settings(**{**broker.model_dump(), "prefix": f"t-{secrets.token_hex(4)}-"})
    await engines.topics_for(own)
    return own


class Two:
    """Two engines, of which the first freezes itself at a point, under a load of tasks."""

    def __init__(self, settings: Settings, folder: Path, variant: str = "") -> None:
        self.settings = settings
        self.flag = folder / "frozen"
        # The transaction outlives the session here, so that the generation and the order alone have to hold.
        self.crew = Crew("tests.kit.engines", settings, folder, {
            "ENGINE_SESSION": "2000", "ENGINE_TRANSACTION": "60000", "ENGINE_VARIANT": variant,
            "ENGINE_FLAG": str(self.flag)})
        self.tasks: list[str] = []
        self.admin = AdminClient(client_config(settings))

    def start(self, number: int, freeze: str = "") -> None:
        self.crew.extra["ENGINE_FREEZE"] = freeze
        if self.crew.extra["ENGINE_VARIANT"] == "state-first":
            # The broken successor goes on alone for a while: a rebalance would have it read everything again.
            self.crew.extra |= {"ENGINE_DIES": "committed"} if freeze else {"ENGINE_SESSION": "30000"}
        self.crew.start(number)

    def owned(self) -> dict[str, int]:
        """Partitions of each member, by the instance."""
        group = f"{self.settings.prefix}streams.agents"
        described = self.admin.describe_consumer_groups([group])[group].result(10)
        return {m.group_instance_id or "": len(m.assignment.topic_partitions) for m in described.members}

    def takes_over(self, number: int) -> bool:
        return self.owned().get(f"{self.settings.prefix}streams.agents-{number}") == 4

    def log(self, number: int) -> str:
        return self.crew.log(number).read_text()


@asynccontextmanager
async def frozen(settings: Settings, folder: Path, point: str, variant: str = "") -> AsyncIterator[tuple[Two, Echo]]:
    """The first engine owns everything, has worked and is frozen; the second one is there."""
    two = Two(settings, folder, variant)
    echo = Echo(settings, waves(STEPS))
    try:
        two.start(1, point)
        for n in range(20):
            event = requested(str(n))
            two.tasks.append(event.task)
            echo.send(event)
        await wait(two.flag.exists, 30)
        two.start(2)
        await wait(lambda: two.takes_over(2), 30)
        yield two, echo
    finally:
        two.crew.stop()
        echo.close()


async def all_done(two: Two) -> None:
    def done() -> bool:
        for number, process in list(two.crew.running.items()):
            if process.poll() is not None:
                # A member that was shut out ends; the supervisor starts it again.
                del two.crew.running[number]
                two.start(number)
        return len({r.task for r in events(two.settings, "task-results")}) == len(two.tasks)

    await wait(done, 60)


@pytest.mark.parametrize("variant", ["", "state-first"])
async def test_an_owner_frozen_between_its_offsets_and_its_commit_loses_nothing_when_another_takes_over(
        settings: Settings, tmp_path: Path, variant: str) -> None:
    async with frozen(settings, tmp_path, "offsets-sent", variant) as (two, _):
        if variant:
            # Of all partitions: it may have been given a share of them before.
            await wait(Path(f"{two.flag}.state-read-4").exists, 20)
        else:
            # The successor waits for the pending offsets.
            await asyncio.sleep(1.0)
            assert '"restored"' not in two.log(2), two.log(2)
        two.crew.signal(1, signal.SIGCONT)
        if not variant:
            await all_done(two)
        else:
            await until(lambda: len(events(settings, "task-results")) == len(two.tasks), 5)
    found = await asyncio.to_thread(faults, settings, two.tasks, steps=STEPS)
    assert bool(found) == bool(variant), found[:10]


@pytest.mark.parametrize("variant", ["", "no-generation"])
async def test_an_owner_that_was_replaced_while_it_was_frozen_cannot_commit(settings: Settings, tmp_path: Path,
                                                                            variant: str) -> None:
    async with frozen(settings, tmp_path, "consumed", variant) as (two, _):
        await all_done(two)
        two.crew.signal(1, signal.SIGCONT)
        # It works on what it had in its hands, and tries to commit that.
        ends = ("after an abort", "cannot go on", "lost", "handing")
        await wait(lambda: any(said in two.log(1) for said in ends), 30)
    found = await asyncio.to_thread(faults, settings, two.tasks, steps=STEPS)
    assert bool(found) == bool(variant), found[:10]


async def test_a_successor_waits_for_the_pending_state_of_a_frozen_owner(settings: Settings, tmp_path: Path) -> None:
    async with frozen(settings, tmp_path, "before-commit") as (two, _):
        await asyncio.sleep(1.0)
        assert '"restored"' not in two.log(2), two.log(2)
        two.crew.signal(1, signal.SIGCONT)
        await all_done(two)
    assert not await asyncio.to_thread(faults, settings, two.tasks, steps=STEPS)


async def test_an_owner_killed_while_it_restores_leaves_all_to_the_next(settings: Settings, tmp_path: Path) -> None:
    async with frozen(settings, tmp_path, "restoring") as (two, _):
        two.crew.signal(1, signal.SIGKILL)
        await all_done(two)
    assert not await asyncio.to_thread(faults, settings, two.tasks, steps=STEPS)


async def test_a_member_that_leaves_commits_before_another_owns_its_partitions(settings: Settings) -> None:
    slow = Settings(**{**settings.model_dump(), "engine_interval": 2.0})
    echo = Echo(settings, waves(STEPS))
    try:
        async with engine(slow):
            await wait(lambda: events(settings, "agent-state") is not None)
            task = requested("r")
            echo.send(task)
            second = Settings(**{**slow.model_dump(), "instance": "1"})
            # Its transaction is open for two seconds; the second engine's joining ends it at once.
            await wait(lambda: len(events(settings, "agent-commands", committed=False)) > 2)
            async with engine(second):
                await wait(lambda: events(settings, "task-results"))
    finally:
        echo.close()
    assert not await asyncio.to_thread(faults, settings, [task.task], steps=STEPS)
    assert echo.repeated == 0


async def test_an_abort_throws_the_memory_away(settings: Settings) -> None:
    class Fails(engines.Producer):
        left = 3

        def flush(self, *arguments: Any) -> int:
            self.left -= 1
            return super().flush(*arguments) + (self.left >= 0)

    class KeepsItsMemory(Loop):
        def _restore(self, numbers: list[int]) -> list[TopicPartition]:
            if not self._next:
                return super()._restore(numbers)
            stable = self._stable_offsets(numbers)
            self._next = dict(stable)
            return [TopicPartition(self._topic, n, stable[n] or 0) for n in numbers]

        def _abort(self) -> None:
            self._open = False
            self._producer.abort_transaction()

    for kind in (Loop, KeepsItsMemory):
        own = Settings(**{**settings.model_dump(), "prefix": f"{settings.prefix}{kind.__name__.lower()}-"})
        await engines.topics_for(own)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("streams.agents.Loop", kind)
            echo = Echo(own, waves(STEPS))
            try:
                async with engine(own, writes=engines.producer(own, Fails)):
                    task = requested("r")
                    echo.send(task)
                    done = await until(lambda own=own: events(own, "task-results"), 8)
            finally:
                echo.close()
        found = await asyncio.to_thread(faults, own, [task.task], steps=STEPS) if done else ["it never ended"]
        assert bool(found) == (kind is KeepsItsMemory), found[:5]


async def until(condition: Any, within: float) -> bool:
    try:
        return bool(await wait(condition, within))
    except AssertionError:
        return False


async def test_the_broker_does_not_check_a_generation_below_zero_so_the_engine_does(settings: Settings) -> None:
    group, topic = f"{settings.prefix}streams.agents", f"{settings.prefix}agent-events"
    stranger = Consumer(consumer_config(settings, group))
    metadata = stranger.consumer_group_metadata()
    assert generation(metadata) == -1
    async with engine(settings):
        await wait(lambda: _members(settings, group))
        client = Producer(transactional_config(settings, "stranger"))
        client.init_transactions()
        client.begin_transaction()
        client.send_offsets_to_transaction([TopicPartition(topic, 0, 0)], metadata)
        client.commit_transaction()
    nothing: Any = None
    loop = Loop(settings, stranger, client, nothing, topic=topic, state=topic, group=group, touches=[], interval=0.1)
    with pytest.raises(Unavailable, match="no generation"):
        loop._current_metadata()
    with pytest.raises(Unavailable, match="unknown form"):
        generation(b"CGMDv9:")
    stranger.close()


def _members(settings: Settings, group: str) -> bool:
    admin = AdminClient(client_config(settings))
    return bool(admin.describe_consumer_groups([group])[group].result(10).members)


async def test_offsets_of_an_old_generation_are_refused(settings: Settings) -> None:
    topic = f"{settings.prefix}agent-events"
    old: list[bytes] = []

    class Remembers(Consumer):
        def consumer_group_metadata(self) -> bytes:
            metadata: bytes = super().consumer_group_metadata()
            old.append(metadata)
            return metadata

    async with engine(settings, reads=engines.consumer(settings, Remembers)):
        await wait(lambda: old)
        other = Settings(**{**settings.model_dump(), "instance": "1"})
        async with engine(other):
            await wait(lambda: len(old) > 1)
            assert 0 <= generation(old[0]) < generation(old[1])
            client = Producer(transactional_config(settings, "late"))
            client.init_transactions()
            client.begin_transaction()
            with pytest.raises(KafkaException) as refused:
                client.send_offsets_to_transaction([TopicPartition(topic, 0, 0)], old[0])
            assert refused.value.args[0].txn_requires_abort()
            client.abort_transaction()


async def test_a_restarted_member_gets_its_partitions_without_a_rebalance(settings: Settings, tmp_path: Path) -> None:
    crew = Crew("tests.kit.engines", settings, tmp_path)
    echo = Echo(settings, waves(STEPS))
    loop = asyncio.get_running_loop()
    try:
        crew.start(1)
        crew.start(2)
        await wait(lambda: all(crew.log(n).exists() and '"restored"' in crew.log(n).read_text() for n in (1, 2)), 30)
        handed = crew.log(2).read_text().count("handing over")
        crew.signal(1, signal.SIGKILL)
        crew.wait(1)
        began = loop.time()
        crew.start(1)
        tasks = [requested(str(n)) for n in range(20)]
        for task in tasks:
            echo.send(task)
        await wait(lambda: len(events(settings, "task-results")) == 20)
        # Far less than the session of ten seconds, and nobody else was disturbed.
        assert loop.time() - began < 8
        assert crew.log(2).read_text().count("handing over") == handed
    finally:
        crew.stop()
        echo.close()
    assert not await asyncio.to_thread(faults, settings, [t.task for t in tasks], steps=STEPS)


async def test_a_dead_owners_transaction_ends_before_its_session(settings: Settings) -> None:
    """The time-outs of both clients and the broker's sweep, as they are set."""
    reads = stateful_config(settings, "g", "i")
    writes = transactional_config(settings, "i")
    admin, brokers = AdminClient(client_config(settings)), ConfigResource(ResourceType.BROKER, "1")
    found = admin.describe_configs([brokers])[brokers].result(10)
    sweep = int(found["transaction.abort.timed.out.transaction.cleanup.interval.ms"].value)
    assert writes["transaction.timeout.ms"] + sweep < reads["session.timeout.ms"]
    assert reads["partition.assignment.strategy"] == "range" and reads["group.instance.id"] == "i"
    assert reads["auto.offset.reset"] == "error" and reads["isolation.level"] == "read_committed"
    assert writes["retry.backoff.ms"] == 1
    production = (Path(__file__).parents[2] / "infra" / "compose" / "kafka.sh").read_text()
    assert "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000" in production


async def test_a_commit_that_the_library_never_comes_back_from_ends_the_process(
        settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weir.kafka.loop_thread.STUCK_SECONDS", 1.0)
    free = threading.Event()

    class Stuck(engines.Producer):
        def send_offsets_to_transaction(self, *arguments: Any) -> None:
            free.wait(30)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    echo = Echo(settings, waves(STEPS))
    try:
        monkeypatch.setattr("weir.kafka.transactional.end_leftovers", lambda *_: None)
        async with engine(settings, writes=engines.producer(settings, Stuck)) as task:
            echo.send(requested("r"))
            with pytest.raises(Unavailable, match="does not end"):
                await asyncio.wait_for(asyncio.shield(task), 20)
    finally:
        free.set()
        echo.close()
