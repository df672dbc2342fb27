"""read_section: the text of a document, whole or one section of it.

Arguments:  {"document": str, "section": int?}
Content:    JSON {"document", "title", "version": int, "source", "being_replaced": bool,
                  "sections": [{"section": int, "heading_path": [str], "text"}],
                  "others": [{"section": int, "heading_path": [str], "characters": int}]}
            `others` are the sections whose text is not shown: not asked for, or too long together
"""

from __future__ import annotations

from typing import Any

from consumers.tools.library import Library
from consumers.tools.tool import CONTENT_BYTES, Call, Returned, Tool, ToolFailed, arguments
from weir.agents.canonical import canonical
from weir.retrieval.keyword import StoredSection

TEXT_BYTES = CONTENT_BYTES * 3 // 4
"""Most text of a whole document at once; JSON, names and the list of the others need room."""


class ReadSection(Tool):
    name = "read_section"
    description = ("Reads a document by its id: one section of it, or as much of the whole as fits. Returns JSON "
                   "{document, title, version, source, being_replaced, sections: [{section, heading_path, text}], "
                   "others: [{section, heading_path, characters}]}; read the others one by one.")
    schema = arguments(
        ["document"], document={"type": "string", "minLength": 1, "description": "Id of the document."},
        section={"type": "integer", "minimum": 0, "description": "Number of one section; none reads the whole."})

    def __init__(self, library: Library) -> None:
        self._library = library

    async def run(self, call: Call) -> Returned:
        text = await self._library.text(call, call.arguments["document"])
        wanted = call.arguments.get("section")
        if wanted is not None and all(section.ordinal != wanted for section in text.sections):
            raise ToolFailed(f"the document has no section {wanted}; it has "
                             f"{', '.join(str(section.ordinal) for section in text.sections[:50])}.")
        shown: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        left = TEXT_BYTES
        for section in text.sections:
            size = len(section.text.encode())
            if section.ordinal == wanted or (wanted is None and size <= left):
                left -= size
                shown.append(_place(section) | {"text": section.text})
            else:
                others.append(_place(section) | {"characters": len(section.text)})
        return Returned(canonical({
            "document": text.view.document, "title": text.title, "version": text.version, "source": text.source,
            "being_replaced": text.being_replaced, "sections": shown, "others": others}))


def _place(section: StoredSection) -> dict[str, Any]:
    return {"section": section.ordinal, "heading_path": section.heading_path}
