"""The whole log and the blobs, read for what they hold of a target."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from itertools import islice

from schemas import codec, topics
from schemas.events import (
    Accepted,
    AgentEvent,
    AgentState,
    AnswerFrame,
    ClaimCheck,
    Decision,
    DocumentCut,
    DocumentPublished,
    Effect,
    QuestionAsked,
    TaskRequested,
    TaskResult,
    ToolReturned,
    Turn,
)
from schemas.topics import Topic
from weir.blobs import BlobMissing, Blobs
from weir.erasing import broker
from weir.erasing.target import Sight, Target, task_of
from weir.erasing.traces import Stretch, Traces
from weir.errors import InputError
from weir.kafka.records import Decoder, Raw, Record
from weir.settings import Settings

BATCH = 500
"""Records read at a time."""
OF_TASKS = (topics.AGENT_EVENTS, topics.AGENT_STATE, topics.TASK_RESULTS, topics.DECISIONS, topics.EFFECT_LOG,
            topics.AGENT_COMMANDS, topics.AGENT_EFFECTS)


@dataclass(slots=True)
class Holding:
    """What one topic holds of the target."""

    name: str
    """On the broker."""
    topic: Topic
    records: int = 0
    latest: dict[str, Record] = field(default_factory=dict)
    """Of a compacted topic: the records that nothing has replaced yet, by key."""
    seen: set[str] = field(default_factory=set)
    """Of a compacted topic and of dead letters: the keys of all of them."""
    replaced: dict[str, Raw] = field(default_factory=dict)
    """By key: the newest record where that holds nothing; it is what the cleaner will leave."""


@dataclass(slots=True)
class Found:
    """What the log holds of the target."""

    holdings: dict[str, Holding] = field(default_factory=dict)
    """By the topic's name on the broker; every topic is in it."""
    blobs: set[str] = field(default_factory=set)
    """Claim checks among the records, and files of the erased tasks that no other task has made too."""
    unreadable: int = 0

    def of(self, topic: Topic) -> list[Holding]:
        """The holdings of a topic, of which index versions have one each."""
        return [h for h in self.holdings.values() if h.topic is topic]

    def latest(self, topic: Topic) -> list[tuple[Holding, str, Record]]:
        return [(h, key, record) for h in self.of(topic) for key, record in h.latest.items()]


