"""Questions to answer frames: `questions` -> retrieval -> model -> `answers`.

What a question goes through:

    1  it waits for one of `answer_concurrency` places; cancelled or waiting for too long, it ends here
    2  it was answered before (the same request twice, or the worker before this one died late): nothing to do
    3  `Accepted` with a fresh attempt: from here on this attempt is the live one
    4  `Sources`, then text and citations as they come (weir/answers/answering.py)
    5  `Done` or `Failed`, and only when Kafka has it the question is finished with

A worker that dies before 5 leaves the question uncommitted: another takes it as a new attempt. Frames are posted one
after another without waiting; when one does not arrive, the attempt is given up and the next one says it all again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from schemas import topics
from schemas.events import (
    Accepted,
    AnswerFrame,
    CancelAnswer,
    Cited,
    Delta,
    Done,
    Failed,
    IndexVersion,
    QuestionAsked,
    Source,
    Sources,
    Workspace,
)
from weir import telemetry
from weir.access import may_read
from weir.answers.answering import Answering, cancelled
from weir.answers.release import Released
from weir.caches.caching import Caching
from weir.clock import Clock, system_clock
from weir.errors import BadRecord, Forbidden, Overloaded, Unavailable, WeirError
from weir.index.indexes import Indexes
from weir.kafka.handlers import Each
from weir.kafka.process import Context, run_process
from weir.kafka.producer import Delivery, Producer
from weir.kafka.records import Record
from weir.kafka.table import Table
from weir.kafka.worker import Worker
from weir.models.configured import model_from
from weir.models.protocol import Embed
from weir.models.reading import reader_from
from weir.retrieval.candidates import anew
from weir.retrieval.pipeline import Retriever
from weir.settings import Settings
from weir.stores import elasticsearch, milvus
from weir.views.documents import DocumentViews
from weir.views.gets import Gets
from weir.views.turns import TurnViews

NAME = "streams.answers"
HISTORY = 4
"""Turns that a follow-up looks back on."""
HISTORY_WAIT = 2.0
"""Seconds to wait for the turn that a follow-up names, which may have been finished a moment ago."""
REMEMBERED = 10_000
"""Answers that were finished here and are known without asking."""
FRESH = 1.0
"""Seconds to learn whether a question was answered before; after that it is taken as new."""
ALONG = 0.2
"""Seconds of them that this may wait for a request to go along with: the access check of what was found."""
OPENS_WITHIN = 0.1
"""Seconds until an attempt is told of though it has nothing to say yet."""
RETRY_AFTER = 10.0
"""Seconds that an overloaded worker asks people to wait."""

log = telemetry.logger(__name__)


@dataclass(slots=True)
class Running:
    """An answer that is being worked on, or waits for its place."""

    subject: str
    work: asyncio.Task[Done] | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its attempt may be seen."""
    cancelled: bool = False
    progress: Released = field(default_factory=Released)
    sources: list[Source] = field(default_factory=list)


class LostFrame(Unavailable):
    """No end of this attempt would count: readers stop at the gap."""


class Attempt:
    """Writes the numbered frames of one attempt."""

    def __init__(self, producer: Producer, topic: str, question: QuestionAsked, attempt: str, clock: Clock) -> None:
        self._producer, self._topic, self._clock = producer, topic, clock
        self._question, self._attempt, self._seq = question, attempt, 0
        self._lost: BaseException | None = None
        self._opening: asyncio.Task[None] | None = None
        self._opened = asyncio.Lock()

    def open(self) -> None:
        """`Accepted` goes with the next frame, or by itself when that takes longer than `OPENS_WITHIN`: a record more
        wakes everybody who reads the topic, in the very moment in which the question is searched."""
        async def soon() -> None:
            await asyncio.sleep(OPENS_WITHIN)
            try:
                await self._open()
            except LostFrame as e:
                self._lost = e

        self._opening = asyncio.create_task(soon())

    async def _open(self) -> None:
        async with self._opened:
            if self._seq == 0:
                q = self._question
                await self._post(Accepted(
                    question=q.question, workspace=q.workspace, person=q.person, asked_at=q.asked_at,
                    follows=q.follows, search_only=q.search_only))

    async def post(self, body: Sources | Delta | Cited) -> None:
        """Sends the next frame without waiting for it, unless it is so large that it travels as a claim check.

        Raises:
            LostFrame: an earlier frame did not arrive.
        """
        self._check()
        await self._open()
        await self._post(body)

    async def _post(self, body: Accepted | Sources | Delta | Cited) -> None:
        frame = self._frame(body)
        try:
            self._producer.post(self._topic, self._question.conversation, frame).add_done_callback(self._arrived)
        except BadRecord:
            await self._send(frame)

    def leave(self) -> None:
        """Nothing more comes of this attempt."""
        if self._opening is not None:
            self._opening.cancel()

    async def end(self, body: Done | Failed) -> None:
        """Sends the terminal frame and waits until Kafka has all of them.

        Raises:
            LostFrame: a frame did not arrive.
        """
        self._check()
        await self._open()
        await self._send(self._frame(body))
        # Acknowledgements come in order, so that the fate of every earlier frame is known now.
        self._check()

    async def _send(self, frame: AnswerFrame) -> None:
        try:
            await self._producer.send(self._topic, self._question.conversation, frame)
        except WeirError as e:
            raise LostFrame(f"a frame of this attempt was lost ({e.message}); a new attempt begins") from e

    def _frame(self, body: Accepted | Sources | Delta | Cited | Done | Failed) -> AnswerFrame:
        seq, self._seq = self._seq, self._seq + 1
        return AnswerFrame(answer=self._question.answer, conversation=self._question.conversation,
                           attempt=self._attempt, seq=seq, at=self._clock(), body=body)

    def _arrived(self, future: asyncio.Future[Delivery]) -> None:
        if not future.cancelled():
            self._lost = future.exception() or self._lost

    def _check(self) -> None:
        if self._lost is not None:
            raise LostFrame(f"a frame of this attempt was lost ({self._lost}); a new attempt begins") from self._lost


