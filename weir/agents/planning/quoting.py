"""The jobs "find and summarise" and "answer these questions": search, quote, make a report, send it if asked.

A rule planner writes no prose of its own: a summary is the sentences that say most, word for word, with their places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from schemas.events import Source
from weir.agents.planning.plan import Plan
from weir.agents.planning.progress import Progress, calls, delivered, done, give_up, receivers
from weir.agents.planning.transcript import Tried
from weir.agents.planning.wording import Mail
from weir.answers.terms import stems
from weir.models.evidence import confidence, gather, scores

PASSAGES = 8
QUOTED = 6
"""Sentences of a summary."""
OF_ONE = 3
"""Sentences of a summary from one document."""
NOT_FOUND = "The documents that you may read do not seem to hold the answer."


@dataclass(frozen=True, slots=True)
class Quoted:
    text: str
    place: str


@dataclass(frozen=True, slots=True)
class Summarise:
    """What there is about a topic."""

    topic: str
    mail: Mail | None

    @property
    def needs(self) -> tuple[str, ...]:
        return ("search_documents", *(("send_email",) if self.mail else ()))

    def next(self, progress: Progress) -> Plan:
        to = receivers(progress, self.mail)
        if isinstance(to, Plan):
            return to
        searched = _searched(progress, [self.topic])
        if isinstance(searched, Plan):
            return searched
        found = quotes(self.topic, searched[0], QUOTED, of_one=OF_ONE)
        if not found:
            return done(progress, f"There is nothing about “{self.topic}” in the documents that you may read.")
        lines = [f"What the documents say about “{self.topic}”:", "",
                 *(f"- “{quoted.text}” ({quoted.place})" for quoted in found)]
        return delivered(progress, to, f"Summary: {self.topic}", "\n".join(lines), [])


@dataclass(frozen=True, slots=True)
class Report:
    """Several questions, each answered from the documents."""

    questions: tuple[str, ...]
    mail: Mail | None

    @property
    def needs(self) -> tuple[str, ...]:
        return ("search_documents", "make_table", *(("send_email",) if self.mail else ()))

    def next(self, progress: Progress) -> Plan:
        to = receivers(progress, self.mail)
        if isinstance(to, Plan):
            return to
        searched = _searched(progress, self.questions)
        if isinstance(searched, Plan):
            return searched
        rows = []
        for question, passages in zip(self.questions, searched, strict=True):
            found = quotes(question, passages, 1, certain=True)
            rows.append([question, found[0].text if found else NOT_FOUND, found[0].place if found else ""])
        made = progress.results("make_table")
        if not made:
            if progress.last("make_table") is not None:
                return give_up(f"I could not make the report: {progress.trouble()}")
            return calls("I put the answers into a report.", ("make_table", {
                "title": "Report", "columns": ["Question", "Answer", "Source"], "rows": rows},
                "The answers are asked for as a report."))
        text = "\n\n".join(f"**{question}**\n{answer}" + (f" ({place})" if place else "")
                           for question, answer, place in rows)
        return delivered(progress, to, "Report", text, made[-1][1].artefacts)


def _searched(progress: Progress, queries: Sequence[str]) -> list[list[dict[str, Any]]] | Plan:
    """The passages of each query, or what has to be done to have them."""
    asked = [{"query": query, "limit": PASSAGES} for query in queries]
    results: list[Tried | None] = [progress.result("search_documents", query) for query in asked]
    missing = [query for query, result in zip(asked, results, strict=True) if result is None]
    if not missing:
        return [orjson.loads(result.content) for result in results if result is not None]
    if progress.last("search_documents") is not None:
        return give_up(f"I could not search the documents: {progress.trouble()}")
    return calls(f"I search the documents for {len(missing)} " + ("things." if len(missing) > 1 else "thing."),
                 *(("search_documents", query, "What the documents say about this is asked for.") for query in missing))


def quotes(question: str, passages: Sequence[dict[str, Any]], most: int, *, of_one: int = 1,
           certain: bool = False) -> list[Quoted]:
    """The sentences that say most about a question, best first.

    Args:
        of_one: most sentences of one document.
        certain: only where the passages seem to hold the answer.
    """
    sources = [Source(number=number, chunk="", document=p["document"], version=0, title=p["title"],
                      heading_path=p.get("heading_path") or [], section=p["section"], text=p["text"], start=0,
                      end=len(p["text"]), score=p["score"]) for number, p in enumerate(passages, 1)]
    evidence = gather(question, sources)
    if not evidence.candidates:
        return []
    ranking = scores(evidence, None)
    if certain and confidence(evidence, ranking, None, None) < 0:
        return []
    asked = stems(question)
    chosen: list[Quoted] = []
    taken: dict[str, int] = {}
    for i in np.argsort(-ranking, kind="stable"):
        candidate = evidence.candidates[i]
        source = sources[candidate.source]
        text = " ".join(candidate.sentence.text.split())
        # A heading speaks for all that is below it, which need not say anything of the matter.
        about = certain or asked & stems(text)
        if evidence.words[i] <= 0 or not about or taken.get(source.document, 0) >= of_one:
            continue
        if any(quoted.text == text for quoted in chosen):
            continue
        taken[source.document] = taken.get(source.document, 0) + 1
        chosen.append(Quoted(text, " › ".join(dict.fromkeys(filter(None, [source.title or source.document,
                                                                          *source.heading_path])))))
        if len(chosen) == most:
            break
    return chosen
