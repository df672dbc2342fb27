"""Parts of different index versions that meet on the way into a store are refused, each with what does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from consumers import keywords, vectors
from schemas.events import Cut, DocumentCut, DocumentDeleted, EmbeddingPart, EmbeddingRow, IndexVersion
from weir.errors import BadRecord, Mismatch, Unavailable
from weir.kafka.handlers import GiveUp, Retry, verdict
from weir.retrieval.embed import WrongRevision
from weir.retrieval.guard import Guard

VERSION = IndexVersion(name="v2", cut=Cut(name="c800w"), model="m", revision="r", dimension=4, collection="weir_v2",
                       keyword_index="weir-chunks-v1", created_at=0)
PART = EmbeddingPart(
    workspace="w", document="d", version=1, index_version="v2", model="m", revision="r", part=0, parts=1, first_row=0,
    total_rows=1, total_chunks=1, rows=[EmbeddingRow(chunk=0, window=-1)], dimension=4,
    vectors=np.ones(4, "<f2").tobytes())
CUT = DocumentCut(workspace="w", document="d", version=1, cut="c800w", media_type="text/plain", published_at=0,
                  sections=[], chunks=[])


def test_a_part_of_the_version_is_taken() -> None:
    assert vectors.arrival(PART, VERSION, "v2").payload is PART
    assert vectors.arrival(DocumentDeleted(workspace="w", document="d", version=2), VERSION, "v2").payload is None


@pytest.mark.parametrize("other", [
    {"model": "n"}, {"revision": "s"}, {"dimension": 8, "vectors": b"\0" * 16}, {"index_version": "v1"}],
    ids=lambda o: next(iter(o)))
def test_vectors_of_another_version_are_refused(other: dict[str, Any]) -> None:
    with pytest.raises(BadRecord, match="never meet"):
        vectors.arrival(replace(PART, **other), VERSION, "v2")


def test_vectors_of_a_wrong_length_are_refused() -> None:
    with pytest.raises(BadRecord, match="7 bytes"):
        vectors.arrival(replace(PART, vectors=b"1234567"), VERSION, "v2")


def test_chunks_of_another_recipe_are_refused() -> None:
    assert keywords.arrival(CUT, VERSION).payload is CUT
    with pytest.raises(BadRecord, match="recipe c400"):
        keywords.arrival(replace(CUT, cut="c400"), VERSION)


@pytest.mark.parametrize("error", [Mismatch("strangers"), WrongRevision("other weights")])
def test_a_mismatch_is_no_documents_fault(error: Mismatch) -> None:
    """All wait until the right part is back; none becomes a dead letter."""
    assert isinstance(verdict(error, 50, 3600.0), Retry)
    assert isinstance(verdict(BadRecord("bad"), 1, 0.0), GiveUp)


async def test_a_question_does_not_go_on_without_a_store_that_is_the_wrong_one() -> None:
    guard = Guard()

    async def wrong() -> None:
        raise WrongRevision("other weights")

    async def away() -> None:
        raise Unavailable("away")

    assert isinstance(await guard.tried("vectors", away), Unavailable)
    with pytest.raises(WrongRevision):
        await Guard().tried("vectors", wrong)