class Answers:
    """Handles one record of `questions`."""

    def __init__(self, settings: Settings, producer: Producer, answering: Answering, turns: TurnViews,
                 readers: Callable[[str], list[str]], clock: Clock, new_id: Callable[[], str]) -> None:
        self._settings, self._producer, self._answering = settings, producer, answering
        self._turns, self._readers, self._clock, self._new_id = turns, readers, clock, new_id
        self._topic = topics.ANSWERS.named(settings.prefix)
        self._places = asyncio.Semaphore(settings.answer_concurrency)
        self._running: dict[str, Running] = {}
        self._finished: OrderedDict[str, None] = OrderedDict()

    async def handle(self, record: Record) -> None:
        """
        Raises:
            Unavailable: Kafka did not take the frames; the question is tried again as a new attempt.
        """
        event = record.event
        if isinstance(event, CancelAnswer):
            self._cancel(event)
        elif isinstance(event, QuestionAsked) and event.answer not in self._running | self._finished:
            running = self._running[event.answer] = Running(event.person.subject)
            try:
                with telemetry.bound(answer=event.answer, conversation=event.conversation):
                    await self._take(event, running, record.timestamp)
            finally:
                del self._running[event.answer]

    def _cancel(self, event: CancelAnswer) -> None:
        running = self._running.get(event.answer)
        if running is None or running.subject != event.subject:
            return
        running.cancelled = True
        if running.work is not None:
            running.work.cancel()

    async def _take(self, question: QuestionAsked, running: Running, asked_at: int) -> None:
        async with self._places:
            attempt = Attempt(self._producer, self._topic, question, self._new_id(), self._clock)
            refused = self._refused(question, running, asked_at)
            if refused is None:
                # Retrieval begins while the turn view is asked; what it finds waits until the attempt has begun.
                running.work = asyncio.create_task(self._stream(question, running, attempt))
            try:
                if await self._answered_before(question.answer):
                    return
                attempt.open()
                running.begun.set()
                end = refused if running.work is None else await self._ended(running, running.work)
                assert end is not None
                await attempt.end(end)
            finally:
                attempt.leave()
                if running.work is not None:
                    running.work.cancel()
        self._finish(question.answer)
        log.info("answered", outcome=end.outcome.value if isinstance(end, Done) else end.code)

    async def _stream(self, question: QuestionAsked, running: Running, attempt: Attempt) -> Done:
        """Posts the frames of an answer and returns its end."""
        async with aclosing(self._answering.answer(question, running.progress)) as bodies:
            async for body in bodies:
                if not running.begun.is_set():
                    # Nothing had to be checked on the way here.
                    self._turns.hurry()
                    await running.begun.wait()
                if isinstance(body, Done):
                    return body
                if isinstance(body, Sources):
                    running.sources = body.sources
                await attempt.post(body)
        raise AssertionError("an answer ends with Done")

    async def _ended(self, running: Running, work: asyncio.Task[Done]) -> Done | Failed:
        """How the answer ends."""
        try:
            return await work
        except asyncio.CancelledError:
            if not running.cancelled:
                raise
            return self._cancelled(running)
        except LostFrame:
            raise
        except WeirError as e:
            log.warning("cannot answer", code=e.code, reason=e.message)
            return Failed(code=e.code, message=e.message, retriable=e.retriable, retry_after=e.retry_after)
        except Exception:
            log.exception("an answer failed in a way that nobody expected")
            return Failed(code="internal", message="Something went wrong here; the log of streams.answers says what. "
                          "Ask again.", retriable=True, retry_after=5)

    def _refused(self, question: QuestionAsked, running: Running, asked_at: int) -> Done | Failed | None:
        """The end of an answer that does not begin."""
        waited = (self._clock() - asked_at) / 1000
        if running.cancelled:
            return self._cancelled(running)
        if waited > self._settings.answer_queue:
            return Failed(code=Overloaded.code, retriable=True, retry_after=RETRY_AFTER, message=f"The question waited "
                          f"{waited:.0f} s for a worker: too many are asking. Ask again in {RETRY_AFTER:.0f} s.")
        if not may_read(question.person, self._readers(question.workspace), 0):
            return Failed(code=Forbidden.code, retriable=False, message="You may not ask in the workspace "
                          f"{question.workspace}: its owners can let you in.")
        return None

    def _cancelled(self, running: Running) -> Done:
        return cancelled(running.progress, running.sources, self._answering.model.name)

    async def _answered_before(self, answer: str) -> bool:
        """By the turn view, along with the access check; where the view does not answer, no.
        See docs/decisions/the-look-goes-along.md."""
        try:
            return await asyncio.wait_for(self._turns.get(answer, ALONG), FRESH) is not None
        except (Unavailable, TimeoutError) as e:
            log.warning("cannot tell whether the question was answered before", reason=str(e))
            return False

    def _finish(self, answer: str) -> None:
        self._finished[answer] = None
        while len(self._finished) > REMEMBERED:
            self._finished.popitem(last=False)


