"""Documents that the publisher has already cut: `{"title"?, "passages": [{"id", "text", "title"?}, ...]}`.

The list's order is the reading order. Each passage is one section and one chunk, whatever its length, and keeps its id.
A passage that names a title (an empty one too) has that title; one that does not has the document's.
"""

from __future__ import annotations

from weir.documents.cleaning import one_line, without_controls
from weir.documents.code import looks_like_code
from weir.documents.formats.json_shape import load, text_of
from weir.documents.types import ParsedDocument, Section
from weir.errors import BadDocument

_LONGEST_ID = 512


def parse(content: bytes, title: str, charset: str) -> ParsedDocument:
    value = load(content)
    passages = value.get("passages") if isinstance(value, dict) else None
    if not isinstance(passages, list):
        raise BadDocument("unreadable", 'passages are published as {"passages": [{"id": ..., "text": ...}, ...]}: '
                          "bring them into that shape.")
    title = title or one_line(text_of(value, "title", "the document", optional=True))
    sections, ids = [], dict[str, None]()
    for ordinal, item in enumerate(passages):
        where = f"passage {ordinal + 1}"
        text = without_controls(text_of(item, "text", where))
        own = without_controls(text_of(item, "title", where, optional=True)) if "title" in item else title
        sections.append(Section(ordinal, (own,) if own else (), text))
        ids[_id(item, where, ids)] = None
    if not any(section.text.strip() for section in sections):
        return ParsedDocument(title, ())
    code = looks_like_code("\n".join(section.text for section in sections))
    return ParsedDocument(title, tuple(sections), code, tuple(ids))


def _id(item: object, where: str, taken: dict[str, None]) -> str:
    passage_id = text_of(item, "id", where)
    if not passage_id or len(passage_id) > _LONGEST_ID:
        raise BadDocument("unreadable", f"{where}: `id` must have 1 to {_LONGEST_ID} characters: correct it.")
    if passage_id in taken:
        raise BadDocument("unreadable", f"{where}: an earlier passage has the id {passage_id!r}: give each its own.")
    return passage_id