class Survey:
    """Reads for one erasure. Every method raises Unavailable where a server does not answer."""

    def __init__(self, settings: Settings, blobs: Blobs) -> None:
        self._settings = settings
        self._decoder = Decoder(settings, blobs)
        self._blobs = blobs
        self.unreadable = 0

    async def records(self, *wanted: Topic) -> AsyncIterator[tuple[str, Topic, Raw, Record | None]]:
        """The records of these topics, or of all, with the topic's name on the broker; the record is None where it
        cannot be read or its blob is gone."""
        for name, topic in (await asyncio.to_thread(broker.topics_there, self._settings)).items():
            if wanted and topic not in wanted:
                continue
            reading = broker.read(self._settings, name)
            try:
                while raws := await asyncio.to_thread(lambda reading=reading: list(islice(reading, BATCH))):  # type: ignore[misc]  # bound now
                    for raw in raws:
                        yield name, topic, raw, await self.decoded(raw)
            finally:
                reading.close()

    async def decoded(self, raw: Raw) -> Record | None:
        try:
            return self._decoder.now(raw) or await self._decoder.decode(raw)
        except BlobMissing:
            return None
        except InputError:
            self.unreadable += 1
            return None

    async def traces(self, target: Target, salt: str | None = None) -> Traces:
        """The traces of all versions of a document that the log still has, those left out that stand in other
        documents too: they prove nothing."""
        texts: set[bytes] = set()
        async for _, _, raw, record in self.records(topics.DOCUMENTS, topics.CHUNKS):
            event = record.event if record is not None and _key(raw) == target.name else None
            if isinstance(event, DocumentPublished):
                texts.add(event.content)
            elif isinstance(event, DocumentCut):
                texts.update(section.text.encode() for section in event.sections)
                texts.update(chunk.text.encode() for chunk in event.chunks)
        made = Traces.of(texts, salt)
        others: dict[tuple[str, str], set[Stretch]] = {}
        async for name, _, raw, record in self.records(topics.DOCUMENTS, topics.CHUNKS):
            if (key := _key(raw)) != target.name:
                shared = made.found(record.value or b"") if record is not None else set()
                others.pop((name, key), None)
                if shared:
                    others[name, key] = shared
        return made.without({stretch for found in others.values() for stretch in found})

    async def tasks(self, sight: Sight) -> dict[str, TaskRequested | None]:
        """The tasks that are to be erased, forks of theirs included: their requests, None of those that have ended."""
        hit: set[str] = set()
        forks: dict[str, str] = {}
        live: dict[str, TaskRequested | None] = {}
        async for _, topic, raw, record in self.records(*OF_TASKS):
            key = _key(raw)
            if topic is topics.AGENT_STATE and raw.value is None:
                live.pop(key, None)
            event = record.event if record is not None else None
            if record is None or event is None:
                continue
            task = task_of(event)
            if isinstance(event, AgentState):
                live[task] = codec.decode(event.request)
            said = event.body if isinstance(event, AgentEvent) else event
            if isinstance(said, TaskRequested | TaskResult | AgentState) and said.forked_from:
                forks[task] = said.forked_from
            if task and (self._theirs(sight, event) if sight.target.kind == "person" else sight.holds(record)):
                hit.add(task)
        while more := {task for task, parent in forks.items() if parent in hit} - hit:
            hit |= more
        return {task: live.get(task) for task in hit}

    @staticmethod
    def _theirs(sight: Sight, event: object) -> bool:
        """Whether the task is the person's own; what they said to another's task does not make it theirs."""
        if isinstance(event, AgentEvent) and isinstance(event.body, TaskRequested):
            return event.body.person.subject == sight.target.name
        if isinstance(event, TaskResult | Decision):
            return event.owner.subject == sight.target.name
        if isinstance(event, AgentState):
            request = codec.decode(event.request)
            return isinstance(request, TaskRequested) and request.person.subject == sight.target.name
        return False

    async def answers(self, subject: str) -> set[str]:
        """Ids of a person's answers."""
        found: set[str] = set()
        async for _, _, _, record in self.records(topics.QUESTIONS, topics.ANSWERS, topics.TURNS):
            event = record.event if record is not None else None
            if isinstance(event, QuestionAsked) and event.person.subject == subject:
                found.add(event.answer)
            elif isinstance(event, Turn) and event.person.subject == subject:
                found.add(event.turn)
            elif isinstance(event, AnswerFrame) and isinstance(event.body, Accepted) and (
                    event.body.person.subject == subject):
                found.add(event.answer)
        return found

    async def found(self, sight: Sight) -> Found:
        """Everything that the log holds of the target."""
        made, before, theirs = Found(), self.unreadable, set[str]()
        made.holdings = {name: Holding(name, topic) for name, topic in broker.topics_there(self._settings).items()}
        async for name, topic, raw, record in self.records():
            holding, key = made.holdings[name], _key(raw)
            holding.latest.pop(key, None)
            if record is None and raw.value is not None and sight.traces.found(raw.value):
                # Nobody can read it, and it holds the words all the same.
                holding.records += 1
                if topic.compacted:
                    holding.seen.add(key)
                    holding.latest[key] = Record(raw.topic, raw.partition, raw.offset, key, None, raw.value, {}, 0)
                continue
            artefacts = artefacts_of(record) if record is not None else set()
            if record is None or not sight.holds(record):
                theirs |= artefacts
                if key in holding.seen:
                    holding.replaced[key] = raw
                continue
            holding.records += 1
            if sight.owns(record):
                made.blobs |= artefacts | claimed([raw])
            else:
                theirs |= artefacts
            if topic.compacted or topic is topics.DEAD_LETTERS:
                holding.seen.add(key)
                holding.replaced.pop(key, None)
            if topic.compacted:
                holding.latest[key] = record
        made.blobs -= theirs
        made.unreadable = self.unreadable - before
        return made

    async def orphans(self, sight: Sight) -> set[str]:
        """Blobs that hold something of the target though no record on the log names them any more."""
        found = set()
        async for sha in self._blobs.names():
            try:
                data = await self._blobs.get(sha)
            except (BlobMissing, InputError):
                continue
            if holds_blob(sight, data):
                found.add(sha)
        return found


def _key(raw: Raw) -> str:
    return (raw.key or b"").decode(errors="replace")


def holds_blob(sight: Sight, data: bytes) -> bool:
    """Whether a blob, a record or a file that a task made, holds something of the target."""
    if not data.startswith(codec.MAGIC):
        return bool(sight.traces.found(data))
    try:
        event = codec.decode(data)
    except codec.CodecError:
        return bool(sight.traces.found(data))
    key = f"{event.workspace}/{event.document}" if isinstance(event, DocumentPublished) else ""
    # A blob has no offset: what was published anew since is named by a record on the log, and left to the caller.
    return sight.owns(Record("", 0, -1, key, event, data, {}, 0))


def claimed(raws: Iterable[Raw]) -> set[str]:
    """The blobs that records stand for."""
    found = set()
    for raw in raws:
        if raw.value is not None and raw.value[:10] == _CLAIM:
            found.add(codec.decode(raw.value).blob)
    return found


_CLAIM = codec.MAGIC + codec.schema_fingerprint(codec.schema(ClaimCheck.__name__))


def artefacts_of(record: Record) -> set[str]:
    """Names of the files in a record of a task."""
    event = record.event
    body = event.body if isinstance(event, AgentEvent) else event
    if isinstance(event, Effect):
        body = event.outcome
    if isinstance(body, ToolReturned | TaskResult | AgentState):
        return {artefact.blob for artefact in body.artefacts}
    return set()
