"""Which words of some passages say what a field is. Pure: texts in, a quote out.

    "notice period"  +  "... with a notice period of 90 days to the end of a month."  ->  value "90 days"
                     +  "| Notice period | 90 days |"                                 ->  value "90 days"

A row or a line `name: value` whose name is the field wins; among sentences the one that covers the field's words best,
itself, in its heading or in what leads to it, and that holds a value of the kind the field asks for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from schemas.events import Source
from weir.answers.sentences import Sentence, sentences
from weir.answers.terms import Term, coverage, stem, stems, terms

LEAST = 0.5
"""Share of the field's words that a sentence and its headings must have."""
LONGEST = 300
"""Characters of a value that no pattern cuts out: a sentence."""

_NUMBER = (r"(?:\d[\d,.]*\d|\d|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fourteen|thirty|sixty|"
           r"ninety)")
_MONTH = (r"(?:January|February|March|April|May|June|July|August|September|October|November|December|Jan|Feb|Mar|Apr|"
          r"Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.?")
PATTERNS = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in {
    "money": r"(?:[€£$¥]\s?\d[\d,.]*\d?(?:\s?(?:million|billion|k|m|bn))?|\b(?:EUR|GBP|USD|CHF)\s?\d[\d,.]*\d?"
             r"|\b\d[\d,.]*\d?\s?(?:EUR|GBP|USD|CHF|euros?|pounds?|dollars?)\b)"
             r"(?:(?:,? (?:per|a|an|each|in total)\b)(?: (?:contract|active|calendar|further))?[ \w-]{0,24}?(?=[,.;|)]|"
             r" (?:and|including|delivered|plus|over|up|from)\b|$))?",
    "duration": rf"\b{_NUMBER}(?:\s?(?:-|to)\s?{_NUMBER})?[ -](?:working |business |calendar )?"
                r"(?:seconds?|minutes?|hours?|days?|weeks?|months?|quarters?|years?)\b",
    "date": rf"\b\d{{1,2}}(?:st|nd|rd|th)? {_MONTH} \d{{4}}\b|\b{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}\b"
            rf"|\b\d{{4}}-\d{{2}}-\d{{2}}\b|\b\d{{1,2}}[./]\d{{1,2}}[./]\d{{4}}\b|\b{_MONTH} \d{{4}}\b",
    "share": r"\b\d[\d,.]*\d?\s?(?:%|per ?cent\b)",
    "law": r"(?<=law of )(?:the )?[A-Z]\w+(?:(?: and| of| the)* [A-Z]\w+)*|(?<=laws of )(?:the )?[A-Z]\w+"
           r"(?:(?: and| of| the)* [A-Z]\w+)*",
    "quantity": rf"\b{_NUMBER} (?!per ?cent)(?:active |finished )?[a-z][\w-]*"
                r"(?: (?:a|per|in each|each) [\w ]{3,20})?",
    "code": r"\b(?=[\w-]*\d)[A-Z]{1,4}[A-Z\d]*(?:-[A-Z\d]+)+\b",
}.items()}
_LAW = re.compile(PATTERNS["law"].pattern)
KINDS: dict[str, tuple[str, ...]] = {
    "money": ("price", "cost", "fee", "cap", "amount", "liability", "value", "salary", "budget", "charge", "tooling",
              "revenue", "turnover", "deposit", "penalty"),
    "duration": ("period", "term", "duration", "notice", "lead", "payment", "warranty", "delay", "retention",
                 "lifetime", "time", "deadline", "due"),
    "date": ("date", "signed", "start", "effective", "expiry", "expires", "published", "valid", "force", "day"),
    "share": ("interest", "discount", "percentage", "percent", "availability", "rate", "share", "rise", "credit"),
    "law": ("law", "jurisdiction"),
    "quantity": ("quantity", "minimum", "volume", "count", "pieces"),
    "code": ("number", "reference", "id", "identifier", "code"),
}
"""Words of a field that say what kind of value it has; the first kinds of a field count most."""
_KIND_OF = {stem(word): kind for kind, words in KINDS.items() for word in words}
_GENERIC = frozenset(map(stem, ("terms", "conditions", "details", "clause", "information", "provision")))
"""Words of a field that say little about what is looked for."""
_ROW = re.compile(r"^\s*([^:;|]{1,60}):\s+([^;|]+?);\s+([^:;|]{1,60}):\s+(\S.*)$")
"""A row of a table of two columns as documents are cut: `Term: Price; Agreed: £38.40 per housing`."""
_PAIR = re.compile(r"^\s*(?:[-*•]\s+)?(?:\*\*)?(?P<name>[^:|\n]{1,60}?)(?:\*\*)?\s*:\s*(?:\*\*)?(?P<value>\S.*)$")


