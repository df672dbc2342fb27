"""Documents: publishing, deleting, how far they are, what they say.

Whoever may publish into a workspace may replace and delete each document in it, may give one to any groups, and sees
how far each is. What a document is called and says is for those who may read it; to others it does not exist.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

from aiohttp import web

from gateway.http import SERVICES, Services, json_response, person_of
from gateway.requests import DocumentBody, parse, parse_json, read_body
from gateway.withhold import readable
from gateway.workspaces import audit
from schemas import keys, topics
from schemas.events import DocumentPublished, Person
from weir import telemetry
from weir.access import EVERYONE
from weir.documents.media_types import guess_media_type
from weir.errors import BadRequest, NotFound
from weir.retrieval.keyword import KeywordIndex
from weir.views.documents import DocumentView
from weir.views.status import document_status, document_statuses

log = telemetry.logger(__name__)

JSON_ROOM = 1 << 20
"""Bytes that a JSON body may have besides the document itself."""


async def publish(request: web.Request) -> web.Response:
    services, person = request.app[SERVICES], person_of(request)
    workspace = services.workspaces.for_publisher(person, request.match_info["workspace"])
    services.limits.publish(person.subject)
    body, content = await _received(request, services.settings.max_document_bytes)
    if len(content) > services.settings.max_document_bytes:
        raise BadRequest(f"the document has {len(content):,} bytes and may have "
                         f"{services.settings.max_document_bytes:,}: split it, or raise WEIR_MAX_DOCUMENT_BYTES")
    media_type = body.media_type or guess_media_type(body.filename or body.document or "") or ""
    if not media_type:
        raise BadRequest("say what kind of document it is: `media_type`, or a `filename` with a known ending")
    document = body.document or body.filename or hashlib.sha256(content).hexdigest()[:32]
    event = DocumentPublished(
        workspace=workspace.workspace, document=document, content=content, media_type=media_type, title=body.title,
        source=body.source, groups=body.groups, clearance=body.clearance, metadata=body.typed_metadata(),
        publisher=person.subject, published_at=services.clock())
    with telemetry.span("publish", document=document, workspace=workspace.workspace), telemetry.bound(
            document=document):
        delivery = await services.producer.send(
            topics.DOCUMENTS.named(services.settings.prefix), keys.document_key(workspace.workspace, document), event)
        log.info("published", workspace=workspace.workspace, version=delivery.offset, bytes=len(content))
    return json_response({"workspace": workspace.workspace, "document": document, "version": delivery.offset,
                          "partition": delivery.partition}, status=202)


async def _received(request: web.Request, most: int) -> tuple[DocumentBody, bytes]:
    """The document from a JSON body, or from a raw body with its description in the query."""
    if request.content_type == "application/json" and "document" not in request.query:
        body = parse_json(DocumentBody, await read_body(request, most * 4 // 3 + JSON_ROOM))
        return body, body.bytes()
    query: dict[str, Any] = {k: v for k, v in request.query.items() if k != "groups"}
    if groups := request.query.getall("groups", []):
        query["groups"] = [g for part in groups for g in part.split(",") if g]
    named = request.headers.get("Content-Type", "").partition(";")[0].strip()
    body = parse(DocumentBody, {"media_type": "" if named == "application/octet-stream" else named, **query})
    return body, await read_body(request, most)


async def delete(request: web.Request) -> web.Response:
    """Deletes a document; one that does not exist too, so that nobody learns which do."""
    services, person = request.app[SERVICES], person_of(request)
    workspace = services.workspaces.for_publisher(person, request.match_info["workspace"]).workspace
    document = request.match_info["document"]
    key = keys.document_key(workspace, document)
    delivery = await services.producer.send(topics.DOCUMENTS.named(services.settings.prefix), key, None)
    await audit(services.producer, services.settings, services.clock, person, "delete", key)
    return json_response({"workspace": workspace, "document": document, "version": delivery.offset,
                          "partition": delivery.partition}, status=202)


async def status(request: web.Request) -> web.Response:
    services, person = request.app[SERVICES], person_of(request)
    name, document = request.match_info["workspace"], request.match_info["document"]
    workspace = services.workspaces.get(name)
    publisher = services.workspaces.may_publish(person, workspace)
    if not publisher and not services.workspaces.may_ask(person, workspace):
        raise _unknown(name, document)
    view = await services.documents.get(name, document)
    may = readable(person, view)
    if view is None or not (may or publisher):
        raise _unknown(name, document)
    found = await document_status(services.es, services.settings, services.indexes, name, document)
    if not may:
        found |= {"title": "", "bytes": None, "media_type": ""}
    return json_response(found)


async def list_documents(request: web.Request) -> web.Response:
    services, person = request.app[SERVICES], person_of(request)
    name = services.workspaces.for_reader(person, request.match_info["workspace"]).workspace
    try:
        limit = min(200, int(request.query.get("limit", "50")))
    except ValueError:
        raise BadRequest("limit must be a whole number") from None
    page = await services.documents.list(name, access=_access(person), limit=limit, after=request.query.get("after"))
    shown = [v for v in page.documents if readable(person, v)]
    statuses: dict[str, dict[str, Any]] = {}
    if request.query.get("status") and shown:
        statuses = await document_statuses(services.es, services.settings, services.indexes, name,
                                           [v.document for v in shown])
    return json_response({"documents": [_listed(v) | statuses.get(v.document, {}) for v in shown],
                          "after": page.after})


async def section(request: web.Request) -> web.Response:
    """One section of a document, for the passage's surroundings."""
    services, person = request.app[SERVICES], person_of(request)
    name, document = request.match_info["workspace"], request.match_info["document"]
    workspace = services.workspaces.for_reader(person, name)
    view = (await services.documents.check(name, [document])).get(document)
    if not readable(person, view) or view is None:
        raise _unknown(name, document)
    ordinal, version = _whole(request.match_info["section"]), request.query.get("version")
    found = await _section(services, workspace.index, name, document, ordinal, _whole(version) if version else None)
    if found is None:
        raise NotFound(f"the document {document!r} has no section {ordinal} at the moment; it may be being replaced")
    return json_response({**found, "newest_version": view.version, "being_replaced": found["version"] != view.version})


async def _section(services: Services, index: str, workspace: str, document: str, ordinal: int,
                   version: int | None) -> dict[str, Any] | None:
    keywords = KeywordIndex(services.es, services.settings, services.indexes.live(index).keyword_index)
    found = await keywords.section(workspace, document, ordinal, version)
    if found is None and version is not None:
        found = await keywords.section(workspace, document, ordinal)
    return asdict(found) if found else None


def _listed(view: DocumentView) -> dict[str, Any]:
    return {name: getattr(view, name) for name in (
        "workspace", "document", "version", "title", "media_type", "source", "published_at", "bytes", "groups",
        "clearance")}


def _access(person: Person) -> dict[str, Any]:
    """What the person may read, as a filter on the access view."""
    return {"bool": {"filter": [{"terms": {"groups": sorted({*person.groups, EVERYONE})}},
                                {"range": {"clearance": {"lte": person.clearance}}}]}}


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise BadRequest(f"{text[:40]!r} is not a whole number")
    return int(text)


def _unknown(workspace: str, document: str) -> NotFound:
    return NotFound(f"the workspace {workspace!r} has no document {document!r} that is open to you; one that was "
                    "published a moment ago appears within a second")
