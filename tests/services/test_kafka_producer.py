"""What the producer promises, on a real broker."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas import codec, keys
from schemas.events import ClaimCheck, DocumentPublished, Workspace
from tests.kit.kafka import document, kafka, own_settings, publish
from weir.errors import BadRecord, Unavailable
from weir.kafka import config
from weir.kafka.follow import read_all
from weir.kafka.producer import Producer

pytestmark = pytest.mark.services


@pytest.fixture
async def producer(tmp_path: Path) -> AsyncIterator[Producer]:
    async with kafka(own_settings(tmp_path, kafka_partitions=12)) as made:
        yield made


async def test_librdkafka_chooses_the_partition_that_keys_names(producer: Producer) -> None:
    names = ["handbook.md", "https://example.org/a?b=c", "übersicht.pdf", "", *map(str, range(60))]
    topic = f"{producer.settings.prefix}documents"
    places = await asyncio.gather(*(producer.send(topic, f"w/{n}", document(n)) for n in names))
    assert [p.partition for p in places] == [keys.partition(f"w/{n}", 12) for n in names]


async def test_a_partition_key_decides_where_it_is_given(producer: Producer) -> None:
    topic = f"{producer.settings.prefix}documents"
    for part in range(5):
        place = await producer.send(topic, keys.part_key("w", "d", part), document("d"), partition_key="w/d")
        assert place.partition == keys.partition("w/d", 12)
    assert (await producer.send(topic, "w/d", None, partition=7)).partition == 7
    assert producer.partitions(topic) == 12


async def test_posted_records_keep_their_order_even_when_the_queue_overflows(
        producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = f"{producer.settings.prefix}documents"
    small = {**config.producer_config(producer.settings), "queue.buffering.max.messages": 50}
    monkeypatch.setattr("weir.kafka.producer.producer_config", lambda _: small)
    async with Producer(producer.settings) as narrow:
        posted = [narrow.post(topic, f"w/{i}", document(str(i)), partition_key="w") for i in range(300)]
        assert narrow._overflow
        last = await narrow.send(topic, "w/last", document("last"), partition_key="w")
        places = await asyncio.gather(*posted)
    assert last.offset == 300
    assert [p.offset for p in places] == sorted(p.offset for p in places)
    raws = await asyncio.to_thread(read_all, producer.settings, topic)
    assert [r.key for r in raws] == [f"w/{i}".encode() for i in range(300)] + [b"w/last"]


async def test_a_large_event_leaves_a_claim_check(producer: Producer) -> None:
    await publish(producer, "large", b"x" * 3_000_000)
    (raw,) = await asyncio.to_thread(read_all, producer.settings, f"{producer.settings.prefix}documents")
    check = codec.decode(raw.value or b"")
    assert isinstance(check, ClaimCheck)
    whole = await producer.blobs.get(check.blob)
    assert len(whole) == check.size
    assert codec.decode(whole) == document("large", b"x" * 3_000_000)


async def test_what_cannot_be_sent_says_why(producer: Producer, tmp_path: Path) -> None:
    topic = f"{producer.settings.prefix}documents"
    with pytest.raises(BadRecord, match="too large to post; `send` it"):
        producer.post(topic, "w/d", document("d", b"x" * 600_000))
    with pytest.raises(BadRecord, match="Workspace cannot be encoded"):
        await producer.send(topic, "w", Workspace(workspace="w", changed_at=2**63, changed_by="x"))
    with pytest.raises(Unavailable, match="Kafka has no topic nowhere; `weir up` creates it"):
        await producer.send("nowhere", "w", document("d"), partition_key="w")


async def test_a_broker_that_is_away_makes_records_unavailable_in_time(tmp_path: Path) -> None:
    settings = own_settings(tmp_path, kafka="127.0.0.1:1")
    async with Producer(settings) as producer:
        sent = [producer.post("documents", "w/d", document("d")) for _ in range(3)]
        results = await asyncio.wait_for(asyncio.gather(*sent, return_exceptions=True), 20)
    assert all(isinstance(r, Unavailable) and r.retriable for r in results)


async def test_the_twenty_line_example_publishes_a_document(producer: Producer, tmp_path: Path) -> None:
    settings = producer.settings
    (tmp_path / "herons.md").write_text("# Herons\n\nThey eat fish.\n")
    script = Path(__file__).parents[2] / "examples" / "publish.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(tmp_path / "herons.md"), "birds", stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "WEIR_KAFKA": settings.kafka_address, "WEIR_PREFIX": settings.prefix})
    said, _ = await process.communicate()
    place = keys.partition("birds/herons.md", 12)
    assert said.decode() == f"herons.md is version 0 in partition {place}\n"
    (raw,) = await asyncio.to_thread(read_all, settings, f"{settings.prefix}documents")
    assert (raw.key, raw.partition) == (b"birds/herons.md", place)
    assert codec.decode(raw.value or b"") == DocumentPublished(
        workspace="birds", document="herons.md", title="herons", content=b"# Herons\n\nThey eat fish.\n",
        media_type="text/markdown")


async def test_any_event_type_can_be_sent_and_read(producer: Producer) -> None:
    topic = f"{producer.settings.prefix}documents"
    event = DocumentPublished(workspace="w", document="d", content=b"\0", media_type="t", groups=[], clearance=3,
                              metadata={"year": 2026, "draft": True, "tags": ["a", "b"]})
    place = await producer.send(topic, "w/d", event, headers={"a": b"1"})
    (raw,) = await asyncio.to_thread(read_all, producer.settings, topic)
    assert (raw.partition, raw.offset, raw.key) == (place.partition, place.offset, b"w/d")
    assert raw.headers["a"] == b"1"
    assert codec.decode(raw.value or b"") == event
