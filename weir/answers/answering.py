"""The way from a question to its answer, without Kafka: history, retrieval, model, release.

The answers worker writes what comes out here as frames; `bench.answers` measures the same way called in process.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from schemas.events import Cited, Delta, Done, Outcome, Person, QuestionAsked, Source, Sources, Turn
from weir import telemetry
from weir.access import may_read
from weir.answers.by_parts import by_parts, unknown
from weir.answers.clarify import CounterQuestion, asked_back, counter_question
from weir.answers.followups import standalone_of
from weir.answers.release import Released, Timer, release
from weir.caches.answers import AnswerCache
from weir.clock import day_of
from weir.errors import ModelError, Unavailable
from weir.models.protocol import NOTHING, Asked, Embed, Exchange, LanguageModel, Piece
from weir.models.reading import QuestionReader
from weir.retrieval.pipeline import Controls, Retrieved, Retriever
from weir.retrieval.questions import Reading
from weir.retrieval.views import DocumentViews

log = telemetry.logger(__name__)

UNBACKED = "No source backs a statement of this answer: check it before you rely on it."

Body = Sources | Delta | Cited | Done


@dataclass(slots=True)
class Answering:
    """Answers questions one by one; any number at a time."""

    retriever: Retriever
    model: LanguageModel
    embedder: Callable[[str], Embed | None]
    """The model that an index version's vectors were made with, by the version's name."""
    history: Callable[[str], Awaitable[list[Turn]]]
    """The turns that lead to a follow-up of this one, oldest first."""
    views: DocumentViews
    patience: float
    """Seconds to wait for a language model's next token."""
    timer: Timer = time.perf_counter
    reader: QuestionReader | None = None
    """Reads questions before they are searched, where the recipe asks for it; the rules do without one."""
    cache: AnswerCache | None = None
    """Where earlier answers are looked for; None answers each question anew."""

    async def answer(self, question: QuestionAsked, progress: Released | None = None) -> AsyncGenerator[Body, None]:
        """The bodies of the frames after `Accepted`: sources, text with citations, the end.

        Args:
            progress: kept up to date, for whoever cancels in the middle.

        Raises:
            WeirError: the answer cannot be given; the frames before are void.
        """
        started, out = self.timer(), progress or Released()
        past = await self._past(question)
        whole, reading, unread = await self._read(question, past.questions)
        began = self.timer()
        controls = Controls(question.recipe, question.without, day_of(question.asked_at), reading, question.anew)
        found = await self.retriever.retrieve(
            question.workspace, whole, question.person, question.filters, question.limit, question.explain,
            None if question.search_only else self.model.context_chars, controls)
        retrieved = self.timer()

        def timings() -> dict[str, float]:
            some = {**found.timings, "retrieval": _millis(began, retrieved), "total": _millis(started, self.timer())}
            if reading is not None:
                some["reading"] = _millis(started, began)
            if out.first_text is not None:
                some["first_text"] = _millis(started, out.first_text)
            return some

        back, space = None, ""
        if found.recipe.clarify and not question.search_only:
            back = asked_back(reading) or counter_question(whole, bool(past.questions), found.sources)
        if self.cache is not None and back is None and not unread:
            space = self.cache.space(question, controls, found, self.model)
            if space and (hit := await self.cache.find(space, question, controls, found)) is not None:
                out.text, out.citations, out.first_text = hit.turn.text, list(hit.turn.citations), self.timer()
                for body in hit.bodies(found, timings):
                    yield body
                return
        notices = [*past.notices, *unread, *found.notices]
        yield Sources(sources=found.sources, notices=notices, filters=found.filters)
        if not question.search_only:
            asked = Asked(question.question, found.sources, past.exchanges, found.searched, found.vector, found.cosines,
                          self.embedder(found.index_version))
            said = self._said(asked, found, back)
            async with aclosing(release(said, asked, out, self.timer, self.patience)) as bodies:
                async for body in bodies:
                    yield body
            if not out.citations and not out.not_in_sources:
                notices.append(UNBACKED)
        done = self.done(question, found, out, notices, timings(), whole, reading)
        yield replace(done, choices=back.choices if back is not None else [], reuse=space)

    async def _read(self, question: QuestionAsked, before: list[str]) -> tuple[str, Reading | None, list[str]]:
        """The question standing by itself; what a hosted model read it as, where one was asked; what went wrong."""
        if self.reader is None and not before:
            return question.question, None, []
        recipe = self.retriever.recipe(question.workspace, question.recipe)
        notices = []
        if self.reader is not None and ((recipe.rewrite and before) or recipe.decompose or recipe.expand
                                        or recipe.adaptive_depth or recipe.clarify):
            try:
                reading = await self.reader.read(question.question, before)
                return reading.standalone if recipe.rewrite and before else question.question, reading, []
            except ModelError as e:
                log.warning("the rules read the question", reason=e.message)
                notices = [f"Read by rule: {e.message}"]
        return standalone_of([*before, question.question]) if recipe.rewrite else question.question, None, notices

    def _said(self, asked: Asked, found: Retrieved, back: CounterQuestion | None) -> AsyncGenerator[Piece, None]:
        """What the model says; what is asked back; or that it is not known, where nothing reaches the minimum score."""
        if back is not None:
            return unknown(back.text)
        if not asked.sources and found.below:
            return unknown()
        if len(found.parts) > 1 and self.model.context_chars is None:
            return by_parts(self.model, asked, found.parts)
        return self.model.answer(asked)

    def done(self, question: QuestionAsked, found: Retrieved, out: Released, notices: list[str],
             timings: dict[str, float], whole: str, reading: Reading | None) -> Done:
        spent = reading.usage if reading else NOTHING
        outcome = (Outcome.SEARCHED if question.search_only else
                   Outcome.NOT_IN_SOURCES if out.not_in_sources else Outcome.ANSWERED)
        return Done(
            outcome=outcome, text=out.text, sources=found.sources, citations=out.citations, notices=notices,
            model="" if question.search_only else self.model.name,
            prompt="" if question.search_only else self.model.prompt, index=found.index,
            index_version=found.index_version, tokens_in=out.usage.tokens_in + spent.tokens_in,
            tokens_out=out.usage.tokens_out + spent.tokens_out, cost=out.usage.cost + spent.cost,
            timings={name: round(millis, 2) for name, millis in timings.items()},
            filters=found.filters,
            explain=json.dumps({"asked": question.question, "rewritten": whole,
                                "read_by": reading.by if reading else "", **found.explain}) if found.explain else None)

    async def _past(self, question: QuestionAsked) -> _Past:
        """What was said before, as far as the person may still read what it was said from."""
        if question.follows is None:
            return _Past()
        try:
            turns = await self.history(question.follows)
        except Unavailable as e:
            log.warning("answering without history", reason=e.message)
            turns = []
        turns = [t for t in turns if t.person.subject == question.person.subject
                 and t.conversation == question.conversation and t.workspace == question.workspace]
        if not turns:
            return _Past(notices=["The turn that this question follows could not be read: it was taken by itself."])
        readable = await asyncio.gather(*(self._readable(turn, question.person) for turn in turns))
        return _Past([t.question for t in turns],
                     [Exchange(t.question, t.text) for t, r in zip(turns, readable, strict=True) if r and t.text])

    async def _readable(self, turn: Turn, person: Person) -> bool:
        """Whether the person may read, now, every source that the answer cites or was made from."""
        documents = sorted({s.document for s in turn.sources})
        views = await self.views.check(turn.workspace, documents) if documents else {}
        return all((view := views.get(d)) is not None and not view.deleted
                   and may_read(person, list(view.groups), view.clearance) for d in documents)


@dataclass(frozen=True, slots=True)
class _Past:
    questions: list[str] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def cancelled(out: Released, sources: Sequence[Source], model: str) -> Done:
    """The end of an answer that the one who asked does not want any more: what was said so far."""
    return Done(outcome=Outcome.CANCELLED, text=out.text, sources=list(sources), citations=list(out.citations),
                model=model)


def _millis(since: float, until: float) -> float:
    return (until - since) * 1000
