"""make_table: a table as Markdown and as a CSV file.

Arguments:  {"title": str, "columns": [str], "rows": [[str | number | bool | null]]}
Content:    the Markdown: the title as a heading, then the table
Artefacts:  two: <title>.md (text/markdown), <title>.csv (text/csv)
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from consumers.tools.artefacts import stored
from consumers.tools.tool import Call, Returned, Tool, ToolFailed, arguments
from weir.blobs import Blobs

Cell = str | int | float | bool | None
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a text for a formula."""


class MakeTable(Tool):
    name = "make_table"
    description = ("Makes a table of rows that you give, as Markdown and as a CSV file that can be downloaded or "
                   "attached to a mail. Returns the Markdown; the files are artefacts.")
    schema = arguments(
        ["title", "columns", "rows"], title={"type": "string", "minLength": 1, "maxLength": 200},
        columns={"type": "array", "items": {"type": "string", "maxLength": 200}, "minItems": 1, "maxItems": 50},
        rows={"type": "array", "maxItems": 2000, "description": "A row has a cell for each column.", "items": {
            "type": "array", "items": {"type": ["string", "number", "boolean", "null"], "maxLength": 10_000}}})

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def run(self, call: Call) -> Returned:
        title, columns, rows = call.arguments["title"], call.arguments["columns"], call.arguments["rows"]
        for number, row in enumerate(rows, 1):
            if len(row) != len(columns):
                raise ToolFailed(f"row {number} has {len(row)} cells and there are {len(columns)} columns.")
        text, name = markdown(title, columns, rows), file_name(title)
        return Returned(text, [
            await stored(self._blobs, f"{name}.md", "text/markdown", text.encode()),
            await stored(self._blobs, f"{name}.csv", "text/csv", comma_separated(columns, rows).encode("utf-8-sig"))])


def markdown(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    lines = [f"## {_one_line(title)}", "", _row(columns), _row(["---"] * len(columns)), *map(_row, rows)]
    return "\n".join(lines) + "\n"


def comma_separated(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """RFC 4180; a text that a spreadsheet would run as a formula gets an apostrophe in front."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([_harmless(column) for column in columns])
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return out.getvalue()


def file_name(title: str) -> str:
    """A title as the stem of a file's name: letters, digits and hyphens."""
    return re.sub(r"[^\w]+", "-", title.lower()).strip("-_")[:80] or "table"


def _row(cells: Sequence[Cell]) -> str:
    return "| " + " | ".join(_one_line(_text(cell)).replace("\\", "\\\\").replace("|", "\\|") for cell in cells) + " |"


def _text(cell: Cell) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return "" if cell is None else str(cell)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _harmless(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else _text(cell)
