"""Answers without a language model: quotes the sentences that answer best, word for word, or says that none does."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator

import numpy as np
import numpy.typing as npt

from schemas.events import Source
from weir import telemetry
from weir.errors import Unavailable
from weir.models.evidence import Candidate, Evidence, confidence, gather, scores
from weir.models.protocol import Asked, NotInSources, Piece, Quote, Text

log = telemetry.logger(__name__)

QUOTED = 2
"""Sentences that are quoted at most."""
WORTH_QUOTING = 0.45
"""A further sentence is quoted where its score is at least this share of the best one's."""
NO_SOURCES = "There is no passage about this among the documents that you may read."
NOT_FOUND = "The documents that you may read do not seem to hold the answer. The closest passages are listed."

_MARKER = re.compile(r"\s*(?:[-*+•–▪◦]\s+|A:\s+)")


class Extractive:
    """The model named `extractive`."""

    name = "extractive"
    prompt = ""
    context_chars = None

    async def answer(self, asked: Asked) -> AsyncGenerator[Piece, None]:
        """See `LanguageModel.answer`. Works without vectors too, from words alone."""
        if not asked.sources:
            yield NotInSources()
            yield Text(NO_SOURCES)
            return
        evidence = gather(asked.whole, asked.sources)
        cosines = await _cosines(asked, evidence)
        ranking = scores(evidence, cosines)
        if confidence(evidence, ranking, cosines, max(asked.cosines.values(), default=None)) < 0:
            yield NotInSources()
            yield Text(NOT_FOUND)
            return
        for piece in _said(_chosen(evidence, ranking), asked):
            yield piece

    async def close(self) -> None:
        """There is nothing to give back."""


async def _cosines(asked: Asked, evidence: Evidence) -> npt.NDArray[np.float32] | None:
    if asked.vector is None or asked.embed is None or not evidence.candidates:
        return None
    try:
        vectors = await asked.embed([c.embedded for c in evidence.candidates])
    except Unavailable as e:
        log.warning("answering from words alone", reason=e.message)
        return None
    return np.asarray(vectors @ asked.vector, dtype=np.float32)


def _chosen(evidence: Evidence, ranking: npt.NDArray[np.float64]) -> list[Candidate]:
    """The best sentences, none twice, those of one source in the order of its text."""
    order = np.argsort(-ranking, kind="stable")
    first = evidence.candidates[order[0]]
    named = _names(evidence, first.source)
    best: list[Candidate] = []
    for i in order:
        candidate = evidence.candidates[i]
        if ranking[i] < WORTH_QUOTING * ranking[order[0]] or len(best) == QUOTED:
            break
        # What a source says that never mentions whom the question is about is about somebody else.
        about_another = bool((named & ~_names(evidence, candidate.source)).any())
        if not about_another and all(candidate.sentence.text != b.sentence.text for b in best):
            best.append(candidate)
    if len({c.source for c in best}) == 1:
        best.sort(key=lambda c: c.sentence.start)
    return best


def _names(evidence: Evidence, source: int) -> npt.NDArray[np.bool_]:
    """(terms,) which names of the question a source mentions."""
    own = [i for i, c in enumerate(evidence.candidates) if c.source == source]
    is_name = np.array([term.is_name for term in evidence.question], dtype=np.bool_)
    return np.asarray((evidence.covered[own].max(0) > 0) & is_name, dtype=np.bool_)


def _said(chosen: list[Candidate], asked: Asked) -> list[Piece]:
    """The quotes in the plainest of frames."""
    pieces: list[Piece] = []
    last: Candidate | None = None
    for candidate in chosen:
        source, sentence = asked.sources[candidate.source], candidate.sentence
        if last is None or last.source != candidate.source:
            header = "" if sentence.prose or not sentence.lead else f" ({sentence.lead.strip('| ')})"
            pieces.append(Text(f"{'' if last is None else chr(10) * 2}According to {_label(source)}{header}: "))
        else:
            between = source.text[last.sentence.end:sentence.start]
            pieces.append(Text(" " if not between.strip() else " … "))
        marker = _MARKER.match(sentence.text)
        pieces.append(Quote(source.number, sentence.start + (marker.end() if marker else 0), sentence.end))
        last = candidate
    return pieces


def _label(source: Source) -> str:
    """How a source is called in a sentence."""
    title = source.title.strip() or source.document
    heading = source.heading_path[-1].strip() if source.heading_path else ""
    return f"“{title} › {heading}”" if heading and heading != title else f"“{title}”"
