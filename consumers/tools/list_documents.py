"""list_documents: the documents of the workspace, all of them by name or those that fit a query best.

Arguments:  {"query": str?, "limit": 1-100 = 20}
Content:    JSON [{"document", "title", "source", "media_type", "published_at": milliseconds}]
"""

from __future__ import annotations

from consumers.tools.library import Library
from consumers.tools.tool import Call, Returned, Tool, arguments
from weir.agents.canonical import canonical

PASSAGES = 4
"""Passages that are looked at for each document that is wanted: a document has several."""


class ListDocuments(Tool):
    name = "list_documents"
    description = ("Lists documents of the workspace: those that fit `query` best, or all by name. Returns a JSON "
                   "list of {document, title, source, media_type, published_at}; `document` is the id for other tools.")
    schema = arguments(
        query={"type": "string", "minLength": 1, "maxLength": 2000, "description": "What the documents are about."},
        limit={"type": "integer", "minimum": 1, "maximum": 100, "default": 20, "description": "Most documents."})

    def __init__(self, library: Library) -> None:
        self._library = library

    async def run(self, call: Call) -> Returned:
        limit = call.arguments["limit"]
        titles: dict[str, str] = {}
        if query := call.arguments.get("query"):
            for source in await self._library.search(call, query, min(200, limit * PASSAGES)):
                titles.setdefault(source.document, source.title)
            names = list(titles)[:limit]
            found = await self._library.views(call, names) if names else {}
            views = [found[name] for name in names]
        else:
            views = await self._library.listed(call, limit)
        return Returned(canonical([
            {"document": view.document, "title": view.title or titles.get(view.document, ""), "source": view.source,
             "media_type": view.media_type, "published_at": view.published_at} for view in views]))
