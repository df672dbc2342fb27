"""Workers that are killed, frozen and stopped, and a broker that dies: nothing is lost and no offset runs ahead.

Short by default; WEIR_CHAOS_SECONDS sets how long each of the two monkeys plays.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from pathlib import Path

import aiohttp
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from schemas import codec
from schemas.events import DeadLetter
from tests.kit.broker import own_broker
from tests.kit.kafka import document, kafka, own_settings
from tests.kit.monkey import Crew, Monkey
from weir import telemetry
from weir.errors import Unavailable
from weir.kafka import admin
from weir.kafka.config import client_config
from weir.kafka.follow import read_all
from weir.kafka.producer import Producer

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("WEIR_CHAOS_SECONDS", "14"))

Place = tuple[int, int]
"""Partition and offset of an input."""


class Ledger:
    """What went in, and what must come out."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self.settings = producer.settings
        self.good: set[Place] = set()
        self.poison: set[Place] = set()
        self.sent = 0

    async def feed(self, stop: asyncio.Event, pause: float = 0.01) -> None:
        while not stop.is_set():
            self.sent += 1
            kind = "poison" if self.sent % 97 == 0 else "slow" if self.sent % 23 == 0 else "plain"
            name = str(self.sent % 61)
            try:
                place = await self.producer.send(f"{self.settings.prefix}documents", f"w/{name}",
                                                 document(name, f"{kind} {self.sent}".encode()))
            except Unavailable:
                continue
            (self.poison if kind == "poison" else self.good).add((place.partition, place.offset))
            await asyncio.sleep(pause)

    def copied(self) -> set[Place]:
        raws = read_all(self.settings, f"{self.settings.prefix}document-status")
        events = [codec.decode(raw.value or b"") for raw in raws]
        return {(event.count, event.version) for event in events}

    def buried(self) -> set[Place]:
        raws = read_all(self.settings, f"{self.settings.prefix}dead-letters")
        letters: list[DeadLetter] = [codec.decode(raw.value or b"") for raw in raws]
        assert all(x.code == "hostile" and x.attempts == 1 for x in letters)
        return {(x.partition, x.offset) for x in letters}

    def committed(self) -> dict[int, int]:
        client = AdminClient(client_config(self.settings))
        group = f"{self.settings.prefix}copying"
        places = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(30)
        return {p.partition: p.offset for p in places.topic_partitions
                if p.topic == f"{self.settings.prefix}documents" and p.offset >= 0}

    async def until_copied(self, count: int) -> None:
        """Waits for that many outputs."""
        for _ in range(600):
            if len(await asyncio.to_thread(self.copied)) >= count:
                return
            await asyncio.sleep(0.2)
        raise AssertionError(f"not {count} outputs within two minutes")

    def check_no_offset_ran_ahead(self) -> None:
        """The offsets first, then what came out: all that they passed must have left its trace."""
        inputs = self.good | self.poison
        committed = self.committed()
        done = self.copied() | self.buried()
        ahead = {(p, o) for p, o in inputs if o < committed.get(p, 0)} - done
        assert not ahead, f"committed past records that nobody handled: {sorted(ahead)[:10]}"

    async def check_until_complete(self, crew: Crew, within: float = 60.0) -> None:
        until = time.monotonic() + within
        while True:
            copied, buried = await asyncio.to_thread(self.copied), await asyncio.to_thread(self.buried)
            lag = sum((await admin.lag(self.settings)).get(f"{self.settings.prefix}copying", {}).values())
            if copied >= self.good and buried >= self.poison and lag == 0:
                break
            missing = (self.good - copied) | (self.poison - buried)
            assert time.monotonic() < until, f"{len(missing)} without output, lag {lag}\n{crew.tail()}"
            await asyncio.sleep(0.3)
        known = self.good | self.poison
        assert {place for place in buried if place in known} == self.poison
        assert not copied & self.poison


