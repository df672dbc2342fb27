"""The durable engine: `agent-events` -> the tasks' next commands, effects, proposals and results.

An event moves its task by `weir.agents.machine`, inside one transaction that is open for a tenth of a second at a
time. Reads run ahead of the commit, effects wait for it; `docs/explanation/engine.md` says why that is right.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from confluent_kafka import Consumer
from confluent_kafka import Producer as Client

from schemas import codec, topics
from schemas.events import AgentEvent, ClaimCheck
from weir import telemetry
from weir.engine import metrics
from weir.engine.engine import Engine
from weir.kafka.config import stateful_config, transactional_config
from weir.kafka.dead_letters import Graveyard
from weir.kafka.handlers import GiveUp
from weir.kafka.loop_thread import run_on_thread
from weir.kafka.process import Context, run_process
from weir.kafka.producer import Producer
from weir.kafka.records import Decoder, Raw
from weir.kafka.transactional import Loop
from weir.settings import Settings

NAME = "streams.agents"

log = telemetry.logger(__name__)
T = TypeVar("T")


class ProcessEdges:
    """What the engine's thread asks of the process's event loop."""

    def __init__(self, settings: Settings, producer: Producer, loop: asyncio.AbstractEventLoop) -> None:
        self._producer = producer
        self._decoder = Decoder(settings, producer.blobs)
        self._graveyard = Graveyard(producer, settings.prefix + NAME)
        self._events = topics.AGENT_EVENTS.named(settings.prefix)
        self._loop = loop

    def decode(self, raw: Raw) -> Any:
        return self._wait(self._decoder.decode(raw)).event

    def claim(self, value: bytes) -> bytes:
        return codec.encode(ClaimCheck(blob=self._wait(self._producer.blobs.put(value)), size=len(value)))

    def bury(self, raw: Raw, given_up: GiveUp) -> None:
        self._wait(self._graveyard.bury(raw, given_up, attempts=1))

    def fire(self, event: AgentEvent, partition: int) -> Future[Any]:
        return self._start(self._producer.send(self._events, event.task, event, partition=partition))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._start(work).result()

    def _start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)


def engine_loop(context: Context, consumer: Consumer, client: Client) -> Loop:
    """The engine on its clients.

    Raises:
        Unavailable: Kafka does not answer, or there are no topics.
    """
    settings = context.settings
    edges = ProcessEdges(settings, context.producer, asyncio.get_running_loop())
    partitions = context.producer.partitions(topics.AGENT_EVENTS.named(settings.prefix))
    engine = Engine(settings, client, edges, context.clock, partitions)
    return Loop(settings, consumer, client, engine, topic=engine.events, state=engine.state,
                group=settings.prefix + NAME, touches=engine.written, interval=settings.engine_interval,
                committed=metrics.COMMIT_SECONDS.observe, restored=metrics.RESTORE_SECONDS.observe)


def clients(settings: Settings) -> tuple[Consumer, Client]:
    """A static member of the engines' group, and the producer of its transactions: one name an instance for both."""
    instance = f"{settings.prefix}{NAME}-{settings.instance}"
    logger = logging.getLogger("librdkafka")
    return (Consumer(stateful_config(settings, settings.prefix + NAME, instance), logger=logger),
            Client(transactional_config(settings, instance), logger=logger))


async def run(context: Context, consumer: Consumer, client: Client) -> None:
    """Works until the context says stop.

    Raises:
        WeirError: the process cannot go on; a fresh one can.
    """
    await run_on_thread(engine_loop(context, consumer, client), context.stop)


async def main(context: Context) -> None:
    await run(context, *clients(context.settings))


if __name__ == "__main__":
    run_process(NAME, main)
