"""Conditions in a question's own words, read as filters on metadata. Pure.

    signed after March 2026          a date field and a comparison          signed >= 2026-04-01
    versions above 2.9               a text field that holds versions       version is one of 2.10, 3.0
    price of at most 500             a number field                         price <= 500
    with status approved or pending  a text field and values that it has    status is one of approved, pending

Only what names a field of the workspace's metadata is read, and only with a comparison, a colon or a `with` in front:
words that merely occur in a question never narrow it. What was read only narrows: it is added to all other filters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from schemas.events import Filter, FilterOp
from weir.access import MAX_VALUES, is_version_range
from weir.answers.terms import stem, terms
from weir.retrieval.days import PATTERN, days
from weir.versions import are_versions, between

MOST = 4
"""Conditions that are read in one question."""
NOTHING = ""
"""Value of a filter that nothing fulfils: no document has the version that is asked for."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the metadata that documents of a workspace have."""

    name: str
    dates: bool = False
    numbers: bool = False
    texts: tuple[str, ...] = ()
    """Values that are texts, as far as they are known."""


@dataclass(frozen=True, slots=True)
class Condition:
    said: str
    """As it stands in the question."""
    shown: str
    """For the reader."""
    filters: tuple[Filter, ...]
    field: str
    kept: str = ""
    """What stands in the middle of it and is no part of it: `of Reach` in `versions of Reach above 2.9`."""


@dataclass(frozen=True, slots=True)
class Read:
    rest: str
    """The question without its conditions; the question itself where nothing else is in it."""
    conditions: tuple[Condition, ...] = ()


_FROM = ("after", "later than", "newer than", "since", "from", "starting", "above", "over", "more than", "greater than",
         "higher than", "beyond", "at least", "no less than", "not less than", "no earlier than", "exceeding")
_TO = ("before", "earlier than", "older than", "prior to", "until", "till", "up to", "below", "under", "less than",
       "lower than", "at most", "no more than", "not more than", "no later than", "by the end of", "by")
_STRICT = frozenset(_FROM[:3] + _FROM[6:12] + _FROM[-1:] + _TO[:4] + _TO[7:11])
"""Comparisons whose bound itself does not count."""
_IN = ("in", "during", "on")

_NUMBER = r"-?\d[\d,]*(?:\.\d+)?"
_VERSION = r"v?\d+(?:\.\d+)*(?:-?(?:alpha|beta|rc|pre|dev)[.\d]*)?"
_WORDS = re.compile(r"[\w'’-]+", re.UNICODE)
_BRIDGE = frozenset([
    "is", "are", "was", "were", "be", "been", "being", "on", "of", "a", "an", "the", "that", "which", "with", "has",
    "have", "having", "dated", "date", "number", "value", "no", "nos"])
"""Words between a field's name and its comparison."""
_GENERIC = frozenset(["date", "dated", "on", "at", "by", "time", "day", "from", "of"])
"""Parts of a field's name that say nothing."""
_WHOSE = re.compile(r"\s(of\s+(?:the\s+)?[A-Z][\w-]*(?:\s+[A-Z0-9][\w-]*){0,2})"
                    r"\s+(?:(?:is|are|was|were|that\s+\w+)\s+)?$")
"""Whose field it is, between its name and the comparison."""
_NEGATED = re.compile(r"\b(not|never|no|without|except|\w+n['’]t)\s+(\w+\s+)?$", re.IGNORECASE)
_YES_OR_NO = re.compile(r"\s*(is|are|was|were|did|does|do|has|have|had)\b(?!\s+(there|(we|you)\s+have)\b)",
                        re.IGNORECASE)
"""Asks whether the condition holds, where the condition is how it ends."""
_PARTICIPLE = re.compile(r"\w(ed|en|t)$")


def begins_like_one(question: str) -> bool:
    """Whether it is worth knowing the fields: whatever they are, no other question holds a condition."""
    return any(pattern.search(question) for pattern in (_HINT, _DATES, _NUMBERS, _VERSIONS))


def read(question: str, fields: Sequence[Field], today: date, without: Sequence[str] = ()) -> Read:
    """The conditions of a question.

    Args:
        today: what "this year" and a month without a year are taken from.
        without: conditions that the reader took away, as they were said.
    """
    away = {" ".join(said.lower().split()) for said in without}
    whether = _YES_OR_NO.match(question) is not None
    found: list[tuple[int, int, Condition]] = []
    for start, end, condition in sorted(_all(question, fields, today), key=lambda each: (each[0], -each[1])):
        taken = any(start < other and begin < end for begin, other, _ in found)
        if whether and not question[end:].strip(" ?!."):
            continue
        if not taken and " ".join(condition.said.lower().split()) not in away and len(found) < MOST:
            found.append((start, end, condition))
    if not found:
        return Read(question)
    edges = [0, *(edge for start, end, _ in found for edge in (start, end)), len(question)]
    around = [question[a:b] for a, b in list(pairwise(edges))[::2]]
    rest = " ".join("".join(f"{text} {condition.kept} " for text, (_, _, condition) in zip(around, found, strict=False))
                    .split() + around[-1].split())
    rest = re.sub(r"\s+([?.,;])", r"\1", rest)
    kept = rest if any(term.weight >= 1 for term in terms(rest)) else question
    return Read(kept, tuple(condition for _, _, condition in found))


