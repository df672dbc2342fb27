"""The job "compare these documents on these fields": list, extract, make a table, send it if asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from weir.agents.planning.plan import Plan
from weir.agents.planning.progress import Progress, ask, calls, delivered, give_up, receivers
from weir.agents.planning.wording import Mail, Wanted, listed
from weir.answers.terms import stems

ASK_FIELDS = "On which fields shall I compare the documents?"
ASK_DOCUMENTS = "Which documents do you mean?"
CELL_CHARS = 400
SAME = {"contract": ("contract", "agreement"), "agreement": ("agreement", "contract")}
"""Words for one kind of document."""


@dataclass(frozen=True, slots=True)
class Compare:
    """Documents, fields, and where the table goes."""

    wanted: Wanted
    fields: tuple[str, ...]
    mail: Mail | None

    @property
    def needs(self) -> tuple[str, ...]:
        return ("list_documents", "extract_fields", "make_table", *(("send_email",) if self.mail else ()))

    def next(self, progress: Progress) -> Plan:
        fields = list(self.fields) or listed(progress.answer(ASK_FIELDS))
        if not fields:
            return ask(ASK_FIELDS, "For example: price, term, notice period and liability.")
        to = receivers(progress, self.mail)
        if isinstance(to, Plan):
            return to
        documents = self._documents(progress)
        if isinstance(documents, Plan):
            return documents
        ids = [document["document"] for document in documents]
        extracted = progress.result("extract_fields", {"documents": ids, "fields": fields})
        if extracted is None:
            if progress.last("extract_fields") is not None:
                return give_up(f"I could not read the fields: {progress.trouble()}")
            return calls(f"I look for {', '.join(fields)} in {len(ids)} documents.", (
                "extract_fields", {"documents": ids, "fields": fields}, "These are the fields to compare."))
        rows = orjson.loads(extracted.content)["rows"]
        title = f"Comparison of {len(rows)} documents"
        table = progress.results("make_table")
        if not table:
            if progress.last("make_table") is not None:
                return give_up(f"I could not make the table: {progress.trouble()}")
            return calls("I put them into a table.", ("make_table", {
                "title": title, "columns": ["Document", *fields], "rows": [_row(row, fields) for row in rows],
            }, "The comparison is asked for as a table."))
        _, made = table[-1]
        return delivered(progress, to, title, made.content.rstrip() + "\n\n" + _evidence(rows, fields), made.artefacts)

    def _documents(self, progress: Progress) -> list[dict[str, Any]] | Plan:
        """The documents to compare, or what has to be done to know them."""
        told = progress.answer(ASK_DOCUMENTS)
        wanted = Wanted(names=tuple(listed(told))) if told else self.wanted
        if not wanted.names:
            asked = {"query": wanted.kind, "limit": min(100, max(10, 4 * wanted.count))}
            found = progress.result("list_documents", asked)
            if found is None:
                return _list(progress, [asked])
            return _of_kind(orjson.loads(found.content), wanted)
        queries = [{"query": name, "limit": 5} for name in wanted.names]
        results = [progress.result("list_documents", query) for query in queries]
        if None in results:
            return _list(progress, [q for q, r in zip(queries, results, strict=True) if r is None])
        chosen = [_named(name, orjson.loads(result.content)) for name, result in zip(wanted.names, results, strict=True)
                  if result is not None]
        missing = [name for name, document in zip(wanted.names, chosen, strict=True) if document is None]
        if missing:
            return ask(ASK_DOCUMENTS, f"I found nothing called {' or '.join(f'“{m}”' for m in missing)}. "
                       "Name all of them, separated by commas.")
        unique = {document["document"]: document for document in chosen if document is not None}
        return list(unique.values())


def _list(progress: Progress, queries: Sequence[dict[str, Any]]) -> Plan:
    last = progress.last("list_documents")
    if last is not None and last.outcome != "succeeded":
        return give_up(f"I could not find the documents: {progress.trouble()}")
    return calls("First I find the documents.", *(("list_documents", query, "These are the documents to compare.")
                                                  for query in queries))


def _of_kind(found: Sequence[dict[str, Any]], wanted: Wanted) -> list[dict[str, Any]] | Plan:
    """The documents whose title, id or place says that they are of the kind, best first."""
    words = [w for w in re.findall(r"\w+", wanted.kind.lower()) if len(w) > 2]
    head = stems(words[-1]) if words else set()
    heads = {word for stem in head for word in SAME.get(stem, (stem,))}
    fitting = [document for document in found if heads & stems(_about(document))]
    if wanted.count and len(fitting) >= wanted.count:
        return fitting[:wanted.count]
    if not wanted.count and len(fitting) >= 2:
        return fitting
    names = "; ".join(document["title"] or document["document"] for document in fitting[:10] or found[:10])
    return ask(ASK_DOCUMENTS, (f"Of “{wanted.kind}” I found {len(fitting)}. " if fitting else "") + (
        f"There is: {names}. " if names else "I found none. ") + "Name all of them, separated by commas.")


def _named(name: str, found: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The document that carries most of a name's words, at least half of them."""
    words = stems(name)
    scored = [(len(words & stems(_about(document))), -place) for place, document in enumerate(found)]
    if not scored or not words:
        return None
    most, place = max(scored)
    return found[-place] if most * 2 >= len(words) and most else None


def _about(document: dict[str, Any]) -> str:
    return re.sub(r"[/_.:-]+", " ", f"{document['title']} {document['document']} {document.get('source') or ''}")


def _row(row: dict[str, Any], fields: Sequence[str]) -> list[str]:
    values = [row["fields"].get(field) for field in fields]
    return [row["title"] or row["document"],
            *(value["value"][:CELL_CHARS] if value else "not found" for value in values)]


def _evidence(rows: Sequence[dict[str, Any]], fields: Sequence[str]) -> str:
    """Where each value stands, word for word."""
    lines = ["Where it says so:"]
    for row in rows:
        for field in fields:
            value = row["fields"].get(field)
            place = " › ".join(value.get("heading_path") or []) if value else ""
            quote = " ".join(value["quote"].split())[:CELL_CHARS] if value else ""
            lines.append(f"- {row['title'] or row['document']}, {field}: " + (
                f"“{quote}”" + (f" ({place})" if place else "") if value else "the document does not seem to say"))
    return "\n".join(lines)
