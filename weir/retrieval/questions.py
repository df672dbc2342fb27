"""What a question is like: its parts, other spellings of its words, how hard it is. By rule; a hosted model may read it
instead (weir/models/reading.py). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from weir.answers.followups import standalone
from weir.answers.terms import terms, words
from weir.models.protocol import NOTHING, Usage
from weir.retrieval.recipe import MOST_ROWS, Recipe

MOST_PARTS = 4
MOST_SPELLINGS = 12
MOST_DEPTH = 10_000

_ASKS = (r"(?:what|which|who|whom|whose|when|where|why|how|is|are|was|were|do|does|did|can|could|should|would|will|may|"
         r"must|has|have)")
_SPLIT = re.compile(rf"\?\s+(?=\S)|[,;]?\s+(?:and|also|as well as)\s+(?={_ASKS}\b)|[,;]\s+(?={_ASKS}\b)", re.IGNORECASE)
_BEGINS = re.compile(rf"\s*(?:and\s+|also\s+)?(?:(?:in|on|at|for|from|by|to|of|with)\s+)?{_ASKS}\b", re.IGNORECASE)
_HARD = re.compile(r"\b(compare|comparison|differ\w*|versus|vs|why|every|each|all|list|overview|summar\w+|between|"
                   r"across|relat\w+|both)\b", re.IGNORECASE)

_SMALL = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
          "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty")
_NUMBERS = {**{str(n): word for n, word in enumerate(_SMALL)}, "30": "thirty", "40": "forty", "50": "fifty",
            "60": "sixty", "70": "seventy", "80": "eighty", "90": "ninety", "100": "hundred"}
_SAME = {
    "admin": "administrator", "app": "application", "auth": "authentication", "config": "configuration",
    "docs": "documentation", "hr": "human resources", "info": "information", "max": "maximum", "min": "minimum",
    "nda": "non-disclosure agreement", "org": "organization", "pto": "paid time off", "repo": "repository",
    "sla": "service level agreement", "specs": "specifications", "vat": "value added tax", "wfh": "work from home"}
_BY_WORD = {**_NUMBERS, **{v: k for k, v in _NUMBERS.items()}, **_SAME,
            **{v: k for k, v in _SAME.items() if " " not in v}}
_ENDINGS = [(re.compile(pattern), other) for pattern, other in (
    (r"isation(s?)$", r"ization\1"), (r"ization(s?)$", r"isation\1"), (r"is(e[ds]?|ing)$", r"iz\1"),
    (r"iz(e[ds]?|ing)$", r"is\1"), (r"our(s?|ed|ing|ite)$", r"or\1"), (r"tre(s?)$", r"ter\1"), (r"ogue(s?)$", r"og\1"),
    (r"ence(s?)$", r"ense\1"), (r"ense(s?)$", r"ence\1"), (r"ll(ed|ing|er)$", r"l\1"))]
_LONG = 6
"""Shorter words end like this by chance."""


class Difficulty(StrEnum):
    PLAIN = "plain"
    USUAL = "usual"
    HARD = "hard"


@dataclass(frozen=True, slots=True)
class Reading:
    """A question as a hosted model read it. What of it is used is for the recipe to say."""

    by: str
    """Model and prompt."""
    standalone: str
    """The question with what a follow-up leaves out."""
    parts: Sequence[str]
    """The questions that it is made of; one as a rule."""
    also: str
    """Other words for the same."""
    difficulty: Difficulty
    unclear: str = ""
    """What to ask back; empty where the question is clear."""
    choices: Sequence[str] = ()
    usage: Usage = NOTHING
    """What reading it cost."""


def parts(question: str) -> list[str]:
    """The questions that one is made of, each standing by itself; only itself where it is one."""
    edges = [0, *(edge for match in _SPLIT.finditer(question) for edge in match.span()), len(question)]
    pieces = [question[a:b].strip(" ?,;") for a, b in zip(edges[::2], edges[1::2], strict=True)]
    pieces = [piece for piece in pieces if piece]
    if not 1 < len(pieces) <= MOST_PARTS or not all(_BEGINS.match(piece) for piece in pieces):
        return [question]
    whole, before = [], ""
    for piece in pieces:
        before = standalone(f"{piece}?", before)
        whole.append(before)
    return whole if all(any(term.weight >= 1 for term in terms(piece)) for piece in whole) else [question]


def other_spellings(question: str) -> str:
    """Words that say the same as some of the question's: numbers as digits and words, British and American endings,
    usual abbreviations, words with and without a hyphen."""
    there = {word.lower() for word in words(question)}
    found: dict[str, None] = {}
    for word in re.findall(r"[\w'-]+", question):
        lower = word.lower()
        if other := _BY_WORD.get(lower):
            found[other] = None
        if "-" in lower.strip("-"):
            found[lower.replace("-", "")] = None
        for pattern, ending in _ENDINGS if len(lower) >= _LONG else ():
            if (other := pattern.sub(ending, lower)) != lower:
                found[other] = None
    return " ".join([other for other in found if other not in there][:MOST_SPELLINGS])


def difficulty(question: str) -> Difficulty:
    """How far one has to look for the answer."""
    meant = [term for term in terms(question) if term.weight >= 1]
    if len(meant) >= 9 or _HARD.search(question):
        return Difficulty.HARD
    return Difficulty.PLAIN if len(meant) <= 3 and any(term.is_name for term in meant) else Difficulty.USUAL


def deep_enough(needed: Difficulty, recipe: Recipe) -> Recipe:
    """The recipe with the depth that a question needs."""
    factor = {Difficulty.PLAIN: 0.5, Difficulty.USUAL: 1.0, Difficulty.HARD: 2.0}[needed]
    return replace(recipe, depth=min(MOST_DEPTH, max(1, round(recipe.depth * factor))),
                   windows=min(MOST_ROWS, max(1, round(recipe.windows * factor))))
