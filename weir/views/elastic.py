"""What the read models share of Elasticsearch: ids, creation, realtime reads and bulk writes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from elasticsearch import AsyncElasticsearch, BadRequestError

from weir.errors import Unavailable
from weir.stores import elasticsearch_errors

BUSY = (408, 429, 500, 502, 503, 504)
"""Statuses after which the same request may succeed."""

KEYWORD = {"type": "keyword", "ignore_above": 1024}
LONG = {"type": "long"}
BOOLEAN = {"type": "boolean"}
STORED = {"type": "object", "enabled": False}
"""Kept and returned, not searched."""


def view_id(*parts: str) -> str:
    """An id of 40 hex digits: Elasticsearch takes 512 bytes at most, and keys may be longer."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


async def create(es: AsyncElasticsearch, name: str, properties: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Creates an index if it is not there. Fields that the mapping does not name are refused."""
    with elasticsearch_errors(f"creating {name}"):
        try:
            await es.indices.create(index=name, settings=settings,
                                    mappings={"dynamic": "strict", "properties": dict(properties)})
        except BadRequestError as e:
            if e.error != "resource_already_exists_exception":
                raise


async def bulk(es: AsyncElasticsearch, operations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Runs bulk operations and returns the outcome of each: `status`, `_seq_no`, `error`, in their order.

    Version conflicts (409) and missing documents (404) are outcomes.

    Raises:
        Unavailable: the server, or a shard, cannot take them now.
        RuntimeError: an operation is refused for good; the message says why.
    """
    if not operations:
        return []
    with elasticsearch_errors("writing a view"):
        response = await es.options(request_timeout=30).bulk(operations=operations)
    outcomes: list[dict[str, Any]] = [next(iter(item.values())) for item in response["items"]]
    for outcome in outcomes:
        if outcome["status"] in BUSY:
            raise Unavailable(f"Elasticsearch is busy: {outcome['error']['reason']}", retry_after=1)
        if outcome["status"] >= 400 and outcome["status"] not in (404, 409):
            raise RuntimeError(f"Elasticsearch refuses {outcome['_index']}/{outcome['_id']}: {outcome['error']}")
    return outcomes


async def mget(es: AsyncElasticsearch, index: str, ids: Sequence[str]) -> list[dict[str, Any] | None]:
    """Realtime multi-get: each hit with `_source`, `_seq_no`, `_primary_term`, or None where there is no such document.

    Raises:
        Unavailable: the server does not answer, or the index is not there.
    """
    if not ids:
        return []
    (found,) = await mget_each(es, [(index, ids)])
    if isinstance(found, Unavailable):
        raise found
    return found


async def mget_each(es: AsyncElasticsearch, asked: Sequence[tuple[str, Sequence[str]]]
                    ) -> list[list[dict[str, Any] | None] | Unavailable]:
    """Several realtime multi-gets as one request: of each index and its ids what `mget` returns, or why it cannot be
    read.

    Raises:
        Unavailable: the server does not answer.
    """
    with elasticsearch_errors(f"reading {', '.join(sorted({index for index, _ in asked}))}"):
        response = await es.mget(docs=[{"_index": index, "_id": i} for index, ids in asked for i in ids], realtime=True)
    docs = iter(response["docs"])
    return [_found(index, list(islice(docs, len(ids)))) for index, ids in asked]


def _found(index: str, docs: Sequence[dict[str, Any]]) -> list[dict[str, Any] | None] | Unavailable:
    for doc in docs:
        if "error" in doc:
            return Unavailable(f"the view {index} cannot be read: {doc['error'].get('reason')}", retry_after=2)
    return [doc if doc["found"] else None for doc in docs]
