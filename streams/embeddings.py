"""Chunks to vectors: `chunks.<cut>` -> `embeddings.<version>`, through the bulk model, for every index version.

A document's vectors come in parts of at most 64 chunks. Each version of a document writes its parts over those of the
one before; parts that it does not have any more get tombstones. How many there were stands in the vector store's
manifest, and, where that store lags, in this worker's memory. A part that outlives its version all the same (a crash
while the store lagged) costs room in the log and nothing else: the sink reads it before the newer part 0 and drops it
with the rest of its version.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from schemas import keys, topics
from schemas.events import (
    DocumentCut,
    DocumentDeleted,
    DocumentStatus,
    EmbeddingPart,
    EmbeddingRow,
    IndexVersion,
    Stage,
    StageState,
)
from weir import telemetry
from weir.clock import Clock
from weir.documents.types import embedded_text
from weir.errors import BadRecord, InputError
from weir.index import names
from weir.index.giving_way import GivingWay, Questions
from weir.index.indexes import Indexes
from weir.index.running import available, run_for_each
from weir.kafka.handlers import Batch
from weir.kafka.process import Context, run_process
from weir.kafka.producer import Producer
from weir.kafka.records import Record
from weir.kafka.worker import Worker
from weir.retrieval.embed import LATER, SOON, Vectors
from weir.retrieval.embedders import PAID, Embeds, embedder
from weir.settings import Settings
from weir.stores import elasticsearch
from weir.views.documents import DocumentViews
from weir.views.manifests import DocumentName, Manifests
from weir.views.status import vectors_store

NAME = "streams.embeddings"
MAX_RECORDS = 500
PART_CHUNKS = 64
PART_ROWS = 512
"""Most vectors of a part, so that it stays below a claim check; a chunk with more windows makes a part of its own."""
GROUP_TEXTS = 1024
"""Texts that are sorted by length and embedded together; a document is published as soon as its group is done."""
GROUPS_IN_FLIGHT = 2
"""While one group is published the next one keeps Triton busy."""
REMEMBERED = 100_000
"""Documents whose number of parts is kept in memory."""

log = telemetry.logger(__name__)


@dataclass(frozen=True, slots=True)
class Rows:
    """What a document's vectors stand for, and the texts to embed, in one order."""

    cut: DocumentCut
    rows: list[EmbeddingRow]
    texts: list[str]


