"""One fully populated event of each type, the same on every machine, and hypothesis strategies for all others."""

from __future__ import annotations

import json
import zlib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from schemas import codec, events
from schemas.compatibility import named_types

GOLDEN = Path(__file__).parents[1] / "golden"


def declared(name: str) -> Any:
    """A record's schema as written in its file."""
    return json.loads((codec.AVRO / f"{name}.avsc").read_text())


def example(schema: Any, field: str = "", known: dict[str, Any] | None = None, branch: int = -1) -> Any:
    """A value of a schema that follows from the names of its fields alone; unions take `branch`."""
    known = named_types(schema) if known is None else known
    number = zlib.crc32(field.encode()) % 1000
    if isinstance(schema, list):
        return example(schema[branch], field, known)
    if isinstance(schema, str):
        schema = known.get(schema, schema)
    kind = schema if isinstance(schema, str) else schema["type"]
    match kind:
        case "record":
            made = {f["name"]: example(f["type"], f["name"], known, branch) for f in schema["fields"]}
            return getattr(events, schema["name"])(**made)
        case "enum":
            return getattr(events, schema["name"])(schema["symbols"][-1])
        case "array":
            return [example(schema["items"], field, known)]
        case "map":
            values = schema["values"]
            branches = range(len(values)) if isinstance(values, list) else (0,)
            return {f"{field} {i}": example(values[i] if isinstance(values, list) else values, f"{field}{i}", known)
                    for i in branches}
        case "int" if isinstance(schema, dict) and schema.get("logicalType") == "date":
            return date(2026, 1, 1) + timedelta(days=number)
        case "int" | "long":
            return number
        case "float" | "double":
            return number + 0.5
        case "boolean":
            return True
        case "bytes":
            return f"{field} \0\x01".encode()
        case "string":
            return f"{field} é"
    raise ValueError(f"no example for {schema}")


def examples() -> dict[str, Any]:
    """By the name of the golden file: each record, those with a union of records once for each."""
    found = {}
    for kind in events.EVENTS:
        schema = declared(kind.__name__)
        unions = [f for f in schema["fields"] if isinstance(f["type"], list) and len(f["type"]) > 2]
        for branch in range(len(unions[0]["type"])) if unions else (-1,):
            suffix = f"-{unions[0]['type'][branch]['name']}" if unions else ""
            found[kind.__name__ + suffix] = example(schema, branch=branch)
    return found


def strategy(schema: Any, known: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """All values of a schema."""
    known = named_types(schema) if known is None else known
    if isinstance(schema, list):
        return st.one_of([strategy(s, known) for s in schema])
    if isinstance(schema, str):
        schema = known.get(schema, schema)
    match schema if isinstance(schema, str) else schema["type"]:
        case "record":
            made = {f["name"]: strategy(f["type"], known) for f in schema["fields"]}
            return st.builds(getattr(events, schema["name"]), **made)
        case "enum":
            return st.sampled_from([getattr(events, schema["name"])(s) for s in schema["symbols"]])
        case "array":
            return st.lists(strategy(schema["items"], known), max_size=3)
        case "map":
            return st.dictionaries(st.text(max_size=8), strategy(schema["values"], known), max_size=3)
        case "int" if isinstance(schema, dict) and schema.get("logicalType") == "date":
            return st.dates()
        case "int":
            return st.integers(-(2**31), 2**31 - 1)
        case "long":
            return st.integers(-(2**63), 2**63 - 1)
        case "float":
            return st.floats(width=32, allow_nan=False)
        case "double":
            return st.floats(allow_nan=False)
        case "boolean":
            return st.booleans()
        case "bytes":
            return st.binary(max_size=40)
        case "string":
            return st.text(max_size=40)
        case "null":
            return st.none()
    raise ValueError(f"no strategy for {schema}")


def write_golden() -> list[Path]:
    """Writes the bytes of today's examples whose schema has no golden file yet: `python -m tests.kit.examples`."""
    GOLDEN.mkdir(exist_ok=True)
    written = []
    for name, event in examples().items():
        data = codec.encode(event)
        path = GOLDEN / f"{name}.{data[2:10].hex()}.bin"
        if not path.exists():
            path.write_bytes(data)
            written.append(path)
    return written


if __name__ == "__main__":
    print(*write_golden(), sep="\n")
