"""The planner named `rules`: a handful of plainly worded jobs, without a language model.

It plans one step at a time from the transcript, so that it needs no memory, and says so when it does not understand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from schemas.events import AgentEvent, TaskRequested
from weir.agents.planning.comparing import Compare
from weir.agents.planning.plan import Plan, Situation
from weir.agents.planning.progress import Progress, give_up
from weir.agents.planning.quoting import Report, Summarise
from weir.agents.planning.transcript import transcript
from weir.agents.planning.wording import (
    ADDRESS,
    DOCUMENTS,
    documents_of,
    fields_of,
    listed,
    questions_of,
    split_mail,
    without_lead,
)

NAME = "rules"
MOST_QUESTIONS = 20
CAN_DO = """I do not understand this. Without a language model I can do these, worded plainly:
- “Find what the documents say about parental leave and summarise it.”
- “Compare the three supplier contracts on price, term and notice in a table.”
- the same, and “email it to purchasing@example.com”, or to a role of the address book
- “Answer these questions in a report: How long is the notice? Who signs?”"""

_FOUND = re.compile(r"^find\s+(?P<documents>.+?)[,;.]?\s*(?:\band\b|\bthen\b|\band then\b)?\s*\bcompare\s+"
                    r"(?:them|these|those)\b(?P<rest>.*)$", re.IGNORECASE)
_COMPARE = re.compile(r"^.*?\bcompare\b\s*(?P<what>.+)$", re.IGNORECASE)
_TABLE = re.compile(
    r"^(?:(?:make|create|build|prepare|draw up|give me|write|show me|produce)\s+)?(?:me\s+)?(?:a|one)\s+(?:\w+\s+)?"
    r"(?:table|comparison|overview|spreadsheet)\s+(?:of|with|that shows|showing|comparing)\s+(?:the\s+)?"
    r"(?P<fields>.+?)\s+(?:of|for|from|in|across)\s+(?P<documents>.+)$", re.IGNORECASE)
_EXTRACT = re.compile(
    r"^extract\s+(?:the\s+)?(?P<fields>.+?)\s+(?:of|for|from|in)\s+(?P<documents>.+)$", re.IGNORECASE)
_OF = re.compile(rf"^(?:the\s+)?(?P<fields>.+?)\s+(?:of|for|from|in|across)\s+"
                 rf"(?P<documents>(?:\w+\s+){{1,5}}(?:{DOCUMENTS}))$", re.IGNORECASE)
_SUMMARISE = re.compile(
    r"^(?:find|search|look up|collect|gather)\b(?:\s+for)?\s+(?P<found>.+?)[,;.]?\s*"
    r"(?:\band\b|\bthen\b|\band then\b)?\s*\bsummari[sz]e\b.*$|"
    r"^(?:summari[sz]e|(?:write|make|give me|prepare)\s+a\s+summary\s+of)\s+(?P<topic>.+)$|"
    r"^find(?:\s+out)?\s+(?P<find>.+)$", re.IGNORECASE)
_ABOUT = re.compile(
    r"^(?:all\s+|everything\s+|anything\s+)?(?:(?:that|what|which)\s+)?(?:the\s+|our\s+|all\s+)*"
    r"(?:documents?|passages?|policies|contracts?|information|material|texts?|there is|is known|we have)?\s*"
    r"(?:say|says|tell us|written|there is|we have)?\s*(?:about|on|regarding|concerning)\s+", re.IGNORECASE)
_ASKS = re.compile(r"^(?:who|whom|whose|what|which|when|where|why|how|is|are|was|were|do|does|did|may|must|has|have)\b",
                   re.IGNORECASE)
_WORK = re.compile(r"\b(?:(?:delete|remove|update|send|e-?mail|mail|forward|post|book|order|sign|cancel|approve|tell|"
                   r"translate|write)\s+(?:it|them|this|that|the|a|an|me|us|to|\w+\s+(?:it|the))\b|and then\b)",
                   re.IGNORECASE)

Job = Compare | Summarise | Report


def plan(request: TaskRequested, events: Sequence[AgentEvent], book: Mapping[str, str]) -> Plan:
    """What a task does next.

    Args:
        events: what the prompt would be made of, oldest first.
        book: addresses by role.
    """
    job = understood(request.goal)
    if job is None:
        return give_up(CAN_DO)
    missing = [tool for tool in job.needs if tool not in {policy.name for policy in request.tools}]
    if missing:
        return give_up(f"This needs {' and '.join(missing)}, which the task may not use: ask whoever runs Weir to "
                       "offer it.")
    return job.next(Progress(transcript(request, events), book))


def understood(goal: str) -> Job | None:
    """The job that a goal words; None where it is none of the handful."""
    questions = questions_of(goal)
    text, mail = split_mail(without_lead(goal))
    if 2 <= len(questions) <= MOST_QUESTIONS:
        return Report(tuple(questions), mail)
    if (found := _FOUND.match(text)) is not None:
        text = f"compare {found['documents']} {found['rest']}"
    for pattern in (_TABLE, _EXTRACT):
        if (found := pattern.match(text)) is not None:
            _, fields = fields_of(f"documents on {found['fields']}")
            documents, _ = fields_of(found["documents"])
            wanted = documents_of(documents)
            if wanted is not None and fields and not any(map(_more, fields)):
                return Compare(wanted, tuple(fields), mail)
    if (found := _COMPARE.match(text)) is not None:
        documents, fields = fields_of(found["what"])
        if not fields and (split := _OF.match(documents)) is not None:
            documents, fields = split["documents"], listed(split["fields"])
        wanted = documents_of(documents)
        return None if wanted is None or any(map(_more, fields)) else Compare(wanted, tuple(fields), mail)
    if (found := _SUMMARISE.match(text)) is not None:
        topic = (found["found"] or found["topic"] or found["find"]).strip(" .,;")
        topic = _ABOUT.sub("", topic).strip() or topic
        return Summarise(topic, mail) if topic and not _more(topic) else None
    if len(questions) == 1 and _ASKS.match(text) and not _more(text):
        return Report(tuple(questions), mail)
    return None


def _more(text: str) -> bool:
    """Whether words hold more work than these rules can do: better to understand nothing than a half."""
    return bool(ADDRESS.search(text) or _WORK.search(text))


class Rules:
    """The rule planner as a `Planner`."""

    def __init__(self, book: Mapping[str, str]) -> None:
        self._book = book

    async def plan(self, situation: Situation) -> Plan:
        return plan(situation.request, situation.events, self._book)

    async def close(self) -> None:
        """There is nothing to give back."""
