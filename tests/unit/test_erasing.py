"""The rules of an erasure that need no server: which records hold something, dates, segments, receipts, differences."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas import codec, events
from schemas.events import (
    AgentCommand,
    CallTool,
    DeadLetter,
    DocumentCut,
    DocumentPublished,
    Done,
    Effect,
    EffectStatus,
    Feedback,
    Outcome,
    Person,
    QuestionAsked,
    Risk,
    Source,
    Turn,
    TurnOutcome,
    Usage,
)
from schemas.topics import COMPACT, DAY, TOPICS, keep
from tests.kit.examples import examples
from weir.answers.past import content_hash, differences
from weir.blobs import BlobErased, BlobMissing, Blobs
from weir.erasing import ERASED, REPEATED, broker
from weir.erasing.erase import _said_nothing, without_question
from weir.erasing.receipt import Receipt, TopicReceipt, lines, outside
from weir.erasing.segments import Sealed, partition_folders, read_segments
from weir.erasing.target import Sight, Target, names
from weir.erasing.traces import Traces
from weir.errors import BadRequest, Unavailable
from weir.kafka.records import Decoder, Raw, Record
from weir.settings import Settings

WORDS = "Either party may end the Nightjar agreement with eleven days' notice."
DOCUMENT = Target("document", "w/a/b.md")


def record(event: Any, key: str = "w/a/b.md", offset: int = 5, topic: str = "documents") -> Record:
    return Record(topic, 0, offset, key, event, codec.encode(event) if event is not None else None, {}, 1000)


def published(text: str = WORDS) -> DocumentPublished:
    return DocumentPublished(workspace="w", document="a/b.md", content=text.encode(), media_type="text/plain")


def source(text: str, document: str = "a/b.md", version: int = 5) -> Source:
    return Source(number=1, chunk="c", document=document, version=version, title="t", heading_path=[], text=text,
                  section=0, start=0, end=len(text), score=1.0)


def turn(*sources: Source, text: str = "an answer", **fields: Any) -> Turn:
    return Turn(turn="t", conversation="c", workspace="w", person=Person(subject="ann", groups=[]), question="why?",
                outcome=TurnOutcome.ANSWERED, text=text, sources=list(sources), citations=[], asked_at=1, finished_at=2,
                **fields)


def test_a_target_is_one_document_or_one_person() -> None:
    assert Target.chosen("w/a/b.md", None) == DOCUMENT
    assert (DOCUMENT.workspace, DOCUMENT.document) == ("w", "a/b.md")
    for wrong in ((None, None), ("w/d", "ann"), ("nothing", None), ("", None), (None, "")):
        with pytest.raises(BadRequest):
            Target.chosen(*wrong)


def test_a_document_is_held_by_its_records_and_by_whatever_repeats_it() -> None:
    sight = Sight(DOCUMENT, Traces.of([WORDS.encode()]), until=9)
    assert sight.holds(record(published()))
    assert not sight.holds(record(None))
    assert not sight.holds(record(published(), offset=10)), "published anew"
    assert not sight.holds(record(replace(published(), document="other"), key="w/other")), "another document"
    cut = examples()["DocumentCut"]
    assert isinstance(cut, DocumentCut)
    cut = replace(cut, workspace="w", document="a/b.md", version=8)
    assert sight.holds(record(cut)) and not sight.holds(record(replace(cut, version=10)))
    assert sight.holds(record(turn(source("any passage"))))
    assert not sight.holds(record(turn(source("")))), "emptied"
    assert not sight.holds(record(turn(source("any passage", "else"))))
    assert sight.holds(record(turn(source("any", "else"), text=f"He said: {WORDS}")))
    said = Feedback(subject="ann", turn="t", good=True, comment=WORDS, at=1)
    assert sight.holds(record(said))
    sight.published_again = 900
    assert not sight.holds(record(said)), "its words may stand anywhere since"


def test_a_dead_letter_of_the_document_is_known_by_its_key() -> None:
    sight = Sight(DOCUMENT, Traces.of([]), until=9)
    letter = DeadLetter(topic="p-documents", partition=0, offset=1, key=b"w/a/b.md", value=b"?", group="g", code="c",
                        reason="r", at=1)
    at = {"key": "g/p-documents/0/1", "topic": "p-dead-letters"}
    assert sight.holds(record(letter, **at))
    assert not sight.holds(record(replace(letter, value=None), **at))
    assert not sight.holds(record(replace(letter, key=b"w/other"), **at))
    assert sight.holds(record(replace(letter, topic="p-embeddings.v1", key=b"w/a/b.md/3"), **at))
    assert not sight.holds(record(replace(letter, topic="p-turns"), **at))


def test_a_person_is_found_wherever_a_record_names_them() -> None:
    ann = Person(subject="ann", groups=[])
    asked = QuestionAsked(answer="a", conversation="c", workspace="w", question="?", person=ann, asked_at=50)
    assert names(asked, "ann") and not names(asked, "an") and not names(asked, "c")
    letter = DeadLetter(topic="questions", partition=0, offset=1, value=codec.encode(asked), group="g", code="c",
                        reason="r", at=1)
    assert names(letter, "ann")
    sight = Sight(Target("person", "ann"), Traces.of([]), tasks={"t1"}, before=100)
    assert sight.holds(record(asked)) and not sight.holds(record(replace(asked, asked_at=101)))
    assert sight.holds(record(Usage(subject="ann", workspace="w", kind="answer", at=1)))


def test_every_record_with_a_person_in_it_is_seen() -> None:
    """A new schema that names people must not be one that an erasure looks past."""
    for name, event in examples().items():
        if type(event).__name__ in ("Audit", "Erasure") or '"subject"' not in json.dumps(_plain(event)):
            continue
        assert names(event, "subject é"), name


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {n: _plain(getattr(value, n)) for n in value.__dataclass_fields__}
    return [_plain(v) for v in value] if isinstance(value, list) else str(value)


def test_an_effect_keeps_its_key_and_says_nothing_else() -> None:
    body = CallTool(workspace="w", person=Person(subject="ann", groups=["g"]), step=1, index=0, tool="send_email",
                    risk=Risk.IRREVERSIBLE, arguments=f'{{"body": "{WORDS}"}}', schema="s", timeout=1, key="k")
    effect = Effect(key="k", command=AgentCommand(task="t", command="c", attempt=1, at=1, body=body),
                    status=EffectStatus.SUCCEEDED, worker="w", at=1, reported=True)
    sight = Sight(Target("person", "ann"), Traces.of([WORDS.encode()]), tasks={"t"})
    assert sight.holds(record(effect, key="k"))
    emptied = _said_nothing(effect)
    assert (emptied.key, emptied.status, emptied.reported) == ("k", EffectStatus.SUCCEEDED, True)
    assert not sight.holds(record(emptied, key="k")) and not names(emptied, "ann")
    assert WORDS.encode() not in codec.encode(emptied)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda t: t.name)
def test_every_topic_of_the_table_has_a_date(topic: Any) -> None:
    defaults = {"file.delete.delay.ms": "60000", "max.compaction.lag.ms": str(2**63 - 1), "retention.ms": "604800000",
                "delete.retention.ms": "86400000"}
    gone = broker.gone_by(defaults | topic.config, topic.compacted, 0)
    assert gone is not None and DAY < gone <= 403 * DAY


def test_a_topic_that_never_forgets_has_no_date() -> None:
    compacted = COMPACT | {"file.delete.delay.ms": "1", "max.compaction.lag.ms": str(2**63 - 1)}
    assert broker.gone_by(compacted, True, 0) is None
    assert broker.gone_by(keep(7) | {"retention.ms": "-1"}, False, 0) is None
    assert int(keep(1)["segment.ms"]) * 8 == DAY and keep(90)["segment.ms"] == str(DAY)


# -- segments -----------------------------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    number = number << 1 ^ number >> 63
    out = bytearray()
    while number & ~0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def sized(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


def batch(*values: bytes | None, codec_: int = 0, control: bool = False, base: int = 7) -> bytes:
    body = b""
    for n, value in enumerate(values):
        rest = b"\0" + varint(n) + varint(n) + sized(b"key") + sized(value) + varint(1) + sized(b"h") + sized(b"v")
        body += varint(len(rest)) + rest
    if codec_ == 1:
        packer = zlib.compressobj(wbits=31)
        body = packer.compress(body) + packer.flush()
    attributes = codec_ | (0x20 if control else 0)
    head = (b"\0" * 4 + b"\2" + b"\0" * 4 + attributes.to_bytes(2, "big") + b"\0" * 4 + (1000).to_bytes(8, "big")
            + b"\0" * 8 + b"\xff" * 14 + len(values).to_bytes(4, "big"))
    return base.to_bytes(8, "big") + (len(head) + len(body)).to_bytes(4, "big") + head + body


def found(folder: Path) -> list[Raw | Sealed]:
    return list(read_segments(folder, "topic", 3))


def test_segments_are_read_with_what_waits_to_be_removed(tmp_path: Path) -> None:
    (tmp_path / "00000000000000000000.log").write_bytes(batch(b"one", None) + batch(b"aborted", control=True))
    (tmp_path / "00000000000000000009.log.deleted").write_bytes(batch(b"old" * 100, codec_=1, base=9))
    (tmp_path / "00000000000000000009.index").write_bytes(b"no segment")
    first, second, third = found(tmp_path)
    assert first == Raw("topic", 3, 7, b"key", b"one", {"h": b"v"}, 1000)
    assert second == Raw("topic", 3, 8, b"key", None, {"h": b"v"}, 1001)
    assert isinstance(third, Raw) and third.value == b"old" * 100


def test_what_only_the_broker_can_open_is_said(tmp_path: Path) -> None:
    (tmp_path / "00000000000000000000.log").write_bytes(batch(b"x", codec_=4) + batch(b"after"))
    sealed, after = found(tmp_path)
    assert sealed == Sealed(3, "zstd") and isinstance(after, Raw)


def test_a_segment_that_is_being_written_ends_before_the_unfinished_batch(tmp_path: Path) -> None:
    (tmp_path / "00000000000000000000.log").write_bytes(batch(b"one") + batch(b"two")[:-3])
    assert len(found(tmp_path)) == 1
    (tmp_path / "00000000000000000000.log").write_bytes(batch(b"one") + bytes(100))
    assert len(found(tmp_path)) == 1
    damaged = bytearray(batch(b"one"))
    damaged[61] ^= 0x40
    (tmp_path / "00000000000000000000.log").write_bytes(damaged)
    with pytest.raises(Unavailable, match="no segment"):
        found(tmp_path)


def test_partitions_are_those_of_the_topic_alone(tmp_path: Path) -> None:
    for name in ("turns-0", "turns-11", "turns-2.abc123-delete", "turns-x-1", "my-turns-0", "turns"):
        (tmp_path / name).mkdir()
    assert {n: [p.name for p in paths] for n, paths in partition_folders(tmp_path, "turns").items()} == {
        0: ["turns-0"], 11: ["turns-11"], 2: ["turns-2.abc123-delete"]}


# -- blobs, receipts, differences ---------------------------------------------------------------------------------


async def test_a_record_whose_blob_was_erased_reads_as_a_tombstone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    blobs = Blobs(settings)
    whole = codec.encode(published())
    sha = await blobs.put(whole)
    raw = Raw("documents", 0, 4, b"w/a/b.md", codec.encode(events.ClaimCheck(blob=sha, size=len(whole))), {}, 1)
    read = await Decoder(settings, blobs).decode(raw)
    assert read.event == published() and [n async for n in blobs.names()] == [sha]
    await blobs.erase([sha])
    await blobs.erase([sha])
    read = await Decoder(settings, blobs).decode(raw)
    assert (read.event, read.value, read.offset) == (None, None, 4)
    assert [n async for n in blobs.names()] == [] and await blobs.erased(sha)
    with pytest.raises(BlobErased):
        await blobs.get(sha)
    with pytest.raises(BlobMissing) as missing:
        await blobs.get("0" * 64)
    assert not isinstance(missing.value, BlobErased)


def test_a_receipt_is_kept_and_read_back() -> None:
    receipt = Receipt(
        receipt="r", kind="document", name="w/d", by="me", begun_at=1, finished_at=2, until=3, turns=1, tasks=["t"],
        answers=[], letters=0, blobs=["b"], pending=["decide"], outside=outside("document"),
        traces=Traces.of([WORDS.encode()]).to_json(),
        topics=[TopicReceipt(name="turns", records=2, gone_by=10 * DAY),
                TopicReceipt(name="x", records=0, gone_by=None)])
    assert Receipt.from_json(json.loads(json.dumps(receipt.to_json()))) == receipt
    assert receipt.last == 10 * DAY
    told = "\n".join(lines(receipt))
    assert "1970-01-11" in told and "NOT erased: decide" in told and "backups" in told
    for wrong in ({}, {"receipt": 1}, receipt.to_json() | {"topics": [{}]}, [], receipt.to_json() | {"traces": {}}):
        with pytest.raises(BadRequest):
            Receipt.from_json(wrong)


def test_differences_name_what_only_one_of_two_answers_has() -> None:
    then = turn(source("old passage"), source("kept"), text="It is ninety days. Nobody minds.", model="a", index="main")
    now = Done(outcome=Outcome.ANSWERED, text="It is sixty days. Nobody minds.", citations=[], model="b", index="main",
               sources=[source("kept"), source("new passage")])
    told = differences(then, now)
    assert told.any and told.facts == {"model": ("a", "b")}
    assert [s.text for s in told.gone] == ["old passage"] and [s.text for s in told.new] == ["new passage"]
    assert [line for line in told.text if line[0] != " "] == ["- It is ninety days.", "+ It is sixty days."]
    same = differences(then, replace(now, text=then.text, model="a", sources=then.sources))
    assert not same.any
    assert content_hash("é") == "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c"


def test_a_repeated_answer_loses_the_question_of_an_erased_person() -> None:
    turn = replace(examples()["Turn"], notices=["an earlier answer, to “notice é”", "more"])
    left = without_question(turn)
    assert left.earlier is not None and left.earlier.question == ERASED and left.notices == [REPEATED, "more"]
    assert turn.earlier is not None and replace(left, earlier=turn.earlier, notices=turn.notices) == turn
