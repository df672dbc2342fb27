"""Questions with their answers: a JSON list, or one JSON object a line, of `{"question", "answer"}`.

Each pair is a section of its own, so that a pair which fits into a chunk is exactly one. The question is the section's
heading: the later chunks of a long answer still carry it in their context.
"""

from __future__ import annotations

from weir.documents.cleaning import clean, one_line
from weir.documents.formats.json_shape import load, text_of
from weir.documents.types import ParsedDocument, Section
from weir.errors import BadDocument


def parse(content: bytes, title: str, charset: str) -> ParsedDocument:
    sections = []
    for number, (where, pair) in enumerate(_pairs(content)):
        question = one_line(text_of(pair, "question", where), 4000)
        answer = clean(text_of(pair, "answer", where)).strip()
        if not question or not answer:
            raise BadDocument("unreadable", f"{where}: question or answer is empty: fill it in or leave the pair out.")
        sections.append(Section(number, (question,), f"{question}\n{answer}"))
    return ParsedDocument(title, tuple(sections))


def _pairs(content: bytes) -> list[tuple[str, object]]:
    """(what to call it in a message, the pair) of each pair."""
    if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        lines = content.splitlines()
        return [(f"line {n}", _line(n, line)) for n, line in enumerate(lines, 1) if line.strip()]
    value = load(content)
    if not isinstance(value, list):
        raise BadDocument("unreadable", 'pairs are published as [{"question": ..., "answer": ...}, ...] or one such '
                          "object a line: bring them into that shape.")
    return [(f"pair {n}", pair) for n, pair in enumerate(value, 1)]


def _line(number: int, line: bytes) -> object:
    try:
        return load(line)
    except BadDocument as e:
        raise BadDocument(e.reason, f"line {number}: {e.message}") from e
