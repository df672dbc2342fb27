"""Which changes of a record's schema leave every record in the log readable, in both directions.

FULL_TRANSITIVE, as schema registries call it: today's code reads every past version, and each past version's code
reads today's records. Source: Apache Avro 1.11 specification, "Schema Resolution".
"""

from __future__ import annotations

from typing import Any

PROMOTIONS = {("int", "long"), ("int", "float"), ("int", "double"), ("long", "float"), ("long", "double"),
              ("float", "double"), ("string", "bytes"), ("bytes", "string")}
"""Writer's and reader's type."""


def full(one: Any, other: Any) -> list[str]:
    """Why the two schemas cannot read each other's records; empty where they can."""
    return [*cannot_read(one, other), *cannot_read(other, one)]


def cannot_read(reader: Any, writer: Any, path: str = "") -> list[str]:
    """Why a reader with one schema cannot read what was written with another; empty where it can."""
    return _Check(named_types(reader), named_types(writer)).compare(reader, writer, path or _name(reader))


class _Check:
    def __init__(self, reader_types: dict[str, Any], writer_types: dict[str, Any]) -> None:
        self._reader_types, self._writer_types = reader_types, writer_types

    def compare(self, reader: Any, writer: Any, path: str) -> list[str]:
        reader = self._reader_types.get(reader, reader) if isinstance(reader, str) else reader
        writer = self._writer_types.get(writer, writer) if isinstance(writer, str) else writer
        if isinstance(writer, list):
            return [p for branch in writer for p in self.compare(reader, branch, path)]
        if isinstance(reader, list):
            if any(not self.compare(branch, writer, path) for branch in reader):
                return []
            return [f"{path}: no branch of the reader's union takes a {_kind(writer)}"]
        kinds = _kind(writer), _kind(reader)
        if kinds[0] != kinds[1]:
            return [] if kinds in PROMOTIONS else [f"{path}: {kinds[0]} cannot be read as {kinds[1]}"]
        if _logical(writer) != _logical(reader):
            return [f"{path}: logical type {_logical(writer)} cannot be read as {_logical(reader)}"]
        match kinds[0]:
            case "record":
                return self._records(reader, writer, path)
            case "enum":
                missing = set(writer["symbols"]) - set(reader["symbols"])
                known = not missing or "default" in reader
                return [] if known else [f"{path}: the reader has no {', '.join(sorted(missing))} and no default"]
            case "array":
                return self.compare(reader["items"], writer["items"], f"{path}[]")
            case "map":
                return self.compare(reader["values"], writer["values"], f"{path}{{}}")
        return []

    def _records(self, reader: Any, writer: Any, path: str) -> list[str]:
        if _name(reader) != _name(writer):
            return [f"{path}: a {_name(writer)} cannot be read as a {_name(reader)}"]
        written = {field["name"]: field for field in writer["fields"]}
        problems = []
        for field in reader["fields"]:
            here = f"{path}.{field['name']}"
            if field["name"] in written:
                problems += self.compare(field["type"], written[field["name"]]["type"], here)
            elif "default" not in field:
                problems.append(f"{here}: the writer has no such field and the reader no default")
        return problems


def _kind(schema: Any) -> str:
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)


def _logical(schema: Any) -> Any:
    return schema.get("logicalType") if isinstance(schema, dict) else None


def _name(schema: Any) -> str:
    return str(schema.get("name", "")).rpartition(".")[2] if isinstance(schema, dict) else str(schema)


def named_types(schema: Any) -> dict[str, Any]:
    """Every named type inside a schema, by its plain and its full name."""
    found: dict[str, Any] = {}
    stack = [schema]
    while stack:
        here = stack.pop()
        if isinstance(here, list):
            stack += here
        elif isinstance(here, dict):
            if "name" in here and here.get("type") in ("record", "enum", "fixed"):
                found[here["name"]] = found[f"weir.{_name(here)}"] = here
            stack += [here[part] for part in ("type", "items", "values") if isinstance(here.get(part), dict | list)]
            stack += [field["type"] for field in here.get("fields", ())]
    return found
