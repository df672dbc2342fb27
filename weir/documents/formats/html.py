"""HTML: headings, paragraphs, lists and tables of what a reader would see; no scripts, styles or navigation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lxml import etree
from lxml import html as lxml_html

from weir.documents.cleaning import decode, one_line
from weir.documents.outline import Outline
from weir.documents.types import ParsedDocument
from weir.errors import BadDocument

DEEPEST = 1000
"""Levels of nesting. Pages that people write stay below 100."""

_Element = Any  # lxml has no type information

_DROPPED = (
    "script", "style", "nav", "noscript", "template", "svg", "iframe", "object", "head", "button", "select", "canvas",
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html", "legend", "li", "main", "ol", "p",
    "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
})
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_SPACES = re.compile(r"[^\S\v]+")
_BREAK = "\v"  # a <br> in collected text; cleaning has left no other
_WIDEST, _TALLEST = 200, 1000  # of a table cell that spans columns or rows


def parse(content: bytes, title: str, charset: str) -> ParsedDocument:
    meta = _CHARSET.search(content[:4096])
    root = _tree(decode(content, charset or (meta[1].decode("ascii") if meta else "")))
    if root is None:
        return ParsedDocument(title, ())
    in_head = root.find(".//title")
    page_title = one_line(in_head.text_content()) if in_head is not None else ""
    _drop_unseen(root)
    heading = next(root.iter("h1"), None)
    mains = root.findall(".//main")
    outline = Outline()
    _Walk(outline).walk(mains[0] if len(mains) == 1 and mains[0].text_content().strip() else root)
    h1 = one_line(heading.text_content()) if heading is not None else ""
    return ParsedDocument(h1 or page_title, outline.sections())


def add_html(outline: Outline, markup: str) -> None:
    """Adds a piece of HTML to an outline: what stands between the paragraphs of a Markdown file."""
    root = _tree(markup)
    if root is not None:
        _drop_unseen(root)
        _Walk(outline).walk(root)


def _tree(markup: str) -> _Element | None:
    # huge_tree: without it the parser silently ends a document at 256 levels; the depth is checked below instead.
    parser = lxml_html.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    try:
        root = lxml_html.document_fromstring(markup.encode(), parser=parser)
    except etree.ParserError:  # nothing but comments or white space
        return None
    depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > DEEPEST:
            raise BadDocument("hostile", f"this HTML is nested deeper than {DEEPEST} levels: flatten it.")
    return root


def _drop_unseen(root: _Element) -> None:
    unseen = list(root.iter(*_DROPPED))
    unseen += root.xpath("//*[@hidden or @aria-hidden='true']")
    unseen += [element for element in root.xpath("//*[@style]") if _HIDDEN.search(element.get("style"))]
    for element in unseen:
        if element is not root and element.getparent() is not None:
            element.drop_tree()


class _Walk:
    """One pass over the tree in reading order, without recursion."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._text: list[str] = []
        self._pre = 0
        self._lists: list[int | None] = []  # the next number of each open list; None in a bulleted one
        self._marker = ""

    def walk(self, root: _Element) -> None:
        walker = etree.iterwalk(root, events=("start", "end"))
        inside: _Element | None = None  # a table that has been read as a whole
        for event, element in walker:
            if event == "start":
                if inside is None and element.tag == "table" and _is_data(element):
                    self._flush()
                    rows, header = _table(element)
                    self._outline.table(rows, header=header)
                    inside = element
                if inside is None:
                    self._start(element)
            elif inside is None:
                self._end(element)
            elif inside is element:
                inside = None
            if event == "end" and inside is None and element is not root and element.tail:
                self._text.append(element.tail)
        self._flush()

    def _start(self, element: _Element) -> None:
        tag = element.tag
        if tag in _BLOCKS or tag in _HEADINGS:
            self._flush()
        if tag == "br":
            self._text.append(_BREAK)
        elif tag == "img":
            self._text.append(element.get("alt") or "")
        elif tag == "pre":
            self._pre += 1
        elif tag in ("ul", "ol"):
            self._lists.append(None if tag == "ul" else 1)
        elif tag == "li":
            self._marker = self._next_marker()
        if element.text:
            self._text.append(element.text)

    def _end(self, element: _Element) -> None:
        tag = element.tag
        if tag in _HEADINGS:
            text = "".join(self._text).replace(_BREAK, " ")
            self._text.clear()
            self._outline.heading(int(tag[1]), text)
        elif tag in _BLOCKS:
            self._flush()
            if tag == "pre":
                self._pre -= 1
            elif tag in ("ul", "ol"):
                self._lists.pop()
            elif tag == "li":
                self._marker = ""

    def _next_marker(self) -> str:
        if not self._lists:
            return "- "
        number = self._lists[-1]
        if number is not None:
            self._lists[-1] = number + 1
        return "  " * min(len(self._lists) - 1, 10) + ("- " if number is None else f"{number}. ")

    def _flush(self) -> None:
        text = "".join(self._text)
        self._text.clear()
        if self._pre:
            self._outline.block(text.replace(_BREAK, "\n"))
            return
        text = _collapse(text)
        if text:
            self._outline.block(self._marker + text, tight=bool(self._lists))
            self._marker = ""


def _collapse(text: str) -> str:
    lines = (line.strip() for line in _SPACES.sub(" ", text).split(_BREAK))
    return "\n".join(line for line in lines if line)


def _is_data(table: _Element) -> bool:
    """Tables that hold headings or other tables lay out a page."""
    inner = table.iter("table", *_HEADINGS)
    next(inner)
    return next(inner, None) is None


def _table(table: _Element) -> tuple[list[list[str]], bool]:
    """Rows of cell texts, cells that span columns or rows repeated; and whether the first row is a header."""
    rows = list(table.iter("tr"))
    first = [cell.tag for cell in _cells(rows[0])] if rows else []
    header = bool(first) and (all(tag == "th" for tag in first) or rows[0].getparent().tag == "thead")
    found: list[list[str]] = []
    below: dict[int, tuple[int, str]] = {}  # column -> rows still covered from above, their text
    for row in rows:
        cells: list[str] = []
        for cell in _cells(row):
            _take_from_above(cells, below)
            text = _collapse("".join(cell.itertext()).replace(_BREAK, " "))
            for _ in range(_span(cell, "colspan", _WIDEST)):
                if (height := _span(cell, "rowspan", _TALLEST)) > 1:
                    below[len(cells)] = (height - 1, text)
                cells.append(text)
        _take_from_above(cells, below)
        found.append(cells)
    caption = table.find("caption")
    if caption is not None and (text := _collapse("".join(caption.itertext()))):
        return [[text], *found] if not header else found, header
    return found, header


def _cells(row: _Element) -> Iterator[_Element]:
    return (cell for cell in row if cell.tag in ("td", "th"))


def _take_from_above(cells: list[str], below: dict[int, tuple[int, str]]) -> None:
    while len(cells) in below:
        column = len(cells)
        left, text = below.pop(column)
        if left > 1:
            below[column] = (left - 1, text)
        cells.append(text)


def _span(cell: _Element, name: str, most: int) -> int:
    value = cell.get(name) or "1"
    return max(1, min(int(value), most)) if value.isdecimal() and len(value) < 6 else 1
