"""What the stores and the views hold, and out of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any

from elasticsearch import AsyncElasticsearch

from schemas.events import IndexVersion
from weir.erasing.target import Target
from weir.errors import Unavailable
from weir.index import names
from weir.index.indexes import Indexes
from weir.retrieval.dense import VectorCollection
from weir.retrieval.keyword import KeywordIndex
from weir.settings import Settings
from weir.stores import Milvus, elasticsearch_errors
from weir.views import elastic
from weir.views.decisions import decisions_index
from weir.views.documents import DocumentViews
from weir.views.erased import SOMEBODY
from weir.views.manifests import Manifests
from weir.views.status import keywords_store, vectors_store
from weir.views.tasks import ENDED, events_index, results_index, tasks_index
from weir.views.turns import turns_index
from weir.views.usage import usage_index

PAGE = 1000


async def behind(es: AsyncElasticsearch, settings: Settings, indexes: Indexes, views: DocumentViews, target: Target,
                 version: int) -> str:
    """Who has not followed a document's deletion yet; empty where all have.

    Raises:
        Unavailable: a server does not answer.
    """
    view = await views.get(target.workspace, target.document)
    if view is None or view.version < version:
        return "the view of documents"
    for label in _stores(settings, indexes):
        manifest = (await Manifests(es, settings, label).get([(target.workspace, target.document)]))[
            target.workspace, target.document]
        gone = manifest.deleted and manifest.version == version
        if not (gone or manifest.newest > version) or manifest.stale:
            return f"the store {label}"
    return ""


def _stores(settings: Settings, indexes: Indexes) -> list[str]:
    found: dict[str, None] = {}
    for v in indexes.versions():
        found[vectors_store(names.collection_label(settings, v.collection))] = None
        found[keywords_store(names.keyword_label(settings, v.keyword_index))] = None
    return list(found)


async def remove_tasks(es: AsyncElasticsearch, settings: Settings, tasks: Iterable[str]) -> None:
    """Removes all that the views say of tasks."""
    wanted = sorted(tasks)
    if wanted:
        for index in (tasks_index(settings), results_index(settings), events_index(settings),
                      decisions_index(settings)):
            for hits in [h async for h in _pages(es, index, {"terms": {"task": wanted}})]:
                await elastic.bulk(es, [{"delete": {"_index": index, "_id": hit["_id"]}} for hit in hits])


async def rename_usage(es: AsyncElasticsearch, settings: Settings, subject: str) -> None:
    """Takes a person's name out of the figures, which go on counting."""
    index = usage_index(settings)
    for hits in [h async for h in _pages(es, index, {"term": {"subject": subject}})]:
        operations: list[dict[str, Any]] = []
        for hit in hits:
            operations += [{"update": {"_index": index, "_id": hit["_id"]}}, {"doc": {"subject": SOMEBODY}}]
        await elastic.bulk(es, operations)


async def _pages(es: AsyncElasticsearch, index: str, query: dict[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
    """All hits of a query, a page at a time; none where there is no such index."""
    after: list[Any] | None = None
    with elasticsearch_errors(f"looking through {index}"):
        if not await es.indices.exists(index=index):
            return
        await es.indices.refresh(index=index)
        point = (await es.open_point_in_time(index=index, keep_alive="5m"))["id"]
        try:
            while True:
                found = await es.search(query=query, size=PAGE, source=False, pit={"id": point, "keep_alive": "5m"},
                                        sort=[{"_shard_doc": "asc"}], search_after=after)
                hits = found["hits"]["hits"]
                if not hits:
                    return
                yield hits
                after = hits[-1]["sort"]
        finally:
            await es.close_point_in_time(id=point)


async def tidy(es: AsyncElasticsearch, milvus: Milvus, settings: Settings, indexes: Indexes) -> None:
    """Asks the stores to write their files anew without what was deleted. They do it in their own time, and what they
    still hold until then no search finds; `weir rebuild` makes files that never held it."""
    written = [tasks_index(settings), results_index(settings), events_index(settings), decisions_index(settings),
               turns_index(settings), usage_index(settings)]
    for version in indexes.versions():
        keyword = KeywordIndex(es, settings, version.keyword_index)
        written += [keyword.name, keyword.sections_name]
    with suppress(Unavailable), elasticsearch_errors("merging segments"):
        await es.options(request_timeout=60).indices.forcemerge(
            index=",".join(written), only_expunge_deletes=True, ignore_unavailable=True)
    for collection in {v.collection for v in indexes.versions()}:
        with suppress(Unavailable):
            await milvus.run("compacting", lambda client, name=collection: client.compact(name))  # type: ignore[misc]  # bound now


async def held(es: AsyncElasticsearch, milvus: Milvus, settings: Settings, indexes: Indexes, target: Target,
               tasks: Iterable[str], before: int) -> list[str]:
    """What the stores and views still show, a line each.

    Args:
        before: of a person, only what is not newer, in milliseconds since the epoch.

    Raises:
        Unavailable: a server does not answer.
    """
    told = []
    for version in indexes.versions() if target.kind == "document" else ():
        told += await _held_by(es, milvus, settings, version, target)
    queries: list[tuple[str, dict[str, Any]]] = []
    if target.kind == "person":
        queries = [(index, {"bool": {"filter": [{"term": {"subject": target.name}}, {"range": {at: {"lte": before}}}]}})
                   for index, at in ((turns_index(settings), "asked_at"), (usage_index(settings), "at"))]
    if wanted := sorted(tasks):
        # A mark that a task has ended is all that a tombstone leaves.
        queries += [(index, {"bool": {"filter": {"terms": {"task": wanted}}, "must_not": {"term": {"status": ENDED}}}})
                    for index in (tasks_index(settings), results_index(settings), decisions_index(settings))]
        queries.append((events_index(settings), {"terms": {"task": wanted}}))
    for index, query in queries:
        if any([hits async for hits in _pages(es, index, query)]):
            told.append(f"the view {index}")
    return told


async def _held_by(es: AsyncElasticsearch, milvus: Milvus, settings: Settings, version: IndexVersion, target: Target
                   ) -> list[str]:
    told = []
    keyword = KeywordIndex(es, settings, version.keyword_index)
    await keyword.refresh()
    if await keyword.count([{"term": {"workspace": target.workspace}}, {"term": {"document": target.document}}]):
        told.append(f"the keyword index {version.keyword_index}")
    if await VectorCollection(milvus, version.collection, version.dimension).count(
            target.workspace, target.document):
        told.append(f"the vectors {version.collection}")
    return told


