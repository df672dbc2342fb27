"""Who may read what, and which metadata a question asks for: the same rule in Python, for Milvus and for Elasticsearch.

A person may read a document when they are in one of its groups and their clearance reaches it. `everyone` is each
signed-in person; a document without groups is nobody's.

In Milvus every text (workspace, document, group, metadata key, metadata text) stands as a hash of it. What a person or
a publisher wrote is therefore never part of a filter expression: nothing in it can be read as syntax, whatever the
server's version makes of quotes and escapes, and no name is too long. Elasticsearch gets values as JSON, apart from the
query.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from schemas.events import Filter, FilterOp, Person
from weir.errors import BadRequest
from weir.versions import version_key

EVERYONE = "everyone"
DOCUMENT_FIELD = "document"
"""Name under which a filter means the document's id."""

Value = date | int | float | bool | str
Metadata = Mapping[str, date | int | list[str] | float | bool | str]

MAX_FILTERS = 32
MAX_VALUES = 256
"""Most values of one filter."""


def may_read(person: Person, groups: Sequence[str], clearance: int) -> bool:
    """Whether a person may read what these groups and this clearance guard."""
    return clearance <= person.clearance and any(group in _groups(person) for group in groups)


def covers(person: Person, groups: Sequence[str], clearance: int) -> bool:
    """Whether a person could have read all that somebody in these groups with this clearance could."""
    return clearance <= person.clearance and set(groups) <= _groups(person)


def check_filters(filters: Sequence[Filter]) -> None:
    """
    Raises:
        BadRequest: a filter compares what cannot be compared, or there are too many.
    """
    if len(filters) > MAX_FILTERS:
        raise BadRequest(f"{len(filters)} filters; at most {MAX_FILTERS} can be used: put values into one `any`.")
    for f in filters:
        if not f.values or len(f.values) > MAX_VALUES or (f.op is not FilterOp.ANY and len(f.values) != 1):
            raise BadRequest(f"the filter on {f.field!r} has {len(f.values)} values: `any` takes 1 to {MAX_VALUES}, "
                             f"`{FilterOp.EQ}`, `{FilterOp.GTE}` and `{FilterOp.LTE}` take one.")
        for value in f.values:
            _check_value(f, value)


def _check_value(f: Filter, value: Value) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRequest(f"the filter on {f.field!r} compares with {value}: give a finite number.")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise BadRequest(f"the filter on {f.field!r} compares with {value}: give a number of 64 bits.")
    if f.field == DOCUMENT_FIELD and not (isinstance(value, str) and f.op in (FilterOp.EQ, FilterOp.ANY)):
        raise BadRequest("a filter on `document` compares its id, a text, by `eq` or `any`.")
    if f.op in (FilterOp.GTE, FilterOp.LTE) and (isinstance(value, bool) or (
            isinstance(value, str) and as_date(value) is None and not is_version_range(f))):
        raise BadRequest(f"the filter on {f.field!r} asks for order among {type(value).__name__} values: only numbers, "
                         "dates (2026-01-31) and versions (2.10) have one here.")


def is_version_range(f: Filter) -> bool:
    """Whether a filter compares with a version. No store knows their order: retrieval makes such a filter a list of
    the versions there are before it asks one."""
    value = f.values[0] if f.values else None
    return (f.op in (FilterOp.GTE, FilterOp.LTE) and isinstance(value, str) and as_date(value) is None
            and version_key(value) is not None)


def _bound(f: Filter) -> date | int | float:
    """What a range compares with."""
    if is_version_range(f):
        raise BadRequest(f"versions of {f.field!r} are compared by searches alone: ask with the versions themselves.")
    value: Any = f.values[0]
    return as_date(value) if isinstance(value, str) else value  # type: ignore[return-value]  # a checked text is a day


def matches(filters: Sequence[Filter], document: str, metadata: Metadata) -> bool:
    """Whether a document fulfils every filter."""
    return all(_match(f, document if f.field == DOCUMENT_FIELD else metadata.get(f.field)) for f in filters)


def _match(f: Filter, have: Any) -> bool:
    if have is None:
        return False
    held = have if isinstance(have, list) else [have]
    if f.op in (FilterOp.EQ, FilterOp.ANY):
        return any(_same(h, value) for h in held for value in f.values)
    return any(_ordered(h, f.values[0], f.op) for h in held)


def _same(have: Value, want: Value) -> bool:
    if isinstance(want, str) and isinstance(have, date):
        return have == as_date(want)
    return _kind(have) == _kind(want) and have == want


def _ordered(have: Value, want: Value, op: FilterOp) -> bool:
    left: Any = have
    right: Any = as_date(want) if isinstance(want, str) else want
    if _kind(left) != _kind(right) or _kind(left) not in ("n", "d"):
        return False
    return bool(left >= right if op is FilterOp.GTE else left <= right)


def as_date(text: str) -> date | None:
    """The day that an ISO text names, `2026-01-31`; None where it names none."""
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None


# -- Milvus -------------------------------------------------------------------------------------------------------


def token(text: str) -> str:
    """What stands for a text in Milvus: 32 hex digits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def milvus_metadata(metadata: Metadata) -> dict[str, list[str] | float]:
    """Metadata as a row holds it: a letter for the kind and the key's token; texts as tokens, all else as a number."""
    row: dict[str, list[str] | float] = {}
    for key, value in metadata.items():
        kind = _kind(value)
        if kind == "s":
            texts = value if isinstance(value, list) else [value]
            row[f"s{token(key)}"] = [token(str(text)) for text in texts]
        elif kind != "n" or math.isfinite(_number(value)):
            row[f"{kind}{token(key)}"] = _number(value)
    return row


