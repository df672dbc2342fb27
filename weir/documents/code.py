"""Program source: telling it from prose, its definitions, and the scopes that are open at a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_CODE_LINE = re.compile(r"[;{}]\s*$|^\s*(?:def|fn|func|class|import|use|return|let|const)\b")
_CODE_SHARE = 0.25

_DEFINITION = re.compile(
    r"^\s*(?:(?:pub(?:\([^)]*\))?|export|static|async|unsafe|public|private|default)\s+)*"
    r"(struct|enum|trait|class|interface|fn|func|def|function|mod|type|impl)\b\s*(?:<[^>]*>\s*)?(.*)$"
)
_COMMENT = re.compile(r'^(//!|///|//|#(?!\[|include|define|!)|/\*\*?|\*|""")')
_COMMENT_MARK = re.compile(r'^(//!|///|//|#|/\*\*?|\*/?|""")')
_LICENCE = re.compile(r"copyright|licen[sc]e|spdx|###", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_]\w*")
_IMPL_END = re.compile(r"\{|\bwhere\b")
_GENERICS = re.compile(r"<[^<>]*>")

_TYPES = frozenset({"struct", "class", "trait", "enum", "interface"})
_NOT_SCOPES = frozenset({"struct", "enum", "interface", "type"})
_HEADER_LINES, _HEADER_CHARS, _MAIN_NAMES, _NAME_CHARS, _SCOPE_CHARS = 6, 160, 5, 200, 120


class Definition(NamedTuple):
    line: int
    indent: int
    kind: str
    name: str


def looks_like_code(text: str) -> bool:
    """Whether more than a quarter of the lines end or begin as lines of code do. Counted over a whole document."""
    lines = [line for line in text.split("\n") if line.strip()]
    return bool(lines) and sum(bool(_CODE_LINE.search(line)) for line in lines) / len(lines) > _CODE_SHARE


def definitions(lines: Iterable[str]) -> list[Definition]:
    """Types, functions, modules and implementations, in the order of their lines."""
    found = []
    for number, line in enumerate(lines):
        match = _DEFINITION.match(line)
        if not match or not match[2]:
            continue
        if match[1] == "impl":
            head = _IMPL_END.split(match[2], maxsplit=1)[0]
            name = _GENERICS.sub("", _GENERICS.sub("", head)).strip()
        else:
            start = _NAME.match(match[2].strip())
            name = start[0] if start else ""
        if name:
            found.append(Definition(number, len(line) - len(line.lstrip()), match[1], name[:_NAME_CHARS]))
    return found


def code_contexts(source: str, starts: Iterable[int]) -> Iterator[str]:
    """The context of each chunk: the file's header comment, its main types, the scopes open where the chunk starts.

    Args:
        source: the whole file.
        starts: character offset in `source` of each chunk, ascending. The file is read once however many there are.
    """
    lines = source.split("\n")
    defined = definitions(lines)
    about = [part for part in (_header(lines), _main_names(defined)) if part]
    scopes: list[Definition] = []  # indents strictly ascend
    passed = at = line = 0
    for start in starts:
        line += source.count("\n", at, start)
        at = start
        while passed < len(defined) and defined[passed].line < line:
            definition = defined[passed]
            passed += 1
            if definition.kind not in _NOT_SCOPES:
                while scopes and scopes[-1].indent >= definition.indent:
                    scopes.pop()
                scopes.append(definition)
        # An entry is at least five characters long, so those after the first _SCOPE_CHARS cannot be seen.
        place = " / ".join(f"{scope.kind} {scope.name}" for scope in scopes[:_SCOPE_CHARS])[:_SCOPE_CHARS]
        yield ". ".join([*about, "in " + place] if place else about)


def _header(lines: list[str]) -> str:
    header = ""
    for line in lines[:_HEADER_LINES]:
        stripped = line.strip()
        if _COMMENT.match(stripped):
            header += " " + _COMMENT_MARK.sub("", stripped).strip()
        elif stripped:
            break
    return "" if _LICENCE.search(header) else header.strip()[:_HEADER_CHARS]


def _main_names(defined: list[Definition]) -> str:
    names = [d.name for d in defined if d.kind in _TYPES and d.indent <= 1]
    names = names or [d.name for d in defined if d.indent <= 1 and d.kind != "impl"]
    return "defines " + ", ".join(list(dict.fromkeys(names))[:_MAIN_NAMES]) if names else ""
