"""Vectors in Milvus: one a chunk, and one a window where the cutting recipe has windows.

    dense(chunk) = (1 - w) cosine(question, chunk) + w max cosine(question, its windows)

A chunk without windows has one row, which counts as both.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from pymilvus import DataType, MilvusClient

from schemas import keys
from schemas.events import EmbeddingPart
from weir.access import milvus_metadata, token
from weir.errors import Mismatch
from weir.stores import Milvus

M, EF_CONSTRUCTION = 16, 200
PARTITIONS = 16
"""Of the partition key, the workspace: a search reads the one partition of its workspace."""
MAX_GROUPS = 1024
"""Most groups of one document."""
WRITE_ROWS = 1000
"""Rows of one write."""
WRITE_TIMEOUT, SEARCH_TIMEOUT, CREATE_TIMEOUT = 60.0, 5.0, 120.0
"""Seconds."""
WHOLE_CHUNK, ONLY_ROW = -1, -2
"""`window` of the row that stands for a whole chunk; of one that has no windows besides."""


@dataclass(slots=True)
class ChunkScore:
    """Cosines of one chunk, None where no row of that kind was among those found."""

    document: str
    """Token of the document (`weir.access.token`)."""
    version: int
    document_chunks: int
    chunk: float | None = None
    window: float | None = None
    """The best of its windows."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found."""

    chunks: dict[str, ChunkScore]
    exhausted: bool
    """All that passed the filter was found: no chunk besides these exists."""