async def watched(ledger: Ledger, stop: asyncio.Event) -> int:
    """Looks at the invariant again and again; how often."""
    looked = 0
    while not stop.is_set():
        await asyncio.to_thread(ledger.check_no_offset_ran_ahead)
        looked += 1
        await asyncio.sleep(0.5)
    return looked


@pytest.mark.services
@pytest.mark.parametrize(("handler", "seed"), [("each", 7), ("batch", 11)])
async def test_workers_may_be_killed_frozen_and_stopped_at_any_moment(tmp_path: Path, handler: str, seed: int) -> None:
    settings = own_settings(tmp_path, drain_timeout=1.0)
    crew = Crew("tests.kit.copying", settings, tmp_path, {"COPYING_HANDLER": handler})
    async with kafka(settings) as producer:
        ledger, stop = Ledger(producer), asyncio.Event()
        for number in range(3):
            crew.start(number)
        try:
            monkey = Monkey(crew, seed)
            feeding = asyncio.create_task(ledger.feed(stop))
            watching = asyncio.create_task(watched(ledger, stop))
            await monkey.play(SECONDS)
            stop.set()
            await feeding
            assert await watching > 3
            await ledger.check_until_complete(crew)
            assert ledger.poison
            assert len(monkey.did) >= 5, monkey.did
        finally:
            codes = crew.stop()
        assert set(codes.values()) <= {0, -signal.SIGTERM}, codes


async def test_a_broker_that_dies_is_waited_for(tmp_path: Path) -> None:
    async with own_broker(tmp_path) as (broker, settings):
        await admin.ensure_topics(settings, ["documents", "document-status", "dead-letters", "replays"])
        crew = Crew("tests.kit.copying", settings, tmp_path)
        for number in range(2):
            crew.start(number)
        try:
            async with Producer(settings) as producer:
                ledger, stop = Ledger(producer), asyncio.Event()
                feeding = asyncio.create_task(ledger.feed(stop))
                await ledger.until_copied(60)
                broker.kill()
                await asyncio.sleep(2)
                await broker.start()
                await ledger.until_copied(len(ledger.good) + 60)
                stop.set()
                await feeding
                await ledger.check_until_complete(crew)
                await asyncio.to_thread(ledger.check_no_offset_ran_ahead)
        finally:
            alive = {number: process.poll() for number, process in crew.running.items()}
            codes = crew.stop()
        assert set(alive.values()) == {None}, "a worker ended because of the outage"
        assert set(codes.values()) == {0}, codes


@pytest.mark.services
async def test_a_process_says_what_happens_and_ends_as_it_should(tmp_path: Path) -> None:
    settings = own_settings(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    crew = Crew("tests.kit.copying", settings, tmp_path, {"WEIR_METRICS_PORT": str(port)})
    async with kafka(settings) as producer:
        crew.start(0)
        with telemetry.span("publish") as span:
            await producer.send(f"{settings.prefix}documents", "w/1", document("1", b"poison"))
        ledger = Ledger(producer)
        for _ in range(300):
            if await asyncio.to_thread(ledger.buried):
                break
            await asyncio.sleep(0.1)
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
            metrics = await response.text()
        assert 'weir_dead_letters_total{code="hostile",worker="copying"} 1.0' in metrics
        assert f'weir_lag{{topic="{settings.prefix}documents",worker="copying"}}' in metrics
        assert crew.stop() == {0: 0}
    lines = [json.loads(line) for line in crew.log(0).read_text().splitlines()]
    (given_up,) = [line for line in lines if line["event"] == "giving a record up"]
    assert (given_up["process"], given_up["code"], given_up["level"]) == ("copying", "hostile", "error")
    assert given_up["topic"] == f"{settings.prefix}documents"
    assert given_up["trace"] == f"{span.get_span_context().trace_id:032x}"

    wrong = Crew("tests.kit.copying", settings, tmp_path, {"WEIR_KAFKA_PARTITIONS": "none"})
    wrong.start(1)
    assert wrong.wait(1) == 2
    assert "WEIR_KAFKA_PARTITIONS" in wrong.log(1).read_text()
