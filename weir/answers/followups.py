"""A follow-up as a question that stands by itself, by rule: "And Brackwater?" after "What notice does Thornlea want?".

A follow-up that leaves something out takes it from the question before: where each has one name, the new one takes the
old one's place; otherwise the words that carry the old question's meaning are put behind the new one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from weir.answers.terms import Term, stem, terms, words

_BEGINS = re.compile(r"\s*(?:and|or|but|so|also|then|what about|how about|what if|what of|same for|why not|why|and why|"
                     r"who else|where else|what else|anything else|any others?)\b[\s,]*", re.IGNORECASE)
_POINTS_BACK = re.compile(
    r"\b(it|its|they|them|their|theirs|he|him|his|she|her|hers|that|those|these|this|there|then|ones?|same|former|latter|"
    r"above|previous|instead|others?|either|both)\b", re.IGNORECASE)
_NAME = re.compile(r"\b[A-Z0-9][\w.'’-]*(?:[ ](?:of[ ]|the[ ]|and[ ])?[A-Z0-9][\w.'’-]*)*")
_ASKS = frozenset([
    "what", "which", "who", "whom", "whose", "when", "where", "why", "how", "is", "are", "was", "were", "do",
    "does", "did", "can", "could", "should", "would", "will", "may", "must", "has", "have", "had", "and", "or",
    "but", "so", "then", "in", "on", "at", "the", "a", "an", "i", "if", "tell", "show", "list", "give",
    "explain", "describe"])


def standalone(question: str, before: str) -> str:
    """The question with what it leaves out.

    Args:
        question: as it was typed.
        before: the question it follows, standing by itself.
    """
    if not before or not is_elliptic(question):
        return question
    old, new = _names(before), _names(question)
    rest = _BEGINS.sub("", question, count=1).strip()
    content = terms(rest)
    if len(old) == 1 and len(new) == 1 and all(t.is_name or t.stem in _stems(new[0]) for t in content):
        return before.replace(old[0], new[0])
    carried = _carried(before, question, drop_names=bool(new))
    return f"{question.rstrip()} ({' '.join(carried)})" if carried else question


def standalone_of(questions: Sequence[str]) -> str:
    """The last of a conversation's questions, oldest first, as one that stands by itself."""
    whole = ""
    for question in questions:
        whole = standalone(question, whole)
    return whole


def is_elliptic(question: str) -> bool:
    """Whether a question leaves out what it is about."""
    content = [t for t in terms(question) if t.weight >= 1]
    if _BEGINS.match(question):
        return len(content) <= 4
    if _POINTS_BACK.search(question):
        return len(content) <= 4 and not any(t.is_name for t in content)
    return len(content) <= 1 and len(question.split()) <= 4


def _carried(before: str, question: str, *, drop_names: bool) -> list[str]:
    """Words of the question before that carry meaning and are not in the new one, in their order."""
    there = {t.stem for t in terms(question)}
    wanted: dict[str, Term] = {t.stem: t for t in terms(before)
                               if t.stem not in there and not (drop_names and t.is_name)}
    return [word for word in words(before) if wanted.pop(stem(word), None) is not None]


def _names(question: str) -> list[str]:
    """Proper names, the words that only begin the sentence left out."""
    found = []
    for match in _NAME.finditer(question):
        parts = match.group().split(" ")
        while parts and parts[0].lower() in _ASKS:
            parts.pop(0)
        name = " ".join(parts).rstrip(".'’-").removesuffix("'s").removesuffix("’s")
        if name and (match.start() > 0 or len(parts) < len(match.group().split(" ")) or len(parts) > 1):
            found.append(name)
    return found


def _stems(text: str) -> set[str]:
    return {stem(word) for word in words(text)}
