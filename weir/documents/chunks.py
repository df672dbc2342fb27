"""Sections to chunks: at most so many characters each, cut where a reader would cut.

A text is divided at its strongest breaks first, and a piece that is still too long at the next weaker ones:

    prose   paragraph > line (a table row, a list item) > sentence > word > character
    code    definition > blank line > line > word > character

Neighbouring pieces are then put together again as long as they fit. So a table row or a line of code is whole
unless it alone is longer than a chunk.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from weir.documents.code import definitions

_PARAGRAPH = re.compile(r"\n(?:[^\S\n]*\n)+")
_LINE = re.compile(r"\n")
_SENTENCE = re.compile(r"[.!?…][\"'”’)\]]?\s|[。！？]")
_WORD = re.compile(r"\s+")

_PROSE = (_PARAGRAPH, _LINE, _SENTENCE, _WORD)
_CODE = (_PARAGRAPH, _LINE, _WORD)

_JOINER = "\u200d"
_SKIN_TONE = re.compile("[\U0001f3fb-\U0001f3ff]")
_FLAG_LETTER = re.compile("[\U0001f1e6-\U0001f1ff]")
_LONGEST_GRAPHEME = 32

Span = tuple[int, int]


def spans(text: str, limit: int = 800, *, code: bool = False) -> list[Span]:
    """(start, end) of each chunk of a section's text: in order, not overlapping, none longer than `limit` characters.

    What lies between two chunks is white space. A chunk that begins a line keeps its indentation.
    """
    breaks = _CODE if code else _PROSE
    pieces: Iterator[Span]
    if code:
        pieces = (p for whole in _definitions(text) for p in _pieces(text, whole, limit, breaks))
    else:
        pieces = _pieces(text, (0, len(text)), limit, breaks)
    found: list[Span] = []
    for piece in pieces:
        start, end = _trim(text, piece, limit)
        if start == end:
            continue
        if found and end - found[-1][0] <= limit:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _pieces(text: str, piece: Span, limit: int, breaks: Sequence[re.Pattern[str]]) -> Iterator[Span]:
    start, end = _trim(text, piece, limit)
    if end - start <= limit:
        yield start, end
    elif breaks:
        for part in _divide(text, (start, end), breaks[0]):
            yield from _pieces(text, part, limit, breaks[1:])
    else:
        yield from _by_character(text, (start, end), limit)


def _divide(text: str, piece: Span, separator: re.Pattern[str]) -> Iterator[Span]:
    start, end = piece
    for match in separator.finditer(text, start, end):
        yield start, match.end()
        start = match.end()
    if start < end:
        yield start, end


def _definitions(text: str) -> Iterator[Span]:
    """The source divided in front of its outermost definitions, each with the comments and decorators above it."""
    lines = text.split("\n")
    defined = definitions(lines)
    outermost = min((d.indent for d in defined), default=0)
    cuts = {d.line for d in defined if d.indent == outermost}
    start = at = attached = 0  # attached: where the run of comments and decorators above this line begins
    for number, line in enumerate(lines):
        if number in cuts and attached > start:
            yield start, attached
            start = attached
        at += len(line) + 1
        if not line.lstrip().startswith(("#", "//", "/*", "*", "@")):
            attached = at
    yield start, len(text)


def _by_character(text: str, piece: Span, limit: int) -> Iterator[Span]:
    """A run without white space, cut so that accents, emoji sequences and flags stay whole."""
    start, end = piece
    while end - start > limit:
        cut = start + limit
        while cut > start + max(1, limit - _LONGEST_GRAPHEME) and _continues(text, start, cut):
            cut -= 1
        yield start, cut
        start = cut
    yield start, end


def _continues(text: str, start: int, at: int) -> bool:
    """Whether the character at `at` belongs to the one before it. A flag is two letters of their own kind."""
    here = text[at]
    if _FLAG_LETTER.match(here):
        letters = 0
        while at - letters > start and _FLAG_LETTER.match(text[at - letters - 1]):
            letters += 1
        return letters % 2 == 1
    return _JOINER in (here, text[at - 1]) or bool(_SKIN_TONE.match(here)) or unicodedata.category(here).startswith("M")


def _trim(text: str, piece: Span, limit: int) -> Span:
    """The piece without white space at its ends, but with its first line's indentation if that still fits."""
    start, end = piece
    while end > start and text[end - 1].isspace():
        end -= 1
    first = start
    while first < end and text[first].isspace():
        first += 1
    line = text.rfind("\n", start, first) + 1 or start
    begins_line = line == 0 or text[line - 1] == "\n"
    return (line if begins_line and end - line <= limit else first), end
