"""Writes `docs/reference/topics.md` from the topics table and the schemas: `python -m schemas.reference`.

A test holds them equal.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schemas.topics import DAY, TOPICS, Topic

AVRO = Path(__file__).parent / "avro"
TARGET = Path(__file__).parents[1] / "docs" / "reference" / "topics.md"

HEAD = """# Topics and records

Written by `python -m schemas.reference` from `schemas/topics.py` and `schemas/avro/`; do not edit.

`weir up` creates the topics from the table and corrects their settings. A name with `{cut}` or `{version}` stands for
one topic per cutting recipe or index version. *Hashed* is the part of the key that decides the partition, where that is
not the whole key. A tombstone (a record without a value) deletes its key and stays 30 days on a compacted topic: a view
that was away longer must be rebuilt. How to write these records from any language: [publishing](publishing.md).

`python -m schemas.acls` prints the Kafka ACLs of production from the columns *writers* and *readers*: a process signs
in as the user of its own name.

## Topics

| topic | key | hashed | kept | partitions | records | writers | readers |
|---|---|---|---|---|---|---|---|
"""


def topics_table() -> str:
    return "".join(_row(topic) for topic in TOPICS)


def _row(topic: Topic) -> str:
    kept = ["latest of each key"] if "compact" in topic.config["cleanup.policy"] else []
    if "retention.ms" in topic.config:
        kept.append(f"{int(topic.config['retention.ms']) // DAY} days")
    cells = [f"`{topic.name}`", topic.key, topic.partition_key, ", ".join(kept),
             str(topic.partitions or "WEIR_KAFKA_PARTITIONS"),
             ", ".join(f"[{r}](#{r.lower()})" for r in topic.records) or "(declared for agents)",
             ", ".join(topic.writers), ", ".join(topic.readers)]
    return f"| {' | '.join(cells)} |\n"


def record_tables() -> str:
    parts = []
    for path in sorted(AVRO.glob("*.avsc")):
        schema = json.loads(path.read_text())
        inner: dict[str, Any] = {}
        _collect(schema, inner)
        parts.append(f"### {schema['name']}\n\n{schema['doc']}\n\n{_fields(schema)}")
        parts += [f"*{name}*: {_inner(found)}" for name, found in inner.items() if name != schema["name"]]
    return "\n".join(parts)


def _fields(schema: Any) -> str:
    rows = []
    for field in schema["fields"]:
        default = f"`{json.dumps(field['default'])}`" if "default" in field else ""
        rows.append(f"| `{field['name']}` | {_type(field['type'])} | {default} | {field['doc']} |\n")
    return "| field | type | default | |\n|---|---|---|---|\n" + "".join(rows)


def _inner(schema: Any) -> str:
    if schema["type"] == "enum":
        return f"{schema['doc']} One of {', '.join(f'`{s}`' for s in schema['symbols'])}.\n"
    return f"{schema['doc']}\n\n{_fields(schema)}"


def _type(schema: Any) -> str:
    if isinstance(schema, list):
        return " or ".join(map(_type, schema))
    if isinstance(schema, str):
        return schema.rpartition(".")[2]
    match schema["type"]:
        case "array":
            return f"array of {_type(schema['items'])}"
        case "map":
            return f"map of {_type(schema['values'])}"
        case "record" | "enum":
            return str(schema["name"])
    return str(schema.get("logicalType", schema["type"]))


def _collect(schema: Any, found: dict[str, Any]) -> None:
    if isinstance(schema, list):
        for part in schema:
            _collect(part, found)
    elif isinstance(schema, dict):
        if schema["type"] in ("record", "enum"):
            found.setdefault(schema["name"], schema)
        for part in ("items", "values"):
            _collect(schema.get(part, ""), found)
        for field in schema.get("fields", ()):
            _collect(field["type"], found)
        if isinstance(schema["type"], dict | list):
            _collect(schema["type"], found)


def page() -> str:
    """The whole page."""
    return f"{HEAD}{topics_table()}\n## Records\n\n{record_tables()}"


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(page())
    print(TARGET)
