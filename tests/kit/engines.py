"""Engines for tests: in this process or as processes of their own, with clients that a test may wrap.

As a process (`python -m tests.kit.engines`) an engine may freeze itself at a named point, once:

    ENGINE_FREEZE     offsets-sent: after its offsets are in the transaction, before the transaction ends
                      consumed: with its first events in its hands; before-commit: before anything of a commit;
                      restoring: while it reads its state
    ENGINE_DIES       committed: kills itself once it has committed after a freeze
    ENGINE_FLAG       a file; it is made when the engine freezes
    ENGINE_VARIANT    a broken engine, see `VARIANTS`: it exists to show that the tests notice
    ENGINE_SESSION    session time-out, in milliseconds
    ENGINE_TRANSACTION  transaction time-out, in milliseconds
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from schemas import codec, topics
from streams import agents
from tests.kit.broker import Broker, own_broker
from weir.clock import Clock, system_clock
from weir.errors import Unavailable
from weir.kafka import admin, transactional
from weir.kafka.config import consumer_config, stateful_config, transactional_config
from weir.kafka.process import Context, run_process
from weir.kafka.producer import Producer as Events
from weir.kafka.transactional import Loop
from weir.settings import Settings

TOPICS = ("agent-events", "agent-state", "agent-commands", "agent-effects", "agent-replies", "decisions", "usage",
          "task-results", "dead-letters", "replays")
NAMES = {name: next(t for t in topics.TOPICS if t.name == name) for name in TOPICS}


@contextmanager
def broker(folder: Path) -> Iterator[tuple[Broker, Settings]]:
    """A broker of a test module's own, from code that does not await."""
    with asyncio.Runner() as runner:
        owned = own_broker(folder)
        yield runner.run(owned.__aenter__())
        runner.run(owned.__aexit__(None, None, None))


def instance(settings: Settings) -> str:
    return f"{settings.prefix}{agents.NAME}-{settings.instance}"


def consumer(settings: Settings, kind: type[Consumer] = Consumer, **extra: Any) -> Consumer:
    config = stateful_config(settings, settings.prefix + agents.NAME, instance(settings), **extra)
    return kind(config, logger=logging.getLogger("librdkafka"))


def producer(settings: Settings, kind: type[Producer] = Producer, **extra: Any) -> Producer:
    return kind(transactional_config(settings, instance(settings), **extra), logger=logging.getLogger("librdkafka"))


@asynccontextmanager
async def engine(settings: Settings, *, clock: Clock = system_clock, reads: Consumer | None = None,
                 writes: Producer | None = None) -> AsyncIterator[asyncio.Task[None]]:
    """An engine in this process while the block runs; the task ends by itself only where the engine cannot go on."""
    async with Events(settings, clock=clock) as events:
        context = Context(settings, events, asyncio.Event(), clock)
        task = asyncio.create_task(agents.run(context, reads or consumer(settings), writes or producer(settings)))
        try:
            yield task
        finally:
            context.stop.set()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()


async def topics_for(settings: Settings) -> None:
    await admin.ensure_topics(settings, TOPICS)


def read(settings: Settings, topic: str, *, committed: bool = True) -> list[Message]:
    """Every record of a topic, of one partition after the other. Uncommitted: those of open and aborted transactions
    too.

    Raises:
        Unavailable: the broker died while it was read.
    """
    name = settings.prefix + topic
    client = Consumer(consumer_config(settings, f"{settings.prefix}test", enable_partition_eof=True,
                                      fetch_wait_max_ms=10,
                                      isolation_level="read_committed" if committed else "read_uncommitted"))
    try:
        numbers = sorted(client.list_topics(name, timeout=10).topics[name].partitions)
        client.assign([TopicPartition(name, number, OFFSET_BEGINNING) for number in numbers])
        found: dict[int, list[Message]] = {number: [] for number in numbers}
        left = set(numbers)
        while left:
            message = client.poll(10)
            if message is None:
                raise Unavailable(f"{name} cannot be read: the broker does not answer")
            if (error := message.error()) is None:
                found[message.partition() or 0].append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                left.discard(message.partition() or 0)
        return [message for number in numbers for message in found[number]]
    finally:
        client.close()


def events(settings: Settings, topic: str, *, committed: bool = True) -> list[Any]:
    """The decoded records of a topic, tombstones and the engine's own marks left out."""
    return [codec.decode(message.value() or b"") for message in read(settings, topic, committed=committed)
            if message.value() is not None and not (message.key() or b"").startswith(b"!")]


# -- as a process -------------------------------------------------------------------------------------------------


def _freeze(point: str) -> None:
    flag = Path(os.environ.get("ENGINE_FLAG", "/nonexistent"))
    if os.environ.get("ENGINE_FREEZE") == point and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGSTOP)
        # The signal takes a moment to reach this thread.
        time.sleep(0.2)


class FreezingConsumer(Consumer):
    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        messages = super().consume(num_messages, timeout)
        _freeze("consumed")
        return messages


class FreezingProducer(Producer):
    def send_offsets_to_transaction(self, *arguments: Any) -> None:
        _freeze("before-commit")
        super().send_offsets_to_transaction(*arguments)
        _freeze("offsets-sent")

    def commit_transaction(self, *arguments: Any) -> None:
        super().commit_transaction(*arguments)
        if os.environ.get("ENGINE_DIES") == "committed" and Path(os.environ["ENGINE_FLAG"]).exists():
            os.kill(os.getpid(), signal.SIGKILL)


class StateFirst(Loop):
    """Reads the state that is committed, asks for the group's offsets afterwards and believes them."""

    def _restore(self, numbers: list[int]) -> list[TopicPartition]:
        self._work.forget()
        state = [m for m in read(self._settings, "agent-state") if m.partition() in numbers]
        self._work.load(state)
        Path(f"{os.environ['ENGINE_FLAG']}.state-read-{len(numbers)}").touch()
        stable = self._stable_offsets(numbers)
        for number in numbers:
            # What the state itself says of its offset would show the hole.
            with contextlib.suppress(Unavailable):
                self._work.loaded(number, None)
        self._next = dict(stable)
        self._fresh = set(numbers)
        return [TopicPartition(self._topic, number, OFFSET_BEGINNING if offset is None else offset)
                for number, offset in self._next.items()]


class NoGeneration(Loop):
    """Commits with the metadata of a consumer that is in no generation, which the broker does not check."""

    def _current_metadata(self) -> bytes:
        stranger = Consumer(consumer_config(self._settings, self._settings.prefix + agents.NAME))
        metadata: bytes = stranger.consumer_group_metadata()
        stranger.close()
        return metadata


VARIANTS: dict[str, type[Loop]] = {"": Loop, "state-first": StateFirst, "no-generation": NoGeneration}


async def main(context: Context) -> None:
    settings = context.settings
    session, timeout = os.environ.get("ENGINE_SESSION", "10000"), os.environ.get("ENGINE_TRANSACTION", "5000")
    read_to = transactional.restore.read_to

    def reading(*arguments: Any, **more: Any) -> int:
        _freeze("restoring")
        return read_to(*arguments, **more)

    transactional.restore.read_to = reading
    agents.Loop = VARIANTS[os.environ.get("ENGINE_VARIANT", "")]  # type: ignore[misc]  # the broken ones live here only
    reads = consumer(settings, FreezingConsumer, session_timeout_ms=int(session),
                     heartbeat_interval_ms=int(session) // 5)
    writes = producer(settings, FreezingProducer, transaction_timeout_ms=int(timeout))
    await agents.run(context, reads, writes)


if __name__ == "__main__":
    run_process(agents.NAME, main)
