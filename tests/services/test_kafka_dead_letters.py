"""Records that are given up, and their way back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas import codec
from schemas.events import ClaimCheck, DocumentPublished, Workspace
from tests.kit.kafka import document, kafka, own_settings, publish, working
from tests.kit.waiting import until
from weir.errors import BadDocument, NotFound
from weir.kafka import handlers
from weir.kafka.dead_letters import Letter, letter, letters, replay
from weir.kafka.producer import Producer
from weir.kafka.records import Record
from weir.kafka.worker import Batch, Each

pytestmark = pytest.mark.services


@pytest.fixture
async def producer(tmp_path: Path) -> AsyncIterator[Producer]:
    async with kafka(own_settings(tmp_path)) as made:
        yield made


async def found(producer: Producer, count: int = 1, *, settled: bool = False) -> list[Letter]:
    """The letters, once there are that many."""
    for _ in range(100):
        if len(there := await letters(producer.settings, settled=settled)) >= count:
            return there
        await asyncio.sleep(0.1)
    raise AssertionError(f"{len(there)} letters of {count}")


class Parser:
    """A handler that refuses documents until it is mended."""

    def __init__(self) -> None:
        self.mended = False
        self.handled: list[Record] = []

    async def one(self, record: Record) -> None:
        assert record.event is not None
        if record.event.content.startswith(b"poison") and not self.mended:
            raise BadDocument("hostile", f"{record.key} bites")
        self.handled.append(record)

    async def many(self, records: list[Record]) -> None:
        for record in records:
            await self.one(record)


async def test_a_letter_holds_the_original_and_the_reason(producer: Producer) -> None:
    parser = Parser()
    async with working(producer, Each(parser.one)):
        version = await publish(producer, "bad", b"poison", headers={"x": b"\xff\0"})
        (got,) = await found(producer)
    assert got.letter.topic == f"{producer.settings.prefix}documents"
    assert got.letter.offset == version
    assert got.letter.key == b"w/bad"
    assert got.letter.value == codec.encode(document("bad", b"poison"))
    assert got.letter.headers["x"] == b"\xff\0"
    assert (got.letter.code, got.letter.reason, got.letter.attempts) == ("hostile", "w/bad bites", 1)
    assert got.key == (f"{producer.settings.prefix}worker/{producer.settings.prefix}documents/"
                       f"{got.letter.partition}/{version}")
    assert (await letter(producer.settings, got.key)).letter == got.letter
    with pytest.raises(NotFound):
        await letter(producer.settings, "nobody/nowhere/0/0")


async def test_what_cannot_be_decoded_becomes_a_letter(producer: Producer) -> None:
    handled: list[str] = []

    async def handle(records: list[Record]) -> None:
        handled.extend(r.key for r in records)

    topic = f"{producer.settings.prefix}documents"
    async with working(producer, Batch(handle)):
        producer._client.produce(topic, b"hello", b"w/text")
        producer._client.produce(topic, codec.encode(document("badkey")), b"\xff\xfe")
        other = Workspace(workspace="w", changed_at=1, changed_by="x")
        producer._client.produce(topic, codec.encode(other), b"w/other")
        await publish(producer, "good")
        got = await found(producer, 3)
    assert handled == ["w/good"]
    assert {x.letter.code for x in got} == {"bad_record"}
    reasons = " ".join(x.letter.reason for x in got)
    for part in ("begins with 68 65", "not UTF-8", "a Workspace does not belong here"):
        assert part in reasons


async def test_the_poison_of_a_batch_is_found(producer: Producer) -> None:
    parser = Parser()
    for i in range(40):
        await publish(producer, str(i), b"poison" if i in (3, 17) else b"fine")
    async with working(producer, Batch(parser.many)):
        got = await found(producer, 2)
        await until(lambda: {r.key for r in parser.handled} == {f"w/{i}" for i in range(40) if i not in (3, 17)})
    assert {x.letter.key for x in got} == {b"w/3", b"w/17"}


@pytest.mark.parametrize("batch", [False, True], ids=["each", "batch"])
async def test_a_replay_has_its_old_place_and_settles_the_letter(producer: Producer, batch: bool) -> None:
    parser = Parser()
    async with working(producer, Batch(parser.many) if batch else Each(parser.one)):
        version = await publish(producer, "bad", b"poison")
        await publish(producer, "bad", b"newer")
        (first,) = await found(producer)

        await replay(producer, first)
        for _ in range(100):
            (again,) = await letters(producer.settings)
            if again.letter.attempts == 2:
                break
            await asyncio.sleep(0.1)
        assert (again.letter.attempts, again.replayed_at) == (2, None)
        assert again.key == first.key

        parser.mended = True
        await replay(producer, again)
        await until(lambda: len(parser.handled) == 2)
        replayed = parser.handled[1]
        assert (replayed.offset, replayed.version, replayed.attempt) == (version, version, 3)
        assert replayed.topic == f"{producer.settings.prefix}documents"
        assert replayed.event == DocumentPublished(workspace="w", document="bad", content=b"poison",
                                                   media_type="text/plain")
        for _ in range(100):
            if not await letters(producer.settings):
                break
            await asyncio.sleep(0.1)
        assert await letters(producer.settings) == []
        (settled,) = await letters(producer.settings, settled=True)
        assert settled.settled
        assert settled.replayed_at is not None


async def test_only_the_group_of_a_letter_handles_its_replay(producer: Producer) -> None:
    refusing, other = Parser(), Parser()
    async with working(producer, Each(refusing.one)), working(producer, Each(other.one), name="other"):
        other.mended = True
        await publish(producer, "bad", b"poison")
        (got,) = await found(producer)
        await until(lambda: len(other.handled) == 1)
        refusing.mended = True
        await replay(producer, got)
        await until(lambda: len(refusing.handled) == 1)
        await asyncio.sleep(0.5)
    assert len(other.handled) == 1


async def test_a_letter_waits_as_replayed_while_nobody_works(producer: Producer) -> None:
    parser = Parser()
    async with working(producer, Each(parser.one)):
        await publish(producer, "bad", b"poison")
        (got,) = await found(producer)
    await replay(producer, got)
    (waiting,) = await letters(producer.settings)
    assert waiting.replayed_at is not None
    assert not waiting.settled
    assert await letters(producer.settings, group="another") == []


async def test_a_large_record_makes_a_letter_too(producer: Producer) -> None:
    async def refuse(record: Record) -> None:
        raise BadDocument("oversized", "too much")

    topic = f"{producer.settings.prefix}documents"
    inline = codec.encode(document("inline", b"i" * 900_000))  # above our limit, below the broker's
    async with working(producer, Each(refuse)):
        producer._client.produce(topic, inline, b"w/inline")
        await publish(producer, "claimed", b"c" * 2_000_000)
        got = {x.letter.key: x for x in await found(producer, 2)}
        assert got[b"w/inline"].letter.value == inline
        assert isinstance(codec.decode(got[b"w/claimed"].letter.value or b""), ClaimCheck)
        await replay(producer, got[b"w/inline"])
        for _ in range(100):
            again = {x.letter.key: x.letter.attempts for x in await letters(producer.settings)}
            if again[b"w/inline"] == 2:
                break
            await asyncio.sleep(0.1)
        assert again == {b"w/inline": 2, b"w/claimed": 1}


async def test_a_lost_blob_is_given_up_after_a_while_and_found_by_a_replay(
        producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "BLOB_PATIENCE", 0.5)
    parser = Parser()
    folder = producer.settings.home / "blobs"
    async with working(producer, Each(parser.one)):
        await producer.blobs.put(b"the store is there")
        hidden = folder.rename(folder.with_name("elsewhere"))
        version = await publish(producer, "large", b"f" * 2_000_000)
        written = folder.rename(folder.with_name("lost"))
        folder.mkdir()
        await publish(producer, "small")
        await until(lambda: len(parser.handled) == 1)
        (got,) = await found(producer)
        assert got.letter.code == "bad_record"
        assert "restore it there and replay the record" in got.letter.reason
        folder.rmdir()
        written.rename(folder)
        await replay(producer, got)
        await until(lambda: len(parser.handled) == 2)
    assert parser.handled[1].version == version
    assert hidden.exists()
