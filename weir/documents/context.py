"""The context in front of a chunk when it is embedded and indexed: where in which document the chunk stands."""

from __future__ import annotations

from collections.abc import Sequence

from weir.documents.code import code_contexts
from weir.documents.types import ParsedDocument, Section


def place_of(document_id: str) -> str:
    """The place that a page's address names, `build > tool use > overview`; empty where the id is not an address."""
    if "://" not in document_id:
        return ""
    path = document_id.split("/docs/")[-1].split("/en/")[-1].split("://")[-1]
    return path.replace("/", " > ").replace("-", " ")


def contexts(document_id: str, document: ParsedDocument, spans: Sequence[tuple[int, int]]) -> list[str]:
    """One context a chunk.

    Program source: header comment, main types, open scopes; the title where there are none of them. A document whose id
    is an address: its path, then the title and headings. Any other: title > headings. A passage that came already cut
    counts its own title only.

    Args:
        spans: (ordinal of the section, offset in that section's text) of each chunk, in reading order.
    """
    if document.code:
        return _of_code(document, spans)
    place = place_of(document_id)
    if document.passage_ids is not None:
        titles = [" > ".join(section.heading_path) for section in document.sections]
        return [f"{place} > {titles[s]}" if place else titles[s] for s, _ in spans]
    return [" > ".join(_path(place, document.title, document.sections[s], offset)) for s, offset in spans]


def context_of_passage(document_id: str, title: str, heading_path: Sequence[str], text: str, offset: int) -> str:
    """The context of a passage that stands alone, from what a source says of it; that of program source and of
    passages that came already cut is only near.

    Args:
        offset: where the passage starts in its section, in characters.
    """
    return " > ".join(_path(place_of(document_id), title, Section(0, tuple(heading_path), text), offset))


def _of_code(document: ParsedDocument, spans: Sequence[tuple[int, int]]) -> list[str]:
    begins, length = [], 0
    for section in document.sections:
        begins.append(length)
        length += len(section.text) + 1
    source = "\n".join(section.text for section in document.sections)
    fallback = document.title if document.passage_ids is None else ""
    return [found or fallback for found in code_contexts(source, (begins[s] + offset for s, offset in spans))]


def _path(place: str, title: str, section: Section, offset: int) -> list[str]:
    """Title and headings without repetition: a title that is the first heading, a heading that begins the chunk."""
    headings = list(section.heading_path)
    if headings and offset == 0 and section.text.startswith(headings[-1]):
        headings.pop()
    if title and (not headings or headings[0] != title):
        headings.insert(0, title)
    return [place, *headings] if place else headings
