"""A document from bytes to chunks, in this process. `sandbox.py` does the same under limits on memory and time."""

from __future__ import annotations

from weir.documents.chunks import spans
from weir.documents.context import contexts
from weir.documents.parse import parse
from weir.documents.types import Chunk, Cut, CutDocument, Limits, ParsedDocument
from weir.documents.windows import windows
from weir.errors import BadDocument


def cut_document(
    content: bytes,
    media_type: str,
    *,
    document_id: str,
    cut: Cut,
    title: str = "",
    file_name: str = "",
    limits: Limits | None = None,
) -> CutDocument:
    """Title, sections and chunks of a document under one chunking recipe. The same input gives the same output.

    Args:
        document_id: the publisher's id; where it is a page's address, the chunks' contexts name its path.
        title: the declared title; empty takes the content's own.
        limits: only those on bytes and chunks apply here.

    Raises:
        BadDocument: the content cannot be read or is too large.
    """
    limits = limits or Limits()
    check_size(content, limits)
    return cut_parsed(parse(content, media_type, title=title, file_name=file_name), document_id, cut, limits)


def check_size(content: bytes, limits: Limits) -> None:
    """Raises BadDocument `oversized` above the limit on bytes."""
    if len(content) > limits.max_bytes:
        raise BadDocument("oversized", f"the document has {len(content):,} bytes, the limit is {limits.max_bytes:,}: "
                          "split it, or raise WEIR_MAX_DOCUMENT_BYTES.")


def cut_parsed(document: ParsedDocument, document_id: str, cut: Cut, limits: Limits) -> CutDocument:
    """Chunks of a parsed document. Raises BadDocument `oversized` when there are too many."""
    places: list[tuple[int, int, int]] = []  # section, start, end
    for section in document.sections:
        if document.passage_ids is not None:
            places.append((section.ordinal, 0, len(section.text)))
        else:
            places += ((section.ordinal, *span) for span in spans(section.text, cut.chunk_chars, code=document.code))
        if len(places) > limits.max_chunks:
            raise BadDocument("oversized", f"the document has more than {limits.max_chunks:,} chunks: split it, or "
                              "raise WEIR_MAX_DOCUMENT_CHUNKS.")
    found = contexts(document_id, document, [(section, start) for section, start, _ in places])
    chunks = []
    for ordinal, ((number, start, end), context) in enumerate(zip(places, found, strict=True)):
        text = document.sections[number].text[start:end]
        chunks.append(Chunk(
            ordinal, number, text, context, start, end,
            passage_id=document.passage_ids[number] if document.passage_ids is not None else None,
            windows=windows(text, cut.window_chars, cut.window_stride) if cut.windows else (),
        ))
    return CutDocument(document.title, document.sections, tuple(chunks))
