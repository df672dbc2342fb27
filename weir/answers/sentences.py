"""A passage as sentences with their exact places: prose, lists, tables, code, questions with answers.

A newline ends a sentence where the layout says so (a list item, a table row, a heading, the end of a paragraph) and is
a blank where a line was merely wrapped. Full stops of abbreviations, initials and numbers end nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ABBREVIATIONS = frozenset([
    "mr", "mrs", "ms", "dr", "prof", "rev", "hon", "gen", "col", "capt", "lt", "sgt", "sr", "jr", "st", "mt",
    "no", "nos", "vol", "fig", "figs", "sec", "art", "para", "ch", "pp", "ed", "eds", "vs", "etc", "eg", "ie",
    "cf", "approx", "est", "dept", "inc", "ltd", "co", "corp", "plc", "llc", "bros", "univ", "jan", "feb",
    "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "mon", "tue", "wed", "thu", "fri",
    "sat", "sun", "al", "viz", "resp", "incl", "excl", "min", "max", "tel", "ext", "e.g", "i.e", "a.m", "p.m",
    "u.s", "u.k", "u.n", "e.u", "ph.d", "b.c", "a.d"])

_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？](?=.)")
_ITEM = re.compile(r"\s*(?:[-*+•–▪◦]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+\S")
_HEADING = re.compile(r"\s*#{1,6}\s")
_TABLE = re.compile(r"\s*\||[^|\n]+\|[^|\n]+")
_FENCE = re.compile(r"\s*(?:```|~~~)")
_CODE = re.compile(r"[;{}]\s*$|^\s*(?:def|class|import|from|return|const|let|var|fn|func|pub|if|for|while)\b.*[:{(]?$"
                   r"|^\s{4,}\S|^\s*(?://|#!|@\w)")
_RULE = re.compile(r"[\s|:=+*_–—-]*")
_FIELD = re.compile(r"\s*[\w /()-]{1,40}:\s")
_WRAPPED = 45
"""A line of at least this many characters without an end may go on in the next one; shorter ones are headings."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A stretch of a passage that can be quoted by itself."""

    start: int
    """Start in the passage, in characters."""
    end: int
    """End in the passage, in characters."""
    text: str
    """The stretch itself."""
    lead: str = ""
    """What stands before it and belongs to its meaning: a heading line, a question, the header of its table."""
    prose: bool = True
    """False for a row of a table or a line of code."""


def sentences(text: str) -> list[Sentence]:
    """The sentences of `text` in order. What is only a heading or a question becomes the lead of what follows."""
    found: list[Sentence] = []
    lead, header, in_fence, table = "", "", False, False
    for start, end in _blocks(text):
        block = text[start:end]
        if _FENCE.match(block):
            in_fence = not in_fence
            continue
        if _RULE.fullmatch(block):
            continue
        if not in_fence and _is_row(block):
            if not table:
                table, header = True, block.strip()
                continue
            found.append(Sentence(start, end, block, f"{lead} {header}".strip(), False))
            continue
        if table and not any(s.lead.endswith(header) for s in found[-1:]):
            # A table of one row was a line with a bar in it.
            at = text.rfind(header, 0, start)
            found.append(Sentence(at, at + len(header), header, lead, False))
        table = False
        if in_fence or _CODE.search(block):
            found.append(Sentence(start, end, block, lead, False))
            continue
        for a, b in _split(text, start, end):
            piece = text[a:b]
            if piece.rstrip("\"'”’)*_ ").endswith("?"):
                lead = piece
            elif _is_heading(piece, whole=(a, b) == (start, end)):
                lead = piece.strip("#*_: \t")
            else:
                found.append(Sentence(a, b, piece, lead))
    if table and header and not any(s.lead.endswith(header) for s in found[-1:]):
        at = text.rfind(header)
        found.append(Sentence(at, at + len(header), header, lead, False))
    if not found and text.strip():
        start = len(text) - len(text.lstrip())
        found.append(Sentence(start, len(text.rstrip()), text.strip()))
    return found


def _blocks(text: str) -> list[tuple[int, int]]:
    """Places of paragraphs, list items, table rows and lines of code, without the blanks around them."""
    blocks: list[tuple[int, int]] = []
    at, in_fence, last = 0, False, ""
    for line in text.splitlines(keepends=True):
        bare = line.rstrip()
        stop = at + len(bare)
        begin = at + len(line) - len(line.lstrip())
        if bare.strip():
            fence = bool(_FENCE.match(line))
            if blocks and last and not fence and not in_fence and _goes_on(last, bare):
                blocks[-1] = (blocks[-1][0], stop)
            else:
                blocks.append((begin, stop))
            in_fence ^= fence
            last = "" if fence else bare
        else:
            last = ""
        at += len(line)
    return blocks


def _goes_on(line: str, following: str) -> bool:
    """Whether `following` is the rest of a line that was wrapped."""
    if _ITEM.match(following) or _HEADING.match(line) or _HEADING.match(following):
        return False
    if _FIELD.match(following) or any(_is_row(x) or _CODE.search(x.strip()) for x in (line, following)):
        return False
    if re.search(r"[.!?:;…][\"'”’)\]*_]*$", line):
        return len(line) >= _WRAPPED and len(line) <= 100 and not line.endswith(":")
    return following.lstrip()[:1].islower() or _WRAPPED <= len(line) <= 120


def _is_row(line: str) -> bool:
    return "|" in line and bool(_TABLE.match(line)) and "||" not in line


def _is_heading(piece: str, *, whole: bool) -> bool:
    """A short line without an end, and without a figure or a value after a colon, says what follows it."""
    bare = piece.strip()
    if _HEADING.match(bare) or (bare.endswith(":") and len(bare) < 80):
        return True
    return whole and len(bare) < 60 and len(bare.split()) < 9 and not re.search(r"[.!?…:;,]|\d", bare) \
        and not _ITEM.match(piece)


def _split(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Places of the sentences of one block of prose."""
    lowercase = not any(c.isupper() for c in text[start:end])
    places, begin = [], start
    for match in _END.finditer(text, start, end):
        stop = match.end()
        rest = text[stop:end].lstrip()
        if not rest or not _ends(text[begin:match.start()], match.group(), rest, lowercase):
            continue
        places.append((begin, stop))
        begin = stop + len(text[stop:end]) - len(text[stop:end].lstrip())
    if begin < end:
        places.append((begin, end))
    return places


def _ends(before: str, mark: str, rest: str, lowercase: bool) -> bool:
    if rest[0].islower() and not lowercase and not mark.startswith(("!", "?")):
        return False
    if not mark.startswith("."):
        return True
    word = re.split(r"[\s(\[\"'“‘]", before)[-1].lower() if before else ""
    if word.rstrip(".") in ABBREVIATIONS:
        return False
    if len(word) == 1 and word.isalpha() and word != "i":
        return False
    return not (word.isdigit() and len(before) <= len(word) + 1)
