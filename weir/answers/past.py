"""A finished turn asked once more, and what differs.

    same passages     the question and the passages of then to the model of today: only the model can differ
    today             the whole way of today: retrieval in the live index, then the model

A turn holds its passages word for word, so that neither the documents nor the index of then have to exist any more.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from schemas.events import Done, Outcome, QuestionAsked, Source, Turn, TurnOutcome
from weir.answers.answering import Answering
from weir.answers.followups import standalone_of
from weir.answers.release import Released, release
from weir.documents.context import context_of_passage
from weir.documents.types import embedded_text
from weir.erasing import ERASED
from weir.errors import Conflict, Unavailable
from weir.models.protocol import Asked, Embed, Exchange, Vectors

_BREAK = re.compile(r"(?<=[.!?…])\s+|\n+")
"""Where a text is broken into the lines of a diff: every word of it stands in one of them."""


def content_hash(text: str) -> str:
    """SHA-256 of a passage's text in UTF-8, hexadecimal: two turns read the same passage where these are equal."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Differences:
    """What a turn and its replay do not share."""

    facts: dict[str, tuple[str, str]]
    """Outcome, model, prompt, index, index version, citations: then and now, those that differ."""
    gone: list[Source]
    """Passages that only the turn was made from."""
    new: list[Source]
    """Passages that only the replay was made from."""
    text: list[str]
    """Lines of a diff, one sentence each, beginning with `  `, `- ` or `+ `; empty where the texts are equal."""

    @property
    def any(self) -> bool:
        return bool(self.facts or self.gone or self.new or self.text)


async def again(answering: Answering, turn: Turn, *, today: bool) -> Done:
    """Asks a turn's question once more, as the person who asked it. Nothing is written anywhere.

    Args:
        today: look for passages in the live index, with what the person's groups of then may read now; else take
            those of the turn.

    Raises:
        Conflict: the turn was erased or had no end to compare with; a search with the same passages finds the same.
        Unavailable, ModelError: it cannot be answered now.
    """
    if ERASED in turn.notices:
        raise Conflict(f"the turn {turn.turn} was erased: there is nothing left to ask again.")
    if not today:
        if turn.outcome is TurnOutcome.SEARCHED:
            raise Conflict("the turn was a search, which asked no model: replay it with --today.")
        return await _same_passages(answering, turn)
    question = QuestionAsked(
        answer=turn.turn, conversation=turn.conversation, workspace=turn.workspace, question=turn.question,
        person=turn.person, follows=turn.follows, search_only=turn.outcome is TurnOutcome.SEARCHED,
        asked_at=turn.asked_at)
    async with aclosing(answering.answer(question)) as bodies:
        async for body in bodies:
            if isinstance(body, Done):
                return body
    raise AssertionError("an answer ends with Done")


async def _same_passages(answering: Answering, turn: Turn) -> Done:
    past = [t for t in (await answering.history(turn.follows) if turn.follows else [])
            if t.person.subject == turn.person.subject and t.conversation == turn.conversation]
    whole = standalone_of([*(t.question for t in past), turn.question])
    notices: list[str] = []
    embed = _embedder(answering, turn, notices)
    vector, cosines = await _compared(embed, whole, turn.sources, notices)
    asked = Asked(turn.question, turn.sources, [Exchange(t.question, t.text) for t in past if t.text], whole, vector,
                  cosines, embed)
    out, started = Released(), time.perf_counter()
    async with aclosing(release(answering.model.answer(asked), asked, out, answering.timer,
                                answering.patience)) as bodies:
        async for _ in bodies:
            pass
    return Done(
        outcome=Outcome.NOT_IN_SOURCES if out.not_in_sources else Outcome.ANSWERED, text=out.text,
        sources=turn.sources, citations=out.citations, notices=notices, model=answering.model.name,
        prompt=answering.model.prompt, index=turn.index, index_version=turn.index_version,
        tokens_in=out.usage.tokens_in, tokens_out=out.usage.tokens_out, cost=out.usage.cost,
        timings={"total": round((time.perf_counter() - started) * 1000, 2)})


def _embedder(answering: Answering, turn: Turn, notices: list[str]) -> Embed | None:
    try:
        return answering.embedder(turn.index_version)
    except Unavailable as e:
        notices.append(f"The model is asked without vectors: {e.message}")
        return None


async def _compared(embed: Embed | None, question: str, sources: Sequence[Source], notices: list[str]
                    ) -> tuple[Vectors | None, Mapping[str, float]]:
    """The question's vector, and its cosine with each passage embedded as the index embeds its chunks."""
    if embed is None:
        return None, {}
    passages = [embedded_text(context_of_passage(s.document, s.title, s.heading_path, s.text, s.start), s.text)
                for s in sources]
    try:
        vectors = await embed([question, *passages])
    except Unavailable as e:
        notices.append(f"The model is asked without vectors: {e.message}")
        return None, {}
    return vectors[0], dict(zip((s.chunk for s in sources), (vectors[1:] @ vectors[0]).tolist(), strict=True))


def differences(turn: Turn, now: Done) -> Differences:
    """What the replay says otherwise."""
    then = {content_hash(s.text) for s in turn.sources}
    today = {content_hash(s.text) for s in now.sources}
    facts = {
        "outcome": (turn.outcome.value, now.outcome.value), "model": (turn.model, now.model),
        "prompt": (turn.prompt, now.prompt), "index": (turn.index, now.index),
        "index version": (turn.index_version, now.index_version),
        "citations": (str(len(turn.citations)), str(len(now.citations)))}
    lines = [] if turn.text == now.text else [
        line for line in difflib.ndiff(_lines(turn.text), _lines(now.text)) if not line.startswith("? ")]
    return Differences(
        facts={name: (a, b) for name, (a, b) in facts.items() if a != b},
        gone=[s for s in turn.sources if content_hash(s.text) not in today],
        new=[s for s in now.sources if content_hash(s.text) not in then], text=lines)


def _lines(text: str) -> list[str]:
    return [line for line in (" ".join(piece.split()) for piece in _BREAK.split(text)) if line]
