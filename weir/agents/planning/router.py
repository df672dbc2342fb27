"""Whether a text is a question, which the answer path takes, or a task, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from weir.agents.planning.wording import ADDRESS, questions_of, without_lead

_DOING = {
    "sends something": r"\b(?:e-?mail|mail|send|forward|notify|post|submit|reply to)\b(?!\s+(?:address|server|policy))",
    "makes something": r"\b(?:make|create|build|prepare|draw up|write|draft|produce|generate|give|need|want)\b\s+"
                       r"(?:me\s+|us\s+)?(?:a|an|one|the)\s+(?:\w+\s+){0,2}(?:table|report|summary|overview|comparison|list|letter|"
                       r"e-?mail|spreadsheet|csv|document|draft)\b",
    "compares documents": r"\bcompare\b|\bcomparison of\b|\bput\b.*\binto a table\b",
    "works through documents": r"\b(?:extract|summari[sz]e|collect|gather|go through|fill in)\b",
    "changes something": r"\b(?:update|delete|remove|cancel|order|book|schedule|register|rename|approve)\b",
}
_ASKING = re.compile(r"^(?:who|whom|whose|what|which|when|where|why|how|is|are|was|were|do|does|did|can|could|may|must|"
                     r"should|will|would|has|have|had|am)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a text goes."""

    kind: Literal["question", "task"]
    why: str
    """For the person who typed it."""


def route(text: str) -> Route:
    """Decides by the words alone; whoever typed it may choose otherwise."""
    plain = f"{text}\n{without_lead(text)}"
    questions = questions_of(text)
    if len(questions) >= 2:
        return Route("task", f"these are {len(questions)} questions: a task answers them one by one in a report")
    asking = bool(_ASKING.match(" ".join(text.split())))
    if ADDRESS.search(text) and re.search(_DOING["sends something"], plain, re.IGNORECASE):
        return Route("task", "it sends something")
    if not (asking and not _polite(text)):
        for why, pattern in _DOING.items():
            if re.search(pattern, plain, re.IGNORECASE):
                return Route("task", f"it {why}, which takes more than an answer")
    if asking or questions:
        return Route("question", "it asks one thing, which an answer from the documents settles")
    return Route("question", "it names no work to be done, so that the documents are asked for an answer")


def _polite(text: str) -> bool:
    """Whether something is asked for rather than asked: "can you send ..."."""
    return bool(re.match(r"^\s*(?:can|could|would|will)\s+you\b", text, re.IGNORECASE))
