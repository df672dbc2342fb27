"""Chunks and sections in Elasticsearch: BM25 over context and text, and the texts that answers quote.

BM25 weighs a word by how rare it is among the texts of one field. So that a workspace's scores depend on its own texts
and not on its neighbours', workspaces are spread over `FIELDS` fields of the same kind.

Index NAME holds a chunk a record, NAME-sections a section a record, under the id of the section's first chunk: whoever
knows a document's chunk ids can delete both. No scripts, no by-query calls (field-notes section 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, cast

from elasticsearch import AsyncElasticsearch, BadRequestError
from elasticsearch.helpers import async_bulk

from schemas import keys
from schemas.events import Cut, DocumentCut
from weir.access import elasticsearch_metadata, metadata_of, token
from weir.documents.types import embedded_text
from weir.errors import BadRecord, Mismatch, Unavailable
from weir.retrieval.analysis import ANALYSIS, ANALYZER, SIMILARITY, keywords, with_parts
from weir.settings import Settings
from weir.stores import elasticsearch_errors

ID = {"type": "keyword"}
KEYWORD = {"type": "keyword", "ignore_above": 8191}
"""A longer text cannot be a term; nobody can filter by it."""
STORED = {"type": "keyword", "index": False, "doc_values": False}
STORED_NUMBER = {"type": "long", "index": False, "doc_values": False}
"""Kept in the source and nowhere else."""

FIELDS = 256
TERMS = {"type": "text", "analyzer": ANALYZER, "similarity": "weir", "index_options": "freqs"}

CHUNK_FIELDS: dict[str, Any] = {
    "chunk": ID, "workspace": ID, "document": ID, "version": {"type": "long"},
    "document_chunks": {"type": "integer"}, "ordinal": {"type": "integer"}, "groups": KEYWORD,
    "clearance": {"type": "integer"},
    **{f"terms_{n}": TERMS for n in range(FIELDS)},
    "metadata": {"type": "nested", "properties": {
        "key": KEYWORD, "string": KEYWORD, "long": {"type": "long"}, "double": {"type": "double"},
        "date": {"type": "date", "format": "strict_date"}, "boolean": {"type": "boolean"}}},
    **dict.fromkeys(("text", "context", "heading_path", "title", "source", "media_type", "passage", "section_chunk"),
                    STORED),
    **dict.fromkeys(("section", "section_chars", "start", "end", "published_at"), STORED_NUMBER),
}
SECTION_FIELDS: dict[str, Any] = {
    "workspace": ID, "document": ID, "version": {"type": "long"}, "ordinal": {"type": "integer"},
    "title": STORED, "heading_path": STORED, "text": STORED, "source": STORED,
}

COLUMNS = [{"field": name} for name in ("chunk", "document", "version", "document_chunks", "ordinal")]
"""What a search reads of a hit."""

BULK_RECORDS, BULK_BYTES = 500, 5 * 2**20
BULK_TIMEOUT = 60.0
SEARCH_TIMEOUT = 5.0
"""Seconds; a question is not worth waiting longer for one store."""


@dataclass(frozen=True, slots=True)
class KeywordHit:
    """A chunk that was found, without its text."""

    chunk: str
    document: str
    version: int
    document_chunks: int
    ordinal: int
    score: float


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk as Elasticsearch holds it."""

    chunk: str
    workspace: str
    document: str
    version: int
    document_chunks: int
    ordinal: int
    section: int
    section_chunk: str
    """Id under which the section is stored."""
    section_chars: int
    start: int
    end: int
    text: str
    context: str
    heading_path: list[str]
    title: str
    source: str
    media_type: str
    passage: str | None
    groups: list[str]
    clearance: int
    metadata: dict[str, date | int | list[str] | float | bool | str]


@dataclass(frozen=True, slots=True)
class StoredSection:
    workspace: str
    document: str
    version: int
    ordinal: int
    title: str
    heading_path: list[str]
    text: str
    source: str


