"""Which sentences of the sources answer a question, and whether any does. Pure: texts and vectors in, figures out.

A sentence is scored by its cosine with the question, by the question's words in it (each weighed by how rare it is
among the candidates), by the rank of its source and by whether it holds what the question asks for: a number, a date,
a name.

Whether the sources hold the answer at all is a weighted sum of four figures that mean the same in every collection:
best cosine of a sentence, best cosine of a passage, the share of the question's words in the best passage and in all
of them. The weights were fitted on pairs of collections that ask each other's questions; docs/decisions says how they
do on a collection that was left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.events import Source
from weir.answers.sentences import Sentence, sentences
from weir.answers.terms import Term, covered, prefixes, stem, stems, terms

SOURCES = 6
"""Sources that are read for sentences."""
MOST_SENTENCES = 48
"""Sentences that are embedded for one question: one request to the model's server."""
COSINE, WORDS, RANK, KIND = 0.5, 0.4, 0.1, 0.2

_NUMBER = re.compile(r"\d|\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|hundred|thousand|"
                     r"million|billion|half|once|twice|first|second|third|none|no)\b", re.IGNORECASE)
_DATE = re.compile(r"\b(1\d{3}|20\d\d)\b|\b(january|february|march|april|may|june|july|august|september|october|"
                   r"november|december|century|monday|tuesday|wednesday|thursday|friday|saturday|sunday|"
                   r"\d+ (days|years|months|weeks|hours|minutes))\b", re.IGNORECASE)
_NAME = re.compile(r"(?<![.!?]\s)(?<!^)\b[A-Z][\w'’-]+")
_ASKS_NUMBER = re.compile(
    r"\bhow (many|much|old|long|far|tall|large|big|high|often|fast|few|soon)\b|\bwhat (percentage|percent|number|age|"
    r"amount|price|cost|rate|size|population)\b|\bpercentage\b")
_ASKS_DATE = re.compile(r"\bwhen\b|\b(what|which) (year|date|day|month|century|decade)\b")
_ASKS_NAME = re.compile(r"\b(who|whom|whose|where)\b|\b(what|which) (\w+ )?(city|country|state|person|company|team|"
                        r"player|river|name|man|woman|university|group|organi[sz]ation|supplier)\b")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence of a source."""

    source: int
    """Place of the source, from 0."""
    sentence: Sentence

    @property
    def embedded(self) -> str:
        """The text whose vector stands for the sentence."""
        text = self.sentence.text[:1000]
        return f"{self.sentence.lead}\n{text}" if self.sentence.lead else text


@dataclass(frozen=True, slots=True)
class Evidence:
    """The candidates of a question and what their words say."""

    question: list[Term]
    candidates: list[Candidate]
    words: npt.NDArray[np.float64]
    """(candidates,) weight of the question's words, longer sentences counting less."""
    covered: npt.NDArray[np.float64]
    """(candidates, terms) how well each holds each word of the question, 0 to 1."""
    kind: npt.NDArray[np.float64]
    """(candidates,) whether it holds what the question asks for, 0 to 1."""


def gather(question: str, sources: Sequence[Source]) -> Evidence:
    """The sentences of the first sources that may answer the question, at most `MOST_SENTENCES`."""
    asked, asked_stems = terms(question), stems(question)
    candidates = [Candidate(place, sentence) for place, source in enumerate(sources[:SOURCES])
                  for sentence in sentences(source.text)]
    about = [stems(" ".join([source.title, *source.heading_path])) for source in sources[:SOURCES]]
    found = [stems(c.sentence.text) | stems(c.sentence.lead) | about[c.source] for c in candidates]
    matrix = np.array([[covered(t, s, p) for t in asked] for s, p in ((s, prefixes(s)) for s in found)],
                      dtype=np.float64).reshape(len(candidates), len(asked))
    having = (matrix > 0).sum(0)
    rarity = np.log(1 + (len(candidates) - having + 0.5) / (having + 0.5))
    weight = np.array([t.weight for t in asked])
    length = np.array([len(stems(c.sentence.text)) for c in candidates], dtype=np.float64)
    mean = float(length.mean()) if len(length) else 1.0
    words = (matrix * rarity * weight).sum(1) / (0.7 + 0.3 * length / max(mean, 1.0))
    wanted = _wanted(question)
    kind = np.array([_holds(wanted, c.sentence.text, asked_stems) for c in candidates])
    evidence = Evidence(asked, candidates, words, matrix, kind)
    if len(candidates) <= MOST_SENTENCES:
        return evidence
    rank = np.array([c.source for c in candidates])
    first = np.argsort(-(words / max(float(words.max()), 1e-9) + 0.5 / (1 + rank)), kind="stable")[:MOST_SENTENCES]
    keep = np.sort(first)
    return Evidence(asked, [candidates[i] for i in keep], words[keep], matrix[keep], kind[keep])


def scores(evidence: Evidence, cosines: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float64]:
    """How well each candidate answers, best about 1.2; comparable within one question only.

    Args:
        cosines: (candidates,) with the question; None where nothing could be embedded.
    """
    rank = np.array([c.source for c in evidence.candidates])
    words = evidence.words / max(float(evidence.words.max(initial=0.0)), 1e-9)
    total = WORDS * words + RANK / (1 + rank) + KIND * evidence.kind
    if cosines is not None:
        total = total + COSINE * cosines / max(float(cosines.max(initial=0.0)), 1e-9)
    return np.asarray(total, dtype=np.float64)


def confidence(evidence: Evidence, ranking: npt.NDArray[np.float64], cosines: npt.NDArray[np.float32] | None,
               passage: float | None) -> float:
    """Above zero where the sources seem to hold the answer.

    Args:
        ranking: from `scores`.
        cosines: as in `scores`.
        passage: best cosine of a passage with the question; None where unknown.
    """
    if not evidence.candidates:
        return -10.0
    best = evidence.candidates[int(np.argmax(ranking))].source
    in_best = _share(evidence, [i for i, c in enumerate(evidence.candidates) if c.source == best])
    in_all = _share(evidence, range(len(evidence.candidates)))
    if cosines is None:
        return 10 * (in_best - 0.55) + 3 * (in_all - 0.75)
    sentence = float(cosines.max())
    if passage is None:
        return 21.0 * sentence + 6.0 * in_best + 3.2 * in_all - 14.5
    return 10.1 * sentence + 14.7 * passage + 5.7 * in_best + 3.4 * in_all - 15.5


def _share(evidence: Evidence, which: Sequence[int]) -> float:
    """Share of the question's weight that these candidates hold together."""
    weight = np.array([t.weight for t in evidence.question])
    if not weight.sum():
        return 1.0
    return float((evidence.covered[list(which)].max(0) * weight).sum() / weight.sum())


def _wanted(question: str) -> str | None:
    lower = question.lower()
    if _ASKS_DATE.search(lower):
        return "date"
    if _ASKS_NUMBER.search(lower):
        return "number"
    return "name" if _ASKS_NAME.search(lower) else None


def _holds(wanted: str | None, text: str, asked: set[str]) -> float:
    match wanted:
        case "number":
            return 1.0 if _NUMBER.search(text) else 0.0
        case "date":
            return 1.0 if _DATE.search(text) else 0.5 if re.search(r"\d", text) else 0.0
        case "name":
            return 1.0 if any(stem(word) not in asked for word in _NAME.findall(text)) else 0.0
    return 0.5
