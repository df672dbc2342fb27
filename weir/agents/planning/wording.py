"""What plainly worded jobs say: which documents, which fields, which questions, which address.

English only, and few words of it: what these patterns do not cover is not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

NUMBERS = {"two": 2, "both": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
           "ten": 10}
MOST_DOCUMENTS = 20
ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*")
DOCUMENTS = (r"contracts?|agreements?|documents?|policies|policy|reports?|invoices?|offers?|quotes?|proposals?|"
             r"releases?|files?|papers?|letters?|memos?|minutes|handbooks?|manuals?|sheets?|lists?|incidents?")
_OUTCOME = r"(?:it|them|this|that|the\s+(?:table|report|result|results|summary|comparison|outcome|answers?))"
_JOIN = r"[,;.]?\s*(?:\band\b|\bthen\b|\band then\b)?\s*"
_END = r"(?=\s*[.;!?]?\s*$|[.;!?]\s)"
MAIL = re.compile(
    rf"{_JOIN}\b(?:e-?mail|mail|send)\b\s+{_OUTCOME}?\s*(?:by\s+e?-?mail\s+)?\bto\b\s+(?P<to>[^;]+?){_END}|"
    rf"{_JOIN}\b(?:e-?mail|mail|send)\b\s+(?P<whom>(?!to\b)[\w@.+-]+(?:\s+(?:team|department|and\s+[\w@.+-]+))?)\s+"
    rf"{_OUTCOME}{_END}", re.IGNORECASE)
_TABLE = r"(?:table|comparison|report|spreadsheet|csv|overview)"
_INTO = re.compile(
    rf"[,;]?\s*\b(?:in|into|as|to)\s+(?:a|one|an)\s+(?:\w+\s+)?{_TABLE}\b(?:\s+of\b)?|"
    rf"[,;]?\s*(?:\band\s+)?\b(?:make|create|build|prepare|draw up)\s+(?:it\s+|them\s+)?(?:a|one)\s+(?:\w+\s+)?"
    rf"{_TABLE}\b(?!\s+of)", re.IGNORECASE)
_FIELDS = re.compile(r"\b(?:on|by|for|regarding|with regard to|with respect to|according to|in terms of)\s+"
                     r"(?:their\s+|its\s+|the\s+)?(?:following\s+fields?:?\s+|fields?:?\s+)?(?P<fields>[^.;]+)",
                     re.IGNORECASE)
_LEAD = re.compile(r"^(?:please\s+)?(?:(?:can|could|would|will)\s+you\s+)?(?:i\s+(?:need|want|would like)\s+"
                   r"(?:you\s+to\s+)?)?(?:please\s+)?", re.IGNORECASE)
_COUNT = re.compile(rf"^(?:all\s+)?(?:these|the|our|my|those)?\s*(?:(?P<count>\d{{1,2}}|{'|'.join(NUMBERS)})\b)?\s*"
                    rf"(?:of\s+(?:the|our|these)\s+)?(?P<noun>(?:[\w-]+\s+){{0,4}}?(?:{DOCUMENTS}))\b"
                    rf"(?P<rest>.*)$", re.IGNORECASE | re.DOTALL)
_KIND = re.compile(rf"^(?:the\s+|our\s+)?(?:\w+\s+)?(?:{DOCUMENTS})\s+(?:(?:with|of|from|by|for)\s+|"
                   r"(?<=s\s)(?=[A-Z0-9\"“]))")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Documents that a job is about: by name, or so many of a kind."""

    names: tuple[str, ...] = ()
    kind: str = ""
    count: int = 0
    """0: as many as there are."""


@dataclass(frozen=True, slots=True)
class Mail:
    """Where the outcome is to be sent."""

    to: str
    """As it was said."""


def without_lead(goal: str) -> str:
    """A goal without what is polite about it."""
    return _LEAD.sub("", " ".join(goal.split())).strip()


def split_mail(goal: str) -> tuple[str, Mail | None]:
    """The goal without its wish for a mail, and that wish."""
    found = MAIL.search(goal)
    if found is None:
        return goal, None
    return (goal[:found.start()] + goal[found.end():]).strip(" ,;"), Mail((found["to"] or found["whom"]).strip(" ."))


def addresses(said: str, book: Mapping[str, str]) -> list[str]:
    """The addresses that are meant: written out, or roles of the address book; empty where one of them is unknown."""
    written = ADDRESS.findall(said)
    if written:
        return list(dict.fromkeys(written))
    found: list[str] = []
    for role in re.split(r",|\band\b", said):
        name = re.sub(r"^(the|our)\s+|\s+(team|department|group)$", "", role.strip().lower())
        if name and name not in book:
            return []
        found += [book[name]] if name else []
    return list(dict.fromkeys(found))


def listed(text: str) -> list[str]:
    """The items of "a, b and c"."""
    items = re.split(r"\s*,\s*(?:and\s+|or\s+)?|\s+and\s+|\s*;\s*|\s*\n\s*", text.strip(" .:?!"))
    cleaned = [re.sub(r"^(?:the|their|its|on|by|in)\s+", "", item.strip(" .\"'“”"), flags=re.IGNORECASE)
               for item in items]
    return [item for item in dict.fromkeys(cleaned) if item]


def fields_of(text: str) -> tuple[str, list[str]]:
    """What is compared, and on which fields; without any where none are named."""
    plain = _INTO.sub(" ", text).strip()
    found = None
    for found in _FIELDS.finditer(plain):  # noqa: B007 (the last one: "contracts for sensors on price")
        pass
    if found is None:
        return " ".join(plain.split()), []
    return " ".join(plain[:found.start()].split()), [f for f in listed(found["fields"]) if len(f) <= 100]


def documents_of(text: str) -> Wanted | None:
    """Which documents are meant; None where the words do not say."""
    text = text.strip(" ,.")
    found = _COUNT.match(text)
    if found is not None and not _named(text):
        count = (found["count"] or "").lower()
        kind = " ".join((found["noun"] + " " + found["rest"]).split()).strip(" ,")
        return Wanted(kind=kind, count=NUMBERS.get(count) or int(count or 0))
    text = _KIND.sub("", text) if _named(text) else text
    names = listed(text)
    names = [re.sub(r"^(?:against|with|to)\s+", "", n) for n in names]
    if len(names) == 1:
        names = [n for n in re.split(r"\s+(?:with|against|to|versus|vs\.?)\s+", names[0]) if n]
    return Wanted(names=tuple(names)) if 2 <= len(names) <= MOST_DOCUMENTS else None


def _named(text: str) -> bool:
    """Whether a text lists things rather than naming one kind."""
    return len(listed(text)) > 1


def questions_of(goal: str) -> list[str]:
    """The questions of a goal, in their order."""
    marked = re.findall(r"[^?\n]*\?", goal)
    found: list[str] = []
    for question in marked:
        text = re.sub(r"^.*?:\s+(?=\S)|^", "", question.strip(), count=1) if not found else question.strip()
        text = re.sub(r"^(?:\(?\d{1,2}[.)]|[-*•])\s*", "", text).strip()
        text = re.sub(r"^(?:and|then)\s+", "", text, flags=re.IGNORECASE)
        if len(text) > 3:
            found.append(text)
    return list(dict.fromkeys(found))
