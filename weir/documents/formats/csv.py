"""CSV: each row is a line that can be read alone, `Column: value; Column: value`, some rows to a section."""

from __future__ import annotations

import csv
import io
from collections import Counter
from itertools import islice

from weir.documents.cleaning import decode
from weir.documents.outline import Outline
from weir.documents.types import ParsedDocument
from weir.errors import BadDocument

ROWS_PER_SECTION = 25

_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 50
_LONGEST_FIELD = 131_072  # the csv module's own limit


def parse(content: bytes, title: str, charset: str) -> ParsedDocument:
    text = decode(content, charset)
    rows = [row for row in _rows(text, _delimiter(text)) if any(cell.strip() for cell in row)]
    if not rows:
        return ParsedDocument(title, ())
    names, body = rows[0], rows[1:]
    outline = Outline()
    if not body:
        outline.table([names], header=False)
    for first in range(0, len(body), ROWS_PER_SECTION):
        some = body[first:first + ROWS_PER_SECTION]
        if len(body) > ROWS_PER_SECTION:
            outline.heading(1, f"Rows {first + 1}-{first + len(some)}")
        outline.table([names, *some], header=True)
    return ParsedDocument(title, outline.sections())


def _rows(text: str, delimiter: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return list(reader)
    except csv.Error as e:
        raise BadDocument("unreadable", f"line {reader.line_num} of this CSV cannot be read ({e}): close its quotes or "
                          f"shorten the field to {_LONGEST_FIELD:,} characters.") from e


def _delimiter(text: str) -> str:
    """The delimiter that gives the most rows of one same width above one; the comma where none does."""
    best, most = ",", 0
    for delimiter in _DELIMITERS:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        widths: Counter[int] = Counter()
        try:
            widths.update(len(row) for row in islice(reader, _SAMPLE_ROWS))
        except csv.Error:
            continue
        same = max((count * width for width, count in widths.items() if width > 1), default=0)
        if same > most:
            best, most = delimiter, same
    return best