class KeywordIndex:
    """The keyword index of one index version.

    Every method raises Unavailable where Elasticsearch does not answer or the index does not exist, and `create`,
    `search` and `scores` raise Mismatch where its chunks were cut by another recipe.

    Args:
        cut: how its documents are cut; None leaves that unasked.
    """

    def __init__(self, es: AsyncElasticsearch, settings: Settings, name: str, cut: Cut | None = None) -> None:
        self.name, self.sections_name, self.cut = name, f"{name}-sections", cut
        self._known = False
        """Whether it was found to be the one that is meant."""
        self._es = es
        # `options` builds a whole client each time: a millisecond that no question should pay.
        self._asking = es.options(request_timeout=SEARCH_TIMEOUT, max_retries=0)
        self._shards = {"number_of_shards": settings.elasticsearch_shards,
                        "number_of_replicas": settings.elasticsearch_replicas}

    # -- writing --------------------------------------------------------------------------------------------------

    async def create(self) -> None:
        """Creates both indexes where they do not exist."""
        chunks = {**self._shards, "refresh_interval": "500ms", "analysis": ANALYSIS, "similarity": SIMILARITY}
        sections = {**self._shards, "refresh_interval": "1s"}
        for name, index, fields in ((self.name, chunks, CHUNK_FIELDS), (self.sections_name, sections, SECTION_FIELDS)):
            mappings: dict[str, Any] = {"dynamic": "strict", "properties": fields}
            if self.cut is not None:
                mappings["_meta"] = {"cut": asdict(self.cut)}
            if name == self.name:
                mappings["_source"] = {"excludes": ["terms_*"]}
            with elasticsearch_errors(f"creating {name}"):
                try:
                    await self._es.indices.create(index=name, settings={"index": index}, mappings=mappings)
                except BadRequestError as e:
                    if e.error != "resource_already_exists_exception":
                        raise
        await self.check()

    async def check(self) -> None:
        """Raises Mismatch where the index was made for another cutting recipe."""
        if self._known or self.cut is None:
            return
        with elasticsearch_errors(f"looking at {self.name}"):
            found = await self._asking.indices.get_mapping(index=self.name)
        # One that an older Weir made says nothing of itself.
        said = found[self.name]["mappings"].get("_meta", {}).get("cut", asdict(self.cut))
        if said != asdict(self.cut):
            raise Mismatch(f"the keyword index {self.name} holds chunks of the recipe {said['name']}; the version that "
                           f"names it has {self.cut.name}. No question is answered from it: correct the index (`weir "
                           "index rollback`), or build a new version.")
        self._known = True

    async def analyses_as_now(self) -> bool:
        """Whether its words are made as this code would make them, so that another version may share it."""
        with elasticsearch_errors(f"looking at {self.name}"):
            found = await self._es.indices.get_settings(index=self.name)
        there = found[self.name]["settings"]["index"]
        return (_told(there.get("analysis", {})), _told(there.get("similarity", {}))) == (
            _told(ANALYSIS), _told(SIMILARITY))

    async def drop(self) -> None:
        """Deletes both indexes; harmless where they do not exist."""
        with elasticsearch_errors(f"deleting {self.name}"):
            await self._es.indices.delete(index=[self.name, self.sections_name], ignore_unavailable=True)

    async def upsert(self, cut: DocumentCut) -> int:
        """Writes every chunk and section of a document's version; the number of chunks.

        Writing the same version again changes nothing. A search sees it after the next refresh.
        """
        await self._bulk(self._records(cut), f"indexing {cut.workspace}/{cut.document}")
        return len(cut.chunks)

    async def upsert_all(self, cuts: Sequence[DocumentCut]) -> None:
        """As `upsert`, for many documents at once."""
        await self._bulk((record for cut in cuts for record in self._records(cut)), f"indexing {len(cuts)} documents")

    async def delete(self, ids: Sequence[str]) -> None:
        """Deletes these chunks and the sections that begin with one; harmless where they do not exist."""
        actions = ({"_op_type": "delete", "_index": index, "_id": i} for i in ids
                   for index in (self.name, self.sections_name))
        await self._bulk(actions, f"deleting from {self.name}")

    async def refresh(self) -> None:
        """Lets searches see everything that was written so far."""
        with elasticsearch_errors(f"refreshing {self.name}"):
            await self._es.indices.refresh(index=[self.name, self.sections_name])

    async def count(self, filters: Sequence[dict[str, Any]] = ()) -> int:
        """Chunks that searches see."""
        with elasticsearch_errors(f"counting in {self.name}"):
            reply = await self._es.count(index=self.name, query={"bool": {"filter": list(filters)}})
        return int(reply["count"])

    async def _bulk(self, actions: Iterator[dict[str, Any]], doing: str) -> None:
        with elasticsearch_errors(doing):
            _, failed = await async_bulk(
                self._es.options(request_timeout=BULK_TIMEOUT), actions, chunk_size=BULK_RECORDS,
                max_chunk_bytes=BULK_BYTES, max_retries=3, initial_backoff=0.2, raise_on_error=False)
        wrong = [item for item in cast("list[dict[str, Any]]", failed) if item.get("delete", {}).get("status") != 404]
        if wrong:
            raise _bulk_error(wrong, doing)

    def _records(self, cut: DocumentCut) -> Iterator[dict[str, Any]]:
        ids = [keys.chunk_id(cut.workspace, cut.document, cut.version, chunk.ordinal) for chunk in cut.chunks]
        first: dict[int, str] = {}
        for chunk, i in zip(cut.chunks, ids, strict=True):
            first.setdefault(chunk.section, i)
        metadata, terms = elasticsearch_metadata(cut.metadata), terms_field(cut.workspace)
        sections = {section.ordinal: section for section in cut.sections}
        same = {"workspace": cut.workspace, "document": cut.document, "version": cut.version, "title": cut.title,
                "source": cut.source}
        for chunk, i in zip(cut.chunks, ids, strict=True):
            section = sections[chunk.section]
            yield {"_index": self.name, "_id": i, "_source": {
                **same, "chunk": i, "document_chunks": len(cut.chunks), "ordinal": chunk.ordinal,
                "groups": cut.groups, "clearance": cut.clearance, "metadata": metadata,
                terms: with_parts(embedded_text(chunk.context, chunk.text)), "text": chunk.text,
                "context": chunk.context, "heading_path": section.heading_path, "media_type": cut.media_type,
                "passage": chunk.passage, "section": chunk.section, "section_chunk": first[chunk.section],
                "section_chars": len(section.text), "start": chunk.start, "end": chunk.end,
                "published_at": cut.published_at}}
        for ordinal, i in first.items():
            section = sections[ordinal]
            yield {"_index": self.sections_name, "_id": i, "_source": {
                **same, "ordinal": ordinal, "heading_path": section.heading_path, "text": section.text}}

    # -- asking ---------------------------------------------------------------------------------------------------

    async def search(self, workspace: str, question: str, filters: Sequence[dict[str, Any]], limit: int,
                     also: str = "") -> list[KeywordHit]:
        """The best chunks by BM25, equal scores by id. Fewer than `limit` means that no other chunk has a word of it.

        Args:
            filters: from `weir.access.elasticsearch_filter`; all must hold.
            also: words that count half as much as those of the question.
        """
        return await self._hits({"filter": list(filters), "must": [_match(workspace, question, also)]}, limit)

    async def scores(self, workspace: str, question: str, chunks: Sequence[str], filters: Sequence[dict[str, Any]],
                     also: str = "") -> list[KeywordHit]:
        """These chunks with the scores that `search` would give them, 0 where none of the words is in one.

        A chunk that is not in the index, or not for this person, is left out.
        """
        if not chunks:
            return []
        ids = {"terms": {"chunk": list(chunks)}}
        return await self._hits({"filter": [ids, *filters], "should": [_match(workspace, question, also)]}, len(chunks))

    async def _hits(self, query: dict[str, Any], limit: int) -> list[KeywordHit]:
        await self.check()
        with elasticsearch_errors("searching by keywords"):
            reply = await self._asking.search(
                index=self.name, query={"bool": query}, size=limit, sort=[{"_score": "desc"}, {"chunk": "asc"}],
                # Scores over all shards' statistics: those of one shard would distort the fusion.
                search_type="dfs_query_then_fetch", allow_partial_search_results=False, track_total_hits=False,
                # Only columns are read. Ids and sources lie in compressed blocks, which cost more than the search.
                stored_fields="_none_", docvalue_fields=COLUMNS,
                filter_path=["hits.hits._score", "hits.hits.fields"])
        found = []
        for hit in reply.get("hits", {}).get("hits", ()):
            field = hit["fields"]
            found.append(KeywordHit(field["chunk"][0], field["document"][0], field["version"][0],
                                    field["document_chunks"][0], field["ordinal"][0], float(hit["_score"] or 0.0)))
        return found

    async def fetch(self, chunks: Sequence[str]) -> dict[str, StoredChunk]:
        """The stored chunks by id; those that do not exist are left out."""
        if not chunks:
            return {}
        with elasticsearch_errors("reading chunks"):
            reply = await self._asking.mget(
                index=self.name, ids=list(chunks), realtime=False, source_excludes=["published_at"],
                filter_path=["docs._source", "docs.error"])
        found = (_chunk(doc["_source"]) for doc in reply.get("docs", ()) if "_source" in doc)
        return {chunk.chunk: chunk for chunk in found}

    async def sections(self, ids: Sequence[str]) -> dict[str, StoredSection]:
        """Sections by `StoredChunk.section_chunk`; those that do not exist are left out."""
        if not ids:
            return {}
        with elasticsearch_errors("reading sections"):
            reply = await self._asking.mget(
                index=self.sections_name, ids=list(ids), realtime=False, filter_path=["docs._id", "docs._source"])
        return {doc["_id"]: StoredSection(**doc["_source"]) for doc in reply.get("docs", ()) if "_source" in doc}

    async def section(self, workspace: str, document: str, ordinal: int, version: int | None = None
                      ) -> StoredSection | None:
        """One section of a document, of its newest version that is indexed or of the one asked for."""
        wanted: list[dict[str, Any]] = [{"term": {"workspace": workspace}}, {"term": {"document": document}},
                                        {"term": {"ordinal": ordinal}}]
        if version is not None:
            wanted.append({"term": {"version": version}})
        with elasticsearch_errors("reading a section"):
            reply = await self._es.search(index=self.sections_name, query={"bool": {"filter": wanted}}, size=1,
                                          sort=[{"version": "desc"}])
        hits = reply["hits"]["hits"]
        return StoredSection(**hits[0]["_source"]) if hits else None


