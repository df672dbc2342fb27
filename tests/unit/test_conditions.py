"""Conditions in plain words: what is read as a filter, what is not, and that a filter only narrows."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Filter, FilterOp, Person
from weir.access import check_filters, elasticsearch_filter, matches
from weir.errors import BadRequest
from weir.retrieval.conditions import Field, begins_like_one, read, with_versions
from weir.retrieval.days import days
from weir.versions import are_versions, between, version_key

TODAY = date(2026, 11, 21)
FIELDS = [Field("signed", dates=True), Field("effective_date", dates=True), Field("kind", texts=("contract", "memo")),
          Field("version", texts=("1.0", "2.9", "2.10", "3.0-rc1", "3.0")), Field("price", numbers=True),
          Field("status", texts=("approved", "in review", "pending")), Field("notice_days", numbers=True)]


def found(question: str, fields: list[Field] = FIELDS, without: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    read_as = read(question, fields, TODAY, without)
    for condition in read_as.conditions:
        check_filters(condition.filters)
    return [(c.said, c.shown) for c in read_as.conditions]


@pytest.mark.parametrize(("question", "said", "shown"), [
    ("Which contracts signed after March mention pumps?", "signed after March", "signed is 2026-04-01 or later"),
    ("contracts signed after December", "signed after December", "signed is 2026-01-01 or later"),
    ("contracts signed since 3rd of May, 2025", "signed since 3rd of May, 2025", "signed is 2025-05-03 or later"),
    ("signed before Q2 2026", "signed before Q2 2026", "signed is 2026-03-31 or earlier"),
    ("signed by the end of 2025", "signed by the end of 2025", "signed is 2025-12-31 or earlier"),
    ("contracts signed in 2025", "signed in 2025", "signed lies between 2025-01-01 and 2025-12-31"),
    ("signed between 2024-05-01 and June 2025", "signed between 2024-05-01 and June 2025",
     "signed lies between 2024-05-01 and 2025-06-30"),
    ("memos with an effective date of 2026-02-01", None, None),
    ("memos with an effective date after last month", "effective date after last month",
     "effective_date is 2026-11-01 or later"),
    ("what changed in versions above 2.9?", "versions above 2.9", "version is above 2.9"),
    ("what changed since version 2.9?", None, None),
    ("What changed in versions of Reach newer than 2.9?", "versions of Reach newer than 2.9", "version is above 2.9"),
    ("changes in version up to 2.10", "version up to 2.10", "version is 2.10 or earlier"),
    ("sensors with a price of at most 1,500", "price of at most 1,500", "price is 1500 or less"),
    ("sensors with a price below 100.5", "price below 100.5", "price is below 100.5"),
    ("contracts with a notice of more than 60", "notice of more than 60", "notice_days is above 60"),
    ("memos with status approved or in review", "with status approved or in review",
     "status is one of approved, in review"),
    ("leave status: Pending", "status: Pending", "status is pending"),
    ("Which contracts, whose kind is memo, are there?", "whose kind is memo", "kind is memo"),
])
def test_conditions_on_fields_of_the_metadata_are_read(question: str, said: str | None, shown: str | None) -> None:
    assert found(question) == ([(said, f"Only where {shown}.")] if said else [])


@pytest.mark.parametrize("question", [
    "What happens after March?", "How many days of leave do employees have after 2025?", "What does version 2.9 do?",
    "Which contracts were not signed after March 2025?", "Was the contract signed after March 2025?",
    "Is the price above 100?", "What is the status of approved leave?", "Does a price over 20% count?",
    "Who is the approved supplier?", "contracts effective in 2025", "signed after 31 February 2026",
    "Why is the price on page 3?", "What stands in the contract signed by Hedda?"])
def test_words_that_merely_occur_narrow_nothing(question: str) -> None:
    assert found(question) == []
    assert read(question, FIELDS, TODAY).rest == question


def test_are_there_any_is_no_question_whether_it_holds() -> None:
    assert len(found("Are there contracts signed after March 2025?")) == 1


def test_the_rest_of_the_question_is_what_is_searched() -> None:
    assert read("Which contracts signed after March mention pumps?", FIELDS, TODAY).rest == (
        "Which contracts mention pumps?")
    assert read("Is there news in versions of Heron Gauge above 2.9 on pumps?", FIELDS, TODAY).rest == (
        "Is there news in of Heron Gauge on pumps?")
    assert read("signed after March", FIELDS, TODAY).rest == "signed after March", "something must be searched"


def test_a_condition_that_was_taken_away_stays_in_the_question() -> None:
    question = "pumps signed after March with status approved"
    assert found(question, without=("Signed  after march",)) == [
        ("with status approved", "Only where status is approved.")]
    assert "signed after March" in read(question, FIELDS, TODAY, ("signed after March",)).rest


def test_two_fields_that_it_could_be_are_none() -> None:
    two = [Field("signed_by_us", dates=True), Field("signed_by_them", dates=True)]
    assert found("contracts signed after March", two) == []


def test_without_such_a_field_nothing_is_read() -> None:
    other = [Field("owner", texts=("Hedda",))]
    assert found("contracts signed after March above 2.9 with status approved", other) == []


def test_a_version_s_range_is_the_versions_there_are() -> None:
    (condition,) = read("changes in versions above 2.9", FIELDS, TODAY).conditions
    (only,) = condition.filters
    assert (only.op, only.values) == (FilterOp.ANY, ["2.10", "3.0-rc1", "3.0"])
    (none,) = read("changes in versions above 9", FIELDS, TODAY).conditions[0].filters
    assert not any(matches([none], "d", {"version": v}) for v in ("2.9", "3.0", "10")), "none, and not all of them"


@given(st.text(alphabet="signed after march status: approved version above 2.9 price under 5 ?()[]\\", max_size=80))
def test_any_question_is_read_without_an_error(question: str) -> None:
    read_as = read(question, FIELDS, TODAY)
    for condition in read_as.conditions:
        assert condition.said in question
        check_filters(condition.filters)
    assert not read_as.conditions or begins_like_one(question)


ORDERED = ["1", "1.0.1", "1.2", "1.10", "2.0-alpha1", "2.0-beta", "2.0-rc2", "2.0-rc10", "2", "v2.0.1", "2.9", "2.10",
           "10.0"]


def test_versions_have_an_order_of_their_own() -> None:
    keyed = [version_key(v) for v in ORDERED]
    assert None not in keyed and keyed == sorted(keyed)  # type: ignore[type-var]  # none is None
    assert version_key("2.0") == version_key("2.0.0+build7") == version_key("V2")
    assert [version_key(v) for v in ("", "two", "2..1", "2026-01-31", "1.2.x", "9" * 70)] == [None] * 6
    assert between(["2.10", "2.9", "x"], "2.9", None, low_included=False) == ["2.10"]
    assert are_versions(["2.9", "2.10"]) and not are_versions(["2024", "2025"]) and not are_versions(["a", "b", "2.1"])


def test_a_filter_of_a_client_may_compare_versions_and_the_stores_never_see_it() -> None:
    asked = Filter(field="version", op=FilterOp.GTE, values=["2.9"])
    check_filters([asked])
    (given_,) = with_versions([asked], FIELDS)
    assert given_.values == ["2.9", "2.10", "3.0-rc1", "3.0"]
    other = Filter(field="price", op=FilterOp.LTE, values=[5])
    assert with_versions([other], FIELDS) == [other]
    with pytest.raises(BadRequest, match="compared by searches alone"):
        elasticsearch_filter("w", Person(subject="r", groups=[]), [asked])
    with pytest.raises(BadRequest, match="versions"):
        check_filters([Filter(field="version", op=FilterOp.GTE, values=["two"])])


@pytest.mark.parametrize(("said", "first", "last"), [
    ("2026-02-28", "2026-02-28", "2026-02-28"), ("2026-02", "2026-02-01", "2026-02-28"),
    ("2024", "2024-01-01", "2024-12-31"), ("March", "2026-03-01", "2026-03-31"), ("dec", "2025-12-01", "2025-12-31"),
    ("Sept. 2025", "2025-09-01", "2025-09-30"), ("may 5", "2026-05-05", "2026-05-05"),
    ("24 December", "2025-12-24", "2025-12-24"), ("December 1st, 2025", "2025-12-01", "2025-12-01"),
    ("Q4", "2026-10-01", "2026-12-31"), ("last year", "2025-01-01", "2025-12-31"),
    ("last month", "2026-10-01", "2026-10-31"), ("this week", "2026-11-16", "2026-11-22"),
    ("yesterday", "2026-11-20", "2026-11-20")])
def test_days_as_people_write_them(said: str, first: str, last: str) -> None:
    read_as: Any = days(said, TODAY)
    assert [day.isoformat() for day in read_as] == [first, last]


@pytest.mark.parametrize("said", ["31 February 2026", "2026-13-01", "soon", "40 March", "March April", "1 2 March"])
def test_what_is_no_day_is_none(said: str) -> None:
    assert days(said, TODAY) is None
