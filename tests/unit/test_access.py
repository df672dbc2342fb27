"""Who may read what: nothing that anybody writes can widen it."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Filter, FilterOp, Person
from weir.access import (
    elasticsearch_filter,
    elasticsearch_metadata,
    matches,
    may_read,
    metadata_of,
    milvus_filter,
    milvus_metadata,
    token,
)
from weir.errors import BadRequest

TEXT = st.one_of(st.text(), st.sampled_from(['" or 1 == 1 or "', "'] or true or x in ['", "\\", '\\"', "everyone", "*",
                                             "2026-01-31", "\x00", "{}", "a/b", "or", "${x}", "\ud83d\ude00"]))
NUMBERS = st.one_of(st.integers(-2**63 + 1, 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
DATES = st.dates()
VALUES = st.one_of(TEXT, NUMBERS, DATES, st.booleans())
FILTERS = st.lists(st.one_of(
    st.builds(lambda f, v: Filter(field=f, op=FilterOp.EQ, values=[v]), TEXT.filter(lambda f: f != "document"), VALUES),
    st.builds(lambda f, v: Filter(field=f, op=FilterOp.ANY, values=v), TEXT.filter(lambda f: f != "document"),
              st.lists(VALUES, min_size=1, max_size=4)),
    st.builds(lambda f, op, v: Filter(field=f, op=op, values=[v]), TEXT.filter(lambda f: f != "document"),
              st.sampled_from([FilterOp.GTE, FilterOp.LTE]), st.one_of(NUMBERS, DATES)),
    st.builds(lambda v: Filter(field="document", op=FilterOp.ANY, values=v), st.lists(TEXT, min_size=1, max_size=3)),
), max_size=4)
PEOPLE = st.builds(lambda s, g, c: Person(subject=s, groups=g, clearance=c), TEXT, st.lists(TEXT, max_size=5),
                   st.integers(-5, 100))

HASH = r'"[0-9a-f]{32}"'
LIST = rf"\[{HASH}(, {HASH})*\]"
NUMBER = r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?"
CONDITION = (rf'(document in {LIST}|metadata\["[nbd][0-9a-f]{{32}}"\] (==|>=|<=) {NUMBER}'
             rf'|json_contains_any\(metadata\["s[0-9a-f]{{32}}"\], {LIST}\))')
EXPRESSION = re.compile(rf'workspace == {HASH} and clearance <= -?[0-9]+ and array_contains_any\(groups, {LIST}\)'
                        rf'( and \({CONDITION}( or {CONDITION})*\))*')


@given(TEXT, PEOPLE, FILTERS)
def test_nothing_that_anybody_writes_is_syntax_for_milvus(workspace: str, person: Person,
                                                          filters: list[Filter]) -> None:
    assert EXPRESSION.fullmatch(milvus_filter(workspace, person, filters))


@given(TEXT, PEOPLE, FILTERS)
def test_every_filter_demands_workspace_group_and_clearance(workspace: str, person: Person,
                                                            filters: list[Filter]) -> None:
    clauses = elasticsearch_filter(workspace, person, filters)
    assert clauses[:3] == [{"term": {"workspace": workspace}},
                           {"terms": {"groups": sorted({*person.groups, "everyone"})}},
                           {"range": {"clearance": {"lte": person.clearance}}}]
    assert len(clauses) == 3 + len(filters)


@given(PEOPLE, st.lists(TEXT, max_size=4), st.integers(-5, 100))
def test_a_person_reads_what_one_of_their_groups_and_their_clearance_reach(person: Person, groups: list[str],
                                                                           clearance: int) -> None:
    shared = set(groups) & {*person.groups, "everyone"}
    assert may_read(person, groups, clearance) == (bool(shared) and clearance <= person.clearance)


def test_a_document_without_groups_is_nobody_s() -> None:
    assert not may_read(Person(subject="a", groups=["weir-admins", "everyone"], clearance=99), [], 0)


@given(st.lists(TEXT, min_size=2, max_size=20, unique=True))
def test_no_two_texts_have_one_token(texts: list[str]) -> None:
    assert len({token(text) for text in texts}) == len(texts)


@given(st.dictionaries(TEXT, st.one_of(VALUES, st.lists(TEXT, min_size=1, max_size=3)), max_size=5))
def test_metadata_comes_back_from_elasticsearch_as_it_was(metadata: dict[str, Any]) -> None:
    back = metadata_of(elasticsearch_metadata(metadata))
    assert back == metadata
    assert {key: type(value) for key, value in back.items()} == {key: type(value) for key, value in metadata.items()}


def test_kinds_of_metadata_never_meet_in_milvus() -> None:
    row = milvus_metadata({"a": 1, "b": True, "c": date(2026, 1, 31), "d": "1", "e": ["x", "y"], "f": float("inf")})
    assert row == {f"n{token('a')}": 1.0, f"b{token('b')}": 1.0, f"d{token('c')}": float(date(2026, 1, 31).toordinal()),
                   f"s{token('d')}": [token("1")], f"s{token('e')}": [token("x"), token("y")]}


@pytest.mark.parametrize(("f", "metadata", "expected"), [
    (Filter(field="year", op=FilterOp.GTE, values=[2025]), {"year": 2026}, True),
    (Filter(field="year", op=FilterOp.GTE, values=[2025]), {"year": 2024.5}, False),
    (Filter(field="year", op=FilterOp.LTE, values=[2025]), {}, False),
    (Filter(field="tag", op=FilterOp.EQ, values=["x"]), {"tag": ["y", "x"]}, True),
    (Filter(field="tag", op=FilterOp.ANY, values=["a", "b"]), {"tag": "b"}, True),
    (Filter(field="draft", op=FilterOp.EQ, values=[1]), {"draft": True}, False),
    (Filter(field="from", op=FilterOp.GTE, values=["2026-01-31"]), {"from": date(2026, 2, 1)}, True),
    (Filter(field="from", op=FilterOp.EQ, values=["2026-01-31"]), {"from": "2026-01-31"}, True),
    (Filter(field="from", op=FilterOp.EQ, values=["2026-01-31"]), {"from": date(2026, 1, 31)}, True),
    (Filter(field="document", op=FilterOp.EQ, values=["doc"]), {"document": "other"}, True),
])
def test_what_a_filter_matches(f: Filter, metadata: dict[str, Any], expected: bool) -> None:
    assert matches([f], "doc", metadata) is expected


@pytest.mark.parametrize(("f", "said"), [
    (Filter(field="x", op=FilterOp.GTE, values=["abc"]), "only numbers, dates"),
    (Filter(field="x", op=FilterOp.GTE, values=[True]), "only numbers, dates"),
    (Filter(field="x", op=FilterOp.EQ, values=[]), "0 values"),
    (Filter(field="x", op=FilterOp.EQ, values=[1, 2]), "2 values"),
    (Filter(field="x", op=FilterOp.ANY, values=list(range(300))), "300 values"),
    (Filter(field="x", op=FilterOp.EQ, values=[float("nan")]), "finite"),
    (Filter(field="x", op=FilterOp.EQ, values=[2**63]), "64 bits"),
    (Filter(field="document", op=FilterOp.GTE, values=["a"]), "its id"),
])
def test_a_filter_that_cannot_be_used_is_refused_with_the_reason(f: Filter, said: str) -> None:
    person = Person(subject="a", groups=[])
    for make in (milvus_filter, elasticsearch_filter):
        with pytest.raises(BadRequest, match=said):
            make("w", person, [f])


def test_too_many_filters_are_refused() -> None:
    with pytest.raises(BadRequest, match="33 filters"):
        milvus_filter("w", Person(subject="a", groups=[]), [Filter(field="x", op=FilterOp.EQ, values=[1])] * 33)
