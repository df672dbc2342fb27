"""Word: headings by their style, paragraphs, lists and tables in order; inserted text counts, deleted does not."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import docx
from docx.oxml.ns import qn

from weir.documents.cleaning import clean, one_line
from weir.documents.outline import Outline
from weir.documents.types import ParsedDocument
from weir.errors import BadDocument

MOST_UNPACKED = 256 * 2**20
MOST_XML = 64 * 2**20
MOST_FILES = 5000
MOST_RATIO = 200
"""Unpacked against packed size of the whole archive; XML alone reaches 10 to 30."""

_Element = Any  # python-docx has no type information for its XML elements
_HEAD = 4096
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"


def parse(content: bytes, title: str, charset: str) -> ParsedDocument:
    _check_archive(content)
    document = docx.Document(io.BytesIO(content))
    outline = Outline()
    _Walk(outline, _heading_levels(document)).walk(document.element.body)
    return ParsedDocument(outline.title or one_line(document.core_properties.title or ""), outline.sections())


def _check_archive(content: bytes) -> None:
    """Everything that can be told before anything is unpacked: zip bombs, passwords, other formats, entities."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile as e:
        raise BadDocument("truncated", "this DOCX breaks off before its end: publish the whole file.") from e
    with archive:
        files = archive.infolist()
        unpacked = sum(file.file_size for file in files)
        xml = [file for file in files if file.filename.endswith((".xml", ".rels"))]
        if (
            len(files) > MOST_FILES
            or unpacked > MOST_UNPACKED
            or unpacked > MOST_RATIO * len(content)
            or sum(file.file_size for file in xml) > MOST_XML
        ):
            raise BadDocument("hostile", f"this DOCX unpacks to {len(files):,} files of {unpacked:,} bytes, more than "
                              "any document needs: split it, or save it again from Word.")
        if any(file.flag_bits & 1 for file in files):
            raise BadDocument("encrypted", "this DOCX is encrypted: remove its password and publish it again.")
        if "word/document.xml" not in archive.namelist():
            raise BadDocument("mislabelled", "this is a ZIP archive, not a DOCX: publish it with its real media type.")
        for file in xml:
            with archive.open(file) as part:
                head = part.read(_HEAD).replace(b"\x00", b"")  # UTF-16 reads like ASCII without its zeros
            if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
                raise BadDocument("hostile", f"{one_line(file.filename, 80)} in this DOCX declares XML entities, which "
                                  "no DOCX needs: save it again from Word.")


def _heading_levels(document: Any) -> dict[str, int]:
    """Style id -> level: 0 for the title, 1 to 9 for headings. Styles that build on a heading have its level."""
    levels: dict[str, int] = {}
    based_on: dict[str, str] = {}
    for style in document.styles.element.findall(qn("w:style")):
        style_id = style.get(qn("w:styleId")) or ""
        name = _value(style, "w:name").lower()
        outline_level = _value(style, "w:pPr/w:outlineLvl")
        if name == "title":
            levels[style_id] = 0
        elif name.startswith("heading ") and name[8:].isdecimal():
            levels[style_id] = min(int(name[8:10]), 9)
        elif outline_level.isdecimal() and int(outline_level) < 9:
            levels[style_id] = int(outline_level) + 1
        based_on[style_id] = _value(style, "w:basedOn")
    for style_id in based_on:
        parent, steps = style_id, 0
        while parent not in levels and parent in based_on and steps < 10:
            parent, steps = based_on[parent], steps + 1
        if parent in levels:
            levels[style_id] = levels[parent]
    return levels


class _Walk:
    def __init__(self, outline: Outline, levels: dict[str, int]) -> None:
        self._outline = outline
        self._levels = levels

    def walk(self, body: _Element) -> None:
        for element in _parts(body, "w:p", "w:tbl"):
            if element.tag == qn("w:tbl"):
                rows, header = _table(element)
                self._outline.table(rows, header=header)
            else:
                self._paragraph(element)

    def _paragraph(self, paragraph: _Element) -> None:
        text = _text(paragraph)
        style = _value(paragraph, "w:pPr/w:pStyle")
        level = self._levels.get(style)
        if level is not None:
            self._outline.heading(level, text)
            return
        numbered = paragraph.find(f"{qn('w:pPr')}/{qn('w:numPr')}") is not None
        item = numbered or "list" in style.lower()
        if text.strip():
            self._outline.block("- " + text.strip() if item else text, tight=item)


def _parts(parent: _Element, *tags: str) -> list[_Element]:
    """Children with one of these tags in order, those in content controls (form fields, contents) among them."""
    wanted = [qn(tag) for tag in tags]
    wrappers = [qn(tag) for tag in ("w:sdt", "w:sdtContent", "w:ins", "w:customXml")]
    found, waiting = [], list(reversed(parent))
    while waiting:
        element = waiting.pop()
        if element.tag in wanted:
            found.append(element)
        elif element.tag in wrappers:
            waiting += reversed(element)
    return found


def _text(paragraph: _Element) -> str:
    """Visible text. A text box appears twice in the XML; its fallback is left out."""
    parts: list[str] = []
    fallback = {inner for outer in paragraph.iter(_FALLBACK) for inner in outer.iter()}
    for element in paragraph.iter(qn("w:t"), qn("w:tab"), qn("w:br"), qn("w:cr"), qn("w:noBreakHyphen")):
        if element in fallback:
            continue
        if element.tag == qn("w:t"):
            parts.append(element.text or "")
        elif element.tag == qn("w:noBreakHyphen"):
            parts.append("-")
        elif element.tag != qn("w:tab"):
            parts.append("\n")
        elif element.getparent().tag == qn("w:r"):  # elsewhere a tab is a tab stop
            parts.append("\t")
    return clean("".join(parts))


def _table(table: _Element) -> tuple[list[list[str]], bool]:
    """Rows of cell texts, merged cells repeated; and whether the first row is a header.

    Word does not say whether it is. A repeated header row is one, a bold first row is one, and so is the first row of a
    table of three columns or more; two columns are mostly names and values.
    """
    rows: list[list[str]] = []
    for row in _parts(table, "w:tr"):
        cells: list[str] = []
        for cell in _parts(row, "w:tc"):
            continued = cell.find(f"{qn('w:tcPr')}/{qn('w:vMerge')}")
            text = "\n".join(filter(None, (_text(p).strip() for p in cell.iter(qn("w:p")))))
            merged = continued is not None and continued.get(qn("w:val")) != "restart"
            if merged and rows and len(cells) < len(rows[-1]):
                text = rows[-1][len(cells)]
            width = _value(cell, "w:tcPr/w:gridSpan")
            cells += [text] * (min(int(width[:3]), 100) if width.isdecimal() else 1)
        rows.append(cells)
    first = table.find(qn("w:tr"))
    if first is None or len(rows) < 2:
        return rows, False
    bold = [r.find(f"{qn('w:rPr')}/{qn('w:b')}") is not None for r in first.iter(qn("w:r"))]
    repeated = first.find(f"{qn('w:trPr')}/{qn('w:tblHeader')}") is not None
    return rows, repeated or len(rows[0]) > 2 or (bool(bold) and all(bold))


def _value(element: _Element, path: str) -> str:
    found = element.find("/".join(qn(step) for step in path.split("/")))
    return (found.get(qn("w:val")) or "") if found is not None else ""
