"""Rows of Milvus from a document's vectors."""

from __future__ import annotations

import numpy as np

from schemas.events import EmbeddingPart, EmbeddingRow
from tests.kit.examples import examples
from weir.retrieval.dense import ONLY_ROW, WHOLE_CHUNK, rows_of


def test_a_chunk_without_windows_has_one_row_that_says_so() -> None:
    rows = [EmbeddingRow(chunk=0, window=WHOLE_CHUNK), EmbeddingRow(chunk=0, window=0), EmbeddingRow(chunk=0, window=1),
            EmbeddingRow(chunk=1, window=WHOLE_CHUNK)]
    fields = {name: getattr(examples()["EmbeddingPart"], name) for name in EmbeddingPart.__slots__}
    part = EmbeddingPart(**{**fields, "rows": rows, "dimension": 2, "vectors": np.ones((4, 2), "<f2").tobytes()})
    made = list(rows_of(part))
    assert [row["window"] for row in made] == [WHOLE_CHUNK, 0, 1, ONLY_ROW]
    assert len({row["chunk"] for row in made}) == 2
