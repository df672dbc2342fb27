"""What an erasure says it did, and by when the rest is gone. Kept in `audit`; holds nothing of what was erased."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from schemas import topics
from schemas.events import Audit
from weir.blobs import Blobs
from weir.erasing.target import Kind, Target
from weir.erasing.traces import Traces
from weir.errors import BadRequest, InputError, NotFound, Unavailable
from weir.kafka.follow import read_all
from weir.kafka.producer import Producer
from weir.kafka.records import Decoder
from weir.settings import Settings

BEGUN, DONE = "erase.begun", "erase"
"""Actions in `audit`: before anything is changed, and at the end."""

OUTSIDE = (
    "backups that `weir backup` wrote, copies of the object store, snapshots of the stores: a restore brings it back, "
    "and the same erasure takes it out again",
    "dead letters that were exported, log files, traces and what a terminal has shown",
    "mails, files and calls with which tasks have acted on the world",
    "copies that other programs made from the topics or the API",
    "words of others about it, and answers that a language model put into words of its own",
)
OF_A_PERSON = (
    "the identity provider and `people.json`",
    "their name as publisher of documents, and as the one who changed a workspace, an index or the tasks of others",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicReceipt:
    """What one topic held, and how long its files still hold it."""

    name: str
    """On the broker."""
    records: int
    """That a consumer could still be given when the erasure ended."""
    gone_by: int | None
    """When none of them is on a disk any more, in milliseconds since the epoch; None: the settings set no limit."""
    names_gone_by: int | None = None
    """Of a compacted topic: when the keys are gone too, in partitions that are written to."""
    kept: str = ""
    """Why they stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    receipt: str
    """Its id."""
    kind: Kind
    name: str
    by: str
    """Who erased."""
    begun_at: int
    """In milliseconds since the epoch, as all of them."""
    finished_at: int
    until: int | None
    """Version of the document's deletion; what is newer was published anew."""
    topics: list[TopicReceipt]
    turns: int
    """Turns that were emptied or removed."""
    tasks: list[str]
    """Tasks that were removed."""
    answers: list[str]
    """Answers of the person, by which their frames are known."""
    letters: int
    """Dead letters that were settled."""
    blobs: list[str]
    """Blobs that were removed at once."""
    pending: list[str]
    """What is not erased, and what to do about it; the same erasure goes on from there."""
    outside: list[str]
    """What an erasure cannot reach."""
    traces: dict[str, object]

    @property
    def target(self) -> Target:
        return Target(self.kind, self.name)

    @property
    def last(self) -> int | None:
        """When the last of it is gone; None where that cannot be said."""
        dates = [t.gone_by for t in self.topics if t.records and not t.kept]
        return None if None in dates else max((d for d in dates if d is not None), default=self.finished_at)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Receipt:
        """
        Raises:
            BadRequest: it is no receipt.
        """
        try:
            made = cls(**value | {"topics": [TopicReceipt(**t) for t in value["topics"]]})
            Traces.from_json(made.traces)
        except (TypeError, KeyError, ValueError, AttributeError, AssertionError) as e:
            raise BadRequest(f"that is no receipt of an erasure: {type(e).__name__}: {e}") from e
        return made


@dataclass(frozen=True, slots=True)
class Begun:
    """An erasure of the same target that was begun before."""

    receipt: str
    begun_at: int
    traces: Traces
    finished: bool


async def write(producer: Producer, action: str, target: Target, by: str, detail: dict[str, Any], at: int) -> None:
    """Writes an erasure down."""
    await producer.send(topics.AUDIT.named(producer.settings.prefix), by, Audit(
        subject=by, action=action, target=str(target), at=at, detail=json.dumps(detail, ensure_ascii=False)))


async def before(settings: Settings, target: Target) -> Begun | None:
    """The latest erasure of this target that was begun, whoever did it."""
    found: Begun | None = None
    for audit in await _audits(settings):
        if audit.target == str(target):
            detail = json.loads(audit.detail)
            if audit.action == BEGUN:
                found = Begun(detail["receipt"], detail["begun_at"], Traces.from_json(detail["traces"]), False)
            elif found is not None and not detail["pending"]:
                found = Begun(found.receipt, found.begun_at, found.traces, True)
    return found


async def read(settings: Settings, named: str) -> Receipt:
    """A receipt by its id, from `audit`, or from a file.

    Raises:
        NotFound: there is no such receipt.
        BadRequest: the file is no receipt.
    """
    path = Path(named)
    if await asyncio.to_thread(path.is_file):
        try:
            return Receipt.from_json(json.loads(await asyncio.to_thread(path.read_text)))
        except ValueError as e:
            raise BadRequest(f"{named} is no receipt: {e}") from e
    for audit in reversed(await _audits(settings)):
        if audit.action == DONE and json.loads(audit.detail)["receipt"] == named:
            return Receipt.from_json(json.loads(audit.detail))
    raise NotFound(f"there is no receipt {named!r}: give its file, or its id as `weir erase` printed it")


async def _audits(settings: Settings) -> list[Audit]:
    """What was written down about erasures, oldest first."""
    decoder = Decoder(settings, Blobs(settings))
    found = []
    for raw in await asyncio.to_thread(read_all, settings, topics.AUDIT.named(settings.prefix)):
        try:
            event = (decoder.now(raw) or await decoder.decode(raw)).event
        except (InputError, Unavailable):
            continue
        if isinstance(event, Audit) and event.action in (BEGUN, DONE):
            found.append(event)
    return sorted(found, key=lambda a: a.at)


def outside(kind: Kind) -> list[str]:
    """What an erasure of this kind cannot reach."""
    return [*OUTSIDE, *(OF_A_PERSON if kind == "person" else ())]


def day(at: int | None) -> str:
    """A moment as people read it."""
    return "no date" if at is None else f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def lines(receipt: Receipt) -> Iterator[str]:
    """A receipt as text."""
    yield f"receipt {receipt.receipt}: {receipt.target} erased by {receipt.by}, {day(receipt.finished_at)}"
    yield (f"gone at once: {receipt.turns} turns, {len(receipt.tasks)} tasks, {receipt.letters} dead letters settled, "
           f"{len(receipt.blobs)} blobs, and what the stores and views held")
    for topic in receipt.topics:
        if topic.records:
            yield (f"  {topic.name}: {topic.records} records, " + (
                f"kept: {topic.kept}" if topic.kept else f"off the disks by {day(topic.gone_by)}" + (
                    f" (names by {day(topic.names_gone_by)})" if topic.names_gone_by else "")))
    if not any(topic.records for topic in receipt.topics):
        yield "  no topic holds anything of it"
    for left in receipt.pending:
        yield f"NOT erased: {left}"
    yield "outside its reach:"
    yield from (f"  {each}" for each in receipt.outside)
