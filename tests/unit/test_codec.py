"""Records to bytes and back."""

from __future__ import annotations

import io
import json

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import codec, events
from schemas.events import Delta, DocumentPublished
from tests.kit.examples import declared, examples, strategy

ANY_EVENT = st.one_of([strategy(declared(kind.__name__)) for kind in events.EVENTS])


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(ANY_EVENT)
def test_every_event_comes_back_as_it_was(event: object) -> None:
    back = codec.decode(codec.encode(event))
    assert back == event
    assert repr(back) == repr(event)  # True is not 1 and 1 is not 1.0


@given(st.binary(max_size=64))
def test_any_bytes_are_a_record_or_a_codec_error(data: bytes) -> None:
    with pytest.raises(codec.CodecError):
        codec.decode(data, confluent=DocumentPublished)


@settings(max_examples=300)
@given(st.sampled_from(sorted(examples())), st.data())
def test_damaged_records_are_a_codec_error_or_another_record(name: str, data: st.DataObject) -> None:
    good = bytearray(codec.encode(examples()[name]))
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(10, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(10, len(good)))
    try:
        event = codec.decode(bytes(good[:cut]))
    except codec.CodecError:
        return
    assert type(event) in events.EVENTS


def test_a_record_that_is_cut_off_is_refused() -> None:
    data = codec.encode(examples()["Workspace"])
    for end in range(len(data)):
        with pytest.raises(codec.CodecError):
            codec.decode(data[:end])
    with pytest.raises(codec.CodecError, match="after its end"):
        codec.decode(data + b"\0")


def test_an_unknown_fingerprint_says_that_the_writer_is_newer() -> None:
    with pytest.raises(codec.CodecError, match="0011223344556677; its writer is newer"):
        codec.decode(codec.MAGIC + bytes.fromhex("0011223344556677") + b"body")


def test_a_value_that_does_not_fit_is_refused_when_it_is_written() -> None:
    with pytest.raises(codec.CodecError, match="ClaimCheck cannot be encoded"):
        codec.encode(events.ClaimCheck(blob="x", size=2**63))
    with pytest.raises(codec.CodecError, match="DocumentPublished cannot be encoded"):
        codec.encode(DocumentPublished(workspace="w", document="d", content="text", media_type="t"))  # type: ignore[arg-type]  # the point


def test_the_fingerprint_is_that_of_the_specification() -> None:
    # Apache Avro, share/test/data/schema-tests.txt: CRC-64-AVRO of the canonical form, as a signed number.
    vectors = {'"null"': 7195948357588979594, '"boolean"': -6970731678124411036, '"int"': 8247732601305521295,
               '"long"': -3434872931120570953, '"float"': 5583340709985441680, '"double"': -8181574048448539266,
               '"bytes"': 5746618253357095269, '"string"': -8142146995180207161}
    for schema, number in vectors.items():
        assert codec.schema_fingerprint(json.loads(schema)) == number.to_bytes(8, "little", signed=True), schema


def test_the_header_is_the_marker_and_the_little_endian_crc_of_the_canonical_form() -> None:
    canonical = fastavro.schema.to_parsing_canonical_form(codec.schema("ClaimCheck"))
    assert canonical == ('{"name":"weir.ClaimCheck","type":"record","fields":[{"name":"blob","type":"string"},'
                         '{"name":"size","type":"long"}]}')
    data = codec.encode(events.ClaimCheck(blob="ab", size=3))
    assert data == b"\xc3\x01" + _crc64(canonical.encode()).to_bytes(8, "little") + b"\x04ab\x06"


def _crc64(data: bytes) -> int:
    """CRC-64-AVRO, written from the specification's text."""
    empty = 0xC15D213AA4D7A795
    crc = empty
    for byte in data:
        row = (crc ^ byte) & 0xFF
        for _ in range(8):
            row = (row >> 1) ^ (empty if row & 1 else 0)
        crc = (crc >> 8) ^ row
    return crc


def test_confluent_framing_is_read_only_where_it_is_asked_for() -> None:
    writer = {"type": "record", "name": "PublishedDocument", "namespace": "com.example", "fields": [
        {"name": "document", "type": "string"}, {"name": "workspace", "type": "string"},
        {"name": "media_type", "type": "string"}, {"name": "content", "type": "bytes"},
        {"name": "owner", "type": ["null", "string"], "default": None}]}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(writer), {
        "document": "d", "workspace": "w", "media_type": "text/plain", "content": b"x", "owner": "me"})
    data = b"\0" + (7).to_bytes(4, "big") + out.getvalue()
    schemas = {7: codec.foreign_schema(json.dumps(writer), DocumentPublished)}
    event = codec.decode(data, confluent=DocumentPublished, registry=schemas.__getitem__)
    assert event == DocumentPublished(workspace="w", document="d", content=b"x", media_type="text/plain")
    with pytest.raises(codec.CodecError, match="begins with 00 00"):
        codec.decode(data, registry=schemas.__getitem__)
    with pytest.raises(codec.CodecError, match="WEIR_SCHEMA_REGISTRY"):
        codec.decode(data, confluent=DocumentPublished)


def test_a_frame_is_small_on_the_wire() -> None:
    frame = events.AnswerFrame(answer="a" * 32, conversation="c" * 32, attempt="b" * 32, seq=5, at=1_795_000_000_000,
                               body=Delta(text="hello", position=17))
    assert len(codec.encode(frame)) < 130