class Embeddings:
    """Handles batches of `chunks.<cut>` for one index version."""

    def __init__(self, settings: Settings, producer: Producer, version: IndexVersion, embedder: Embeds,
                 manifests: Manifests, views: DocumentViews, clock: Clock,
                 answers: Callable[[], bool] = lambda: True) -> None:
        self._version = version
        self._owner = names.owner(names.collection_label(settings, version.collection))
        self._producer = producer
        self._embedder = embedder
        self._manifests = manifests
        self._views = views
        self._clock = clock
        self._answers = answers
        """Whether somebody is answered from what is embedded here, or a version is being built that nobody asks yet."""
        self._topic = topics.EMBEDDINGS.named(settings.prefix, version=self._owner)
        self._statuses = topics.DOCUMENT_STATUS.named(settings.prefix)
        self._parts: dict[DocumentName, int] = {}
        self._groups = asyncio.Semaphore(GROUPS_IN_FLIGHT)

    async def handle(self, records: list[Record]) -> None:
        """
        Raises:
            InputError: a text cannot be embedded; of a single record also a failed status.
            Unavailable: the model's server, Kafka or Elasticsearch does not answer.
            Mismatch: the model's server has other weights.
        """
        started = time.perf_counter()
        self._embedder.priority = SOON if self._answers() else LATER
        newest = await self._newest(records)
        before = await self._parts_before(list(newest))
        cuts = [event for event in newest.values() if isinstance(event, DocumentCut)]
        try:
            await asyncio.gather(
                *(self._delete(event, before, started) for event in newest.values()
                  if isinstance(event, DocumentDeleted)),
                *(self._embed(group, before, started) for group in groups(cuts)))
        except InputError as e:
            if len(records) == 1 and cuts:
                await self._report(cuts[0], StageState.FAILED, started, code=e.code, reason=e.message)
            raise

    async def _newest(self, records: Sequence[Record]) -> dict[DocumentName, DocumentCut | DocumentDeleted]:
        """The last event of each document's newest version among these records."""
        found: dict[DocumentName, DocumentCut | DocumentDeleted] = {}
        for record in records:
            event: DocumentCut | DocumentDeleted | None = record.event
            if isinstance(event, DocumentCut) and event.cut != self._version.cut.name:
                raise BadRecord(f"{event.workspace}/{event.document} was cut by the recipe {event.cut}, the index "
                                f"version {self._version.name} has {self._version.cut.name}.")
            if event is None or (record.attempt > 1 and await self._superseded(event)):
                continue
            name = event.workspace, event.document
            if name not in found or event.version >= found[name].version:
                found[name] = event
        return found

    async def _superseded(self, event: DocumentCut | DocumentDeleted) -> bool:
        """Whether the log holds a newer version, whose vectors a replayed dead letter must not overwrite."""
        view = (await self._views.check(event.workspace, [event.document])).get(event.document)
        return view is not None and view.version > event.version

    async def _parts_before(self, documents: list[DocumentName]) -> dict[DocumentName, int]:
        manifests = await self._manifests.get(documents)
        return {name: max(self._parts.get(name, 0), manifest.parts) for name, manifest in manifests.items()}

    async def _embed(self, group: list[Rows], before: dict[DocumentName, int], started: float) -> None:
        async with self._groups:
            vectors = await self._embedder.embed([text for document in group for text in document.texts])
        halves = vectors.astype("<f2")
        at, sent = 0, []
        for document in group:
            sent.append(self._publish(document, halves[at:at + len(document.rows)], before, started))
            at += len(document.rows)
        await asyncio.gather(*sent)

    async def _publish(self, document: Rows, halves: Vectors, before: dict[DocumentName, int], started: float) -> None:
        parts = list(_parts(document, halves, self._version, self._owner))
        name = document.cut.workspace, document.cut.document
        await asyncio.gather(*(self._send(name, part.part, part) for part in parts))
        await self._tidy(name, len(parts), before)
        await self._report(document.cut, StageState.DONE, started, count=len(document.rows))

    async def _delete(self, event: DocumentDeleted, before: dict[DocumentName, int], started: float) -> None:
        name = event.workspace, event.document
        await self._send(name, 0, event)
        await self._tidy(name, 1, before)
        await self._report(event, StageState.DELETED, started)

    async def _tidy(self, name: DocumentName, parts: int, before: dict[DocumentName, int]) -> None:
        """Tombstones for the parts that this version of the document does not have."""
        await asyncio.gather(*(self._send(name, part, None) for part in range(parts, before[name])))
        self._parts.pop(name, None)
        self._parts[name] = parts
        if len(self._parts) > REMEMBERED:
            del self._parts[next(iter(self._parts))]

    async def _send(self, name: DocumentName, part: int, event: EmbeddingPart | DocumentDeleted | None) -> None:
        await self._producer.send(self._topic, keys.part_key(*name, part), event,
                                  partition_key=keys.document_key(*name))

    async def _report(self, event: DocumentCut | DocumentDeleted, state: StageState, started: float, *, count: int = 0,
                      code: str | None = None, reason: str | None = None) -> None:
        status = DocumentStatus(
            workspace=event.workspace, document=event.document, version=event.version, stage=Stage.EMBEDDED,
            state=state, at=self._clock(), index_version=self._owner, count=count, code=code, reason=reason,
            millis=(time.perf_counter() - started) * 1000)
        key = keys.status_key(event.workspace, event.document, Stage.EMBEDDED, self._owner)
        await self._producer.send(self._statuses, key, status,
                                  partition_key=keys.document_key(event.workspace, event.document))


