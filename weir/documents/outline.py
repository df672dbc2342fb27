"""Headings and blocks of text, as a parser meets them, to sections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from weir.documents.cleaning import one_line
from weir.documents.types import Section

_LONGEST_NAME = 100  # of a column; it stands in front of each of its cells


class Outline:
    """Collects a document in reading order: `heading`, `block`, ..., then `sections`."""

    def __init__(self) -> None:
        self.title = ""
        """The first outermost heading (level 0 or 1)."""
        self._sections: list[Section] = []
        self._path: list[tuple[int, str]] = []
        self._blocks: list[str] = []
        self._silent = False  # the current heading has neither text nor sub-headings yet

    def heading(self, level: int, text: str) -> None:
        """A heading; 0 is a document's title, 1 its outermost headings. An empty one is ignored."""
        text = one_line(text)
        if not text:
            return
        self._close(deeper=bool(self._path) and level > self._path[-1][0])
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, text))
        self._silent = True
        if level <= 1 and not self.title:
            self.title = text

    def block(self, text: str, *, tight: bool = False) -> None:
        """A paragraph, list item, table or code block. `tight` ones stand on the line after the last one."""
        text = text.strip("\n").rstrip()
        if not text.strip():
            return
        if self._blocks:
            self._blocks.append("\n" if tight else "\n\n")
        self._blocks.append(text)

    def table(self, rows: Iterable[Sequence[str]], *, header: bool) -> None:
        """A table, one line a row: see `table_lines`."""
        self.block("\n".join(table_lines(rows, header=header)))

    def sections(self) -> tuple[Section, ...]:
        self._close(deeper=False)
        return tuple(self._sections)

    def _close(self, *, deeper: bool) -> None:
        text = "".join(self._blocks)
        if not text and self._silent and not deeper:
            text = self._path[-1][1]  # a heading with nothing under it is its own text, or it could not be found
        if text:
            self._sections.append(Section(len(self._sections), tuple(t for _, t in self._path), text))
        self._blocks.clear()
        self._silent = False


def table_lines(rows: Iterable[Sequence[str]], *, header: bool) -> list[str]:
    """One line a row, readable by itself: `Column: value; Column: value`.

    Without a header a row of two cells is `name: value` and any other `cell; cell`. Empty cells are left out.
    """
    rows = [[one_line(cell, 100_000) for cell in row] for row in rows]
    names: Sequence[str] = ()
    if header and len(rows) > 1:
        names, rows = [one_line(name, _LONGEST_NAME) for name in rows[0]], rows[1:]
    lines = []
    for row in rows:
        if header:
            parts = [f"{name}: {cell}" if name else cell for name, cell in zip(names, row, strict=False) if cell]
            lines.append("; ".join([*parts, *filter(None, row[len(names):])]))
        else:
            lines.append((": " if len(row) == 2 else "; ").join(cell for cell in row if cell))
    return [line for line in lines if line]
