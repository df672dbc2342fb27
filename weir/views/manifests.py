"""What each store holds of each document: one small record per store and document, the fence of every sink.

A manifest is read by realtime GET and written by compare-and-set, so that a worker that was replaced without noticing
finds out before it spoils anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from weir.settings import Settings
from weir.stores import elasticsearch_errors
from weir.views import elastic
from weir.views.elastic import BOOLEAN, KEYWORD, LONG, STORED

PROPERTIES = {"store": KEYWORD, "workspace": KEYWORD, "document": KEYWORD, "version": LONG, "count": LONG,
              "parts": LONG, "deleted": BOOLEAN, "pending": STORED, "stale": STORED}

PAGE, PAGE_PATIENCE = 1000, "5m"

NOTHING = -1
"""The version of a document of which a store holds nothing yet."""

DocumentName = tuple[str, str]
"""Workspace and document."""

Id = tuple[int, int]
"""Version and ordinal of what one id in the store stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A version on its way into the store."""

    version: int
    count: int
    """How many ids it has."""
    parts: int
    """In how many parts it arrives."""
    done: frozenset[int] = frozenset()
    """The parts that are in the store."""

    @property
    def complete(self) -> bool:
        return len(self.done) >= self.parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a store holds of a document. Each change below is a pure step; writing it is a compare-and-set."""

    workspace: str
    document: str
    version: int = NOTHING
    """The confirmed version: all of it can be found."""
    count: int = 0
    """Ids of the confirmed version."""
    parts: int = 0
    """Most parts that the confirmed version or one on its way has had; `streams.embeddings` reads it to tidy up."""
    deleted: bool = False
    pending: Pending | None = None
    stale: frozenset[Id] = frozenset()
    """Ids that may still be in the store and have to go."""
    seq_no: int | None = None
    primary_term: int | None = None

    @property
    def name(self) -> DocumentName:
        return self.workspace, self.document

    @property
    def newest(self) -> int:
        """The newest version that this store has heard of."""
        return max(self.version, self.pending.version if self.pending else NOTHING)

    def holds(self, version: int, count: int) -> bool:
        """Whether exactly this is confirmed and nothing else is on its way."""
        return self.pending is None and not self.deleted and (self.version, self.count) == (version, count)

    def begun(self, version: int, count: int, parts: int) -> Manifest:
        """With a version on its way; what an abandoned one left goes to `stale`."""
        now = self.pending
        if now is not None and (now.version, now.count, now.parts) == (version, count, parts):
            return self
        return replace(self, pending=Pending(version=version, count=count, parts=parts),
                       parts=max(self.parts, parts), stale=self._stale(now))

    def arrived(self, parts: Iterable[int]) -> Manifest:
        """With parts of the pending version in the store."""
        assert self.pending is not None
        return replace(self, pending=replace(self.pending, done=self.pending.done | set(parts)))

    def confirmed(self) -> Manifest:
        """With the pending version in the place of the one before, whose ids go to `stale`."""
        now = self.pending
        assert now is not None
        before = {(self.version, n) for n in range(self.count)}
        fresh = {(now.version, n) for n in range(now.count)}
        return replace(self, version=now.version, count=now.count, parts=now.parts, deleted=False, pending=None,
                       stale=(self.stale | before) - fresh)

    def removed(self, version: int) -> Manifest:
        """With nothing left of the document as of a version."""
        return replace(self, version=version, count=0, parts=0, deleted=True, pending=None,
                       stale=self._stale(self.pending) | {(self.version, n) for n in range(self.count)})

    def abandoned(self, version: int, count: int) -> Manifest:
        """With the ids of an older version, written by a worker that came too late, marked as stale."""
        late = {(version, n) for n in range(count)} - self.kept
        return replace(self, stale=self.stale | late)

    def cleaned(self) -> Manifest:
        return replace(self, stale=frozenset())

    @property
    def kept(self) -> set[Id]:
        """Ids that must not be deleted."""
        kept = {(self.version, n) for n in range(self.count)}
        return kept | {(self.pending.version, n) for n in range(self.pending.count)} if self.pending else kept

    def _stale(self, now: Pending | None) -> frozenset[Id]:
        return self.stale | {(now.version, n) for n in range(now.count)} if now else self.stale


def manifests_index(settings: Settings) -> str:
    return f"{settings.prefix}weir-manifests"


