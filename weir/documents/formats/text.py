"""Plain text and program source: one section as it stands."""

from __future__ import annotations

from weir.documents.cleaning import decode
from weir.documents.code import looks_like_code
from weir.documents.types import ParsedDocument, Section


def parse(content: bytes, title: str, charset: str) -> ParsedDocument:
    text = decode(content, charset)
    if not text.strip():
        return ParsedDocument(title, ())
    return ParsedDocument(title, (Section(0, (), text),), code=looks_like_code(text))
