"""Chunks into Elasticsearch: `chunks.<cut>` -> the keyword index of every index version."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from elasticsearch import AsyncElasticsearch

from consumers.replacing import Arrival, Replacing
from consumers.reports import report_to
from schemas import keys, topics
from schemas.events import DocumentCut, DocumentDeleted, IndexVersion, Stage
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
from weir.retrieval.keyword import KeywordIndex
from weir.settings import Settings
from weir.stores import elasticsearch
from weir.views.manifests import DocumentName, Manifests
from weir.views.status import keywords_store

NAME = "consumers.keywords"
MAX_RECORDS = 200


class KeywordStore:
    """The keyword index as a store of documents' versions; its ids are those of chunks."""

    def __init__(self, index: KeywordIndex) -> None:
        self._index = index

    def id(self, name: DocumentName, version: int, ordinal: int) -> str:
        return keys.chunk_id(*name, version, ordinal)

    async def upsert(self, payloads: Sequence[DocumentCut]) -> None:
        if payloads:
            await self._index.upsert_all(payloads)

    async def make_visible(self, names: Sequence[DocumentName]) -> None:
        await self._index.refresh()

    async def delete(self, ids: Sequence[str]) -> None:
        await self._index.delete(ids)


def arrival(event: DocumentCut | DocumentDeleted, version: IndexVersion) -> Arrival[DocumentCut]:
    """
    Raises:
        BadRecord: the document was cut by another recipe.
    """
    name = event.workspace, event.document
    if isinstance(event, DocumentDeleted):
        return Arrival(name=name, version=event.version, payload=None)
    if event.cut != version.cut.name:
        raise BadRecord(f"{name[0]}/{name[1]} was cut by the recipe {event.cut}, the index version {version.name} has "
                        f"{version.cut.name}.")
    return Arrival(name=name, version=event.version, payload=event, count=len(event.chunks))


async def work(settings: Settings, producer: Producer, es: AsyncElasticsearch, clock: Clock, version: IndexVersion,
               stop: asyncio.Event) -> None:
    """Keeps the keyword index of one version up to date until `stop` is set."""
    index = KeywordIndex(es, settings, version.keyword_index, version.cut)
    label = names.keyword_label(settings, version.keyword_index)
    manifests = Manifests(es, settings, keywords_store(label))
    if not (await available(manifests.create, stop) and await available(index.create, stop)):
        return
    replacing = Replacing(KeywordStore(index), manifests, report_to(producer, Stage.KEYWORDS,
                                                                                     names.owner(label), clock))

    async def handle(records: list[Record]) -> None:
        await replacing.replace(arrival(record.event, version) for record in records if record.event is not None)

    await Worker(settings, name=names.worker_name(NAME, label),
                 topics=[topics.CHUNKS.named(settings.prefix, cut=version.cut.name)],
                 handler=Batch(handle, max_records=MAX_RECORDS), producer=producer).run(stop)


async def main(context: Context) -> None:
    settings = context.settings
    indexes, es = Indexes(settings), elasticsearch(settings)
    await indexes.start()
    try:
        await run_for_each(
            indexes, context.stop, lambda version: version.keyword_index,
            lambda version, stop: work(settings, context.producer, es, context.clock, version, stop),
            settings.index_version)
    finally:
        await indexes.close()
        await es.close()


if __name__ == "__main__":
    run_process(NAME, main)
