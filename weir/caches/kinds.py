"""Which questions may be answered again with an earlier answer: of an allowed kind, and without what makes one's own.

A kind is what a question begins with. A number, a date or a name makes a question somebody's own: another one like it
differs in nothing else, so such a question is never answered again, whatever the workspace allows. The rules are for
English; a question in another language has no kind and is always answered anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from weir.answers.terms import FUNCTION, stem, terms

KINDS: dict[str, str] = {
    "how": r"how (?:do|does|did|can|could|should|must|may|might|to|is|are|would|will)\b",
    "how-much": r"how (?:many|much|long|often|far|old|large|big|high|soon|fast)\b",
    "what": r"what(?:'s|’s)?\b",
    "which": r"which\b",
    "who": r"(?:who(?:'s|’s)?|whom|whose)\b",
    "where": r"where(?:'s|’s)?\b",
    "when": r"when\b",
    "why": r"why\b",
    "whether": r"(?:is|are|was|were|do|does|did|can|could|may|might|must|should|shall|will|would|has|have|had|am)\b",
    "request": r"(?:please )?(?:explain|describe|tell|show|list|give|define|summari[sz]e|name)\b",
}
"""Kind to what its questions begin with, in small letters."""
_KINDS = {kind: re.compile(rf"\s*{begins}", re.IGNORECASE) for kind, begins in KINDS.items()}

NUMBER, DATE, NAME, NO_KIND = "number", "date", "name", "kind"
"""Why a question is not answered again."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NUMBERS = _set(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds thousand thousands "
    "million millions billion billions dozen half twice once third fourth fifth tenth quarter double triple")
_DATES = _set(
    "january february march april june july august september october november december jan feb apr jun jul aug sep "
    "sept oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri today tonight "
    "tomorrow yesterday now nowadays currently current latest newest recent recently ago christmas easter "
    "midnight noon")
_PERIOD = re.compile(
    r"\b(?:this|next|last|past|previous|coming|following|same) (?:hour|day|week|weekend|month|year|season|term|"
    r"quarter|spring|summer|autumn|fall|winter|morning|evening|night)s?\b|\b(?:in|of|by|until|till|since|before|after|"
    r"from|during) may\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_CODE = re.compile(r"[\"“”„«»@#_/\\{}<>=$€£%]|\w\.\w")
"""What stands in identifiers, addresses and quotations."""
_SENTENCE = re.compile(r"(?:^|[.!?:;\n•|>*#\-–—(\"“„])\s*$")

TURNING = _set(
    "not no never none nor without except unless only before after more most less least above below over under first "
    "last all any every either neither both instead again still yet until since minimum maximum")
"""Words that carry no subject of their own and turn a question round."""


def kind_of(question: str) -> str | None:
    """What kind of question it is; None for one that begins in no way that is known."""
    return next((kind for kind, begins in _KINDS.items() if begins.match(question)), None)


def unfit(question: str, kinds: Iterable[str]) -> str | None:
    """Why the question may not be answered again; None where it may.

    Args:
        kinds: those that its workspace allows.
    """
    if any(c.isnumeric() for c in question):
        return NUMBER
    words = _WORD.findall(question)
    lower = {word.lower() for word in words}
    if lower & _NUMBERS:
        return NUMBER
    if lower & _DATES or _PERIOD.search(question):
        return DATE
    # Without capitals nobody can see a name.
    uncased = any(c.isalpha() and c.lower() == c.upper() for c in question)
    if uncased or _CODE.search(question) or any(_is_name(word) for word in words[1:]):
        return NAME
    return None if kind_of(question) in set(kinds) else NO_KIND


def _is_name(word: str) -> bool:
    return word != word.lower() and re.split("['’]", word.lower())[0] not in FUNCTION


def names(question: str, texts: Iterable[str]) -> set[str]:
    """Words of the question, as stems, that these texts write with a capital only: names in small letters."""
    small, large = written(texts)
    return {term.stem for term in terms(question)} & (large - small)


def written(texts: Iterable[str]) -> tuple[set[str], set[str]]:
    """The stems that stand in texts in small letters, and those with a capital where no sentence begins."""
    small, large = set[str](), set[str]()
    for text in texts:
        for match in _WORD.finditer(text):
            word = match.group()
            if word == word.lower():
                small.add(stem(word))
            elif not _SENTENCE.search(text[max(0, match.start() - 8):match.start()]):
                large.add(stem(word))
    return small, large


def turned(question: str) -> set[str]:
    """The words of a question that turn it round."""
    found = {word.lower().replace("’", "'") for word in _WORD.findall(question)}
    return {"not" if word.endswith("n't") or word == "cannot" else word for word in found
            if word in TURNING or word.endswith("n't") or word == "cannot"}


def plain(question: str) -> str:
    """The question without what makes no difference: capitals, spaces, marks at its end."""
    return re.sub(r"\s+", " ", question).strip().rstrip("?.! ").casefold()