def rows_of(cut: DocumentCut) -> Rows:
    """One row for each chunk and one for each of its windows; both are embedded with the chunk's context in front."""
    rows, texts = [], []
    for chunk in cut.chunks:
        rows.append(EmbeddingRow(chunk=chunk.ordinal, window=-1))
        texts.append(embedded_text(chunk.context, chunk.text))
        for window in chunk.windows:
            rows.append(EmbeddingRow(chunk=chunk.ordinal, window=window.ordinal))
            texts.append(embedded_text(chunk.context, window.text))
    return Rows(cut, rows, texts)


def groups(cuts: Sequence[DocumentCut]) -> Iterator[list[Rows]]:
    """Whole documents, of about `GROUP_TEXTS` texts together; a larger one is a group by itself."""
    group: list[Rows] = []
    texts = 0
    for cut in cuts:
        document = rows_of(cut)
        if group and texts + len(document.texts) > GROUP_TEXTS:
            yield group
            group, texts = [], 0
        group.append(document)
        texts += len(document.texts)
    if group:
        yield group


def _parts(document: Rows, halves: Vectors, version: IndexVersion, owner: str) -> Iterator[EmbeddingPart]:
    """The document's vectors in parts; one without rows where the document has none."""
    cut, bounds = document.cut, _bounds(document.rows)
    for part, (start, end) in enumerate(bounds):
        yield EmbeddingPart(
            workspace=cut.workspace, document=cut.document, version=cut.version, index_version=owner,
            model=version.model, revision=version.revision, part=part, parts=len(bounds), first_row=start,
            total_rows=len(document.rows), total_chunks=len(cut.chunks), rows=document.rows[start:end],
            dimension=version.dimension, vectors=np.ascontiguousarray(halves[start:end]).tobytes(),
            groups=cut.groups, clearance=cut.clearance, metadata=cut.metadata, published_at=cut.published_at)


def _bounds(rows: Sequence[EmbeddingRow]) -> list[tuple[int, int]]:
    """First row and row after the last of each part; a chunk's rows stay together."""
    starts = [i for i, row in enumerate(rows) if row.window == -1]
    cuts, chunks = [0], 0
    for start, following in zip(starts, [*starts[1:], len(rows)], strict=True):
        if start > cuts[-1] and (chunks == PART_CHUNKS or following - cuts[-1] > PART_ROWS):
            cuts.append(start)
            chunks = 0
        chunks += 1
    return list(zip(cuts, [*cuts[1:], len(rows)], strict=True))


async def main(context: Context) -> None:
    settings = context.settings
    indexes, es = Indexes(settings), elasticsearch(settings)
    views, questions = DocumentViews(es, settings), Questions(settings)

    async def work(version: IndexVersion, stop: asyncio.Event) -> None:
        manifests = Manifests(es, settings, vectors_store(names.collection_label(settings, version.collection)))
        if not await available(manifests.create, stop):
            return
        model = embedder(settings, version, bulk=True)
        if settings.build_texts and not version.model.startswith(PAID):
            model = GivingWay(model, settings.build_texts, questions.lately)
        try:
            embeddings = Embeddings(settings, context.producer, version, model, manifests, views, context.clock,
                                    lambda: indexes.answers(version))
            worker = Worker(settings, name=names.worker_name(NAME, label(version)),
                            topics=[topics.CHUNKS.named(settings.prefix, cut=version.cut.name)],
                            handler=Batch(embeddings.handle, max_records=MAX_RECORDS), producer=context.producer)
            await worker.run(stop)
        finally:
            await model.close()

    def label(version: IndexVersion) -> str:
        return names.owner(names.collection_label(settings, version.collection))

    await indexes.start()
    try:
        await run_for_each(indexes, context.stop, label, work, settings.index_version)
    finally:
        await views.close()
        await indexes.close()
        await es.close()


if __name__ == "__main__":
    run_process(NAME, main)