@dataclass(frozen=True, slots=True)
class Found:
    """What a field is, word for word."""

    value: str
    quote: str
    """The sentence or the row that says it."""
    section: int
    heading_path: list[str]
    score: float


def find(field: str, sources: Sequence[Source]) -> Found | None:
    """The best quote for a field; None where none of the passages seems to say it.

    Args:
        sources: passages, best first.
    """
    asked = terms(field) or [Term(stem(field), 1.0, False)]
    if len(asked) > 1:
        asked = [replace(term, weight=0.2) if term.stem in _GENERIC else term for term in asked]
    found = [one for rank, source in enumerate(sources) for one in _in_passage(field, asked, source, rank)]
    return max(found, key=lambda one: one.score, default=None)


def _in_passage(field: str, asked: list[Term], source: Source, rank: int) -> Iterator[Found]:
    wanted = _kinds(field)
    heading = stems(source.heading_path[-1]) if source.heading_path else set()
    found = sentences(source.text)
    columns = Counter((row[1], row[3]) for sentence in found if (row := _ROW.match(sentence.text)))
    for sentence in found:
        nearness = 0.2 / (1 + rank)
        pairs = _pairs(sentence, columns)
        # A table's own heads ("Term: Agreed") are not of the kind that the field asks for.
        exact = [(share + 0.5 * _fits(value, wanted), value) for name, value in pairs if (share := _same(asked, name))]
        if exact:
            share, value = max(exact)
            yield Found(value, sentence.text, source.section, source.heading_path, 2.0 + share + nearness)
        if exact or not sentence.prose or _ROW.match(sentence.text):
            continue
        own, lead = stems(sentence.text), stems(sentence.lead)
        share = coverage(asked, own | lead | heading)
        if share < LEAST:
            continue
        value, fits = _value(sentence.text, wanted, asked)
        score = share + 0.5 * coverage(asked, own) + 0.2 * coverage(asked, heading) + 0.5 * fits + nearness
        yield Found(value, sentence.text, source.section, source.heading_path, score)


def _kinds(field: str) -> list[str]:
    """The kinds of value that a field may have, the last word's first: a notice *period* is a duration."""
    named = [_KIND_OF[s] for s in (stem(word) for word in reversed(re.findall(r"\w+", field))) if s in _KIND_OF]
    return list(dict.fromkeys(named))


def _pairs(sentence: Sentence, columns: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    """Names and values of a row of two cells, or of a line `name: value`.

    Args:
        columns: how often each pair of names stands in the passage; those of a table come with every row.
    """
    cells = [cell.strip() for cell in sentence.text.strip().strip("|").split("|")]
    if len(cells) == 2 and all(cells):
        return [(cells[0], cells[1])]
    if row := _ROW.match(sentence.text):
        if columns[row[1], row[3]] > 1:
            return [(row[2].strip(), row[4].strip())]
        return [(row[1].strip(), row[2].strip()), (row[3].strip(), row[4].strip())]
    match = _PAIR.match(sentence.text)
    return [(match["name"].strip(), match["value"].strip())] if match and "\n" not in sentence.text else []


def _same(asked: list[Term], name: str) -> float:
    """Whether a name is the field: above zero where each has the other's words."""
    if len(name.split()) > len(asked) + 1:
        return 0.0
    words = stems(name)
    both = coverage(asked, words)
    back = coverage(terms(name) or asked, {term.stem for term in asked})
    return both * back if both >= 0.8 and back >= 0.5 else 0.0


def _fits(value: str, wanted: list[str]) -> bool:
    """Whether a value is of a wanted kind, or any will do."""
    return not wanted or any(_pattern(kind).search(value) for kind in wanted)


def _pattern(kind: str) -> re.Pattern[str]:
    return _LAW if kind == "law" else PATTERNS[kind]


def _value(text: str, wanted: list[str], asked: list[Term]) -> tuple[str, float]:
    """The part of a sentence that is the value, and how sure its kind is, 0 to 1."""
    at = _place(text, asked)
    for order, kind in enumerate(wanted):
        matches = list(_pattern(kind).finditer(text))
        if matches:
            # What follows the field's words is meant rather than what stands before them.
            best = min(matches, key=lambda m: (m.start() < at, abs(m.start() - at)))
            return best.group().strip(" ,.;"), 1.0 - 0.3 * order
    return text.strip()[:LONGEST], 0.0 if wanted else 0.5


def _place(text: str, asked: list[Term]) -> int:
    """Where the first of the field's words stands; 0 where none does."""
    wanted = {term.stem for term in asked}
    return next((match.start() for match in re.finditer(r"\w+", text) if stem(match.group()) in wanted), 0)
