"""Every record that was ever written can be read, and stays readable for the version before it."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas import codec, events, generate
from schemas.compatibility import cannot_read, full
from schemas.topics import TOPICS
from tests.kit.examples import GOLDEN, declared, examples

PAST = sorted((codec.AVRO / "past").glob("*.avsc"))
ADDED_SINCE: dict[str, dict[str, Any]] = {
    "DocumentPublished.1": {"clearance": 0},
    "Index.1": {"previous": None, "offsets": {}, "dropping": [], "numbered": 0},
    "DocumentStatus.1": {"index_version": None, "count": 0},
    "Feedback.1": {"workspace": ""},
    "Turn.1": {"reuse": "", "earlier": None},
    "Usage.1": {"task": None, "step": 0, "tool": ""},
    "Workspace.1": {"recipe": {}, "reuse": None},
    "Workspace.2": {"reuse": None},
    "QuestionAsked.1": {"recipe": {}, "without": [], "anew": False},
    "QuestionAsked.2": {"anew": False},
    "AnswerFrame.1": {},
    "AnswerFrame.2": {},
}
"""What the fields that a past version lacks are read as."""
OF_BODY: dict[tuple[str, type], dict[str, Any]] = {
    ("AnswerFrame.1", events.Sources): {"filters": []},
    ("AnswerFrame.1", events.Done): {"filters": [], "choices": [], "reuse": "", "earlier": None},
    ("AnswerFrame.2", events.Done): {"reuse": "", "earlier": None},
}
"""The same of the bodies of frames."""
COMPACTED = {record for topic in TOPICS if topic.compacted for record in topic.records}


def test_the_python_types_are_those_of_the_schemas() -> None:
    assert generate.TARGET.read_text() == generate.generate(), "run python -m schemas.generate"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.bin")), ids=lambda p: p.stem)
def test_golden_bytes_are_read_as_todays_type(path: Path) -> None:
    name = path.name.split(".")[0]
    expected = examples()[name]
    for stem, added in ADDED_SINCE.items():
        if _fingerprint(codec.AVRO / "past" / f"{stem}.avsc") == path.name.split(".")[1]:
            expected = replace(expected, **added)
            if isinstance(expected, events.Index):
                expected = replace(expected, versions=[replace(v, probe=[]) for v in expected.versions])
            if isinstance(expected, events.AnswerFrame):
                changed = OF_BODY.get((stem, type(expected.body)), {})
                expected = replace(expected, body=replace(expected.body, **changed))
    assert codec.decode(path.read_bytes()) == expected, "a past schema is gone: keep it in schemas/avro/past"


def test_every_schema_of_now_and_before_has_golden_bytes() -> None:
    have = {path.name.split(".")[1] for path in GOLDEN.glob("*.bin")}
    wanted = {_fingerprint(path): path.name for path in [*PAST, *codec.AVRO.glob("*.avsc")]}
    missing = [name for mark, name in wanted.items() if mark not in have]
    assert not missing, f"{missing}: run python -m tests.kit.examples"


def test_golden_bytes_of_today_are_what_is_written_today() -> None:
    for name, event in examples().items():
        data = codec.encode(event)
        assert (GOLDEN / f"{name}.{data[2:10].hex()}.bin").read_bytes() == data


@pytest.mark.parametrize("path", PAST, ids=lambda p: p.stem)
def test_versions_of_compacted_records_read_each_other(path: Path) -> None:
    name = path.name.split(".")[0]
    versions = [json.loads(p.read_text()) for p in PAST if p.name.split(".")[0] == name] + [declared(name)]
    past = json.loads(path.read_text())
    for other in versions:
        problems = full(past, other) if name in COMPACTED else cannot_read(declared(name), past)
        assert not problems, problems


def test_past_versions_differ_from_today() -> None:
    marks = [_fingerprint(p) for p in [*PAST, *codec.AVRO.glob("*.avsc")]]
    assert len(set(marks)) == len(marks)


def _without(name: str) -> Any:
    def change(schema: Any) -> None:
        schema["fields"] = [f for f in schema["fields"] if f["name"] != name]
    return change


def _field(name: str, **changes: Any) -> Any:
    def change(schema: Any) -> None:
        next(f for f in schema["fields"] if f["name"] == name).update(changes)
    return change


@pytest.mark.parametrize(("change", "why"), [
    (_without("workspace"), "workspace: the writer has no such field"),
    (lambda s: s["fields"].append({"name": "owner", "type": "string", "doc": ""}), "owner: the writer has no such"),
    (_field("clearance", type="string"), "int cannot be read as string"),
    (_field("clearance", type="long"), "long cannot be read as int"),
    (_field("title", type=["null", "string"]), "null cannot be read as string"),
    (lambda s: s.update(name="Document"), "cannot be read as a"),
    (_field("metadata", type={"type": "map", "values": ["string", "long"]}), "no branch"),
], ids=["field removed", "field added without default", "type changed", "type widened", "made optional", "renamed",
        "union narrowed"])
def test_a_change_that_breaks_a_reader_is_refused(change: Any, why: str) -> None:
    now, then = declared("DocumentPublished"), copy.deepcopy(declared("DocumentPublished"))
    change(then)
    assert any(why in problem for problem in full(now, then)), full(now, then)


@pytest.mark.parametrize("change", [
    _without("clearance"), lambda s: s["fields"].append({"name": "owner", "type": "string", "default": "", "doc": ""}),
    lambda s: s["fields"].reverse(), _field("title", doc="another text")],
    ids=["defaulted field removed", "defaulted field added", "order", "documentation"])
def test_a_change_that_everybody_can_read_is_allowed(change: Any) -> None:
    now, then = declared("DocumentPublished"), copy.deepcopy(declared("DocumentPublished"))
    change(then)
    assert full(now, then) == []


def test_a_new_symbol_breaks_old_readers_of_an_enum() -> None:
    now, then = declared("DocumentStatus"), copy.deepcopy(declared("DocumentStatus"))
    next(f for f in then["fields"] if f["name"] == "stage")["type"]["symbols"].append("ranked")
    assert cannot_read(now, then) == ["DocumentStatus.stage: the reader has no ranked and no default"]
    assert cannot_read(then, now) == []


def test_every_event_has_a_schema_and_every_schema_an_event() -> None:
    assert {p.stem for p in codec.AVRO.glob("*.avsc")} == {kind.__name__ for kind in events.EVENTS}
    for path in PAST:
        assert path.name.split(".")[0] in {kind.__name__ for kind in events.EVENTS}


def _fingerprint(path: Path) -> str:
    return codec.schema_fingerprint(json.loads(path.read_text())).hex()