class VectorCollection:
    """The collection of one index version.

    Every method raises Unavailable where Milvus does not answer or the collection is not loaded, and those that write
    or search raise Mismatch where its vectors are of another model.

    Args:
        weights: model and revision of its vectors; empty leaves that unasked.
    """

    def __init__(self, milvus: Milvus, name: str, dimension: int, weights: str = "") -> None:
        self.name, self.dimension, self.weights = name, dimension, weights
        self._milvus = milvus
        self._known = False
        """Whether it was found to be the one that is meant."""

    # -- writing --------------------------------------------------------------------------------------------------

    async def create(self) -> None:
        """Creates the collection and its index where they do not exist, and loads it."""
        await self._milvus.run(f"creating {self.name}", self._create)

    def _create(self, client: MilvusClient) -> None:
        if not client.has_collection(self.name, timeout=CREATE_TIMEOUT):
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False, description=self.weights)
            schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=32)
            schema.add_field("workspace", DataType.VARCHAR, max_length=32, is_partition_key=True)
            for name in ("chunk", "document"):
                schema.add_field(name, DataType.VARCHAR, max_length=32)
            for name in ("window", "version", "document_chunks", "clearance"):
                schema.add_field(name, DataType.INT64)
            schema.add_field("groups", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=32,
                             max_capacity=MAX_GROUPS)
            schema.add_field("metadata", DataType.JSON)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dimension)
            index = client.prepare_index_params()
            index.add_index("vector", index_type="HNSW", metric_type="COSINE",
                            params={"M": M, "efConstruction": EF_CONSTRUCTION})
            client.create_collection(self.name, schema=schema, index_params=index, num_partitions=PARTITIONS,
                                     consistency_level="Bounded", timeout=CREATE_TIMEOUT)
        client.load_collection(self.name, timeout=CREATE_TIMEOUT)
        self._meant(client)

    async def check(self) -> None:
        """Raises Mismatch where the collection was made for another model."""
        await self._milvus.run(f"looking at {self.name}", self._meant)

    def _meant(self, client: MilvusClient) -> None:
        if self._known or not self.weights:
            return
        found = client.describe_collection(self.name, timeout=WRITE_TIMEOUT)
        vector = next(f for f in found["fields"] if f["name"] == "vector")
        # One that an older Weir made says nothing of itself; its dimension still speaks.
        said, dimension = found["description"] or self.weights, int(vector["params"]["dim"])
        if (said, dimension) != (self.weights, self.dimension):
            raise Mismatch(f"the collection {self.name} holds vectors of {said} with {dimension} dimensions; the index "
                           f"version that names it has {self.weights} with {self.dimension}. No question is answered "
                           "from it: correct the index (`weir index rollback`), or build a new version.")
        self._known = True

    async def drop(self) -> None:
        """Deletes the collection; harmless where it does not exist."""
        await self._milvus.run(f"deleting {self.name}",
                               lambda client: client.drop_collection(self.name, timeout=CREATE_TIMEOUT))

    async def upsert(self, rows: Sequence[dict[str, Any]]) -> None:
        """Writes rows as `rows_of` makes them. Writing a row again leaves one of it."""
        for at in range(0, len(rows), WRITE_ROWS):
            part = list(rows[at:at + WRITE_ROWS])
            await self._milvus.run(f"writing to {self.name}", partial(self._replace, part))

    def _replace(self, rows: list[dict[str, Any]], client: MilvusClient) -> None:
        # Not `upsert`: before 2.3.10 it chose partitions by the wrong field, so that a search of a workspace missed
        # most of its rows (milvus-io/milvus pull request 30772).
        self._meant(client)
        client.delete(self.name, ids=[row["id"] for row in rows], timeout=WRITE_TIMEOUT)
        client.insert(self.name, rows, timeout=WRITE_TIMEOUT)

    async def delete(self, ids: Sequence[str]) -> None:
        """Deletes rows by id; harmless where they do not exist."""
        for at in range(0, len(ids), WRITE_ROWS):
            part = list(ids[at:at + WRITE_ROWS])
            await self._milvus.run(f"deleting from {self.name}", partial(self._delete, part))

    def _delete(self, ids: list[str], client: MilvusClient) -> None:
        client.delete(self.name, ids=ids, timeout=WRITE_TIMEOUT)

    async def make_visible(self) -> None:
        """Returns when searches find everything that was written before this call: 200 ms or so."""
        # A strong read waits until the query nodes have reached the present; a bounded search after it starts there.
        await self._milvus.run(f"waiting for {self.name}", lambda client: client.query(
            self.name, filter='id == ""', output_fields=["id"], consistency_level="Strong", timeout=WRITE_TIMEOUT))

    async def count(self, workspace: str | None = None, document: str | None = None) -> int:
        """Rows, those written a moment ago included. For tests and operators: it waits for the writes, 200 ms or so."""
        parts = [f'{name} == "{token(value)}"' for name, value in (("workspace", workspace), ("document", document))
                 if value is not None]
        reply = await self._milvus.run(f"counting in {self.name}", lambda client: client.query(
            self.name, filter=" and ".join(parts), output_fields=["count(*)"], consistency_level="Strong",
            timeout=WRITE_TIMEOUT))
        return int(reply[0]["count(*)"])

    # -- asking ---------------------------------------------------------------------------------------------------

    async def search(self, vector: npt.NDArray[np.float32], filter: str, chunks: int, windows: int) -> Found:
        """The best chunks as a whole and those with the best windows, and their cosines as far as these tell them.

        Apart, because a long chunk has twenty windows: the best rows of all would be those of a few chunks. Rows
        written within the last moments may be missing.

        Args:
            vector: (dimension,) of length 1.
            filter: from `weir.access.milvus_filter`.
            chunks, windows: most of each.
        """
        whole, found = await self._both(vector, filter, chunks, windows)
        return Found(found, exhausted=whole < chunks)

    async def scores(self, vector: npt.NDArray[np.float32], chunks: Sequence[str], filter: str, rows: int
                     ) -> dict[str, ChunkScore]:
        """Both cosines of these chunks; one that is not there, or not for this person, is left out.

        Args:
            rows: most windows to read; the best of all these chunks come.
        """
        if not chunks:
            return {}
        ids = ", ".join(f'"{int(chunk, 16):032x}"' for chunk in chunks)
        these = f"chunk in [{ids}] and {filter}"
        return (await self._both(vector, these, len(chunks), rows))[1]

    async def _both(self, vector: npt.NDArray[np.float32], filter: str, chunks: int, windows: int
                    ) -> tuple[int, dict[str, ChunkScore]]:
        """How many whole chunks were found, and all that was found by chunk."""
        (whole, found), (_, by_window) = await asyncio.gather(
            self._rows(vector, f"{filter} and window <= {WHOLE_CHUNK}", chunks),
            self._rows(vector, f"{filter} and window > {WHOLE_CHUNK}", windows))
        for chunk, score in by_window.items():
            found.setdefault(chunk, score).window = score.window
        return whole, found

    async def _rows(self, vector: npt.NDArray[np.float32], filter: str, rows: int
                    ) -> tuple[int, dict[str, ChunkScore]]:
        def search(client: MilvusClient) -> list[list[dict[str, Any]]]:
            self._meant(client)
            found: list[list[dict[str, Any]]] = client.search(
                self.name, data=[vector], filter=filter, limit=rows, timeout=SEARCH_TIMEOUT, anns_field="vector",
                output_fields=["chunk", "window", "document", "version", "document_chunks"],
                search_params={"metric_type": "COSINE", "params": {"ef": rows}}, consistency_level="Bounded")
            return found

        reply = await self._milvus.run("searching vectors", search)
        chunks: dict[str, ChunkScore] = {}
        for hit in reply[0]:
            row, cosine = hit["entity"], float(hit["distance"])
            score = chunks.get(row["chunk"])
            if score is None:
                score = chunks[row["chunk"]] = ChunkScore(row["document"], row["version"], row["document_chunks"])
            if row["window"] == ONLY_ROW:
                score.chunk = score.window = cosine
            elif row["window"] == WHOLE_CHUNK:
                score.chunk = cosine
            elif score.window is None or cosine > score.window:
                score.window = cosine
        return len(reply[0]), chunks


def weights(model: str, revision: str) -> str:
    """What a collection says of the model of its vectors."""
    return f"{model}@{revision}"


def rows_of(part: EmbeddingPart) -> Iterator[dict[str, Any]]:
    """The rows that one part of a document's vectors makes."""
    vectors = np.frombuffer(part.vectors, "<f2").reshape(-1, part.dimension).astype(np.float32)
    document, workspace = token(part.document), token(part.workspace)
    groups = sorted({token(group) for group in part.groups})[:MAX_GROUPS]
    metadata = milvus_metadata(part.metadata)
    rows = Counter(row.chunk for row in part.rows)
    for at, (row, vector) in enumerate(zip(part.rows, vectors, strict=True)):
        yield {"id": keys.row_id(part.workspace, part.document, part.version, part.first_row + at),
               "workspace": workspace, "document": document, "version": part.version,
               "chunk": keys.chunk_id(part.workspace, part.document, part.version, row.chunk),
               "window": row.window if rows[row.chunk] > 1 else ONLY_ROW,
               "document_chunks": part.total_chunks, "groups": groups, "clearance": part.clearance,
               "metadata": metadata, "vector": vector}
