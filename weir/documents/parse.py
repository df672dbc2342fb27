"""Bytes of a document to its title and sections: one file of `formats/` for each media type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import cast

from weir.documents.cleaning import one_line
from weir.documents.media_types import MediaType, check_content, read_media_type, title_of_file
from weir.documents.types import ParsedDocument
from weir.errors import BadDocument

_FORMATS = {
    MediaType.MARKDOWN: "markdown",
    MediaType.TEXT: "text",
    MediaType.HTML: "html",
    MediaType.PDF: "pdf",
    MediaType.DOCX: "docx",
    MediaType.CSV: "csv",
    MediaType.QA: "qa",
    MediaType.PASSAGES: "passages",
}

Parser = Callable[[bytes, str, str], ParsedDocument]
"""`parse(content, title, charset)` of each module in `formats/`. `title` is the declared one; it and the one that comes
back may be empty."""


def parse(content: bytes, media_type: str, *, title: str = "", file_name: str = "") -> ParsedDocument:
    """A document's title and sections.

    The title is the declared one, else the content's own (first heading, `<title>`, document properties), else the file
    name without its suffix.

    Raises:
        BadDocument: whatever is wrong with the content; no other exception leaves this function.
    """
    kind, charset = read_media_type(media_type)
    check_content(content, kind)
    title = one_line(title)
    try:
        document = _parser(kind)(content, title, charset)
    except BadDocument:
        raise
    except (MemoryError, RecursionError) as e:
        raise BadDocument("hostile", f"this {_FORMATS[kind]} document is nested too deep or needs too much memory: "
                          "split or simplify it.") from e
    except Exception as e:  # what a format's library throws at broken input is not a closed set
        why = one_line(f"{type(e).__name__}: {e}", 200)
        raise BadDocument("unreadable", f"this {_FORMATS[kind]} document is damaged and cannot be read ({why}): "
                          "open it in the program that made it, save it again and publish that.") from e
    if not document.sections:
        raise BadDocument("empty", f"this {_FORMATS[kind]} document holds no text: publish it again once it has some.")
    return replace(document, title=title or document.title or title_of_file(one_line(file_name)))


def load_formats() -> None:
    """Imports every format's libraries, for a process that must not do so later."""
    for kind in _FORMATS:
        _parser(kind)


def _parser(kind: MediaType) -> Parser:
    # Imported when first needed: a process that only reads passages never loads the PDF library.
    return cast(Parser, import_module(f"weir.documents.formats.{_FORMATS[kind]}").parse)
