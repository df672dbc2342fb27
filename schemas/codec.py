"""Records to bytes and back: Avro single-object encoding, `C3 01`, CRC-64-AVRO of the writer's schema, body.

Every schema that was ever written stays in `avro/` (current) or `avro/past/` (older versions), so that any record in
the log can be read without a registry. Records from producers that do use one (`00`, schema id, body) are read with
the schema that `registry` returns for the id.

Source of the format: Apache Avro 1.11 specification, "Single-object encoding" and "Schema Fingerprints".
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

import fastavro
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

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


def json_schema(text: str) -> Any:
    """A schema from its JSON text, where a primitive may stand without quotes."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


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
    for path in [*AVRO.glob("past/*.avsc"), *AVRO.glob("*.avsc")]:
        parsed = _parsed(path)
        known[schema_fingerprint(parsed)] = (path.name.split(".")[0], parsed)
    return known


def encode(event: Any) -> bytes:
    """The bytes of an event from `schemas.events`.

    Raises:
        CodecError: a value does not fit the schema.
    """
    name = type(event).__name__
    out = io.BytesIO()
    out.write(_header(name))
    try:
        fastavro.schemaless_writer(out, schema(name), _plain(event))
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
        plain = fastavro.schemaless_reader(body, writer, schema(name), return_record_name=True,
                                           return_record_name_override=True)
    except Exception as e:  # fastavro raises whatever the damaged bytes provoke
        raise CodecError(f"the body of the {name} record is damaged: {type(e).__name__}: {e}") from e
    if body.read(1):
        raise CodecError(f"the {name} record has bytes after its end")
    return _build(getattr(events, name), plain)


def _writer(mark: bytes) -> tuple[str, dict[str, Any]]:
    try:
        return _writers()[mark]
    except KeyError:
        raise CodecError(f"no schema has the fingerprint {mark.hex()}; its writer is newer than this reader") from None


def _plain(value: Any) -> Any:
    """Dataclasses as what fastavro writes: records in unions carry their name."""
    if is_dataclass(type(value)):
        hints = _hints(cast("Hashable", type(value)))
        return {name: _named(getattr(value, name)) if _is_record_union(hint) else _plain(getattr(value, name))
                for name, hint in hints.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list):
        return [_plain(v) for v in value] if value and not isinstance(value[0], str | int | float) else value
    return value


def _named(value: Any) -> Any:
    return (f"weir.{type(value).__name__}", _plain(value)) if is_dataclass(value) else _plain(value)


def _build(kind: Any, plain: Any) -> Any:
    """What fastavro read, as the type `kind`."""
    if isinstance(kind, UnionType):
        if isinstance(plain, tuple):
            return _build(getattr(events, plain[0].rpartition(".")[2]), plain[1])
        inner = [k for k in get_args(kind) if is_dataclass(k) or (isinstance(k, type) and issubclass(k, Enum))]
        return _build(inner[0], plain) if inner and plain is not None else plain
    if get_origin(kind) is list:
        item = get_args(kind)[0]
        return [_build(item, p) for p in plain] if is_dataclass(item) else plain
    if is_dataclass(kind):
        hints = _hints(cast("Hashable", kind))
        return cast("type", kind)(**{name: _build(hint, plain[name]) for name, hint in hints.items()})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(plain)
    return plain


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def _is_record_union(hint: Any) -> bool:
    return isinstance(hint, UnionType) and sum(is_dataclass(k) for k in get_args(hint)) > 1