class Manifests:
    """The manifests of one store.

    Args:
        store: the store's kind and label, such as `vectors@v1`.
    """

    def __init__(self, es: AsyncElasticsearch, settings: Settings, store: str) -> None:
        self._es = es
        self._index = manifests_index(settings)
        self.store = store

    async def create(self) -> None:
        """Creates the index of all stores' manifests if it is not there."""
        await elastic.create(self._es, self._index, PROPERTIES, {"number_of_shards": 1, "number_of_replicas": 0,
                                                                 "refresh_interval": "1s"})

    async def get(self, names: Sequence[DocumentName]) -> dict[DocumentName, Manifest]:
        """The manifests of these documents, fresh ones where there are none.

        Raises:
            Unavailable: Elasticsearch does not answer.
        """
        found = await elastic.mget(self._es, self._index, [self._id(name) for name in names])
        return {name: self._read(name, hit) for name, hit in zip(names, found, strict=True)}

    async def put(self, manifests: Sequence[Manifest]) -> dict[DocumentName, Manifest]:
        """Writes those manifests that nobody changed since they were read; returns them ready for the next step.

        A document that is missing from the result was changed by somebody else: read it again.

        Raises:
            Unavailable: Elasticsearch does not answer; any of them may have been written.
        """
        operations: list[dict[str, Any]] = []
        for m in manifests:
            where: dict[str, Any] = {"_index": self._index, "_id": self._id(m.name)}
            fence = {"if_seq_no": m.seq_no, "if_primary_term": m.primary_term}
            operations += [{"create": where} if m.seq_no is None else {"index": where | fence}, self._body(m)]
        outcomes = await elastic.bulk(self._es, operations)
        return {m.name: replace(m, seq_no=o["_seq_no"], primary_term=o["_primary_term"])
                for m, o in zip(manifests, outcomes, strict=True) if o["status"] < 300}

    async def pages(self) -> AsyncIterator[list[Manifest]]:
        """All manifests of the store as they were a moment ago, a page at a time.

        Raises:
            Unavailable: Elasticsearch does not answer.
        """
        with elasticsearch_errors("reading manifests"):
            await self._es.indices.refresh(index=self._index)
            view = (await self._es.open_point_in_time(index=self._index, keep_alive=PAGE_PATIENCE))["id"]
        try:
            after: list[Any] | None = None
            while True:
                with elasticsearch_errors("reading manifests"):
                    found = await self._es.search(
                        query={"term": {"store": self.store}}, pit={"id": view, "keep_alive": PAGE_PATIENCE},
                        size=PAGE, sort=[{"_shard_doc": "asc"}], search_after=after, track_total_hits=False)
                hits = found["hits"]["hits"]
                if not hits:
                    return
                view, after = found["pit_id"], hits[-1]["sort"]
                yield [self._read((hit["_source"]["workspace"], hit["_source"]["document"]),
                                  {"_seq_no": None, "_primary_term": None} | hit) for hit in hits]
        finally:
            with suppress(ApiError, TransportError):
                await self._es.close_point_in_time(id=view)

    async def rows(self) -> int:
        """Ids that are confirmed in the store, over all documents.

        Raises:
            Unavailable: Elasticsearch does not answer.
        """
        with elasticsearch_errors("counting by manifests"):
            await self._es.indices.refresh(index=self._index)
            found = await self._es.search(index=self._index, query={"term": {"store": self.store}}, size=0,
                                          aggs={"rows": {"sum": {"field": "count"}}})
        return int(found["aggregations"]["rows"]["value"])

    async def documents(self) -> int:
        """Documents that the store holds; those that were deleted are none."""
        with elasticsearch_errors("counting manifests"):
            await self._es.indices.refresh(index=self._index)
            found = await self._es.count(index=self._index, query={"bool": {"filter": [
                {"term": {"store": self.store}}, {"term": {"deleted": False}}, {"range": {"version": {"gte": 0}}}]}})
        return int(found["count"])

    async def drop(self) -> None:
        """Deletes this store's manifests, when the store itself is gone."""
        with elasticsearch_errors("deleting manifests"):
            await self._es.indices.refresh(index=self._index)
            while True:
                found = await self._es.search(index=self._index, query={"term": {"store": self.store}}, size=1000,
                                              source=False)
                ids = [hit["_id"] for hit in found["hits"]["hits"]]
                if not ids:
                    return
                await elastic.bulk(self._es, [{"delete": {"_index": self._index, "_id": i}} for i in ids])
                await self._es.indices.refresh(index=self._index)

    def _id(self, name: DocumentName) -> str:
        return elastic.view_id("manifest", self.store, *name)

    def _body(self, m: Manifest) -> dict[str, Any]:
        pending = asdict(m.pending) | {"done": sorted(m.pending.done)} if m.pending else None
        return {"store": self.store, "workspace": m.workspace, "document": m.document, "version": m.version,
                "count": m.count, "parts": m.parts, "deleted": m.deleted, "pending": pending,
                "stale": {"ranges": _ranges(m.stale)}}

    @staticmethod
    def _read(name: DocumentName, hit: dict[str, Any] | None) -> Manifest:
        if hit is None:
            return Manifest(workspace=name[0], document=name[1])
        body, pending = hit["_source"], hit["_source"]["pending"]
        return Manifest(
            workspace=name[0], document=name[1], version=body["version"], count=body["count"], parts=body["parts"],
            deleted=body["deleted"], seq_no=hit["_seq_no"], primary_term=hit["_primary_term"],
            pending=Pending(**pending | {"done": frozenset(pending["done"])}) if pending else None,
            stale=frozenset((v, n) for v, start, end in body["stale"]["ranges"] for n in range(start, end)))


def _ranges(ids: Iterable[Id]) -> list[list[int]]:
    """Ids as [version, first ordinal, ordinal after the last], to be stored in few bytes."""
    found: list[list[int]] = []
    for version, n in sorted(ids):
        if found and found[-1][0] == version and found[-1][2] == n:
            found[-1][2] = n + 1
        else:
            found.append([version, n, n + 1])
    return found
