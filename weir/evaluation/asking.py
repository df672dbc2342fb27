"""A golden question through the product's own retrieval and answer path, in an index version that is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from schemas.events import (
    CitedText,
    Done,
    FoundPassage,
    GoldenQuestion,
    Index,
    IndexVersion,
    Outcome,
    Person,
    QuestionAsked,
    QuestionResult,
)
from weir import telemetry
from weir.answers.answering import Answering
from weir.clock import Clock
from weir.errors import NotFound, WeirError
from weir.evaluation.metrics import (
    DEPTH,
    FAILED,
    answer_figures,
    first_rank,
    meets,
    newly_met,
    ranking_figures,
    with_quality,
)
from weir.models.configured import model_from
from weir.models.extractive import Extractive
from weir.models.protocol import Embed, LanguageModel
from weir.models.reading import QuestionReader, reader_from
from weir.retrieval.pipeline import Live, Retriever
from weir.settings import Settings
from weir.stores import elasticsearch, milvus
from weir.views.documents import DocumentViews

SUBJECT = "weir-eval"
"""As whom the questions are asked, with the groups that the set gives."""
SHOWN = 10
"""Passages of a ranking that a run keeps."""
TRIES = 3

log = telemetry.logger(__name__)


@dataclass(frozen=True, slots=True)
class Subject:
    """An index version that can be asked."""

    index: str
    version: IndexVersion
    live: bool
    retriever: Retriever
    answering: Answering

    @property
    def model(self) -> LanguageModel:
        return self.answering.model

    @property
    def embed(self) -> Embed:
        return self.retriever.stores(self.version).embedder.embed


@asynccontextmanager
async def subjects(settings: Settings, index: Index, versions: Sequence[str]) -> AsyncIterator[list[Subject]]:
    """The named versions of an index, ready to be asked; they share clients and the language model.

    Raises:
        NotFound: the index has no such version.
        SettingsError: the model or a secret is misconfigured.
    """
    known = {v.name: v for v in index.versions}
    if missing := [v for v in versions if v not in known]:
        raise NotFound(f"the index {index.index!r} has no version {', '.join(missing)}; it has {', '.join(known)}.")
    es, vectors, model = elasticsearch(settings), milvus(settings), model_from(settings)
    views, reader = DocumentViews(es, settings), reader_from(settings)
    retrievers = [Retriever(settings, es, vectors, views, _always(index.index, known[name])) for name in versions]
    try:
        yield [_subject(settings, index, known[name], retriever, model, reader, views)
               for name, retriever in zip(versions, retrievers, strict=True)]
    finally:
        for retriever in retrievers:
            await retriever.close()
        await model.close()
        if reader is not None:
            await reader.close()
        await views.close()
        await vectors.close()
        await es.close()


def _always(index: str, version: IndexVersion) -> Live:
    """What `Retriever` asks: here the same version each time, whichever is live."""
    return lambda workspace: (index, version)


def _subject(settings: Settings, index: Index, version: IndexVersion, retriever: Retriever, model: LanguageModel,
             reader: QuestionReader | None, views: DocumentViews) -> Subject:
    async def no_history(turn: str) -> list[object]:
        return []

    answering = Answering(retriever, model, embedder=lambda _: retriever.stores(version).embedder.embed,
                          history=no_history, views=views, reader=reader,  # type: ignore[arg-type]  # an empty list
                          patience=settings.model_timeout)
    return Subject(index.index, version, version.name == index.live, retriever, answering)


async def ask(subject: Subject, workspace: str, question: GoldenQuestion, clock: Clock) -> QuestionResult:
    """Asks one question. What may pass is tried again; what does not is a result that says why."""
    for attempt in range(1, TRIES + 1):
        try:
            return await _ask(subject, workspace, question, clock)
        except WeirError as e:
            log.warning("a golden question failed", question=question.id, code=e.code, reason=e.message)
            if not e.retriable or attempt == TRIES:
                return _result(question, FAILED, failed=f"{e.code}: {e.message}",
                               figures=with_quality(ranking_figures(question.expected, [])))
            await asyncio.sleep(e.retry_after or 1.0)
    raise AssertionError("the last attempt returns")


async def _ask(subject: Subject, workspace: str, question: GoldenQuestion, clock: Clock) -> QuestionResult:
    person = Person(subject=SUBJECT, groups=list(question.groups), clearance=question.clearance)
    ranked = await subject.retriever.retrieve(workspace, question.question, person, limit=DEPTH)
    done = await _answer(subject, QuestionAsked(
        answer=f"{SUBJECT}-{question.id}", conversation=SUBJECT, workspace=workspace, question=question.question,
        person=person, asked_at=clock()))
    refused = done.outcome is Outcome.NOT_IN_SOURCES
    sources = {s.number: s for s in done.sources}
    cited = [CitedText(document=s.document, text=s.text[c.quote_start:c.quote_end])
             for c in done.citations if (s := sources.get(c.source)) is not None]
    figures = ranking_figures(question.expected, ranked.sources) | answer_figures(
        question, refused, done.text, done.citations, [c.text for c in cited],
        [s.document for s in (*ranked.sources, *done.sources)], quoted=isinstance(subject.model, Extractive))
    return _result(
        question, done.outcome.value, answer=done.text, cited=cited, timings=dict(done.timings),
        figures=with_quality(figures), notices=list(dict.fromkeys([*ranked.notices, *done.notices])),
        rank=first_rank(newly_met(question.expected, ranked.sources)),
        found=[FoundPassage(document=s.document, passage=s.passage or "",
                            expected=any(meets(e, s) for e in question.expected)) for s in ranked.sources[:SHOWN]])


async def _answer(subject: Subject, question: QuestionAsked) -> Done:
    async with aclosing(subject.answering.answer(question)) as bodies:
        async for body in bodies:
            if isinstance(body, Done):
                return body
    raise AssertionError("an answer ends with Done")


def _result(question: GoldenQuestion, outcome: str, **found: object) -> QuestionResult:
    expected = [" / ".join(filter(None, [e.document, e.passage, e.text])) for e in question.expected]
    return QuestionResult(
        id=question.id, question=question.question, kind=question.kind, groups=list(question.groups),
        clearance=question.clearance, expected=expected, answers=list(question.answers),
        unanswerable=question.unanswerable, outcome=outcome, **found)  # type: ignore[arg-type]  # by name
