"""Erases a document or a person.

    1  write down       what is about to be erased, with its traces: whoever goes on after a crash knows what to seek
    2  delete           a document's tombstone; wait until the views and every store have followed it
    3  turns            wait for answers under way; then empty each turn that shows it, remove each turn of the person
    4  tasks            cancel those that live; remove results and proposals, empty effects, and hide the transcripts
    5  dead letters     settle them, so that nobody replays them by accident
    6  blobs            remove them, those that no record names any more included
    7  end segments     so that the cleaner can reach what was replaced
    8  look again       at everything; what is left gets its date, or is named as not erased
    9  the receipt

Each step may be repeated: killed anywhere, the same erasure goes on and ends the same.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from elasticsearch import AsyncElasticsearch

from schemas import keys, topics
from schemas.events import (
    AgentEvent,
    CallTool,
    CancelRequested,
    DocumentDeleted,
    Effect,
    ErasedKind,
    Erasure,
    Person,
    TaskRequested,
    Turn,
)
from weir.clock import Clock
from weir.erasing import ERASED, PASSAGE_ERASED, REPEATED, answers, broker, receipt, stores
from weir.erasing.receipt import Receipt, TopicReceipt
from weir.erasing.survey import Found, Survey
from weir.erasing.target import NOTHING, Sight, Target, task_of
from weir.erasing.traces import Traces
from weir.errors import NotFound, Unavailable
from weir.index.indexes import Indexes
from weir.kafka.admin import ensure_topics
from weir.kafka.producer import Producer
from weir.kafka.records import Decoder
from weir.settings import Settings
from weir.stores import Milvus
from weir.views.documents import DocumentViews
from weir.views.erased import SOMEBODY

PATIENCE = 300.0
"""Seconds that processes get to follow, of each step."""
SETTLE = 1.5
"""Seconds in which a question that was let through before is on the log, and the views know of an erasure."""
VIEWS = "consumers.views."
REPORTED = "reported"
"""Header of an effect that needs nobody's attention any more; see consumers/tools/effect_log.py."""
KEPT = {topics.DECISIONS.name: "what they decided about tasks of others", topics.AUDIT.name: "who did what"}

Tell = Callable[[str], None]
"""Shows a line of progress."""
Point = Callable[[str], None]
"""Told the name of each step as it begins; tests kill there."""


@dataclass(slots=True)
class Counts:
    turns: int = 0
    letters: int = 0
    blobs: set[str] = field(default_factory=set)
    live: set[str] = field(default_factory=set)
    """Tasks that do not end."""
    pending: list[str] = field(default_factory=list)


