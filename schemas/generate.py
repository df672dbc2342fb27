"""Writes `schemas/events.py` from `schemas/avro/*.avsc`: `python -m schemas.generate`. A test holds them equal.

A record becomes a frozen dataclass, an enum a StrEnum; a union of records becomes a union of classes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

AVRO = Path(__file__).parent / "avro"
TARGET = Path(__file__).parent / "events.py"

HEADER = '''"""The events as Python types. Written by `python -m schemas.generate` from `avro/*.avsc`; do not edit."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
'''
PRIMITIVES = {"string": "str", "long": "int", "int": "int", "double": "float", "float": "float", "boolean": "bool",
              "bytes": "bytes", "null": "None"}


def python_type(schema: Any) -> str:
    """The annotation of an Avro type."""
    if isinstance(schema, list):
        return " | ".join(sorted(dict.fromkeys(python_type(s) for s in schema), key=lambda t: t == "None"))
    if isinstance(schema, str):
        return PRIMITIVES.get(schema) or schema.rpartition(".")[2]
    match schema["type"]:
        case "record" | "enum":
            return str(schema["name"])
        case "array":
            return f"list[{python_type(schema['items'])}]"
        case "map":
            return f"dict[str, {python_type(schema['values'])}]"
        case "int" if schema.get("logicalType") == "date":
            return "date"
        case other:
            return python_type(other)


def python_default(field: dict[str, Any]) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    if value == [] or value == {}:
        return f" = field(default_factory={type(value).__name__})"
    if isinstance(value, list | dict):
        return f" = field(default_factory=lambda: {json.dumps(value)})"
    return f" = {json.dumps(value)}" if isinstance(value, str) else f" = {value!r}"


def definitions(schema: Any, found: dict[str, str]) -> None:
    """Adds the class of every named type in `schema`, inner ones first."""
    if isinstance(schema, list):
        for s in schema:
            definitions(s, found)
    elif isinstance(schema, dict):
        match schema["type"]:
            case "record":
                for f in schema["fields"]:
                    definitions(f["type"], found)
                body = [f'    {f["name"]}: {python_type(f["type"])}{python_default(f)}\n    """{f["doc"]}"""\n'
                        for f in sorted(schema["fields"], key=lambda f: "default" in f)]
                found.setdefault(schema["name"], f"\n\n@dataclass(frozen=True, slots=True, kw_only=True)\n"
                                 f'class {schema["name"]}:\n    """{schema["doc"]}"""\n\n' + "".join(body))
            case "enum":
                body = [f'    {s.upper()} = "{s}"\n' for s in schema["symbols"]]
                found.setdefault(schema["name"], f'\n\nclass {schema["name"]}(StrEnum):\n    """{schema["doc"]}"""\n\n'
                                 + "".join(body))
            case "array":
                definitions(schema["items"], found)
            case "map":
                definitions(schema["values"], found)


def generate() -> str:
    """The text of `schemas/events.py`."""
    found: dict[str, str] = {}
    records = []
    for path in sorted(AVRO.glob("*.avsc")):
        schema = json.loads(path.read_text())
        definitions(schema, found)
        records.append(schema["name"])
    names = "".join(f"    {name},\n" for name in records)
    return HEADER + "".join(found.values()) + f"\n\nEVENTS: tuple[type, ...] = (\n{names})\n" \
        '"""The records that stand on topics by themselves."""\n'


if __name__ == "__main__":
    sys.stdout.write(f"{TARGET}\n")
    TARGET.write_text(generate())
