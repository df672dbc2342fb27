"""When a question is asked back: a hosted model says so; or, by rule, it names nothing, or several documents would
answer it equally well. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.events import Source
from weir.answers.terms import stems, terms
from weir.retrieval.questions import Reading

ALIKE = 0.5
"""Difference of fused scores below which passages count as equally good, in standard deviations of the candidates."""
MOST_CHOICES = 5

_POINTS = re.compile(r"\b(it|its|they|them|their|he|she|him|her|his|hers|the former|the latter)\b", re.IGNORECASE)
_WANTS_ALL = re.compile(r"\b(which|all|every|each|any|list|compare|differ\w*|both|between|who)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CounterQuestion:
    text: str
    choices: list[str]
    """Questions that the person may have meant; none where nobody can tell."""


def counter_question(question: str, follows: bool, sources: Sequence[Source]) -> CounterQuestion | None:
    """What to ask back; None where the question is clear enough.

    Args:
        question: standing by itself.
        follows: whether it follows another question, from which it took what it leaves out.
        sources: what it found, best first.
    """
    if not follows and (empty := _names_nothing(question)):
        return CounterQuestion(empty, [])
    if not sources or _WANTS_ALL.search(question):
        return None
    heading = _last(sources[0])
    alike: dict[str, Source] = {}
    for source in sources:
        if heading and _last(source) == heading and sources[0].score - source.score < ALIKE:
            alike.setdefault(source.document, source)
    titles = list(dict.fromkeys(source.title for source in alike.values() if source.title))
    if not 2 <= len(titles) <= MOST_CHOICES or len(titles) != len(alike) or _says_which(question, titles):
        return None
    said = f"{', '.join(f'“{title}”' for title in titles[:-1])} or “{titles[-1]}”"
    section = sources[0].heading_path[-1]
    return CounterQuestion(f"Several documents have a section “{section}”. Which one is meant: {said}?",
                           [f"{question.rstrip(' ?.')} ({title})?" for title in titles])


def asked_back(reading: Reading | None) -> CounterQuestion | None:
    """What a hosted model asks back; None where it does not, or did not read the question."""
    return CounterQuestion(reading.unclear, list(reading.choices)) if reading is not None and reading.unclear else None


def _names_nothing(question: str) -> str:
    meant = [term for term in terms(question) if term.weight >= 1]
    pointing = _POINTS.search(question)
    if pointing is not None and len(meant) <= 2 and not any(term.is_name for term in meant):
        return f"The question does not say what “{pointing[0].lower()}” is. Ask it again with its name."
    return "" if meant else "The question does not say what it is about. Ask it again with a name or a word for it."


def _last(source: Source) -> str:
    return source.heading_path[-1].strip().lower() if source.heading_path else ""


def _says_which(question: str, titles: Sequence[str]) -> bool:
    """Whether a word of the question is in one of the titles and not in all."""
    each = [stems(title) for title in titles]
    return any(0 < sum(term.stem in title for title in each) < len(each) for term in terms(question))
