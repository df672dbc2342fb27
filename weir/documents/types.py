"""The shapes that a document takes on its way from bytes to chunks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a document under one heading, in reading order."""

    ordinal: int
    heading_path: tuple[str, ...]
    """Headings from the outermost to the section's own; empty in front of the first heading."""
    text: str


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a chunk of about 350 characters, embedded by itself; windows overlap."""

    ordinal: int
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is embedded, indexed and cited."""

    ordinal: int
    section: int
    """Ordinal of the section."""
    text: str
    context: str
    """What stands in front of the text when it is embedded and indexed: title, headings, scopes; may be empty."""
    start: int
    end: int
    """`sections[section].text[start:end] == text`, in characters."""
    passage_id: str | None
    """The publisher's own id, where the document came already cut."""
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """What a format's parser gives."""

    title: str
    sections: tuple[Section, ...]
    code: bool = False
    """The text is program source: chunks are cut at definitions and carry the scopes they stand in."""
    passage_ids: tuple[str, ...] | None = None
    """One per section where the publisher has cut the document: each section is a chunk as it is."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A chunking recipe. Lengths are in characters."""

    name: str
    chunk_chars: int = 800
    windows: bool = True
    window_chars: int = 350
    window_stride: int = 230


@dataclass(frozen=True, slots=True)
class CutDocument:
    title: str
    sections: tuple[Section, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may cost."""

    max_bytes: int = 32 * 2**20
    max_chunks: int = 50_000
    seconds: float = 60.0
    """Wall time in a child process, from sending the document to having its chunks."""
    memory_bytes: int = 1536 * 2**20
    """Address space of a child process, its libraries included."""


def embedded_text(context: str, text: str) -> str:
    """The text that is embedded and indexed for a chunk or a window."""
    return f"{context}\n{text}" if context else text
