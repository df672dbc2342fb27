"""Plain text and program source.

Source is one section as it stands. In prose, underlined lines are headings and a hard-wrapped paragraph is one line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from weir.documents.cleaning import decode
from weir.documents.code import looks_like_code
from weir.documents.outline import Outline
from weir.documents.types import ParsedDocument, Section

_UNDERLINE = re.compile(r"(={3,}|-{3,}|~{3,}|\*{3,}|\^{3,})$")
_LIST_ITEM = re.compile(r"\w{1,3}[.)]\s")
_WRAPPED_WIDTH = range(50, 121)
_PARAGRAPH_END = re.compile(r"\n(?:[^\S\n]*\n)+")


def parse(content: bytes, title: str, charset: str) -> ParsedDocument:
    text = decode(content, charset)
    if not text.strip():
        return ParsedDocument(title, ())
    if looks_like_code(text):
        return ParsedDocument(title, (Section(0, (), text),), code=True)
    outline = Outline()
    underlines: list[str] = []  # kinds in the order of their first use: the first is the outermost
    for paragraph in _PARAGRAPH_END.split(text):
        lines = paragraph.rstrip().split("\n")
        while len(lines) >= 2 and _is_heading(lines[0], lines[1]):
            kind = lines[1].strip()[0]
            if kind not in underlines:
                underlines.append(kind)
            outline.heading(underlines.index(kind) + 1, lines[0])
            lines = lines[2:]
        outline.block((" " if _hard_wrapped(lines) else "\n").join(lines))
    return ParsedDocument(outline.title, outline.sections())


def _is_heading(line: str, below: str) -> bool:
    text, underline = line.strip(), below.strip()
    return bool(text and _UNDERLINE.match(underline)) and abs(len(underline) - len(text)) <= 3 and text[0].isalnum()


def _hard_wrapped(lines: Sequence[str]) -> bool:
    """Whether each line ends where the next one's first word would not have fitted, as an editor wraps them."""
    width = max((len(line) for line in lines), default=0)
    return width in _WRAPPED_WIDTH and all(
        following[:1].isalnum()
        and not _LIST_ITEM.match(following)
        and len(line) + 1 + len(following.split(maxsplit=1)[0]) > width
        for line, following in pairwise(lines)
    )
