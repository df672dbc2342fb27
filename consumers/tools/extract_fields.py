"""extract_fields: what documents say about given fields, word for word: "price", "notice period", "governing law".

Arguments:  {"documents": [str], "fields": [str]}
Content:    JSON {"rows": [{"document", "title",
                            "fields": {name: {"value", "quote", "section": int, "heading_path": [str]} | null}}]}
            in the order of `documents`; null where the document does not seem to say it. `value` is part of
            `quote`, and `quote` is part of the section, both character by character.
"""

from __future__ import annotations

import asyncio
from typing import Any

from consumers.tools.fields import Found, find
from consumers.tools.library import Library
from consumers.tools.tool import Call, Returned, Tool, arguments
from weir.agents.canonical import canonical

PASSAGES = 6
"""Passages of a document that are read for one field."""
AT_A_TIME = 4
"""Searches under way: the stores serve questions too."""


class ExtractFields(Tool):
    name = "extract_fields"
    description = ('Finds what documents say about fields such as "price" or "notice period", word for word. Returns '
                   "JSON {rows: [{document, title, fields: {name: {value, quote, section, heading_path} or null}}]}; "
                   "null where a document does not seem to say it.")
    schema = arguments(
        ["documents", "fields"],
        documents={"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 20, "uniqueItems": True,
                   "description": "Ids of documents."},
        fields={"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 100}, "minItems": 1,
                "maxItems": 20, "uniqueItems": True, "description": "What to find, in the words of the documents."})
    timeout = 180.0

    def __init__(self, library: Library) -> None:
        self._library = library

    async def run(self, call: Call) -> Returned:
        documents, fields = call.arguments["documents"], call.arguments["fields"]
        views = await self._library.views(call, documents)
        places = asyncio.Semaphore(AT_A_TIME)

        async def row(document: str) -> dict[str, Any]:
            async with asyncio.TaskGroup() as group:
                tasks = {field: group.create_task(self._field(call, document, field, places)) for field in fields}
            found = {field: task.result() for field, task in tasks.items()}
            titles = [title for _, title in found.values() if title]
            return {"document": document, "title": titles[0] if titles else views[document].title,
                    "fields": {field: _shown(best) for field, (best, _) in found.items()}}

        rows = [await row(document) for document in documents]
        return Returned(canonical({"rows": rows}))

    async def _field(self, call: Call, document: str, field: str, places: asyncio.Semaphore
                     ) -> tuple[Found | None, str]:
        async with places:
            sources = await self._library.search(call, field, PASSAGES, document)
        return find(field, sources), sources[0].title if sources else ""


def _shown(found: Found | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"value": found.value, "quote": found.quote, "section": found.section, "heading_path": found.heading_path}
