"""Whatever a search or an answer depends on is in its key, also what is added to it later: each field of each value is
changed, and the key has to change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

import pytest

from schemas.events import Cut, Filter, FilterOp, IndexVersion, Person, QuestionAsked
from weir.caches.keys import answer_key, search_key
from weir.models.extractive import Extractive
from weir.retrieval.candidates import Query
from weir.retrieval.pipeline import Controls, Found, Retrieved
from weir.retrieval.questions import Difficulty, Reading
from weir.retrieval.recipe import Recipe

READER = Person(subject="reader", groups=["staff"])
FILTERS = [Filter(field="kind", op=FilterOp.EQ, values=["form"]), Filter(field="year", op=FilterOp.GTE, values=[2020])]
VERSION = IndexVersion(
    name="v1", cut=Cut(name="c1"), model="minilm-int8", revision="r1", dimension=384,
    collection="vectors", keyword_index="words", created_at=1)
QUERY = Query("library", "How is it done?", READER, FILTERS)
DAY = date(2026, 1, 31)
ASKED = QuestionAsked(answer="a", conversation="c", workspace="library", question="How is it done?", person=READER,
                      asked_at=1, filters=FILTERS)
READING = Reading("m/question-1", "How is it done?", ("How is it done?",), "work", Difficulty.USUAL)
CONTROLS = Controls(today=DAY)
FOUND = Retrieved([], [], {}, None, "main", "v1", "How is it done?", Recipe(), [Found("", frozenset(), None)])


@dataclass
class Model(Extractive):
    name: str = "one"
    prompt: str = "1"
    context_chars: int | None = 9000  # type: ignore[assignment]  # the other has none


def other(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, StrEnum):
        return next(v for v in type(value) if v is not value)
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, date):
        return value + timedelta(days=1)
    if isinstance(value, dict):
        return {**value, "more": 1.0}
    if isinstance(value, list):
        return [*value, "more"]
    if isinstance(value, tuple):
        return (*value, ("more", 1.0))
    if is_dataclass(value):
        first = fields(value)[0].name
        return replace(value, **{first: other(getattr(value, first))})  # type: ignore[type-var]  # a value, not a class
    return READING


def deaf_to(value: Any, key: Callable[[Any], str]) -> set[str]:
    """The fields of a value that may change and leave the key as it is."""
    before = key(value)
    return {f.name for f in fields(value) if key(replace(value, **{f.name: other(getattr(value, f.name))})) == before}


def change_filters(value: Any) -> Any:
    """The lists of filters hold filters."""
    return replace(value, filters=[*value.filters, replace(FILTERS[0], field="author")])


def of_question(question: QuestionAsked) -> str:
    return answer_key(question, CONTROLS, FOUND, Model())


def of_reading(reading: Reading) -> str:
    return answer_key(ASKED, replace(CONTROLS, reading=reading), FOUND, Model())


def of_query(query: Query) -> str:
    return search_key(VERSION, query, Recipe())


def test_a_search_is_kept_under_all_that_it_is_made_from() -> None:
    assert deaf_to(VERSION, lambda v: search_key(v, QUERY, Recipe())) == set()
    assert deaf_to(Recipe(), lambda r: search_key(VERSION, QUERY, r)) == set()
    assert deaf_to(READER, lambda p: of_query(replace(QUERY, person=p))) == {"subject", "name"}
    assert deaf_to(FILTERS[0], lambda f: of_query(replace(QUERY, filters=[f]))) == set()
    names = {f.name for f in fields(Query)} - {"person", "filters"}
    assert all(of_query(replace(QUERY, **{n: other(getattr(QUERY, n))})) != of_query(QUERY) for n in names)
    assert of_query(change_filters(QUERY)) != of_query(QUERY)


def test_an_answer_is_kept_under_all_that_it_is_made_from() -> None:
    names = {f.name for f in fields(QuestionAsked)} - {"person", "filters"}
    deaf = {n for n in names if of_question(replace(ASKED, **{n: other(getattr(ASKED, n))})) == of_question(ASKED)}
    # Its text is compared apart; of when it was asked the day counts, among the controls.
    assert deaf == {"answer", "conversation", "question", "asked_at", "anew"}
    assert of_question(change_filters(ASKED)) != of_question(ASKED)
    assert deaf_to(READER, lambda p: of_question(replace(ASKED, person=p))) == {"subject", "name"}
    assert deaf_to(CONTROLS, lambda c: answer_key(ASKED, c, FOUND, Model())) == {"anew"}
    assert of_reading(READING) != of_question(ASKED)
    assert deaf_to(READING, of_reading) == {"standalone", "parts", "also", "usage"}
    assert deaf_to(Recipe(), lambda r: answer_key(ASKED, CONTROLS, replace(FOUND, recipe=r), Model())) == set()
    assert deaf_to(Model(), lambda m: answer_key(ASKED, CONTROLS, FOUND, m)) == set()


@pytest.mark.parametrize("name", ["recipe", "reranker", "index", "index_version"])
def test_what_retrieval_says_of_itself_counts_for_an_answer(name: str) -> None:
    changed = replace(FOUND, **{name: other(getattr(FOUND, name))})
    assert answer_key(ASKED, CONTROLS, changed, Model()) != of_question(ASKED)


def test_a_field_that_is_added_later_counts_by_itself() -> None:
    @dataclass(frozen=True)
    class Later(Recipe):
        added: bool = False

    assert deaf_to(Later(), lambda r: search_key(VERSION, QUERY, r)) == set()
    assert deaf_to(Later(), lambda r: answer_key(ASKED, CONTROLS, replace(FOUND, recipe=r), Model())) == set()


def test_what_makes_no_difference_shares_a_key() -> None:
    again = replace(READER, subject="other", name="Other", groups=["everyone", "staff", "staff"])
    assert of_question(replace(ASKED, person=again, filters=FILTERS[::-1])) == of_question(ASKED)
    assert of_query(replace(QUERY, person=again, filters=FILTERS[::-1])) == of_query(QUERY)
    day, text = (replace(QUERY, filters=[Filter(field="signed", op=FilterOp.EQ, values=[v])])
                 for v in (DAY, DAY.isoformat()))
    assert of_query(day) != of_query(text)
