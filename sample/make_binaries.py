"""Makes the sample's PDF and DOCX files from the Markdown in `sources/`.

    .venv/bin/python sample/make_binaries.py

The same sources give the same bytes, so that a run without a change leaves the working tree clean.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import docx
from docx.shared import Cm, Pt
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    KeepTogether,
    ListFlowable,
    PageTemplate,
    Paragraph,
    Table,
    TableStyle,
)

HERE = Path(__file__).parent
COMPANY = "Quillmere Hydrometrics Ltd"
MADE = datetime(2026, 1, 1, tzinfo=UTC)
"""The date inside the files: a fixed one, so that they can be compared byte by byte."""

FILES = {
    "brackwater-transducers.md": "contracts/brackwater-transducers.docx",
    "thornlea-enclosures.md": "contracts/thornlea-enclosures.pdf",
    "heron-3-data-sheet.md": "products/heron-3-data-sheet.pdf",
    "board-minutes-2026-06.md": "company/board-minutes-2026-06.docx",
}


@dataclass(frozen=True, slots=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Prose:
    text: str


@dataclass(frozen=True, slots=True)
class Items:
    ordered: bool
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    rows: tuple[tuple[str, ...], ...]
    """The first row is the header."""


Block = Heading | Prose | Items | Grid


def blocks(markdown: str) -> Iterator[Block]:
    """The blocks of a source, in order. Sources hold headings, paragraphs, flat lists and tables, nothing else.

    Raises:
        ValueError: the source holds another kind of block.
    """
    for node in SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(markdown)).children:
        match node.type:
            case "heading":
                yield Heading(int(node.tag[1]), _text(node))
            case "paragraph":
                yield Prose(_text(node))
            case "bullet_list" | "ordered_list":
                yield Items(node.type == "ordered_list", tuple(_text(item) for item in node.children))
            case "table":
                rows = (row for part in node.children for row in part.children)
                yield Grid(tuple(tuple(_text(cell) for cell in row.children) for row in rows))
            case other:
                raise ValueError(f"a source holds a {other}, which has no layout: write it as a paragraph or a table.")


def _text(node: SyntaxTreeNode) -> str:
    return "".join(leaf.content for leaf in node.walk() if leaf.type in ("text", "code_inline"))


def write_docx(content: list[Block], path: Path) -> None:
    document = docx.Document()
    document.styles["Normal"].font.name = "Calibri"
    document.styles["Normal"].font.size = Pt(10.5)
    page = document.sections[0]
    page.page_width, page.page_height = Cm(21.0), Cm(29.7)
    page.left_margin = page.right_margin = Cm(2.5)
    properties = document.core_properties
    properties.title = next(block.text for block in content if isinstance(block, Heading))
    properties.author = COMPANY
    properties.comments = ""
    properties.created = properties.modified = MADE.replace(tzinfo=None)
    for block in content:
        match block:
            case Heading(level, text):
                document.add_heading(text, level)
            case Prose(text):
                document.add_paragraph(text)
            case Items(ordered, texts):
                for text in texts:
                    document.add_paragraph(text, style="List Number" if ordered else "List Bullet")
            case Grid(rows):
                table = document.add_table(rows=0, cols=len(rows[0]), style="Light Grid Accent 1")
                for row in rows:
                    for cell, text in zip(table.add_row().cells, row, strict=True):
                        cell.text = text
    packed = io.BytesIO()
    document.save(packed)
    path.write_bytes(_without_times(packed.getvalue()))


def _without_times(archive: bytes) -> bytes:
    """The same ZIP archive with one fixed time on every entry."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as before, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            entry = zipfile.ZipInfo(name, MADE.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            after.writestr(entry, before.read(name))
    return packed.getvalue()


