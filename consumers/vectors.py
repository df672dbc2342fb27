"""Vectors into Milvus: `embeddings.<version>` -> the collection of every index version."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from elasticsearch import AsyncElasticsearch

from consumers.replacing import Arrival, Replacing
from consumers.reports import report_to
from schemas import keys, topics
from schemas.events import DocumentDeleted, EmbeddingPart, IndexVersion, Stage
from weir.clock import Clock
from weir.errors import BadRecord
from weir.index import names
from weir.index.indexes import Indexes
from weir.index.running import available, run_for_each
from weir.kafka.handlers import Batch
from weir.kafka.process import Context, run_process
from weir.kafka.producer import Producer
from weir.kafka.records import Record
from weir.kafka.worker import Worker
from weir.retrieval.dense import VectorCollection, rows_of, weights
from weir.settings import Settings
from weir.stores import Milvus, elasticsearch, milvus
from weir.views.manifests import DocumentName, Manifests
from weir.views.status import vectors_store

NAME = "consumers.vectors"
MAX_RECORDS = 200
"""Parts; of 64 chunks with three windows each they hold 75 MB of rows."""


class VectorStore:
    """The collection as a store of documents' versions; its ids are those of rows."""

    def __init__(self, collection: VectorCollection) -> None:
        self._collection = collection

    def id(self, name: DocumentName, version: int, ordinal: int) -> str:
        return keys.row_id(*name, version, ordinal)

    async def upsert(self, payloads: Sequence[EmbeddingPart]) -> None:
        await self._collection.upsert([row for part in payloads for row in rows_of(part)])

    async def make_visible(self, names: Sequence[DocumentName]) -> None:
        await self._collection.make_visible()

    async def delete(self, ids: Sequence[str]) -> None:
        await self._collection.delete(ids)


def arrival(event: EmbeddingPart | DocumentDeleted, version: IndexVersion, owner: str) -> Arrival[EmbeddingPart]:
    """
    Args:
        owner: the version that the collection was made for.

    Raises:
        BadRecord: the vectors are another model's, or were made for another collection.
    """
    name = event.workspace, event.document
    if isinstance(event, DocumentDeleted):
        return Arrival(name=name, version=event.version, payload=None)
    made = event.index_version, event.model, event.revision, event.dimension
    if made != (owner, version.model, version.revision, version.dimension):
        raise BadRecord(f"the vectors of {name[0]}/{name[1]} are of {event.model}@{event.revision} with "
                        f"{event.dimension} dimensions for {event.index_version}; the index version {version.name} has "
                        f"{version.model}@{version.revision} with {version.dimension} from {owner}: vectors of two "
                        "models never meet in one collection.")
    if len(event.vectors) != len(event.rows) * event.dimension * 2:
        raise BadRecord(f"the vectors of {name[0]}/{name[1]} have {len(event.vectors)} bytes; {len(event.rows)} rows "
                        f"of {event.dimension} dimensions have {len(event.rows) * event.dimension * 2}.")
    return Arrival(name=name, version=event.version, payload=event, count=event.total_rows, part=event.part,
                   parts=event.parts)


async def work(settings: Settings, producer: Producer, es: AsyncElasticsearch, milvus: Milvus, clock: Clock,
               version: IndexVersion, stop: asyncio.Event) -> None:
    """Keeps the collection of one version up to date until `stop` is set."""
    collection = VectorCollection(milvus, version.collection, version.dimension,
                                  weights(version.model, version.revision))
    label = names.collection_label(settings, version.collection)
    owner = names.owner(label)
    manifests = Manifests(es, settings, vectors_store(label))
    if not (await available(manifests.create, stop) and await available(collection.create, stop)):
        return
    replacing = Replacing(VectorStore(collection), manifests, report_to(producer, Stage.VECTORS, owner, clock))

    async def handle(records: list[Record]) -> None:
        # A tombstone only tidies the log up: the part 0 that came with it says what the document has become.
        await replacing.replace([arrival(record.event, version, owner) for record in records
                                 if record.event is not None])

    await Worker(settings, name=names.worker_name(NAME, label),
                 topics=[topics.EMBEDDINGS.named(settings.prefix, version=owner)],
                 handler=Batch(handle, max_records=MAX_RECORDS), producer=producer).run(stop)


async def main(context: Context) -> None:
    settings = context.settings
    indexes, es, client = Indexes(settings), elasticsearch(settings), milvus(settings)
    await indexes.start()
    try:
        await run_for_each(
            indexes, context.stop, lambda version: version.collection,
            lambda version, stop: work(settings, context.producer, es, client, context.clock, version, stop),
            settings.index_version)
    finally:
        await indexes.close()
        await es.close()
        await client.close()


if __name__ == "__main__":
    run_process(NAME, main)
