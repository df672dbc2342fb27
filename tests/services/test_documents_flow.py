"""What becomes of a document: searchable, replaced whole, deleted, refused. All servers are real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from schemas import codec, keys, topics
from schemas.events import DocumentPublished
from tests.kit.pipeline import WORKSPACE, Pipeline, pipeline
from tests.kit.waiting import until
from weir.kafka.dead_letters import replay
from weir.kafka.follow import read_all

pytestmark = pytest.mark.services

LONG = "\n\n".join(f"Paragraph {n} says that the heron number {n} eats fish. " * 12 for n in range(90))


@pytest.fixture
async def running() -> AsyncIterator[Pipeline]:
    async with pipeline() as made:
        made.start()
        yield made


async def test_a_document_becomes_searchable_and_every_stage_says_so(running: Pipeline) -> None:
    sent = await running.publish("a.md", "# Herons\n\nThe heron eats fish.", media_type="text/markdown",
                                 groups=["birds"], metadata={"year": 2026})
    status = await running.searchable("a.md", sent.offset)
    status = await running.until("a.md", lambda s: len(s["stages"]) == 4)
    assert {stage: s["state"] for stage, s in status["stages"].items()} == dict.fromkeys(
        ("cut", "embedded", "vectors", "keywords"), "done")
    assert status["failed"] is None and not status["being_replaced"]
    (chunk,) = await running.chunks("a.md")
    assert chunk["text"] == "The heron eats fish." and chunk["groups"] == ["birds"]
    assert await running.row_ids("a.md") == [keys.row_id(WORKSPACE, "a.md", sent.offset, 0)]


async def test_a_version_replaces_the_one_before_it_whole(running: Pipeline) -> None:
    first = await running.publish("long", LONG)
    await running.searchable("long", first.offset)
    vectors, chunks = await running.manifests("long")
    assert vectors.parts >= 2, "the document must span several parts"
    assert vectors.count > chunks.count > 64
    assert (await running.rows("long"), len(await running.chunks("long"))) == (vectors.count, chunks.count)

    second = await running.publish("long", "Only this is left.")
    await running.searchable("long", second.offset)
    assert await running.row_versions("long") == {second.offset}
    assert [c["text"] for c in await running.chunks("long")] == ["Only this is left."]
    assert [(m.count, m.stale, m.pending) for m in await running.manifests("long")] == [(1, frozenset(), None)] * 2

    async def parts() -> bool:
        found = await asyncio.to_thread(read_all, running.settings, running.topic(topics.EMBEDDINGS, version="v1"))
        last = {raw.key: raw.value for raw in found}
        return [part for part in range(vectors.parts)
                if last[keys.part_key(WORKSPACE, "long", part).encode()] is not None] == [0]

    await until(parts, what="tombstones over the parts that the second version does not have")


async def test_a_deletion_removes_the_document_everywhere(running: Pipeline) -> None:
    first = await running.publish("gone", LONG)
    await running.searchable("gone", first.offset)
    deleted = await running.delete("gone")
    await running.gone("gone", deleted.offset)
    status = await running.status("gone")
    assert status["deleted"] and not status["searchable"]
    assert (await running.rows("gone"), await running.chunks("gone")) == (0, [])
    # It may come back.
    again = await running.publish("gone", "Here again.")
    await running.searchable("gone", again.offset)
    assert len(await running.chunks("gone")) == 1


async def test_an_unreadable_version_ends_the_one_before_and_stops_nobody(running: Pipeline) -> None:
    first = await running.publish("report", "Good text.")
    await running.searchable("report", first.offset)
    broken = await running.publish("report", b"%PDF-1.7 truncated", media_type="application/pdf")
    behind = await running.publish("behind", "A good one.")
    await running.searchable("behind", behind.offset)

    await running.gone("report", broken.offset)
    status = await running.until("report", lambda s: s["failed"] is not None)
    assert status["failed"]["stage"] == "cut" and status["failed"]["reason"]
    assert not status["searchable"]
    assert await running.chunks("report") == [] and await running.rows("report") == 0
    (letter,) = await running.dead_letters(1)
    assert letter.letter.offset == broken.offset and letter.letter.code == status["failed"]["code"]


@pytest.mark.parametrize(("key", "workspace", "document", "why"), [
    ("library/other", "library", "body", "key"),
    ("/nothing", "", "nothing", "workspace/document"),
    ("library/", "library", "", "workspace/document"),
    ("library/tab\tin it", "library", "tab\tin it", "control"),
    ("library/" + "x" * 600, "library", "x" * 600, "512"),
    ("lib\0rary/a", "lib\0rary", "a", "control"),
])
async def test_a_record_with_unusable_names_is_a_dead_letter_and_nothing_else(
        running: Pipeline, key: str, workspace: str, document: str, why: str) -> None:
    kept = await running.publish("other", "Stays as it is.")
    await running.searchable("other", kept.offset)
    event = DocumentPublished(workspace=workspace, document=document, content=b"Text.", media_type="text/plain")
    await running.producer.send(running.topic(topics.DOCUMENTS), key, event)
    (letter,) = await running.dead_letters(1)
    assert why in letter.letter.reason
    assert (await running.searchable("other", kept.offset))["searchable"]
    assert len(await running.chunks()) == 1


async def test_replaying_an_older_dead_letter_does_not_bring_its_version_back(running: Pipeline) -> None:
    broken = await running.publish("doc", b"\x00\x01\x02" * 50, media_type="application/pdf")
    (letter,) = await running.dead_letters(1)
    newer = await running.publish("doc", "The newer text.")
    await running.searchable("doc", newer.offset)
    assert newer.offset > broken.offset
    await replay(running.producer, letter)
    for _ in range(200):
        if not await running.dead_letters(0):
            break
        await asyncio.sleep(0.1)
    assert await running.dead_letters(0) == [], "the letter is settled"
    assert (await running.searchable("doc", newer.offset))["searchable"]
    assert [c["text"] for c in await running.chunks("doc")] == ["The newer text."]
    cut = read_all(running.settings, running.topic(topics.CHUNKS, cut="c800w"))
    assert len([raw for raw in cut if raw.key == b"library/doc"]) == 2, "nothing was written after the newer version"


async def test_old_and_repeated_records_change_nothing(running: Pipeline) -> None:
    first = await running.publish("doc", "The first text. " * 80)
    await running.searchable("doc", first.offset)
    second = await running.publish("doc", "The second text.")
    await running.searchable("doc", second.offset)
    before = await running.row_ids("doc"), await running.chunks("doc"), await running.manifests("doc")

    for topic in (running.topic(topics.CHUNKS, cut="c800w"), running.topic(topics.EMBEDDINGS, version="v1")):
        for raw in [raw for raw in read_all(running.settings, topic) if b"library/doc" in (raw.key or b"")]:
            event = None if raw.value is None else codec.decode(raw.value)
            await running.producer.send(topic, (raw.key or b"").decode(), event, partition_key="library/doc")
    # Once a document behind them in the same partition is searchable, they have been worked on.
    marker = next(name for name in map(str, count()) if keys.partition(f"library/{name}", 3) ==
                  keys.partition("library/doc", 3))
    sent = await running.publish(marker, "Behind all of them.")
    await running.searchable(marker, sent.offset)
    after = await running.row_ids("doc"), await running.chunks("doc"), await running.manifests("doc")
    assert after[:2] == before[:2]
    assert [(m.version, m.count, m.pending, m.stale) for m in after[2]] == [
        (m.version, m.count, m.pending, m.stale) for m in before[2]]