def terms_field(workspace: str) -> str:
    """The field that holds the words of a workspace."""
    return f"terms_{int(token(workspace)[:8], 16) % FIELDS}"


def _told(settings: Any) -> Any:
    """Settings as Elasticsearch gives them back: every value a text."""
    if isinstance(settings, Mapping):
        return {name: _told(value) for name, value in settings.items()}
    return str(settings) if not isinstance(settings, list) else [_told(value) for value in settings]


def _match(workspace: str, question: str, also: str) -> dict[str, Any]:
    field = terms_field(workspace)
    asked = {"match": {field: {"query": with_parts(keywords(question))}}}
    more = {"match": {field: {"query": with_parts(also), "boost": 0.5}}}
    return {"bool": {"should": [asked, more]}} if also else asked


def _chunk(source: dict[str, Any]) -> StoredChunk:
    return StoredChunk(**{**source, "metadata": metadata_of(source["metadata"])})


def _bulk_error(failed: Sequence[dict[str, Any]], doing: str) -> Exception:
    first = next(iter(failed[0].values()))
    reason = first.get("error", first)
    said = f"{len(failed)} records were refused while {doing}; the first: {reason}"
    if first.get("status") == 400:
        return BadRecord(f"{said}. Correct the document and publish it again.")
    return Unavailable(f"{said}. See Elasticsearch's log.", retry_after=2)
