"""The way from a question to its answer, without Kafka: history, retrieval, model, release.

The answers worker writes what comes out here as frames; `bench.answers` measures the same way called in process.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from schemas.events import Cited, Delta, Done, Outcome, Person, QuestionAsked, Source, Sources, Turn
from weir import telemetry
from weir.access import may_read
from weir.answers.followups import standalone_of
from weir.answers.release import Released, Timer, release
from weir.caches.answers import AnswerCache
from weir.errors import Unavailable
from weir.models.protocol import Asked, Embed, Exchange, LanguageModel
from weir.retrieval.pipeline import DocumentViews, Retrieved, Retriever

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
        whole = standalone_of([*past.questions, question.question])
        found = await self.retriever.retrieve(
            question.workspace, whole, question.person, question.filters, question.limit, True,
            None if question.search_only else self.model.context_chars)
        retrieved = self.timer()
        space = self.cache.space(question, found, self.model) if self.cache is not None else ""
        if self.cache is not None and space and (hit := await self.cache.find(space, question, found)) is not None:
            out.text, out.citations, out.first_text = hit.turn.text, list(hit.turn.citations), self.timer()
            for body in hit.bodies(found, lambda: self._timings(started, retrieved, found, out)):
                yield body
            return
        notices = [*past.notices, *found.notices]
        yield Sources(sources=found.sources, notices=notices)
        if not question.search_only:
            asked = Asked(question.question, found.sources, past.exchanges, whole, found.vector, _cosines(found),
                          self.embedder(found.index_version))
            async with aclosing(release(self.model.answer(asked), asked, out, self.timer, self.patience)) as bodies:
                async for body in bodies:
                    yield body
            if not out.citations and not out.not_in_sources:
                notices.append(UNBACKED)
        yield self.done(question, found, out, notices, self._timings(started, retrieved, found, out), space)

    def _timings(self, started: float, retrieved: float, found: Retrieved, out: Released) -> dict[str, float]:
        timings = {**found.timings, "retrieval": _millis(started, retrieved), "total": _millis(started, self.timer())}
        if out.first_text is not None:
            timings["first_text"] = _millis(started, out.first_text)
        return timings

    def done(self, question: QuestionAsked, found: Retrieved, out: Released, notices: list[str],
             timings: dict[str, float], reuse: str = "") -> Done:
        outcome = (Outcome.SEARCHED if question.search_only else
                   Outcome.NOT_IN_SOURCES if out.not_in_sources else Outcome.ANSWERED)
        return Done(
            outcome=outcome, text=out.text, sources=found.sources, citations=out.citations, notices=notices,
            model="" if question.search_only else self.model.name,
            prompt="" if question.search_only else self.model.prompt, index=found.index,
            index_version=found.index_version, tokens_in=out.usage.tokens_in, tokens_out=out.usage.tokens_out,
            cost=out.usage.cost, reuse=reuse, timings={name: round(millis, 2) for name, millis in timings.items()},
            explain=json.dumps(found.explain) if question.explain and found.explain else None)

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


def _cosines(found: Retrieved) -> Mapping[str, float]:
    """Cosine of the question with the chunks that were selected."""
    ranking = found.explain["ranking"] if found.explain else []
    return {r["chunk"]: r["chunk_cosine"] for r in ranking if r["source"] is not None and r["chunk_cosine"] is not None}


def _millis(since: float, until: float) -> float:
    return (until - since) * 1000
