"""Answers to questions with several parts, each from what its part found, one after another."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from weir.models.extractive import NOT_FOUND
from weir.models.protocol import Asked, LanguageModel, NotInSources, Piece, Text
from weir.retrieval.pipeline import Found


async def unknown(text: str = NOT_FOUND) -> AsyncGenerator[Piece, None]:
    """That the sources do not hold the answer, or what is asked instead of giving one."""
    yield NotInSources()
    yield Text(text)


async def by_parts(model: LanguageModel, asked: Asked, parts: Sequence[Found]) -> AsyncGenerator[Piece, None]:
    """Asks a model that quotes part by part. The answer is not in the sources where that is so of every part.

    Args:
        asked: the whole question with the sources of all parts.
    """
    missing: list[str] = []
    said = False
    for part in parts:
        own = [source for source in asked.sources if source.chunk in part.chunks]
        pieces, absent = [], False
        async with aclosing(model.answer(replace(
                asked, question=part.question, standalone=part.question, sources=own, vector=part.vector))) as answer:
            async for piece in answer:
                absent |= isinstance(piece, NotInSources)
                pieces.append(piece)
        if absent:
            missing.append(part.question)
            continue
        if said:
            yield Text("\n\n")
        said = True
        for piece in pieces:
            yield piece
    if not said:
        async for piece in unknown():
            yield piece
    elif missing:
        told = " ".join(f"“{question}”" for question in missing)
        yield Text(f"\n\nThe sources do not say: {told}")