_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=10, leading=14, spaceAfter=6)
_CELL = ParagraphStyle("cell", parent=_BODY, fontSize=9.5, leading=12, spaceAfter=0)
_HEAD_CELL = ParagraphStyle("head-cell", parent=_CELL, fontName="Helvetica-Bold", textColor=colors.white)
_BLUE = colors.HexColor("#1f4e6b")
_HEADINGS = {
    1: ParagraphStyle("h1", parent=_BODY, fontName="Helvetica-Bold", fontSize=19, leading=23, spaceAfter=10,
                      textColor=_BLUE),
    2: ParagraphStyle("h2", parent=_BODY, fontName="Helvetica-Bold", fontSize=12.5, leading=16, spaceBefore=10,
                      spaceAfter=4, textColor=_BLUE),
}


class _Pages(BaseDocTemplate):
    """A4 pages with a footer, and an outline entry for each heading."""

    def __init__(self, path: Path, title: str) -> None:
        super().__init__(str(path), pagesize=A4, title=title, author=COMPANY, invariant=1)
        self._title = title
        frame = Frame(25 * mm, 22 * mm, A4[0] - 50 * mm, A4[1] - 44 * mm, id="text")
        self.addPageTemplates(PageTemplate(frames=[frame], onPageEnd=self._footer))

    def _footer(self, canvas: Canvas, _: BaseDocTemplate) -> None:
        canvas.setFont("Helvetica", 8)
        canvas.setFillColor(colors.grey)
        canvas.drawString(25 * mm, 12 * mm, f"{COMPANY} · {self._title}")
        canvas.drawRightString(A4[0] - 25 * mm, 12 * mm, f"Page {canvas.getPageNumber()}")

    def afterFlowable(self, flowable: Flowable) -> None:  # noqa: N802 (reportlab calls it)
        level = {"h1": 0, "h2": 1}.get(getattr(getattr(flowable, "style", None), "name", ""))
        if level is not None and isinstance(flowable, Paragraph):
            name = flowable.getPlainText()
            self.canv.bookmarkPage(name)
            self.canv.addOutlineEntry(name, name, level)


def write_pdf(content: list[Block], path: Path) -> None:
    flow: list[Flowable] = []
    pending: list[Flowable] = []
    """A heading waits here for the block under it, so that no page ends with a heading."""
    for block in content:
        match block:
            case Heading(level, text):
                pending.append(Paragraph(escape(text), _HEADINGS[level]))
                continue
            case Prose(text):
                laid_out: Flowable = Paragraph(escape(text), _BODY)
            case Items(ordered, texts):
                items = [Paragraph(escape(text), _BODY) for text in texts]
                kind = "1" if ordered else "bullet"
                laid_out = ListFlowable(items, bulletType=kind, bulletFontSize=10, leftIndent=16)
            case Grid(rows):
                laid_out = _table(rows)
        flow.append(KeepTogether([*pending, laid_out]) if pending else laid_out)
        pending = []
    title = next(block.text for block in content if isinstance(block, Heading))
    _Pages(path, title).build(flow)


def _table(rows: tuple[tuple[str, ...], ...]) -> Flowable:
    width = (A4[0] - 50 * mm - 12) / len(rows[0])
    cells = [[Paragraph(escape(text), _CELL if row is not rows[0] else _HEAD_CELL) for text in row] for row in rows]
    table = Table(cells, colWidths=[width] * len(rows[0]), repeatRows=1, spaceBefore=2, spaceAfter=8)
    table.setStyle(TableStyle([
        ("BACKGROUND", (0, 0), (-1, 0), _BLUE),
        ("ROWBACKGROUNDS", (0, 1), (-1, -1), [colors.white, colors.HexColor("#eef3f6")]),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.HexColor("#b8c6cf")),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]))
    return table


def main() -> None:
    for source, target in FILES.items():
        content = list(blocks((HERE / "sources" / source).read_text(encoding="utf-8")))
        path = HERE / "documents" / target
        write = write_pdf if path.suffix == ".pdf" else write_docx
        write(content, path)
        print(f"{target}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