class Eraser:
    """Erases one target after another on the servers of the settings."""

    def __init__(self, settings: Settings, producer: Producer, es: AsyncElasticsearch, milvus: Milvus,
                 indexes: Indexes, views: DocumentViews, clock: Clock, tell: Tell = lambda _: None,
                 point: Point = lambda _: None, patience: float = PATIENCE) -> None:
        self._settings, self._producer, self._es, self._milvus = settings, producer, es, milvus
        self._indexes, self._views, self._clock, self._tell = indexes, views, clock, tell
        self._point, self._patience = point, patience
        self._survey = Survey(settings, producer.blobs)

    async def erase(self, target: Target, by: str) -> Receipt:
        """Erases it and returns what is kept of the doing.

        Raises:
            NotFound: neither the log nor an earlier erasure knows it.
            Unavailable: a server or process does not answer in time; the same call goes on from there.
        """
        # 1. Write down.
        self._step("write down", f"looking for {target} in the whole log")
        await ensure_topics(self._settings, [topics.ERASURES.name])
        begun = await receipt.before(self._settings, target)
        sight, name, begun_at = await self._prepared(target, begun)
        if begun is None or begun.finished or len(sight.traces) > len(begun.traces):
            await receipt.write(self._producer, receipt.BEGUN, target, by, {
                "receipt": name, "begun_at": begun_at, "traces": sight.traces.to_json()}, self._clock())
        done = Counts()
        if target.kind == "document":
            self._step("delete", "deleting the document and waiting until every store has followed")
            await self._delete(sight)
        self._step("turns", "waiting for answers under way, then emptying turns")
        await asyncio.sleep(SETTLE)
        await answers.over(self._settings, Decoder(self._settings, self._producer.blobs), target, self._patience)
        if target.kind == "person":
            sight.answers = await self._survey.answers(target.name)
        await self._turns(sight, done)
        self._step("tasks", "ending tasks and removing their traces")
        await self._tasks(sight, name, done)
        self._step("dead letters", "settling dead letters")
        found = await self._survey.found(sight)
        await self._letters(found, done)
        await self._surplus(sight, found)
        self._step("blobs", "removing blobs")
        done.blobs = found.blobs | await self._survey.orphans(sight)
        await self._producer.blobs.erase(sorted(done.blobs))
        self._step("end segments", "ending segments")
        found = await self._survey.found(sight)
        await self._roll(found)
        await stores.tidy(self._es, self._milvus, self._settings, self._indexes)
        self._step("receipt", "looking again")
        found = await self._survey.found(sight)
        made = await self._receipt(sight, found, done, name, by, begun_at)
        await receipt.write(self._producer, receipt.DONE, target, by, made.to_json(), made.finished_at)
        return made

    def _step(self, name: str, told: str) -> None:
        self._tell(told)
        self._point(name)

    # -- 1 --------------------------------------------------------------------------------------------------------

    async def _prepared(self, target: Target, begun: receipt.Begun | None) -> tuple[Sight, str, int]:
        """What to look for, the receipt's id, and when the erasure began."""
        salt = begun.traces.salt if begun is not None else None
        if target.kind == "document":
            traces = await self._survey.traces(target, salt)
            known = await self._newest(target)
            if known is None and begun is None:
                raise NotFound(f"the log knows no document {target.name}; name it as `weir ingest` and the pages do, "
                               "with its workspace in front")
        else:
            traces = Traces.of([], salt)
        if begun is not None:
            traces |= begun.traces
        going_on = begun is not None and not begun.finished
        return (Sight(target, traces), begun.receipt if begun and going_on else uuid.uuid4().hex,
                begun.begun_at if begun and going_on else self._clock())

    # -- 2 --------------------------------------------------------------------------------------------------------

    async def _newest(self, target: Target) -> tuple[int, bool] | None:
        """Offset of the document's newest record, and whether it is a deletion."""
        newest = None
        async for _, _, raw, _ in self._survey.records(topics.DOCUMENTS):
            if (raw.key or b"").decode(errors="replace") == target.name:
                newest = raw.offset, raw.value is None
        return newest

    async def _delete(self, sight: Sight) -> None:
        target = sight.target
        newest = await self._newest(target)
        if newest is not None and newest[1]:
            sight.until = newest[0]
        else:
            sight.until = (await self._producer.send(
                topics.DOCUMENTS.named(self._settings.prefix), target.name, None)).offset
        end = time.monotonic() + self._patience
        while missing := await stores.behind(self._es, self._settings, self._indexes, self._views, target, sight.until):
            if time.monotonic() > end:
                raise Unavailable(f"{missing} did not follow the deletion of {target.name} in time: see `weir status`. "
                                  "Run the same erasure again: it goes on from here.", retry_after=5)
            await asyncio.sleep(answers.LOOK)

    # -- 3 --------------------------------------------------------------------------------------------------------

    async def _turns(self, sight: Sight, done: Counts) -> None:
        follows: dict[str, tuple[str, str]] = {}
        hit: dict[str, Turn] = {}
        repeats: dict[str, Turn] = {}
        async for _, _, raw, record in self._survey.records(topics.TURNS):
            name = (raw.key or b"").decode(errors="replace").rpartition(keys.SEPARATOR)[2]
            hit.pop(name, None)
            follows.pop(name, None)
            repeats.pop(name, None)
            turn = record.event if record is not None else None
            if record is not None and isinstance(turn, Turn):
                if sight.holds(record):
                    hit[name] = turn
                follows[name] = turn.follows or "", turn.model if turn.text else ""
                if turn.earlier is not None:
                    repeats[name] = turn
        told = set(hit)
        if sight.target.kind == "document":
            # A language model that answered a follow-up had read the turn before.
            while more := {name for name, (before, model) in follows.items()
                           if before in told and model not in ("", "extractive")} - told:
                told |= more
            async for _, _, _, record in self._survey.records(topics.TURNS):
                if record is not None and isinstance(record.event, Turn) and record.event.turn in told - hit.keys():
                    hit[record.event.turn] = record.event
        topic = topics.TURNS.named(self._settings.prefix)
        ends: dict[int, int] = {}
        if sight.target.kind == "person":
            # What others were told again of the person's answers keeps what it says, without the person's question.
            # These first: once the person's own are gone, nobody knows which they are.
            hit = {name: turn for name, turn in repeats.items() if name not in told and turn.earlier is not None
                   and turn.earlier.turn in told and turn.earlier.question != ERASED} | hit
        for turn in hit.values():
            emptied = (_emptied(turn, sight) if sight.target.kind == "document" else
                       without_question(turn) if turn.turn not in told else None)
            sent = await self._producer.send(topic, keys.turn_key(turn.conversation, turn.turn), emptied,
                                             partition_key=turn.conversation)
            ends[sent.partition] = max(ends.get(sent.partition, 0), sent.offset + 1)
        await answers.passed(self._settings, f"{VIEWS}turns", topic, ends, time.monotonic() + self._patience)
        done.turns = len(hit)

    # -- 4 --------------------------------------------------------------------------------------------------------

    async def _tasks(self, sight: Sight, name: str, done: Counts) -> None:
        found = await self._survey.tasks(sight)
        await self._cancel({task: request for task, request in found.items() if request is not None}, name)
        end = time.monotonic() + self._patience
        while any((found := await self._survey.tasks(sight)).values()):
            if time.monotonic() > end:
                break
            await asyncio.sleep(answers.LOOK * 3)
        for task in sorted(task for task, request in found.items() if request is not None):
            done.live.add(task)
            done.pending.append(f"task {task} has not ended: decide what it waits for (`weir approvals list`), then "
                                "run the same erasure again")
        sight.tasks = {task for task, request in found.items() if request is None}
        erasures = topics.ERASURES.named(self._settings.prefix)
        hidden = [(ErasedKind.TASK, task) for task in sorted(sight.tasks)]
        if sight.target.kind == "person":
            hidden.append((ErasedKind.PERSON, sight.target.name))
        for kind, what in hidden:
            await self._producer.send(erasures, keys.erasure_key(kind.value, what), Erasure(
                kind=kind, name=what, receipt=name, at=self._clock()))
        if hidden:
            await asyncio.sleep(SETTLE)
            await self._views_passed(topics.AGENT_EVENTS, topics.AGENT_STATE, topics.TASK_RESULTS, topics.DECISIONS,
                                     topics.USAGE)
            await stores.remove_tasks(self._es, self._settings, sight.tasks)
            if sight.target.kind == "person":
                await stores.rename_usage(self._es, self._settings, sight.target.name)
        await self._remove_records(sight)

    async def _cancel(self, live: dict[str, TaskRequested], name: str) -> None:
        topic = topics.AGENT_EVENTS.named(self._settings.prefix)
        for task, request in live.items():
            await self._producer.send(topic, task, AgentEvent(
                task=task, event=f"{name}-{task}", at=self._clock(),
                body=CancelRequested(person=request.person, reason="what the task has read is being erased")))

    async def _remove_records(self, sight: Sight) -> None:
        found = await self._survey.found(sight)
        for topic in (topics.TASK_RESULTS, topics.DECISIONS):
            for holding, key, record in found.latest(topic):
                if task_of(record.event) in sight.tasks:
                    await self._producer.send(holding.name, key, None)
        for holding, key, record in found.latest(topics.EFFECT_LOG):
            # Its key must stay, or the call might be done again; only one that is over may be emptied.
            effect = record.event
            if isinstance(effect, Effect) and REPORTED in record.headers and effect.command.task in sight.tasks:
                await self._producer.send(holding.name, key, _said_nothing(effect), headers={
                    REPORTED: record.headers[REPORTED]}, partition=record.partition)

    async def _views_passed(self, *wanted: topics.Topic) -> None:
        """Returns when the views have everything that these topics hold now."""
        for topic in wanted:
            name = topic.named(self._settings.prefix)
            ends = await asyncio.to_thread(broker.record_ends, self._settings, name)
            await answers.passed(self._settings, VIEWS, name, ends, time.monotonic() + self._patience)

    # -- 5 to 7 ---------------------------------------------------------------------------------------------------

    async def _letters(self, found: Found, done: Counts) -> None:
        for holding in found.of(topics.DEAD_LETTERS):
            for key in sorted(holding.seen - holding.replaced.keys()):
                await self._producer.send(holding.name, key, None)
                done.letters += 1

    async def _surplus(self, sight: Sight, found: Found) -> None:
        """Vectors and chunks that no worker takes back any more: of versions that were dropped, of workers that were
        killed."""
        if sight.until is None:
            return
        target = sight.target
        gone = DocumentDeleted(workspace=target.workspace, document=target.document, version=sight.until)
        for topic in (topics.CHUNKS, topics.EMBEDDINGS):
            for holding, key, _ in found.latest(topic):
                first = topic is topics.CHUNKS or key == keys.part_key(target.workspace, target.document, 0)
                await self._producer.send(holding.name, key, gone if first else None, partition_key=target.name)

    async def _roll(self, found: Found) -> None:
        held = {h.name: h for h in found.holdings.values() if h.replaced and h.topic.compacted}
        async with broker.rolling(self._settings, {name: h.topic for name, h in held.items()}):
            self._point("segments open")
            await asyncio.to_thread(broker.resend, self._settings,
                                    [raw for h in held.values() for raw in h.replaced.values()])

    # -- 8 and 9 --------------------------------------------------------------------------------------------------

    async def _receipt(self, sight: Sight, found: Found, done: Counts, name: str, by: str, begun_at: int) -> Receipt:
        now = self._clock()
        configs = await asyncio.to_thread(broker.configs, self._settings, found.holdings)
        told = []
        for holding in found.holdings.values():
            config, kept = configs[holding.name], ""
            for key, record in sorted(holding.latest.items()):
                if sight.target.kind == "person" and holding.topic.name in KEPT:
                    kept = KEPT[holding.topic.name]
                elif task_of(record.event) not in done.live:
                    done.pending.append(f"{holding.name}: the record {key} holds it; change or delete that, then run "
                                        "the same erasure again")
            gone = None if holding.latest else broker.gone_by(config, holding.topic.compacted, now)
            told.append(TopicReceipt(
                name=holding.name, records=holding.records, gone_by=gone, kept=kept,
                names_gone_by=broker.names_gone_by(config, gone) if holding.topic.compacted and gone else None))
        return Receipt(
            receipt=name, kind=sight.target.kind, name=sight.target.name, by=by, begun_at=begun_at, finished_at=now,
            until=sight.until, topics=told, turns=done.turns, tasks=sorted(sight.tasks),
            answers=sorted(sight.answers), letters=done.letters, blobs=sorted(done.blobs),
            pending=done.pending, outside=receipt.outside(sight.target.kind), traces=sight.traces.to_json())