def milvus_filter(workspace: str, person: Person, filters: Sequence[Filter] = ()) -> str:
    """The expression that limits a search to what the person may read and asks for.

    Raises:
        BadRequest: see `check_filters`.
    """
    check_filters(filters)
    groups = ", ".join(f'"{token(group)}"' for group in sorted(_groups(person)))
    parts = [f'workspace == "{token(workspace)}"', f"clearance <= {int(person.clearance)}",
             f"array_contains_any(groups, [{groups}])"]
    return " and ".join([*parts, *(f"({_milvus_condition(f)})" for f in filters)])


def _milvus_condition(f: Filter) -> str:
    if f.field == DOCUMENT_FIELD:
        return f"document in [{', '.join(_quoted(f.values))}]"
    key = token(f.field)
    if f.op in (FilterOp.GTE, FilterOp.LTE):
        value = _bound(f)
        return f'metadata["{_kind(value)}{key}"] {">=" if f.op is FilterOp.GTE else "<="} {_number(value)!r}'
    texts = [value for value in f.values if isinstance(value, str)]
    exact: list[Any] = [value for value in f.values if not isinstance(value, str)]
    exact += [day for text in texts if (day := as_date(text)) is not None]
    either = [f'metadata["{_kind(value)}{key}"] == {_number(value)!r}' for value in exact]
    if texts:
        either.append(f'json_contains_any(metadata["s{key}"], [{", ".join(_quoted(texts))}])')
    return " or ".join(either)


def _quoted(values: Sequence[Any]) -> list[str]:
    return [f'"{token(str(value))}"' for value in values]


# -- Elasticsearch ------------------------------------------------------------------------------------------------


def elasticsearch_metadata(metadata: Metadata) -> list[dict[str, Any]]:
    """Metadata as a chunk holds it: one nested object a key, with the value under the name of its type."""
    return [{"key": key, _field(value): value.isoformat() if isinstance(value, date) else value}
            for key, value in sorted(metadata.items())
            if not (isinstance(value, float) and not math.isfinite(value))]


def metadata_of(stored: Sequence[Mapping[str, Any]]) -> dict[str, date | int | list[str] | float | bool | str]:
    """The metadata that `elasticsearch_metadata` made `stored` of."""
    found: dict[str, date | int | list[str] | float | bool | str] = {}
    for entry in stored:
        kind = next(name for name in entry if name != "key")
        value = entry[kind]
        if kind in ("date", "double"):
            value = date.fromisoformat(value) if kind == "date" else float(value)
        found[entry["key"]] = value
    return found


def elasticsearch_filter(workspace: str, person: Person, filters: Sequence[Filter] = ()) -> list[dict[str, Any]]:
    """The clauses, all of which must hold, that limit a search to what the person may read and asks for.

    Raises:
        BadRequest: see `check_filters`.
    """
    check_filters(filters)
    return [{"term": {"workspace": workspace}}, {"terms": {"groups": sorted(_groups(person))}},
            {"range": {"clearance": {"lte": person.clearance}}},
            *(_elasticsearch_condition(f) for f in filters)]


def _elasticsearch_condition(f: Filter) -> dict[str, Any]:
    if f.field == DOCUMENT_FIELD:
        return {"terms": {"document": f.values}}
    if f.op in (FilterOp.GTE, FilterOp.LTE):
        value = _bound(f)
        names = ("date",) if isinstance(value, date) else ("long", "double")
        limit = value.isoformat() if isinstance(value, date) else value
        either: list[dict[str, Any]] = [{"range": {f"metadata.{name}": {f.op.value: limit}}} for name in names]
    else:
        either = [clause for value in f.values for clause in _equal(value)]
    return {"nested": {"path": "metadata", "query": {"bool": {
        "filter": [{"term": {"metadata.key": f.field}}, {"bool": {"should": either, "minimum_should_match": 1}}]}}}}


def _equal(value: Value) -> list[dict[str, Any]]:
    if isinstance(value, bool):
        return [{"term": {"metadata.boolean": value}}]
    if isinstance(value, int | float):
        clauses = [{"term": {"metadata.double": float(value)}}]
        return [*clauses, {"term": {"metadata.long": int(value)}}] if value == int(value) else clauses
    if isinstance(value, date):
        return [{"term": {"metadata.date": value.isoformat()}}]
    day = as_date(value)
    return [{"term": {"metadata.string": value}}, *([{"term": {"metadata.date": day.isoformat()}}] if day else [])]


# -- kinds of values ----------------------------------------------------------------------------------------------


def _groups(person: Person) -> set[str]:
    return {*person.groups, EVERYONE}


def _kind(value: Any) -> str:
    """n number, b yes or no, d date, s text."""
    if isinstance(value, bool):
        return "b"
    return "n" if isinstance(value, int | float) else "d" if isinstance(value, date) else "s"


def _number(value: Any) -> float:
    return float(value.toordinal() if isinstance(value, date) else value)


def _field(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "long" if isinstance(value, int) else "double"
    return "date" if isinstance(value, date) else "string"
