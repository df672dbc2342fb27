"""PDF: text in reading order. Larger lines are headings; where there are none, each page is a section.

A PDF knows neither paragraphs nor headings, only characters at places. From the box of each line's first and last
character come its height (heading or body), the gap above it (a new paragraph) and whether the next line's first word
would have fitted behind it (if not, the sentence goes on there).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import pypdfium2 as pdfium

from weir.documents.cleaning import clean, one_line
from weir.documents.outline import Outline
from weir.documents.types import ParsedDocument
from weir.errors import BadDocument

MOST_PAGES = 5000

_HEADING_HEIGHT = 1.15  # of the body's
_HEADING_CHARS = 150
_HEADING_SHARE = 0.25  # of all lines; above it the sizes mean something else
_LEVELS = 4
_ROW_STRETCH = 1.3  # of the median character's width
_PARAGRAPH_GAP = 0.7  # of the line's height
_REPEATED = 0.6  # of the pages carry the same first or last line: a running header or footer
_TAIL = 4096

_HYPHEN = re.compile("[\x02\ufffe][ \n]?")  # PDFium's mark for a word divided at a line's end
_TOOL_TITLE = re.compile(r"microsoft word|untitled|document\d*$|.*\.(docx?|pdf|tex|indd|pptx?|xlsx?|rtf)$", re.I)


@dataclass(slots=True)
class _Line:
    page: int
    text: str
    height: float = 0.0
    """Of its characters, rounded to half a point; 0 where it cannot be told."""
    gap: float = 0.0
    """White space above it, in points."""
    left: float = 0.0
    right: float = 0.0

    @property
    def width(self) -> float:
        return self.right - self.left


def parse(content: bytes, title: str, charset: str) -> ParsedDocument:
    document = _open(content)
    try:
        pages = len(document)
        if pages > MOST_PAGES:
            raise BadDocument("oversized", f"this PDF has {pages:,} pages and the limit is {MOST_PAGES:,}: split it.")
        lines = [line for number in range(pages) for line in _page_lines(document, number)]
        metadata = one_line(document.get_metadata_value("Title"))
    finally:
        document.close()
    if not lines:
        raise BadDocument("empty", f"this PDF has {pages} page(s) and no text on them, as a scan has: run text "
                          "recognition over it and publish the result.")
    outline = Outline()
    _add(outline, _without_running_lines(lines))
    own_title = outline.title or ("" if _TOOL_TITLE.match(metadata) else metadata)
    return ParsedDocument(own_title, outline.sections())


def _open(content: bytes) -> Any:
    if b"%%EOF" not in content[-_TAIL:]:
        raise BadDocument("truncated", "this PDF breaks off before its end: publish the whole file.")
    try:
        return pdfium.PdfDocument(content)
    except pdfium.PdfiumError as e:
        if "password" in str(e).lower():
            raise BadDocument("encrypted", "this PDF is encrypted: remove its password and publish it again.") from e
        raise BadDocument("unreadable", f"this PDF is damaged ({one_line(str(e), 100)}): save or print it as PDF "
                          "again and publish that.") from e


def _page_lines(document: Any, number: int) -> Iterator[_Line]:
    page = document[number]
    text_page = page.get_textpage()
    try:
        text = text_page.get_text_range()
        # Only where the text and PDFium's list of characters agree does a position in one name a box in the other.
        boxes = len(text) == text_page.count_chars()
        at, above = 0, None
        for raw in text.split("\n"):
            first, last = at + len(raw) - len(raw.lstrip()), at + len(raw.rstrip()) - 1
            at += len(raw) + 1
            if first > last:
                continue
            line = _Line(number, raw.rstrip("\r\n "))
            if boxes:
                line.left, bottom, _, top = text_page.get_charbox(first, loose=True)
                line.right = text_page.get_charbox(last, loose=True)[2]
                line.height = round((top - bottom) * 2) / 2
                line.gap = above - top if above is not None else 0.0
                above = bottom
            yield line
    finally:
        text_page.close()
        page.close()


def _without_running_lines(lines: list[_Line]) -> list[_Line]:
    """Lines without the headers and footers that most pages repeat: set apart, and alike but for numbers."""
    pages: dict[int, list[_Line]] = {}
    for line in lines:
        pages.setdefault(line.page, []).append(line)
    apart = [page[0] for page in pages.values() if len(page) > 1 and page[1].gap > page[0].height]
    apart += [page[-1] for page in pages.values() if len(page) > 1 and page[-1].gap > page[-1].height]
    seen = Counter(_shape(line) for line in apart)
    running = {id(line) for line in apart if seen[_shape(line)] >= max(2, _REPEATED * len(pages))}
    return [line for line in lines if id(line) not in running] or lines


def _shape(line: _Line) -> str:
    return re.sub(r"\d+", "#", line.text)


def _add(outline: Outline, lines: list[_Line]) -> None:
    levels = _heading_levels(lines)
    columns = _columns([line for line in lines if line.height not in levels])
    paragraph: list[_Line] = []

    def flush() -> None:
        if paragraph:
            outline.block(_joined(paragraph, columns))
            paragraph.clear()

    page = -1
    heading: list[_Line] = []
    ends: list[_Line | None] = [*lines, None]
    for line in ends:
        if heading and (line is None or not _continues(heading[0], line)):
            outline.heading(levels[heading[0].height], " ".join(h.text for h in heading))
            heading.clear()
        if line is None:
            break
        if line.height in levels and len(line.text) <= _HEADING_CHARS:
            flush()
            heading.append(line)
            continue
        if not levels and line.page != page:
            flush()
            outline.heading(2, f"Page {line.page + 1}")  # 1 would make the first of them the title
            page = line.page
        if paragraph and line.page == paragraph[-1].page and line.gap > _PARAGRAPH_GAP * line.height > 0:
            flush()
        paragraph.append(line)
    flush()


def _continues(heading: _Line, line: _Line) -> bool:
    """Whether a line is the next line of a heading."""
    return line.height == heading.height and line.page == heading.page and line.gap <= line.height


def _heading_levels(lines: list[_Line]) -> dict[float, int]:
    """Height of a line -> level of heading. Empty where the heights do not tell headings from body."""
    characters: Counter[float] = Counter()
    for line in lines:
        characters[line.height] += len(line.text)
    body = characters.most_common(1)[0][0]
    large = sorted((height for height in characters if body and height >= _HEADING_HEIGHT * body), reverse=True)
    if sum(line.height in large for line in lines) > max(1, _HEADING_SHARE * len(lines)):
        return {}
    return {height: min(rank, _LEVELS) for rank, height in enumerate(large, 1)}


@dataclass(frozen=True, slots=True)
class _Column:
    """What the body text of a page is set into, in points."""

    widest: float
    rightmost: float
    character: float
    """Median width of a character."""


def _columns(lines: list[_Line]) -> dict[int, _Column]:
    pages: dict[int, list[_Line]] = {}
    for line in lines:
        pages.setdefault(line.page, []).append(line)
    return {
        number: _Column(
            max(line.width for line in page),
            max(line.right for line in page),
            median(line.width / len(line.text) for line in page for _ in range(1 + len(line.text) // 20)),
        )
        for number, page in pages.items()
    }


def _joined(paragraph: list[_Line], columns: dict[int, _Column]) -> str:
    """One paragraph's lines: a space between lines of one sentence, a new line between the rows of a table or list."""
    text = ""
    for line, following in zip(paragraph, [*paragraph[1:], None], strict=True):
        text += line.text
        if following is not None:
            text += " " if _wrapped(line, following, columns[line.page]) else "\n"
    return clean(_HYPHEN.sub("", text))


def _wrapped(line: _Line, following: _Line, column: _Column) -> bool:
    """Whether the next line's first word would not have fitted behind this line, in its column or on the page.

    A line far wider than its characters has gaps in it: a table's row, complete by itself.
    """
    character = line.width / len(line.text)
    if not character or character > _ROW_STRETCH * column.character:
        return False
    word = (len(following.text.split(maxsplit=1)[0]) + 1) * character
    return line.width + word > column.widest or line.right + word > column.rightmost
