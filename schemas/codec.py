"""Records to bytes and back: Avro single-object encoding, `C3 01`, CRC-64-AVRO of the writer's schema, body.

Every schema that was ever written stays in `avro/` (current) or `avro/past/` (older versions), so that any record in
the log can be read without a registry. Records from producers that do use one (`00`, schema id, body) are read with
the schema that `registry` returns for the id.

Source of the format: Apache Avro 1.11 specification, "Single-object encoding" and "Schema Fingerprints".
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

import fastavro
from fastavro.schema import SchemaParseException, UnknownType, fingerprint, parse_schema, to_parsing_canonical_form

from schemas import events

MAGIC = b"\xc3\x01"
CONFLUENT = b"\x00"
AVRO = Path(__file__).parent / "avro"


class CodecError(ValueError):
    """Bytes that are not a record Weir knows. The message says what they look like."""


@cache
def schema(name: str) -> dict[str, Any]:
    """The current schema of a record, parsed."""
    return _parsed(AVRO / f"{name}.avsc")


def _parsed(path: Path) -> dict[str, Any]:
    return cast("dict[str, Any]", parse_schema(json.loads(path.read_text())))


def foreign_schema(text: str, kind: type) -> Any:
    """A writer's schema from a registry, to be read as `kind`: its own name and namespace do not matter.

    Raises:
        CodecError: it is not the schema of a record.
    """
    try:
        found = json.loads(text)
        if found["type"] != "record":
            raise CodecError(f"the schema is of type {found['type']!r}; expected a record")
        return parse_schema({**found, "name": kind.__name__, "namespace": "weir"})
    except (ValueError, KeyError, TypeError, SchemaParseException, UnknownType) as e:
        raise CodecError(f"that is no Avro schema: {type(e).__name__}: {e}") from e


def schema_fingerprint(avro: Any) -> bytes:
    """The eight bytes that name a schema in front of a record, little-endian."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(avro), "CRC-64-AVRO"))


@cache
def _header(name: str) -> bytes:
    return MAGIC + schema_fingerprint(schema(name))


@cache
def _writers() -> dict[bytes, tuple[str, dict[str, Any]]]:
    """Writer schemas by fingerprint: the current ones and every past version."""
    known = {}
    for path in AVRO.glob("past/*.avsc"):
        parsed = _parsed(path)
        known[schema_fingerprint(parsed)] = (path.name.split(".")[0], parsed)
    for path in AVRO.glob("*.avsc"):
        known[schema_fingerprint(schema(path.stem))] = (path.stem, schema(path.stem))
    return known


def encode(event: Any) -> bytes:
    """The bytes of an event from `schemas.events`.

    Raises:
        CodecError: a value does not fit the schema.
    """
    kind: Any = type(event)
    name = kind.__name__
    out = io.BytesIO()
    out.write(_header(name))
    try:
        fastavro.schemaless_writer(out, schema(name), _packer(kind)(event))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as e:
        raise CodecError(f"{name} cannot be encoded: {e}") from e
    return out.getvalue()


def decode(data: bytes, *, confluent: type | None = None, registry: Callable[[int], Any] | None = None) -> Any:
    """The event in `data`, as the current Python type whatever version wrote it.

    Args:
        data: a single-object encoded record; with `confluent`, also one in Confluent framing.
        confluent: the type to read Confluent-framed records as; None refuses them.
        registry: returns the writer's schema for a registry id.

    Raises:
        CodecError: the framing or the schema is not known, or the body is damaged.
    """
    if data[:2] == MAGIC:
        name, writer = _writer(data[2:10])
        body = io.BytesIO(data[10:])
    elif data[:1] == CONFLUENT and confluent is not None and len(data) >= 5:
        number = int.from_bytes(data[1:5], "big")
        if registry is None:
            raise CodecError(f"the record names schema {number} of a registry; set WEIR_SCHEMA_REGISTRY to its address")
        name, writer = confluent.__name__, registry(number)
        body = io.BytesIO(data[5:])
    else:
        raise CodecError(f"the record begins with {data[:2].hex(' ') or 'nothing'}; "
                         "expected c3 01 (Avro single-object encoding)")
    try:
        # Without a reader's schema fastavro skips the resolution, which is most of its time.
        reader = None if writer is schema(name) else schema(name)
        plain = fastavro.schemaless_reader(body, writer, reader, return_record_name=True,
                                           return_record_name_override=True)
    except Exception as e:  # fastavro raises whatever the damaged bytes provoke
        raise CodecError(f"the body of the {name} record is damaged: {type(e).__name__}: {str(e)[:300]}") from e
    if body.read(1):
        raise CodecError(f"the {name} record has bytes after its end")
    try:
        return _unpacker(getattr(events, name))(plain)
    except (KeyError, ValueError, TypeError) as e:
        raise CodecError(f"the {name} record has values that no {name} has: {e}") from e


def _writer(mark: bytes) -> tuple[str, dict[str, Any]]:
    try:
        return _writers()[mark]
    except KeyError:
        raise CodecError(f"no schema has the fingerprint {mark.hex()}; its writer is newer than this reader") from None


Convert = Callable[[Any], Any]


@cache
def _packer(kind: Any) -> Convert:
    """What turns a value of the annotation `kind` into what fastavro writes; records in unions carry their name."""
    if is_dataclass(kind):
        return _compiled(kind, _packer, lambda name, convert: f"{name!r}: {convert.format(f'value.{name}')}",
                         "lambda value: {{{}}}")
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_value
    if get_origin(kind) is list:
        item = _packer(get_args(kind)[0])
        return _same if item is _same else lambda value: [item(v) for v in value]
    if isinstance(kind, UnionType):
        records = {k: (f"weir.{k.__name__}", _packer(k)) for k in _records(kind)}
        if len(records) > 1:
            return lambda value: (records[type(value)][0], records[type(value)][1](value))
        inner = [_packer(k) for k in get_args(kind) if _packer(k) is not _same]
        return _optional(inner[0]) if inner else _same
    return _same


@cache
def _unpacker(kind: Any) -> Convert:
    """What turns what fastavro read into a value of the annotation `kind`."""
    if is_dataclass(kind):
        return _compiled(kind, _unpacker, lambda name, convert: f"{name}={convert.format(f'plain[{name!r}]')}",
                         "lambda plain: make({})")
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    if get_origin(kind) is list:
        item = _unpacker(get_args(kind)[0])
        return _same if item is _same else lambda plain: [item(p) for p in plain]
    if isinstance(kind, UnionType):
        records = {f"weir.{k.__name__}": _unpacker(k) for k in _records(kind)}
        if len(records) > 1:
            return lambda plain: records[plain[0]](plain[1])
        inner = [_unpacker(k) for k in get_args(kind) if _unpacker(k) is not _same]
        return _optional(inner[0]) if inner else _same
    return _same


def _compiled(kind: Any, converter: Callable[[Any], Convert], field: Callable[[str, str], str], whole: str) -> Convert:
    """A function over all fields of a record, written out: a third of the time of a loop over them."""
    hints = get_type_hints(kind)
    known: dict[str, Any] = {"make": kind}
    parts = []
    for f in fields(kind):
        convert = converter(hints[f.name])
        known[f"_{f.name}"] = convert
        parts.append(field(f.name, "{}" if convert is _same else f"_{f.name}({{}})"))
    return cast("Convert", eval(whole.format(", ".join(parts)), known))


def _records(union: UnionType) -> list[Any]:
    return [kind for kind in get_args(union) if is_dataclass(kind)]


def _same(value: Any) -> Any:
    return value


def _enum_value(value: Any) -> Any:
    return value.value


def _optional(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)