def live(indexes: Indexes, workspaces: Table) -> Callable[[str], tuple[str, IndexVersion]]:
    """What `Retriever` asks: the index of a workspace and its live version."""
    def of(workspace: str) -> tuple[str, IndexVersion]:
        settings = workspaces.get(workspace)
        name = settings.index if isinstance(settings, Workspace) else "main"
        return name, indexes.live(name)
    return of


def recipes(workspaces: Table) -> Callable[[str], Mapping[str, float]]:
    """What a workspace says of how it is searched."""
    def of(workspace: str) -> Mapping[str, float]:
        settings = workspaces.get(workspace)
        return settings.recipe if isinstance(settings, Workspace) else {}
    return of


def readers(workspaces: Table) -> Callable[[str], list[str]]:
    """The groups that may ask in a workspace; everyone where nobody said otherwise."""
    def of(workspace: str) -> list[str]:
        settings = workspaces.get(workspace)
        return settings.readers if isinstance(settings, Workspace) else ["everyone"]
    return of


@dataclass(frozen=True, slots=True)
class Parts:
    """What answers questions in this process."""

    answering: Answering
    turns: TurnViews
    workspaces: Table


@asynccontextmanager
async def parts(settings: Settings, producer: Producer | None = None) -> AsyncIterator[Parts]:
    """The way from a question to its answer on the servers of the settings, ready to be asked.

    Args:
        producer: writes the figures of the caches; without it nothing is cached, each question goes the whole way.

    Raises:
        SettingsError: the model or a secret is misconfigured.
        Unavailable: Kafka does not answer.
    """
    indexes, workspaces = Indexes(settings), Table(settings, topics.WORKSPACES.named(settings.prefix))
    es, vectors, model = elasticsearch(settings), milvus(settings), model_from(settings)
    gets = Gets(es)
    views, turns, reader = DocumentViews(es, settings, gets), TurnViews(es, settings, gets), reader_from(settings)
    caching = Caching(settings, workspaces, views, producer, system_clock) if producer is not None else None
    retriever = Retriever(settings, es, vectors, views, live(indexes, workspaces), recipes=recipes(workspaces),
                          searching=caching.search if caching is not None else anew)

    def embedder(version: str) -> Embed:
        """That of a version which was asked here, though it may have left its index since; else that of the index."""
        return retriever.embedder(version) or retriever.stores(indexes.version(version)).embedder.embed

    answering = Answering(
        retriever, model, embedder=embedder,
        history=lambda turn: turns.history(turn, HISTORY, HISTORY_WAIT), views=views, patience=settings.model_timeout,
        reader=reader, cache=caching.answers(embedder, retriever.vectors) if caching is not None else None)
    await indexes.start()
    await workspaces.start()
    try:
        if caching is not None:
            caching.start()
        yield Parts(answering, turns, workspaces)
    finally:
        if caching is not None:
            await caching.close()
        await retriever.close()
        await model.close()
        if reader is not None:
            await reader.close()
        await views.close()
        await vectors.close()
        await indexes.close()
        await workspaces.close()
        await es.close()


async def main(context: Context) -> None:
    settings = context.settings
    async with parts(settings, context.producer) as made:
        answers = Answers(settings, context.producer, made.answering, made.turns, readers(made.workspaces),
                          context.clock, lambda: uuid.uuid4().hex)
        # No limit here: a cancellation must not queue behind the answers it is meant for.
        worker = Worker(settings, name=NAME, topics=[topics.QUESTIONS.named(settings.prefix)],
                        handler=Each(answers.handle, concurrency=None, ordered=False), producer=context.producer)
        await worker.run(context.stop)


if __name__ == "__main__":
    run_process(NAME, main)