def _emptied(turn: Turn, sight: Sight) -> Turn:
    """A turn without what was erased and what was made from it."""
    erased = {s.number for s in turn.sources
              if s.document == sight.target.document or sight.traces.found(s.text.encode())}
    sources = [replace(s, text="", title="", heading_path=[], source="", passage=None, metadata={}, start=0, end=0)
               if s.number in erased else s for s in turn.sources]
    question = ERASED if sight.traces.found(turn.question.encode()) else turn.question
    # Without a language model an answer is what it cites; with one it may hold anything that the model has read.
    quoted = (turn.model not in ("", "extractive") or any(c.source in erased for c in turn.citations)
              or bool(sight.traces.found(turn.text.encode())))
    if not quoted:
        return replace(turn, sources=sources, question=question, notices=[*turn.notices, PASSAGE_ERASED])
    return replace(turn, text="", citations=[], sources=sources, notices=[ERASED], question=question)


def without_question(turn: Turn) -> Turn:
    """A turn that repeats an answer, without the question that was asked then."""
    assert turn.earlier is not None
    return replace(turn, earlier=replace(turn.earlier, question=ERASED), notices=[REPEATED, *turn.notices[1:]])


def _said_nothing(effect: Effect) -> Effect:
    """An effect of which only that it was done is left."""
    body = effect.command.body
    assert isinstance(body, CallTool)
    nobody = Person(subject=SOMEBODY, groups=[])
    outcome = effect.outcome
    return replace(
        effect, command=replace(effect.command, body=replace(body, arguments=NOTHING, person=nobody)),
        outcome=outcome and replace(outcome, content="", error="", artefacts=[], undo=None))


