"""search_documents: the passages that fit a query best.

Arguments:  {"query": str, "limit": 1-20 = 8, "document": str?}
Content:    JSON [{"document", "title", "section": int, "heading_path": [str], "text", "score": float, "source",
                   "being_replaced": bool}], best first
"""

from __future__ import annotations

from consumers.tools.library import Library
from consumers.tools.tool import Call, Returned, Tool, arguments
from schemas.events import Source
from weir.agents.canonical import canonical

FIELDS = ("document", "title", "section", "heading_path", "text", "score", "source", "being_replaced")


class SearchDocuments(Tool):
    name = "search_documents"
    description = ("Finds the passages of the workspace's documents that fit a query best. Returns a JSON list of "
                   "{document, title, section, heading_path, text, score, source, being_replaced}, best first; "
                   "`document` and `section` are what read_section takes.")
    schema = arguments(
        ["query"], query={"type": "string", "minLength": 1, "maxLength": 2000, "description": "What to look for."},
        limit={"type": "integer", "minimum": 1, "maximum": 20, "default": 8, "description": "Most passages."},
        document={"type": "string", "description": "Look in this document alone."})

    def __init__(self, library: Library) -> None:
        self._library = library

    async def run(self, call: Call) -> Returned:
        found = await self._library.search(call, call.arguments["query"], call.arguments["limit"],
                                           call.arguments.get("document"))
        return Returned(canonical([_passage(source) for source in found]))


def _passage(source: Source) -> dict[str, object]:
    return {name: getattr(source, name) for name in FIELDS}
