"""The log into a file and back, on a real Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import pytest

from cli import archive
from schemas import keys, topics
from schemas.events import Workspace
from tests.kit.kafka import clean_up, document, kafka, own_settings
from weir.errors import BadRequest, Conflict
from weir.kafka.admin import ensure_topics
from weir.kafka.producer import Producer
from weir.settings import Settings, environment

pytestmark = pytest.mark.services
NAMES = [topic.name for topic in archive.KEPT]


@contextmanager
def speaking_for(settings: Settings) -> Iterator[None]:
    """The commands read their settings from the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(settings).items():
            if name.startswith("WEIR_"):
                patch.setenv(name, value)
        yield


def contents(settings: Settings) -> list[tuple[Any, ...]]:
    """What the kept topics hold, each partition in order, wherever it stands."""
    return sorted(((r["topic"], r["partition"], r["offset"], r["key"], r["value"], r["timestamp"])
                   for r in archive.read(settings, None)), key=lambda r: r[:3])


async def fill(producer: Producer, first: int, count: int) -> None:
    documents = topics.DOCUMENTS.named(producer.settings.prefix)
    for n in range(first, first + count):
        await producer.send(documents, keys.document_key("w", f"d{n % 7}"), None if n % 11 == 5 else document(f"d{n}"))
    await producer.send(topics.WORKSPACES.named(producer.settings.prefix), "w",
                        Workspace(workspace="w", changed_at=1, changed_by="somebody"))


async def test_a_restored_log_holds_the_same_records_in_the_same_order(tmp_path: Path) -> None:
    before, after = own_settings(tmp_path / "a"), own_settings(tmp_path / "b", kafka_partitions=4)
    file = tmp_path / "weir.avro"
    async with kafka(before, NAMES) as producer:
        await fill(producer, 0, 60)
        with speaking_for(before):
            await asyncio.to_thread(archive.backup, file, None)
        try:
            with speaking_for(after):
                await asyncio.to_thread(archive.restore, file, False)
                with pytest.raises(Conflict, match="--merge"):
                    await asyncio.to_thread(archive.restore, file, False)
            assert await asyncio.to_thread(contents, after) == await asyncio.to_thread(contents, before)
        finally:
            await asyncio.to_thread(clean_up, after)


async def test_only_what_came_since_a_moment_is_written_and_merged(tmp_path: Path) -> None:
    settings = own_settings(tmp_path)
    file = tmp_path / "more.avro"
    async with kafka(settings, NAMES) as producer:
        await fill(producer, 0, 20)
        await asyncio.sleep(1.1)
        since = datetime.fromtimestamp(int(time.time()), UTC).replace(tzinfo=None)
        await producer.send(topics.DOCUMENTS.named(settings.prefix), keys.document_key("w", "late"), document("late"))
        with speaking_for(settings):
            await asyncio.to_thread(archive.backup, file, since)
            with file.open("rb") as opened:
                found: list[Any] = list(fastavro.reader(opened))
            assert [record["key"] for record in found] == [b"w/late"]
            many = len(await asyncio.to_thread(contents, settings))
            await asyncio.to_thread(archive.restore, file, True)
            assert len(await asyncio.to_thread(contents, settings)) == many + 1


async def test_another_file_is_refused(tmp_path: Path) -> None:
    settings = own_settings(tmp_path)
    (tmp_path / "notes.txt").write_text("not a backup")
    try:
        await ensure_topics(settings, NAMES)
        with speaking_for(settings), pytest.raises(BadRequest, match="not a file that `weir backup` wrote"):
            await asyncio.to_thread(archive.restore, tmp_path / "notes.txt", False)
    finally:
        await asyncio.to_thread(clean_up, settings)
