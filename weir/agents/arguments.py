"""Arguments of tools against the tools' JSON schemas: the planner asks before it plans, the worker before it acts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import orjson
from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry

from weir.errors import BadRequest

MAX_ARGUMENTS = 256 * 1024
"""Bytes of arguments; what is larger belongs into an artefact."""
SHOWN = 5
"""Problems that a message names."""


def schema_hash(schema: str) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a schema, which is canonical JSON."""
    return hashlib.sha256(schema.encode()).hexdigest()[:16]


def checked(schema: str, arguments: str) -> dict[str, Any]:
    """The arguments as values, with the schema's defaults at the top level filled in.

    Args:
        schema: JSON schema (2020-12) of an object.
        arguments: JSON.

    Raises:
        BadRequest: they do not fit; the message names each problem by its place, for the planner to correct.
    """
    if len(arguments) > MAX_ARGUMENTS:
        raise BadRequest(f"the arguments have {len(arguments):,} characters; at most {MAX_ARGUMENTS:,} are taken.")
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError as e:
        raise BadRequest(f"the arguments are no JSON: {e}.") from e
    validator = _validator(schema)
    problems = [_said(error) for error in _first(validator.iter_errors(value))]
    if problems:
        raise BadRequest("the arguments do not fit: " + "; ".join(problems) + ".")
    properties = validator.schema.get("properties", {})
    defaults = {name: given["default"] for name, given in properties.items() if "default" in given}
    return {**defaults, **value}


@lru_cache(maxsize=512)
def _validator(schema: str) -> Any:
    # An empty registry: a schema never makes anybody fetch another one.
    return Draft202012Validator(orjson.loads(schema), registry=Registry())


def _first(errors: Iterator[ValidationError]) -> Iterator[ValidationError]:
    for _, error in zip(range(SHOWN), errors, strict=False):
        yield error


def _said(error: ValidationError) -> str:
    place = ".".join(str(part) for part in error.absolute_path) or "arguments"
    return f"{place}: {error.message[:300]}"
