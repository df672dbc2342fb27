"""Raw records to records, a schema registry among it."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fastavro
import pytest
from aiohttp import encode_basic_auth, web
from aiohttp.test_utils import TestServer

from schemas import codec
from schemas.events import ClaimCheck, DocumentPublished, Workspace
from weir.blobs import BlobMissing, Blobs
from weir.errors import BadRecord, Unavailable
from weir.kafka.records import Decoder, Raw
from weir.settings import Settings

DOCUMENT = DocumentPublished(workspace="w", document="d", content=b"x", media_type="text/plain")
WRITER = {"type": "record", "name": "Publication", "namespace": "com.example", "fields": [
    {"name": name, "type": "string"} for name in ("workspace", "document", "media_type")]
    + [{"name": "content", "type": "bytes"}]}


def raw(value: bytes | None, topic: str = "documents", key: bytes | None = b"w/d") -> Raw:
    return Raw(topic, 3, 42, key, value, {}, 1000)


@pytest.fixture
def decoder(tmp_path: Path) -> Decoder:
    settings = Settings(home=tmp_path)
    return Decoder(settings, Blobs(settings))


def framed(number: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(WRITER), {
        "workspace": "w", "document": "d", "media_type": "text/plain", "content": b"x"})
    return b"\0" + number.to_bytes(4, "big") + out.getvalue()


def test_a_record_keeps_its_place(decoder: Decoder) -> None:
    record = decoder.now(raw(codec.encode(DOCUMENT)))
    assert record is not None
    assert (record.topic, record.partition, record.offset, record.key) == ("documents", 3, 42, "w/d")
    assert record.version == 42
    assert (record.event, record.attempt, record.timestamp) == (DOCUMENT, 1, 1000)


def test_a_tombstone_has_no_event(decoder: Decoder) -> None:
    record = decoder.now(raw(None))
    assert record is not None
    assert record.event is None


@pytest.mark.parametrize(("bad", "reason"), [
    (raw(b"hello"), "documents: the record begins with 68 65"),
    (raw(b""), "begins with nothing"),
    (raw(codec.encode(Workspace(workspace="w", changed_at=1, changed_by="me"))), "a Workspace does not belong here"),
    (raw(codec.encode(DOCUMENT), key=None), "documents/3/42: the record has no key"),
    (raw(codec.encode(DOCUMENT), key=b"\xff"), "its key is not UTF-8"),
    (raw(framed(1), topic="workspaces"), "workspaces: the record begins with 00 00"),
])
def test_what_does_not_belong_says_why(decoder: Decoder, bad: Raw, reason: str) -> None:
    with pytest.raises(BadRecord, match=reason):
        decoder.now(bad)


async def test_a_claim_check_is_resolved(decoder: Decoder, tmp_path: Path) -> None:
    whole = codec.encode(DOCUMENT)
    sha = await Blobs(Settings(home=tmp_path)).put(whole)
    check = raw(codec.encode(ClaimCheck(blob=sha, size=len(whole))))
    assert decoder.now(check) is None
    record = await decoder.decode(check)
    assert (record.event, record.value) == (DOCUMENT, whole)


async def test_a_claim_check_without_its_blob_may_come_good(decoder: Decoder) -> None:
    with pytest.raises(BlobMissing):
        await decoder.decode(raw(codec.encode(ClaimCheck(blob="0" * 64, size=1))))


async def test_a_claim_check_of_a_claim_check_or_of_a_path_is_refused(decoder: Decoder, tmp_path: Path) -> None:
    sha = await Blobs(Settings(home=tmp_path)).put(codec.encode(ClaimCheck(blob="0" * 64, size=1)))
    with pytest.raises(BadRecord, match="another claim check"):
        await decoder.decode(raw(codec.encode(ClaimCheck(blob=sha, size=1))))
    with pytest.raises(BadRecord, match="is not the name of a blob"):
        await decoder.decode(raw(codec.encode(ClaimCheck(blob="../../etc/passwd", size=1))))


# -- a schema registry, as it answers over HTTP -----------------------------------------------------------------------

class Registry:
    def __init__(self) -> None:
        self.asked: list[int] = []
        self.down = False
        self.schemas: dict[int, dict[str, Any]] = {7: {"schema": json.dumps(WRITER)}}

    async def answer(self, request: web.Request) -> web.Response:
        number = int(request.match_info["id"])
        self.asked.append(number)
        if request.headers.get("Authorization") != encode_basic_auth("me", "secret"):
            return web.json_response({"error_code": 40101, "message": "Unauthorized"}, status=401)
        if self.down:
            return web.json_response({"error_code": 50001, "message": "Error in the backend"}, status=500)
        if number not in self.schemas:
            return web.json_response({"error_code": 40403, "message": "Schema not found"}, status=404)
        return web.Response(text=json.dumps(self.schemas[number]),
                            content_type="application/vnd.schemaregistry.v1+json")


@pytest.fixture
async def registry() -> AsyncIterator[tuple[Registry, Decoder]]:
    fake = Registry()
    app = web.Application()
    app.router.add_get("/schemas/ids/{id}", fake.answer)
    async with TestServer(app) as server:
        settings = Settings(schema_registry=f"http://me:secret@127.0.0.1:{server.port}/")
        yield fake, Decoder(settings, Blobs(settings))


async def test_a_schema_is_fetched_once(registry: tuple[Registry, Decoder]) -> None:
    server, decoder = registry
    assert decoder.now(raw(framed(7))) is None
    assert (await decoder.decode(raw(framed(7)))).event == DOCUMENT
    record = decoder.now(raw(framed(7)))
    assert record is not None
    assert record.event == DOCUMENT
    assert server.asked == [7]


async def test_a_registry_that_is_down_is_waited_for(registry: tuple[Registry, Decoder]) -> None:
    server, decoder = registry
    server.down = True
    with pytest.raises(Unavailable, match="cannot fetch schema 7") as caught:
        await decoder.decode(raw(framed(7)))
    assert caught.value.retriable
    assert "secret" not in caught.value.message
    server.down = False
    assert (await decoder.decode(raw(framed(7)))).event == DOCUMENT


async def test_schemas_that_cannot_be_used_say_so(registry: tuple[Registry, Decoder]) -> None:
    server, decoder = registry
    server.schemas |= {8: {"schema": '"string"'}, 9: {"schema": "syntax", "schemaType": "PROTOBUF"},
                       10: {"schema": "{"},
                       11: {"schema": '{"type": "record", "name": "X", "fields": [{"name": "a"}]}'}}
    for number, reason in ((8, "no Avro schema"), (9, "is PROTOBUF"), (10, "no Avro schema"), (11, "no Avro schema"),
                           (12, "has no schema 12")):
        with pytest.raises(BadRecord, match=reason):
            await decoder.decode(raw(framed(number)))


async def test_a_registry_that_does_not_listen_is_waited_for() -> None:
    settings = Settings(schema_registry="http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="cannot fetch schema 7"):
        await Decoder(settings, Blobs(settings)).decode(raw(framed(7)))
