"""The way of a document, run inside a test: topics, an index and views of its own on the real servers."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from confluent_kafka.admin import AdminClient
from elasticsearch import AsyncElasticsearch

from consumers import keywords, vectors, views
from schemas import keys, topics
from schemas.events import DocumentPublished
from streams import answers, documents, embeddings, turns, watchdog
from tests.kit.waiting import until
from weir.clock import system_clock
from weir.errors import NotFound, Unavailable
from weir.index import names
from weir.index.indexes import FIRST_MODEL, Indexes, declare_initial
from weir.kafka.admin import ensure_topics
from weir.kafka.config import client_config
from weir.kafka.dead_letters import Letter, letters
from weir.kafka.process import Context
from weir.kafka.producer import Delivery, Producer
from weir.retrieval.dense import VectorCollection
from weir.retrieval.keyword import KeywordIndex
from weir.settings import Settings
from weir.stores import Milvus, elasticsearch, milvus
from weir.views.documents import DocumentViews
from weir.views.manifests import Manifest, Manifests
from weir.views.status import document_status, keywords_store, vectors_store

MAINS: dict[str, Callable[[Context], Coroutine[Any, Any, None]]] = {
    "streams.documents": documents.main, "streams.embeddings": embeddings.main, "consumers.vectors": vectors.main,
    "consumers.keywords": keywords.main, "consumers.views": views.main, "streams.answers": answers.main,
    "another streams.answers": answers.main, "streams.turns": turns.main, "streams.watchdog": watchdog.main,
}
INGEST = ("streams.documents", "streams.embeddings", "consumers.vectors", "consumers.keywords", "consumers.views")
"""What takes a document from its topic into both stores."""
ANSWERING = ("streams.answers", "streams.turns")
"""What answers a question and keeps the turn."""
WORKSPACE = "library"
PATIENCE = 120.0
"""Seconds that anything may take on a busy machine."""


class Pipeline:
    """Settings, clients and the processes that a test has started."""

    def __init__(self, settings: Settings, producer: Producer, es: AsyncElasticsearch, client: Milvus,
                 indexes: Indexes) -> None:
        self.settings, self.producer, self.es, self.milvus, self.indexes = settings, producer, es, client, indexes
        live = indexes.live()
        self.keyword_index = KeywordIndex(es, settings, live.keyword_index)
        self.collection = VectorCollection(client, live.collection, live.dimension)
        self.views = DocumentViews(es, settings)
        self._running: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}

    def topic(self, topic: topics.Topic, **parts: str) -> str:
        return topic.named(self.settings.prefix, **parts)

    # -- processes ------------------------------------------------------------------------------------------------

    def start(self, *processes: str) -> None:
        """Starts processes as tasks; those that a document passes where none is named."""
        for name in processes or INGEST:
            stop = asyncio.Event()
            context = Context(self.settings, self.producer, stop, system_clock)
            self._running[name] = stop, asyncio.create_task(MAINS[name](context), name=name)

    async def stop(self, *processes: str) -> None:
        for name in processes or tuple(self._running):
            stop, task = self._running.pop(name)
            stop.set()
            await task

    # -- documents ------------------------------------------------------------------------------------------------

    async def publish(self, document: str, content: str | bytes = "", *, media_type: str = "text/plain",
                      **fields: Any) -> Delivery:
        event = DocumentPublished(
            workspace=WORKSPACE, document=document, media_type=media_type,
            content=content.encode() if isinstance(content, str) else content, **fields)
        return await self.producer.send(self.topic(topics.DOCUMENTS), keys.document_key(WORKSPACE, document), event)

    async def delete(self, document: str) -> Delivery:
        return await self.producer.send(self.topic(topics.DOCUMENTS), keys.document_key(WORKSPACE, document), None)

    async def status(self, document: str) -> dict[str, Any]:
        return await document_status(self.es, self.settings, self.indexes, WORKSPACE, document)

    async def until(self, document: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The document's status once `holds` says so of it."""
        last: Any = None
        for _ in range(int(PATIENCE / 0.05)):
            for name, (_, task) in self._running.items():
                assert not task.done(), f"{name} has ended: {task.exception()!r}"
            try:
                last = await self.status(document)
                if holds(last):
                    return last
            except (NotFound, Unavailable) as e:
                last = e
            await asyncio.sleep(0.05)
        raise AssertionError(f"{document} did not get there: {last}")

    async def searchable(self, document: str, version: int) -> dict[str, Any]:
        """Waits until searches find this version, and nothing of those before it is left in a store."""
        found = await self.until(document, lambda s: s["searchable"] and s["version"] == version)
        await until(lambda: self._tidy(document), within=PATIENCE, what=f"what {document} was before to be removed")
        return found

    async def _tidy(self, document: str) -> bool:
        return not any(m.stale or m.pending for m in await self.manifests(document))

    async def gone(self, document: str, version: int) -> None:
        """Waits until both stores have confirmed that nothing is left of the document as of a version."""
        for _ in range(int(PATIENCE / 0.05)):
            if all(m.version == version and m.deleted and not m.stale for m in await self.manifests(document)):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{document} is not gone: {await self.manifests(document)}")

    async def manifests(self, document: str, workspace: str = WORKSPACE) -> tuple[Manifest, Manifest]:
        """Of the vector store and the keyword store."""
        live = self.indexes.live()
        stores = (vectors_store(names.collection_label(self.settings, live.collection)),
                  keywords_store(names.keyword_label(self.settings, live.keyword_index)))
        found = [(await Manifests(self.es, self.settings, store).get([(workspace, document)]))[workspace, document]
                 for store in stores]
        return found[0], found[1]

    async def dead_letters(self, count: int) -> list[Letter]:
        """All dead letters, once there are so many."""
        for _ in range(int(PATIENCE / 0.2)):
            found = await letters(self.settings)
            if len(found) >= count:
                return found
            await asyncio.sleep(0.2)
        raise AssertionError(f"there are {len(found)} dead letters, not {count}")

    # -- what the stores hold -------------------------------------------------------------------------------------

    async def rows(self, document: str | None = None) -> int:
        return await self.collection.count(WORKSPACE, document)

    async def row_versions(self, document: str) -> set[int]:
        return {row["version"] for row in await self._rows(document, ["version"])}

    async def row_ids(self, document: str) -> list[str]:
        return sorted(row["id"] for row in await self._rows(document, ["id"]))

    async def _rows(self, document: str, fields: list[str]) -> list[dict[str, Any]]:
        from weir.access import token

        return list(await self.milvus.run("reading rows", lambda client: client.query(
            self.collection.name, filter=f'document == "{token(document)}"', output_fields=fields,
            consistency_level="Strong")))

    async def chunks(self, document: str | None = None) -> list[dict[str, Any]]:
        """The chunks that searches see, as stored."""
        await self.keyword_index.refresh()
        query = {"match_all": {}} if document is None else {"term": {"document": document}}
        found = await self.es.search(index=self.keyword_index.name, query=query, size=10_000)
        return [hit["_source"] | {"id": hit["_id"]} for hit in found["hits"]["hits"]]


