"""Markdown (CommonMark with tables): headings, and the text that a reader of the rendered page would see."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from weir.documents.cleaning import decode
from weir.documents.formats.html import add_html
from weir.documents.outline import Outline
from weir.documents.types import ParsedDocument
from weir.errors import BadDocument

DEEPEST = 100
"""Levels of nesting of quotes and lists."""

_FRONT_MATTER = re.compile(r"---[ \t]*\n(?=[\w\"'-]+[ \t]*:)(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title[ \t]*:[ \t]*(.+)$", re.MULTILINE | re.IGNORECASE)


def parse(content: bytes, title: str, charset: str) -> ParsedDocument:
    text = decode(content, charset)
    front = _FRONT_MATTER.match(text)
    named = _FRONT_TITLE.search(front[1]) if front else None
    parser = MarkdownIt("commonmark", {"maxNesting": DEEPEST}).enable(["table", "strikethrough"])
    tokens = parser.parse(text[front.end():] if front else text)
    if any(token.level >= DEEPEST - 1 for token in tokens):
        raise BadDocument("hostile", f"this Markdown is nested deeper than {DEEPEST} levels: flatten it.")
    outline = Outline()
    _walk(tokens, outline)
    own_title = named[1].strip().strip("\"'") if named else outline.title
    return ParsedDocument(own_title, outline.sections())


def _walk(tokens: Sequence[Token], outline: Outline) -> None:
    lists = 0
    marker = ""
    rows: list[list[str]] | None = None
    heading = 0
    for token in tokens:
        match token.type:
            case "heading_open":
                heading = int(token.tag[1])
            case "bullet_list_open" | "ordered_list_open":
                lists += 1
            case "bullet_list_close" | "ordered_list_close":
                lists -= 1
            case "list_item_open":
                marker = "  " * min(lists - 1, 10) + (f"{token.info}{token.markup} " if token.info else "- ")
            case "list_item_close":
                marker = ""
            case "table_open":
                rows = []
            case "tr_open" if rows is not None:
                rows.append([])
            case "table_close" if rows is not None:
                outline.table(rows, header=True)
                rows = None
            case "inline":
                text = _inline(token)
                if heading:
                    outline.heading(heading, text)
                    heading = 0
                elif rows:
                    rows[-1].append(text)
                elif text:
                    outline.block(marker + text, tight=lists > 0)
                    marker = ""
            case "fence" | "code_block":
                outline.block(token.content)
            case "html_block":
                add_html(outline, token.content)


def _inline(token: Token) -> str:
    parts = []
    for child in token.children or ():
        match child.type:
            case "text" | "code_inline" | "image":
                parts.append(child.content)
            case "softbreak":
                parts.append(" ")
            case "hardbreak":
                parts.append("\n")
            case "html_inline" if child.content.lower().startswith("<br"):
                parts.append("\n")
    return "".join(parts).strip()