def with_versions(filters: Sequence[Filter], fields: Sequence[Field]) -> list[Filter]:
    """The filters with ranges of versions as the versions there are: 2.10 and 3.0 for at least 2.9."""
    known = {field.name: field.texts for field in fields}
    made = []
    for f in filters:
        if is_version_range(f):
            low, high = (str(f.values[0]), None) if f.op is FilterOp.GTE else (None, str(f.values[0]))
            found = between(known.get(f.field, ()), low, high)[-MAX_VALUES:]
            f = Filter(field=f.field, op=FilterOp.ANY, values=list(found or [NOTHING]))
        made.append(f)
    return made


def _all(question: str, fields: Sequence[Field], today: date) -> Iterator[tuple[int, int, Condition]]:
    dated = [f for f in fields if f.dates]
    numbered = [f for f in fields if f.numbers]
    versioned = [f for f in fields if are_versions(f.texts)]
    if dated:
        yield from _compared(question, dated, _DATES, lambda f, op, a, b: _date_condition(f, op, a, b, today))
    if versioned:
        yield from _compared(question, versioned, _VERSIONS, _version_condition)
    if numbered:
        yield from _compared(question, numbered, _NUMBERS, _number_condition)
    yield from _equal(question, [f for f in fields if f.texts])


Made = tuple[str, tuple[Filter, ...]]
"""What is said of a field, and the filters that hold it."""


def _compared(question: str, fields: Sequence[Field], pattern: re.Pattern[str],
              made: Callable[[Field, str, str, str], Made | None]) -> Iterator[tuple[int, int, Condition]]:
    for match in pattern.finditer(question):
        op = " ".join((match["op"] or "between").lower().split())
        before = question[:match.start()]
        whose = _WHOSE.search(before)
        named = _field_before(before[:whose.start()] if whose else before, fields, strictly=op in _IN)
        if named is None:
            continue
        start, field = named
        if (found := made(field, op, match["a"] or match["c"], match["b"] or "")) is not None:
            yield start, match.end(), Condition(question[start:match.end()], f"Only where {field.name} {found[0]}.",
                                                found[1], field.name, whose[1] if whose else "")


def _field_before(text: str, fields: Sequence[Field], *, strictly: bool) -> tuple[int, Field] | None:
    """Where the field's name begins that ends the text, and which one it is.

    Args:
        strictly: only for what was done then (`signed in 2026`), or is called a date.
    """
    words = list(_WORDS.finditer(text))[-5:]
    bridge = []
    while words and words[-1][0].lower() in _BRIDGE:
        bridge.append(words.pop()[0].lower())
    if not words or text[words[-1].end():].strip(" ") not in (*bridge, " ".join(reversed(bridge))):
        return None
    last = words[-1][0].lower()
    if strictly and not (_PARTICIPLE.search(last) or {"date", "dated"} & set(bridge)):
        return None
    best: list[tuple[int, int, Field]] = []
    for field in fields:
        parts = {stem(part) for part in _WORDS.findall(re.sub(r"[_\-.]+|(?<=[a-z])(?=[A-Z])", " ", field.name))
                 if part.lower() not in _GENERIC} or {stem(field.name)}
        if stem(last) not in parts:
            continue
        near = len(words) - 1
        while near > 0 and stem(words[near - 1][0]) in parts:
            near -= 1
        best.append((len(words) - near, -len(parts), field))
    best.sort(key=lambda each: each[:2], reverse=True)
    if not best or (len(best) > 1 and best[0][:2] == best[1][:2]):
        return None  # none, or two that it could be
    start = words[len(words) - best[0][0]].start()
    return None if _NEGATED.search(text[:start]) else (start, best[0][2])


def _date_condition(field: Field, op: str, a: str, b: str, today: date) -> Made | None:
    first = days(a, today)
    if first is None:
        return None
    low: date | None = None
    high: date | None = None
    if op == "between":
        second = days(b, today)
        if second is None or second[1] < first[0]:
            return None
        low, high = first[0], second[1]
    elif op in _IN:
        low, high = first
    elif op in _FROM:
        low = first[1] + timedelta(days=1) if op in _STRICT else first[0]
    else:
        high = first[0] - timedelta(days=1) if op in _STRICT else first[1]
    return _range(field, low, high)


