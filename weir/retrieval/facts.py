"""What is known of documents besides their words: which metadata a workspace has, and what stands over a chunk."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import orjson
from elasticsearch import AsyncElasticsearch

from weir.access import metadata_of
from weir.documents.media_types import MediaType, read_media_type
from weir.errors import BadDocument, Unavailable
from weir.retrieval.conditions import Field
from weir.stores import elasticsearch_errors

MOST_FIELDS, MOST_TEXTS = 100, 500
"""Fields of a workspace that questions can name, and values of each."""
KNOWN_FOR = 30.0
"""Seconds for which a workspace's fields are not asked for again: a question may name a value that is older."""
KNOWN_AT_MOST = 1000
LOOKED_AT = 100_000
"""Chunks of a shard that are looked at for fields: a question does not wait for more."""
TIMEOUT, AWAY = 2.0, 10.0
"""Seconds to wait for an answer, and after none before it is asked again."""
TYPE_FIELDS = ("type", "kind")
"""Metadata that says what type of document it is."""

_VALUES: dict[str, Any] = {"terms": {"field": "metadata.string", "size": MOST_TEXTS}}
_AGGREGATION: dict[str, Any] = {"nested": {"path": "metadata"}, "aggs": {"keys": {
    "terms": {"field": "metadata.key", "size": MOST_FIELDS}, "aggs": {
        "dates": {"filter": {"exists": {"field": "metadata.date"}}},
        "longs": {"filter": {"exists": {"field": "metadata.long"}}},
        "doubles": {"filter": {"exists": {"field": "metadata.double"}}},
        "texts": _VALUES}}}}


@dataclass(frozen=True, slots=True)
class About:
    """What stands over a chunk."""

    document: str
    title: str
    heading_path: tuple[str, ...]
    types: tuple[str, ...]
    """Types of its document, in small letters: what its metadata says, then its format, `pdf` or `markdown`."""
    metadata: Mapping[str, date | int | list[str] | float | bool | str]


class Facts:
    """Asks the keyword index of one index version."""

    def __init__(self, es: AsyncElasticsearch, name: str, timer: Callable[[], float] = time.monotonic) -> None:
        self._name, self._timer = name, timer
        self._asking = es.options(request_timeout=TIMEOUT, max_retries=0)
        self._known: OrderedDict[bytes, tuple[float, list[Field]]] = OrderedDict()
        self._away = -math.inf

    async def fields(self, filters: Sequence[dict[str, Any]]) -> list[Field]:
        """The metadata fields of what these filters let through: what a person may not read names no field.

        Args:
            filters: from `weir.access.elasticsearch_filter`.

        Raises:
            Unavailable: Elasticsearch does not answer.
        """
        async def ask() -> list[Field]:
            found = await self._aggregated(list(filters), _AGGREGATION, terminate_after=LOOKED_AT)
            return [Field(each["key"], dates=each["dates"]["doc_count"] > 0,
                          numbers=each["longs"]["doc_count"] + each["doubles"]["doc_count"] > 0,
                          texts=tuple(text["key"] for text in each["texts"]["buckets"]))
                    for each in found["keys"]["buckets"]]

        return await self._remembered(orjson.dumps(list(filters)), ask)

    async def whole(self, name: str, filters: Sequence[dict[str, Any]]) -> Field:
        """One field with every text value that it has, however many chunks there are. Args and errors as `fields`."""
        its = {"term": {"metadata.key": name}}

        async def ask() -> list[Field]:
            found = await self._aggregated([*filters, {"nested": {"path": "metadata", "query": its}}], {
                "nested": {"path": "metadata"}, "aggs": {"its": {"filter": its, "aggs": {"texts": _VALUES}}}})
            return [Field(name, texts=tuple(text["key"] for text in found["its"]["texts"]["buckets"]))]

        [field] = await self._remembered(orjson.dumps([name, list(filters)]), ask)
        return field

    async def _remembered(self, key: bytes, ask: Callable[[], Awaitable[list[Field]]]) -> list[Field]:
        if key in self._known and self._known[key][0] > self._timer():
            return self._known[key][1]
        if self._timer() < self._away:
            raise Unavailable("the fields of the metadata could not be read a moment ago.", retry_after=AWAY)
        try:
            found = await ask()
        except Unavailable:
            self._away = self._timer() + AWAY
            raise
        self._known[key] = self._timer() + KNOWN_FOR, found
        self._known.move_to_end(key)
        while len(self._known) > KNOWN_AT_MOST:
            self._known.popitem(last=False)
        return found

    async def _aggregated(self, filters: list[dict[str, Any]], aggregation: dict[str, Any], **limits: Any) -> Any:
        with elasticsearch_errors("reading the fields of the metadata"):
            reply = await self._asking.search(index=self._name, query={"bool": {"filter": filters}}, size=0,
                                              aggs={"metadata": aggregation}, track_total_hits=False, **limits)
        return reply["aggregations"]["metadata"]

    async def about(self, chunks: Sequence[str]) -> dict[str, About]:
        """What stands over these chunks; those that do not exist are left out. Raises Unavailable."""
        if not chunks:
            return {}
        with elasticsearch_errors("reading what chunks are about"):
            reply = await self._asking.mget(
                index=self._name, ids=list(chunks), realtime=False, filter_path=["docs._id", "docs._source"],
                source_includes=["document", "title", "heading_path", "media_type", "metadata"])
        return {doc["_id"]: _about(doc["_source"]) for doc in reply.get("docs", ()) if "_source" in doc}


def _about(source: Mapping[str, Any]) -> About:
    metadata = metadata_of(source["metadata"])
    named: list[str] = []
    for name in TYPE_FIELDS:
        value = metadata.get(name)
        named += value if isinstance(value, list) else [value] if isinstance(value, str) else []
    return About(source["document"], source["title"], tuple(source["heading_path"]),
                 tuple(dict.fromkeys([*(text.lower() for text in named), media_name(source["media_type"])])), metadata)


def media_name(media_type: str) -> str:
    """The short name of a media type: `pdf`, `markdown`, `text`."""
    try:
        return read_media_type(media_type)[0].name.lower()
    except BadDocument:
        return MediaType.TEXT.name.lower()
