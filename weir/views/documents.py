"""The access view: each document's newest version and who may read it, straight from `documents`.

It follows publishing within milliseconds, however far the indexes lag. Whoever shows text of a document asks here
first. The progress of the view stands in the same Elasticsearch index as the view, so that a lost index cannot look
complete.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from elasticsearch import AsyncElasticsearch

from schemas import keys, topics
from schemas.events import DocumentPublished
from weir.errors import Unavailable
from weir.settings import Settings
from weir.stores import elasticsearch_errors
from weir.views import elastic
from weir.views.elastic import BOOLEAN, KEYWORD, LONG
from weir.views.freshness import EndOffsets, Ends
from weir.views.gets import Gets

PROPERTIES = {
    "workspace": KEYWORD, "document": KEYWORD, "version": LONG, "deleted": BOOLEAN, "groups": KEYWORD,
    "clearance": LONG, "title": KEYWORD, "media_type": KEYWORD, "source": KEYWORD, "publisher": KEYWORD,
    "published_at": LONG, "bytes": LONG, "partition": LONG, "next": LONG,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentView:
    """A document as its newest event says. Of a deleted one only names, version and `deleted` mean something."""

    workspace: str
    document: str
    version: int
    deleted: bool
    groups: list[str]
    clearance: int
    title: str = ""
    media_type: str = ""
    source: str = ""
    publisher: str = ""
    published_at: int = 0
    """Milliseconds since the epoch."""
    bytes: int = 0
    """Size of the content."""


@dataclass(frozen=True, slots=True)
class Page:
    documents: list[DocumentView]
    after: str | None
    """Pass it to get the next page; None on the last one."""


def view_index(settings: Settings) -> str:
    return f"{settings.prefix}weir-view-documents"


def document_view(workspace: str, document: str, version: int, event: DocumentPublished | None) -> DocumentView:
    """What an event, or a tombstone, says about its document."""
    if event is None:
        return DocumentView(workspace=workspace, document=document, version=version, deleted=True, groups=[],
                            clearance=0)
    return DocumentView(
        workspace=workspace, document=document, version=version, deleted=False, groups=event.groups,
        clearance=event.clearance, title=event.title, media_type=event.media_type, source=event.source,
        publisher=event.publisher, published_at=event.published_at, bytes=len(event.content))


class DocumentViews:
    """Reads the access view. `async with DocumentViews(es, settings) as views`, or `start` and `close`."""

    def __init__(self, es: AsyncElasticsearch, settings: Settings, gets: Gets | None = None) -> None:
        self._es = es
        self._gets = gets or Gets(es)
        self._index = view_index(settings)
        self._wait = settings.views_wait
        self._ends = EndOffsets(settings, topics.DOCUMENTS.named(settings.prefix))

    async def start(self) -> None:
        """
        Raises:
            Unavailable: Kafka does not answer.
        """
        await self._ends.start()

    async def close(self) -> None:
        await self._ends.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def check(self, workspace: str, documents: Sequence[str]) -> dict[str, DocumentView]:
        """The newest version and access of each document, by document, in one realtime request.

        A document that is not in the result was never published: its text must not be shown. When the view is behind
        for the partitions of these documents, this waits up to `views_wait` seconds for it.

        Raises:
            Unavailable: the view stayed behind, or a server does not answer; `retry_after` says when to ask again.
        """
        await self.start()
        wanted = sorted(set(documents))
        partitions = sorted({self._partition(workspace, document) for document in wanted})
        ids = [document_id(workspace, d) for d in wanted] + [progress_id(p) for p in partitions]
        until = time.monotonic() + self._wait
        while True:
            found = await self._gets.get(self._index, ids)
            places = zip(partitions, found[len(wanted):], strict=True)
            progress = {p: hit["_source"]["next"] for p, hit in places if hit}
            behind = self._behind(self._ends.required(), progress, partitions)
            if not behind:
                return {d: _view(hit["_source"]) for d, hit in zip(wanted, found[:len(wanted)], strict=True) if hit}
            if time.monotonic() >= until:
                raise Unavailable(f"the view of access rights is behind by {behind:,}, so that nobody can tell who may "
                                  "read what; it catches up by itself while `consumers.views` runs.", retry_after=2)
            await asyncio.sleep(0.1)

    async def get(self, workspace: str, document: str) -> DocumentView | None:
        """The view of one document as it is, fresh or not."""
        (hit,) = await elastic.mget(self._es, self._index, [document_id(workspace, document)])
        return _view(hit["_source"]) if hit else None

    async def progress(self) -> dict[int, int]:
        """Partition to the offset up to which `documents` is in the view."""
        await self.start()
        found = await elastic.mget(self._es, self._index, [progress_id(p) for p in range(self._ends.partitions)])
        return {p: hit["_source"]["next"] for p, hit in enumerate(found) if hit}

    async def freshness(self) -> int:
        """How many records of `documents`, known for longer than `views_lag`, are not in the view yet."""
        progress = await self.progress()
        required = self._ends.required()
        return self._behind(required, progress, list(required))

    async def list(self, workspace: str, *, access: dict[str, Any] | None = None, limit: int = 50,
                   after: str | None = None) -> Page:
        """The documents of a workspace that exist, by name; at most a second behind publishing.

        Args:
            access: an Elasticsearch filter on `groups` and `clearance`; None shows all.
            after: `Page.after` of the page before.
        """
        conditions: list[dict[str, Any]] = [{"term": {"workspace": workspace}}, {"term": {"deleted": False}}]
        with elasticsearch_errors("listing documents"):
            response = await self._es.search(
                index=self._index, query={"bool": {"filter": conditions + ([access] if access else [])}},
                size=limit + 1, sort=[{"document": "asc"}], search_after=None if after is None else [after])
        views = [_view(hit["_source"]) for hit in response["hits"]["hits"]]
        return Page(views[:limit], views[limit - 1].document if len(views) > limit else None)

    def _partition(self, workspace: str, document: str) -> int:
        return keys.partition(keys.document_key(workspace, document), self._ends.partitions)

    @staticmethod
    def _behind(required: Ends, progress: Ends, partitions: Sequence[int]) -> int:
        return sum(max(0, required.get(p, 0) - progress.get(p, 0)) for p in partitions)


def document_id(workspace: str, document: str) -> str:
    return elastic.view_id("document", workspace, document)


def progress_id(partition: int) -> str:
    return f"progress-{partition}"


def _view(source: dict[str, Any]) -> DocumentView:
    return DocumentView(**source)
