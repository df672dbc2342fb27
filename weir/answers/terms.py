"""A question's words: which of them carry its meaning, and how much of it a text covers.

Words are compared by their stems. A word that most questions use says little; a name, a number or a code says much.
No statistics of a corpus are needed, so that the same question weighs the same in every workspace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import Stemmer

_WORD = re.compile(r"[^\W_]+(?:[.'’][^\W_]+)*", re.UNICODE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")

FUNCTION = frozenset([
    "a", "an", "the", "this", "that", "these", "those", "it", "its", "he", "she", "they", "them", "their",
    "his", "her", "him", "we", "us", "our", "you", "your", "i", "my", "me", "one", "ones", "some", "any",
    "each", "every", "all", "both", "either", "neither", "no", "not", "none", "nor", "or", "and", "but", "if",
    "then", "than", "so", "as", "of", "in", "on", "at", "by", "for", "to", "from", "with", "without", "within",
    "into", "onto", "over", "under", "about", "above", "below", "between", "among", "through", "during",
    "before", "after", "since", "until", "up", "down", "out", "off", "against", "per", "via", "is", "are",
    "was", "were", "be", "been", "being", "am", "do", "does", "did", "done", "doing", "have", "has", "had",
    "having", "can", "could", "may", "might", "must", "shall", "should", "will", "would", "there", "here",
    "what", "which", "who", "whom", "whose", "when", "where", "why", "how", "very", "just", "also", "too",
    "only", "even", "still", "yet", "such", "same", "other", "another", "own", "more", "most", "much", "many",
    "less", "least", "few", "several", "let", "lets", "get", "gets", "got", "don", "t", "s", "d", "ll", "re",
    "ve", "isn", "aren", "doesn", "didn", "won", "can't", "what's", "there's", "it's"])
"""Words that carry no meaning by themselves."""

COMMON = frozenset([
    "use", "used", "using", "uses", "make", "makes", "made", "making", "take", "takes", "taken", "give",
    "gives", "given", "go", "goes", "come", "comes", "say", "says", "said", "tell", "tells", "know", "known",
    "show", "shows", "mean", "means", "find", "found", "need", "needs", "want", "wants", "like", "work",
    "works", "working", "happen", "happens", "happened", "explain", "describe", "describes", "described",
    "discuss", "mention", "mentioned", "name", "named", "names", "call", "called", "kind", "kinds", "type",
    "types", "sort", "form", "way", "ways", "thing", "things", "part", "parts", "number", "numbers", "amount",
    "people", "person", "place", "time", "times", "year", "years", "day", "days", "first", "last", "new", "old",
    "main", "different", "good", "best", "better", "important", "example", "examples", "purpose", "role",
    "reason", "reasons", "result", "results", "effect", "cause", "causes", "difference", "following",
    "according", "include", "includes", "including", "included", "provide", "provides", "become", "became",
    "begin", "began", "start", "started", "end", "ended", "consider", "considered", "help", "helps", "change",
    "changes", "changed", "long", "large", "small", "high", "low", "big", "great", "several", "various",
    "primary", "key", "current", "recent", "specific", "possible", "certain", "around"])
"""Words that occur in questions about anything."""

_COMMON_WEIGHT = 0.35
_NAME_WEIGHT = 1.5
_PREFIX = 5
"""Stems that share this many characters and are long enough count as half the same: defend, defence."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word of a question."""

    stem: str
    weight: float
    is_name: bool
    """A proper name, a number or a code: what is asked for by it cannot be answered without it."""


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    return str(_stemmer().stemWord(word.lower().replace("’", "'").removesuffix("'s").replace(".", "")))


@lru_cache(maxsize=1)
def _stemmer() -> Stemmer.Stemmer:
    return Stemmer.Stemmer("english")


def words(text: str) -> list[str]:
    """The words of a text, identifiers also in their parts."""
    found = []
    for word in _WORD.findall(text):
        found.append(word)
        parts = _CAMEL.split(word)
        if len(parts) > 1:
            found += parts
    return found


def stems(text: str) -> set[str]:
    return {stem(word) for word in words(text)}


def terms(question: str) -> list[Term]:
    """The words of a question that carry meaning, each once."""
    found: dict[str, Term] = {}
    for match in _WORD.finditer(question):
        for word in dict.fromkeys([match.group(), *_CAMEL.split(match.group())]):
            lower = word.lower()
            if lower in FUNCTION or (len(word) == 1 and not word.isdigit()):
                continue
            first = not re.search(r"\w", question[:match.start()])
            name = any(c.isdigit() for c in word) or (word[0].isupper() and not first) or word[1:] != word[1:].lower()
            weight = _COMMON_WEIGHT if lower in COMMON and not name else _NAME_WEIGHT if name else 1.0
            key = stem(word)
            if key not in found or found[key].weight < weight:
                found[key] = Term(key, weight, name)
    return list(found.values())


def covered(term: Term, found: set[str], prefixes: set[str]) -> float:
    """How well a text holds a term: 1 as it is, 0.6 as a related word, 0 not at all."""
    if term.stem in found:
        return 1.0
    if len(term.stem) > _PREFIX and term.stem[:_PREFIX] in prefixes:
        return 0.6
    return 0.0


def prefixes(found: set[str]) -> set[str]:
    return {s[:_PREFIX] for s in found if len(s) >= _PREFIX}


def coverage(question: list[Term], found: set[str]) -> float:
    """Share of the question's weight that is among the stems `found`, 0 to 1; 1 for a question without such words."""
    total = sum(t.weight for t in question)
    if not total:
        return 1.0
    begin = prefixes(found)
    return sum(t.weight * covered(t, found, begin) for t in question) / total