def _number_condition(field: Field, op: str, a: str, b: str) -> Made | None:
    if op in _IN:
        return None
    first = float(a.replace(",", ""))
    if op == "between":
        second = float(b.replace(",", ""))
        return _range(field, first, second) if first <= second else None
    # The stores know "at least" and "at most": "more" is at least the next number that there is.
    if op in _FROM:
        made = _range(field, math.nextafter(first, math.inf) if op in _STRICT else first, None)
        return (f"is above {a}", made[1]) if op in _STRICT else made
    made = _range(field, None, math.nextafter(first, -math.inf) if op in _STRICT else first)
    return (f"is below {a}", made[1]) if op in _STRICT else made


def _version_condition(field: Field, op: str, a: str, b: str) -> Made | None:
    if op in _IN:
        return None
    exact = op not in _STRICT
    if op == "between":
        known, said = between(field.texts, a, b), f"lies between {a} and {b}"
    elif op in _FROM:
        known = between(field.texts, a, None, low_included=exact)
        said = f"is {a} or later" if exact else f"is above {a}"
    else:
        known = between(field.texts, None, a, high_included=exact)
        said = f"is {a} or earlier" if exact else f"is below {a}"
    return said, (Filter(field=field.name, op=FilterOp.ANY, values=list(known[-MAX_VALUES:] or [NOTHING])),)


def _range(field: Field, low: date | float | None, high: date | float | None) -> Made:
    filters = [Filter(field=field.name, op=op, values=[value])
               for op, value in ((FilterOp.GTE, low), (FilterOp.LTE, high)) if value is not None]
    if low is None or high is None:
        return f"is {_told(high)} or {'earlier' if isinstance(high, date) else 'less'}" if low is None else (
            f"is {_told(low)} or {'later' if isinstance(low, date) else 'more'}"), tuple(filters)
    return f"is {_told(low)}" if low == high else f"lies between {_told(low)} and {_told(high)}", tuple(filters)


def _told(value: date | float | None) -> str:
    return value.isoformat() if isinstance(value, date) else f"{value:g}"


def _equal(question: str, fields: Sequence[Field]) -> Iterator[tuple[int, int, Condition]]:
    """`with FIELD VALUE or VALUE`, `whose FIELD is VALUE`, `FIELD: VALUE`."""
    for field in fields:
        name = r"[\s_-]+".join(map(re.escape, re.split(r"[\s_-]+", field.name)))
        # Few questions name the field, and a pattern of all its values takes a millisecond to compile.
        if not re.search(name, question, re.IGNORECASE):
            continue
        texts = sorted((text for text in field.texts if text.strip()), key=len, reverse=True)
        values = "|".join(rf"[\"“']?{re.escape(text)}[\"”']?(?!\w)" for text in texts)
        if not values:
            continue
        pattern = (rf"(?:\b(?:with|whose|having|where)\s+(?:the\s+|an?\s+)?{name}s?\s+(?:is\s+|are\s+|of\s+|=\s*|:\s*)?"
                   rf"(?:either\s+|the\s+)?|\b{name}\s*[:=]\s*)"
                   rf"(?P<values>(?:{values})(?:(?:\s*,\s*(?:or\s+)?|\s+or\s+)(?:{values}))*)")
        for match in re.finditer(pattern, question, re.IGNORECASE):
            by_name = {text.lower(): text for text in field.texts}
            said = re.split(r"\s*,\s*(?:or\s+)?|\s+or\s+", match["values"].lower())
            chosen = [by_name[value.strip("\"“”'")] for value in said if value.strip("\"“”'") in by_name]
            if len(chosen) != len(said) or _NEGATED.search(question[:match.start()]):
                continue
            shown = f"is {chosen[0]}" if len(chosen) == 1 else f"is one of {', '.join(chosen)}"
            yield match.start(), match.end(), Condition(
                match[0], f"Only where {field.name} {shown}.",
                (Filter(field=field.name, op=FilterOp.ANY, values=list(chosen)),), field.name)


def _comparison(value: str) -> re.Pattern[str]:
    ops = "|".join(re.escape(op).replace(r"\ ", r"\s+") for op in sorted((*_FROM, *_TO, *_IN), key=len, reverse=True))
    return re.compile(rf"\b(?:between\s+(?P<c>{value})\s+and\s+(?P<b>{value})"
                      rf"|(?P<op>{ops})\s+(?:the\s+)?(?P<a>{value}))"
                      r"(?![\w%])(?!\.\d)", re.IGNORECASE)


_DATES, _NUMBERS, _VERSIONS = _comparison(PATTERN), _comparison(_NUMBER), _comparison(_VERSION)
_HINT = re.compile(r"\b(?:with|whose|having|where)\s+\w|\w\s*[:=]\s*[\w\"“']", re.IGNORECASE)
