"""Topics on the broker, tables in memory, lag of groups."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from schemas.events import Workspace
from schemas.topics import CHUNKS, DOCUMENTS, EMBEDDINGS, TOPICS
from tests.kit.kafka import clean_up, kafka, own_settings, publish, working
from tests.kit.waiting import until
from weir.errors import Unavailable
from weir.kafka import admin
from weir.kafka.config import client_config
from weir.kafka.producer import Producer
from weir.kafka.records import Record
from weir.kafka.table import Table
from weir.kafka.worker import Each
from weir.settings import Settings

pytestmark = pytest.mark.services


@pytest.fixture
async def producer(tmp_path: Path) -> AsyncIterator[Producer]:
    async with kafka(own_settings(tmp_path), ("documents", "workspaces", "dead-letters", "replays")) as made:
        yield made


def described(settings: Settings, names: list[str]) -> dict[str, dict[str, str]]:
    """What the broker says about topics: their settings."""
    client = AdminClient(client_config(settings))
    futures = client.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
    return {r.name: {e.name: e.value for e in f.result(10).values()} for r, f in futures.items()}


async def test_the_broker_has_the_topics_of_the_table(tmp_path: Path) -> None:
    settings = own_settings(tmp_path, kafka_partitions=3)
    try:
        created = await admin.ensure_topics(settings)
        created += await admin.ensure_index_topics(settings, cut="c800w", version="v1")
        wanted = {t.named(settings.prefix, cut="c800w", version="v1"): t for t in TOPICS}
        assert sorted(created) == sorted(wanted)
        there = AdminClient(client_config(settings)).list_topics(timeout=10).topics
        actual = described(settings, list(wanted))
        for name, topic in wanted.items():
            assert len(there[name].partitions) == (topic.partitions or 3), name
            assert {k: actual[name][k] for k in topic.config} == topic.config, name
        assert await admin.ensure_topics(settings) == []
        assert await admin.ensure_index_topics(settings, cut="c800w", version="v1") == []
    finally:
        clean_up(settings)


async def test_settings_that_drifted_are_corrected(tmp_path: Path) -> None:
    settings = own_settings(tmp_path)
    try:
        await admin.ensure_topics(settings, ["documents"])
        name = DOCUMENTS.named(settings.prefix)
        entry = ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)
        client = AdminClient(client_config(settings))
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        (future,) = client.incremental_alter_configs([resource]).values()
        future.result(10)
        await until(lambda: described(settings, [name])[name]["cleanup.policy"] == "delete")
        await admin.ensure_topics(settings, ["documents"])
        await until(lambda: described(settings, [name])[name]["cleanup.policy"] == "compact")
    finally:
        clean_up(settings)


async def test_a_topic_that_the_table_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no such topics in schemas/topics\.py"):
        await admin.ensure_topics(own_settings(tmp_path), ["document"])


async def test_two_at_once_create_each_topic_once(tmp_path: Path) -> None:
    settings = own_settings(tmp_path)
    try:
        created = await asyncio.gather(*(admin.ensure_topics(settings) for _ in range(3)))
        wanted = [t.named(settings.prefix) for t in TOPICS if t not in (CHUNKS, EMBEDDINGS)]
        assert sorted(itertools.chain(*created)) == sorted(wanted)
    finally:
        clean_up(settings)


def workspace(name: str, title: str = "") -> Workspace:
    return Workspace(workspace=name, title=title, changed_at=1, changed_by="me")


async def test_a_table_is_the_latest_of_every_key(producer: Producer) -> None:
    topic = f"{producer.settings.prefix}workspaces"
    for name, title in (("a", "1"), ("b", "1"), ("a", "2")):
        await producer.send(topic, name, workspace(name, title))
    producer._client.produce(topic, b"no record", b"c")
    table = Table(producer.settings, topic)
    changes: list[tuple[str, object]] = []
    table.on_change(lambda key, event: changes.append((key, event and event.title)))
    await table.start()
    try:
        assert dict(table.items()) == {"a": workspace("a", "2"), "b": workspace("b", "1")}
        assert (table.get("a"), table.get("z")) == (workspace("a", "2"), None)
        await producer.send(topic, "b", None)
        await producer.send(topic, "d", workspace("d"))
        await until(lambda: changes[-2:] == [("b", None), ("d", "")])
        assert dict(table.items()) == {"a": workspace("a", "2"), "d": workspace("d")}
    finally:
        await table.close()


async def test_a_table_of_an_empty_topic_starts_empty(producer: Producer) -> None:
    table = Table(producer.settings, f"{producer.settings.prefix}workspaces")
    await asyncio.wait_for(table.start(), 10)
    assert table.items() == []
    await table.close()


async def test_a_table_without_a_broker_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weir.kafka.follow.START_SECONDS", 1.0)
    table = Table(own_settings(tmp_path, kafka="127.0.0.1:1"), "workspaces")
    with pytest.raises(Unavailable, match=r"Kafka does not answer at 127\.0\.0\.1:1"):
        await asyncio.wait_for(table.start(), 20)


async def test_lag_counts_what_a_group_has_not_finished(producer: Producer) -> None:
    go = asyncio.Event()
    group, topic = f"{producer.settings.prefix}worker", f"{producer.settings.prefix}documents"

    async def handle(record: Record) -> None:
        if int(record.key.removeprefix("w/")) >= 10:
            await go.wait()

    async with working(producer, Each(handle, concurrency=None)):
        for i in range(30):
            await publish(producer, str(i))
        while (behind := (await admin.lag(producer.settings, group))[group].get(topic)) != 0:
            assert behind is None or behind <= 30
            if behind == 20:
                go.set()
            await asyncio.sleep(0.05)
            if behind is not None and 0 < behind < 30:
                go.set()
    assert (await admin.lag(producer.settings, group))[group][topic] == 0