@asynccontextmanager
async def pipeline(embedder: str = FIRST_MODEL, **options: Any) -> AsyncIterator[Pipeline]:
    """Topics, an index of this embedding model and nothing running; all of it is removed at the end.

    Args:
        options: settings that differ.
    """
    settings = Settings(**{"prefix": f"t-{secrets.token_hex(4)}-", "kafka_partitions": 3, **options})
    await ensure_topics(settings)
    es, client, indexes = elasticsearch(settings), milvus(settings), Indexes(settings)
    async with Producer(settings) as producer:
        await declare_initial(settings, producer, system_clock, embedder)
        await indexes.start()
        await indexes.declared()
        made = Pipeline(settings, producer, es, client, indexes)
        try:
            yield made
        finally:
            await made.stop()
            await made.views.close()
            await _remove(settings, es, client)
            await indexes.close()
            await es.close()
            await client.close()


async def _remove(settings: Settings, es: AsyncElasticsearch, client: Milvus) -> None:
    for index in await es.indices.get(index=f"{settings.prefix}*"):
        await es.indices.delete(index=index)
    prefix = settings.prefix.replace("-", "_")
    for name in await client.run("listing", lambda c: c.list_collections()):
        if name.startswith(prefix):
            await client.run("dropping", lambda c, name=name: c.drop_collection(name))  # type: ignore[misc]  # bound now
    await asyncio.to_thread(_remove_topics, settings)


def _remove_topics(settings: Settings) -> None:
    admin = AdminClient(client_config(settings))
    names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(settings.prefix)]
    for future in admin.delete_topics(names).values():
        future.result(30)
