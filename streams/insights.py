"""Live figures by workspace and minute, on Faust: `turns`, `feedback`, `decisions`, `task-results`, `cache-figures` ->
`insights`.

Faust may lose and repeat records when workers come and go (docs/decisions/live-figures.md), so nothing here has to be
right: `weir insights --exact` counts again from the topics. It keeps no tables. What a worker has counted it writes
under a key of its own, and readers add the parts of a minute up; a worker that dies leaves its part as it was.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from collections import defaultdict
from collections.abc import AsyncIterable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import faust
from prometheus_client import Counter, Histogram

from schemas import keys, topics
from schemas.events import Insight, Turn
from weir import telemetry
from weir.blobs import Blobs
from weir.clock import Clock
from weir.errors import InputError, Unavailable
from weir.insights.figures import MILLIS, MINUTE, SOURCES, Figures, Where, again, counted
from weir.kafka.process import Context, run_process
from weir.kafka.producer import Producer
from weir.kafka.records import Decoder, Raw
from weir.settings import Settings

NAME = "streams.insights"
FLUSH_SECONDS = 2.0
"""How often what was counted is written, and committed after that."""
OPEN_MINUTES = 15
"""Minutes that stay open; what comes later begins a part of its own."""
KEPT_MINUTES = int(topics.INSIGHTS.config["retention.ms"]) // MINUTE
"""What is older is not counted: its figures would be deleted at once."""

COUNTED = Counter("weir_insights", "What was counted, by workspace and figure", ["workspace", "figure"])
STAGE_SECONDS = Histogram("weir_insights_stage_seconds", "Seconds of the stages of an answer", ["stage"],
                          buckets=[millis / 1000 for millis in MILLIS])

log = telemetry.logger(__name__)


@dataclass(slots=True)
class Part:
    """What this worker has counted of a minute; all of it is written."""

    name: str = field(default_factory=lambda: secrets.token_hex(8))
    settled: Figures = field(default_factory=Figures)
    """Its records are committed: nobody reads them again."""
    committing: Figures = field(default_factory=Figures)
    pending: Figures = field(default_factory=Figures)


class Counting:
    """What this worker has counted and not let go of.

    A worker that loses its partitions in a rebalance drops what it has not committed: whoever gets them reads it again.
    """

    def __init__(self, settings: Settings, producer: Producer, clock: Clock) -> None:
        self._decoder = Decoder(settings, Blobs(settings))
        self._producer, self._clock = producer, clock
        self._topic = topics.INSIGHTS.named(settings.prefix)
        self._open: defaultdict[Where, Part] = defaultdict(Part)
        self._changed: set[Where] = set()

    def take(self, raw: Raw) -> None:
        """Counts a record. One that lies in a blob, or cannot be read, is left to the exact count."""
        try:
            record = self._decoder.now(raw)
        except InputError as e:
            log.warning("not counted", topic=raw.topic, offset=raw.offset, reason=e.message)
            return
        event = record.event if record is not None else None
        if again(event):
            return
        for at, figures in counted(event).items():
            if at[1] < self._clock() - KEPT_MINUTES * MINUTE:
                continue
            self._open[at].pending += figures
            self._changed.add(at)
            # Of long ago: a rate would show it as if it happened now.
            if at[1] >= self._open_since():
                measure(at[0], figures, event)

    def _open_since(self) -> int:
        return self._clock() - OPEN_MINUTES * MINUTE

    async def flush(self) -> bool:
        """Writes what has changed; False where Kafka did not take all of it, which is written the next time."""
        for at in sorted(self._changed):
            part, figures = self._open[at], Figures()
            for some in (part.settled, part.committing, part.pending):
                figures += some
            insight = Insight(workspace=at[0], minute=at[1], part=part.name, counts=figures.counts,
                              stages=figures.stages, scores=figures.scores, at=self._clock())
            self._changed.discard(at)
            try:
                await self._producer.send(self._topic, keys.insight_key(*at, part.name), insight, partition_key=at[0])
            except Unavailable as e:
                self._changed.add(at)
                log.warning("figures wait", reason=e.message)
                return False
        return True

    def commit(self) -> None:
        """What was counted so far is about to be committed."""
        for part in self._open.values():
            part.committing += part.pending
            part.pending = Figures()

    def settle(self) -> None:
        """It was. Old minutes that are written and committed are let go of."""
        for at, part in list(self._open.items()):
            part.settled += part.committing
            part.committing = Figures()
            if at[1] < self._open_since() and at not in self._changed:
                del self._open[at]

    def forget(self) -> None:
        """Somebody will read anew what was not."""
        for at, part in self._open.items():
            if part.pending != Figures() or part.committing != Figures():
                part.pending, part.committing = Figures(), Figures()
                self._changed.add(at)


def measure(workspace: str, figures: Figures, event: Any) -> None:
    """The same for Prometheus."""
    for name, much in figures.counts.items():
        COUNTED.labels(workspace, name).inc(much)
    if isinstance(event, Turn):
        for stage, millis in event.timings.items():
            STAGE_SECONDS.labels(stage).observe(millis / 1000)


class _Reader(faust.App):  # type: ignore[misc]  # Faust's types are not read
    """Faust without what only costs: it writes nothing, serves nothing and declares no topic."""

    class BootStrategy(faust.App.BootStrategy):  # type: ignore[misc]
        enable_kafka_producer = False
        enable_web = False

    def _create_directories(self) -> None:
        """No folders: they are for tables."""


def application(settings: Settings, counting: Counting) -> faust.App:
    """The Faust app: one agent for each topic, in one group."""
    app = _Reader(
        f"{settings.prefix}{NAME}", broker=[f"kafka://{address}" for address in settings.kafka_address.split(",")],
        broker_credentials=_credentials(settings), store="memory://", web_enabled=False, autodiscover=False,
        topic_allow_declare=False, topic_disable_leader=True, key_serializer="raw", value_serializer="raw",
        broker_session_timeout=10.0, broker_heartbeat_interval=2.0, broker_commit_interval=timedelta(days=1),
        consumer_auto_offset_reset="earliest", stream_wait_empty=False)
    for source in SOURCES:
        name = source.named(settings.prefix)
        app.agent(app.topic(name, key_type=bytes, value_type=bytes), name=f"{NAME}.{source.name}", concurrency=1)(
            _counter(counting))

    async def revoked(_: Any, partitions: Any, **__: Any) -> None:
        counting.forget()

    app.on_partitions_revoked.connect(revoked)
    return app


def _counter(counting: Counting) -> Callable[[Any], Coroutine[Any, Any, None]]:
    async def count(stream: Any) -> None:
        events: AsyncIterable[Any] = stream.events()
        async for event in events:
            message = event.message
            # An error would end the agent and count the message as done all the same.
            try:
                counting.take(Raw(message.topic, message.partition, message.offset, message.key, message.value, {},
                                  int(message.timestamp * 1000)))
            except Exception:
                log.exception("not counted", topic=message.topic, offset=message.offset)
    return count


def _credentials(settings: Settings) -> Any:
    """What Faust signs in with."""
    if settings.kafka_security == "PLAINTEXT":
        return None
    context = None
    if settings.kafka_security.endswith("SSL"):
        context = ssl.create_default_context(cafile=str(settings.kafka_ca_file) if settings.kafka_ca_file else None)
    if settings.kafka_security == "SSL":
        return faust.SSLCredentials(context)
    secret = settings.secret(settings.kafka_password_file)
    return faust.SASLCredentials(
        username=settings.kafka_username, password=secret.get_secret_value() if secret else "", ssl_context=context,
        mechanism="SCRAM-SHA-512")


async def main(context: Context) -> None:
    for library in ("faust", "mode", "aiokafka"):
        logging.getLogger(library).setLevel(logging.WARNING)
    if not await _kafka_answers(context):
        return
    counting = Counting(context.settings, context.producer, context.clock)
    app = application(context.settings, counting)
    app.finalize()
    await app.start()
    try:
        while not context.stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(context.stop.wait(), FLUSH_SECONDS)
            await _note(app, counting)
            if app.crashed:
                raise Unavailable("Faust has stopped; a fresh process goes on")
    finally:
        await _note(app, counting)
        await app.stop()


async def _kafka_answers(context: Context) -> bool:
    """Waits until it does and has the topics, or until the process shall end: Faust would crash."""
    while not context.stop.is_set():
        try:
            for topic in (*SOURCES, topics.INSIGHTS):
                await asyncio.to_thread(context.producer.partitions, topic.named(context.settings.prefix))
            return True
        except Unavailable as e:
            log.warning("waiting for Kafka", reason=e.message)
            with suppress(TimeoutError):
                await asyncio.wait_for(context.stop.wait(), FLUSH_SECONDS)
    return False


async def _note(app: faust.App, counting: Counting) -> None:
    """Commits only what was written, so that a successor counts again what dies with this process."""
    if await counting.flush() and not app.crashed:
        counting.commit()
        if await app.consumer.commit():
            counting.settle()


if __name__ == "__main__":
    run_process(NAME, main)
