"""How far a document has come: what the log says of it, what the stores hold, and how each stage ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from elasticsearch import AsyncElasticsearch

from schemas import keys
from schemas.events import DocumentStatus, Stage, StageState
from weir.errors import NotFound
from weir.index import names
from weir.index.indexes import Indexes
from weir.settings import Settings
from weir.views import elastic
from weir.views.documents import DocumentView, document_id, view_index
from weir.views.elastic import KEYWORD, LONG
from weir.views.manifests import Manifest, Manifests

PROPERTIES = {
    "workspace": KEYWORD, "document": KEYWORD, "version": LONG, "stage": KEYWORD, "state": KEYWORD, "at": LONG,
    "index_version": KEYWORD, "millis": {"type": "double"}, "count": LONG, "code": KEYWORD,
    "reason": {"type": "keyword", "index": False, "doc_values": False},
}


def statuses_index(settings: Settings) -> str:
    return f"{settings.prefix}weir-view-document-status"


def status_id(status: DocumentStatus) -> str:
    return _status_id(status.workspace, status.document, status.stage, status.index_version)


def status_document(status: DocumentStatus) -> dict[str, Any]:
    """A status as Elasticsearch holds it."""
    return {name: getattr(status, name) for name in PROPERTIES} | {
        "stage": status.stage.value, "state": status.state.value}


def _status_id(workspace: str, document: str, stage: Stage, index_version: str | None) -> str:
    return elastic.view_id("status", keys.status_key(workspace, document, stage.value, index_version))


async def document_status(es: AsyncElasticsearch, settings: Settings, indexes: Indexes, workspace: str,
                          document: str) -> dict[str, Any]:
    """Status of one document.

    The result's fields:

        workspace, document, version   the newest version that the log holds
        deleted                        whether that version is a deletion
        searchable                     both stores have confirmed exactly this version, so that every search finds it
        being_replaced                 some store still holds an older version, which may be served until then
        title, media_type, bytes, published_at, groups, clearance
        stages                         {stage: {state, version, at, millis, count}}, stage as in `schemas.events.Stage`
        failed                         {stage, code, reason} of this version, or None

    Raises:
        NotFound: no such document was ever published.
        Unavailable: Elasticsearch does not answer, or no index has been declared.
    """
    found = await document_statuses(es, settings, indexes, workspace, [document])
    if document not in found:
        raise NotFound(f"the workspace {workspace!r} has no document {document!r}; a document that was published a "
                       "moment ago appears within a second.")
    return found[document]


async def document_statuses(es: AsyncElasticsearch, settings: Settings, indexes: Indexes, workspace: str,
                            documents: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Status of many documents, by document; those never published are left out. See `document_status`.

    Raises:
        Unavailable: Elasticsearch does not answer, or no index has been declared.
    """
    live = indexes.live()
    vectors = names.collection_label(settings, live.collection)
    keywords = names.keyword_label(settings, live.keyword_index)
    views = await elastic.mget(es, view_index(settings), [document_id(workspace, d) for d in documents])
    # Stores that versions share report under the name of the one that they were made for.
    stages = [(Stage.CUT, None), (Stage.EMBEDDED, names.owner(vectors)), (Stage.VECTORS, names.owner(vectors)),
              (Stage.KEYWORDS, names.owner(keywords))]
    statuses = await elastic.mget(es, statuses_index(settings), [_status_id(workspace, d, stage, version)
                                                                 for d in documents for stage, version in stages])
    held = [await Manifests(es, settings, store).get([(workspace, d) for d in documents]) for store in (
        vectors_store(vectors), keywords_store(keywords))]
    return {
        document: _status(DocumentView(**view["_source"]),
                          [hit["_source"] for hit in statuses[n * len(stages):(n + 1) * len(stages)] if hit],
                          [manifests[workspace, document] for manifests in held])
        for n, (document, view) in enumerate(zip(documents, views, strict=True)) if view}


def vectors_store(label: str) -> str:
    """Name of a vector store in the manifests."""
    return names.worker_name("vectors", label)


def keywords_store(label: str) -> str:
    """Name of a keyword store in the manifests."""
    return names.worker_name("keywords", label)


def _status(view: DocumentView, statuses: Sequence[dict[str, Any]], held: Sequence[Manifest]) -> dict[str, Any]:
    failed = next((s for s in statuses if s["state"] == StageState.FAILED.value and s["version"] == view.version), None)
    return {
        "workspace": view.workspace, "document": view.document, "version": view.version, "deleted": view.deleted,
        "searchable": not view.deleted and all(m.version == view.version and not m.deleted for m in held),
        "being_replaced": any(m.count > 0 and m.version < view.version for m in held),
        "title": view.title, "media_type": view.media_type, "bytes": view.bytes, "published_at": view.published_at,
        "groups": view.groups, "clearance": view.clearance,
        "stages": {s["stage"]: {k: s[k] for k in ("state", "version", "at", "millis", "count")} for s in statuses},
        "failed": {k: failed[k] for k in ("stage", "code", "reason")} if failed else None,
    }
