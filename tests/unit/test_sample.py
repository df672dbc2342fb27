"""The sample library holds what it says it holds."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections import Counter
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from schemas.events import GoldenQuestion, Person
from weir.access import may_read as readable
from weir.documents.media_types import MediaType
from weir.documents.parse import parse
from weir.evaluation.files import read
from weir.evaluation.gate import FEWEST

SAMPLE = Path(__file__).parents[2] / "sample"
DATE = re.compile(r"\d{4}-\d\d-\d\d")


def load(name: str) -> Any:
    return json.loads((SAMPLE / name).read_text(encoding="utf-8"))


DOCUMENTS: dict[str, Any] = {document["id"]: document for document in load("library.json")["documents"]}
PEOPLE: dict[str, Any] = {person["user"]: person for person in load("people.json")["people"]}
QUESTIONS: dict[str, Any] = {question["id"]: question for question in load("questions.json")["questions"]}
ANSWERED = [question for question in QUESTIONS.values() if question["document"]]


@cache
def text_of(document: str) -> str:
    """Text of a document as Weir's own parser reads it, white space collapsed."""
    entry = DOCUMENTS[document]
    parsed = parse((SAMPLE / entry["path"]).read_bytes(), entry["media_type"], title=entry["title"])
    return " ".join(" ".join(section.text for section in parsed.sections).split())


def may_read(user: str, document: str) -> bool:
    person, entry = PEOPLE[user], DOCUMENTS[document]
    return bool(set(person["groups"]) & set(entry["groups"])) and person["clearance"] >= entry["clearance"]


def test_the_list_and_the_folder_agree() -> None:
    listed = Counter(entry["path"] for entry in DOCUMENTS.values())
    there = Counter(str(path.relative_to(SAMPLE)) for path in (SAMPLE / "documents").rglob("*") if path.is_file())
    assert listed == there


@pytest.mark.parametrize("name", ["library.json", "people.json", "questions.json"])
def test_no_id_is_given_twice(name: str) -> None:
    file = load(name)
    rows = next(value for value in file.values() if isinstance(value, list))
    ids = Counter(row.get("id", row.get("user")) for row in rows)
    assert max(ids.values()) == 1


def test_every_format_of_a_file_is_in_the_library() -> None:
    assert {entry["media_type"] for entry in DOCUMENTS.values()} == set(MediaType) - {MediaType.PASSAGES}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_is_read_by_somebody_and_its_groups_are_known(document: str) -> None:
    known = {group for person in PEOPLE.values() for group in person["groups"]}
    assert set(DOCUMENTS[document]["groups"]) <= known
    assert any(may_read(user, document) for user in PEOPLE)
    assert text_of(document)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_metadata_values_have_types_that_weir_can_filter_by(document: str) -> None:
    for name, value in DOCUMENTS[document]["metadata"].items():
        assert isinstance(value, str | int | float | bool) or all(isinstance(item, str) for item in value), name
        if name in ("signed", "effective", "date", "reviewed"):
            assert DATE.fullmatch(value), name
            date.fromisoformat(value)


def test_the_contracts_say_what_their_metadata_say() -> None:
    contracts = [entry for entry in DOCUMENTS.values() if entry["metadata"]["kind"] == "contract"]
    assert len(contracts) == 3
    for entry in contracts:
        text, metadata = text_of(entry["id"]), entry["metadata"]
        signed = date.fromisoformat(metadata["signed"])
        assert f"Signed on {signed.day} {signed:%B %Y}" in text
        assert f"The term is {metadata['term_months']} months" in text
        assert f"{metadata['unit_price']:.2f}" in text
        assert f"{metadata['annual_value']:,.0f}" in text
        assert f"the law of {metadata['governing_law']}".replace("of Netherlands", "of the Netherlands") in text
        assert metadata["number"] in text


@pytest.mark.parametrize("question", ANSWERED, ids=lambda question: str(question["id"]))
def test_the_expected_phrase_is_in_the_expected_document(question: dict[str, Any]) -> None:
    assert question["phrase"] in text_of(question["document"])


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=lambda question: str(question["id"]))
def test_a_question_is_consistent(question: dict[str, Any]) -> None:
    assert question["asks"] in PEOPLE
    expected = [document for document in (question["document"], *question["also"]) if document]
    assert all(may_read(question["asks"], document) for document in expected)
    assert not set(expected) & set(question["never"])
    assert bool(question["document"]) == bool(question["phrase"])
    assert not (question["document"] and question["refused"])
    assert question["document"] or question["refused"] or question["never"]
    if question["kind"] == "forbidden":
        assert question["never"]
        assert not any(may_read(question["asks"], document) for document in question["never"])
    if question["follows"]:
        assert QUESTIONS[question["follows"]]["asks"] == question["asks"]


@pytest.mark.parametrize("question", read(SAMPLE / "golden.csv"), ids=lambda question: question.id)
def test_a_golden_question_expects_what_is_there_and_what_its_person_may_read(question: GoldenQuestion) -> None:
    person = Person(subject="golden", groups=list(question.groups), clearance=question.clearance)
    for expected in question.expected:
        entry = DOCUMENTS[expected.document]
        assert expected.text in text_of(expected.document)
        assert readable(person, entry["groups"], entry["clearance"])
    for document in question.never:
        entry = DOCUMENTS[document]
        assert not readable(person, entry["groups"], entry["clearance"])
    assert question.expected or question.unanswerable or question.never


def test_the_golden_set_is_large_enough_for_the_gate() -> None:
    questions = read(SAMPLE / "golden.csv")
    assert sum(bool(q.expected) for q in questions) >= FEWEST
    assert any(q.unanswerable for q in questions) and any(q.clearance for q in questions)


def test_nothing_restricted_is_told_in_a_document_for_everyone() -> None:
    for secret in ("Lodesight", "Kingfisher", "61500", "61,500", "€15,000", "second source"):
        told = [document for document in DOCUMENTS if may_read("reader", document) and secret in text_of(document)]
        assert not told, secret


def test_the_binaries_are_what_their_sources_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("make_binaries", SAMPLE / "make_binaries.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "make_binaries", module)
    spec.loader.exec_module(module)
    for source, target in module.FILES.items():
        content = list(module.blocks((SAMPLE / "sources" / source).read_text(encoding="utf-8")))
        made = tmp_path / Path(target).name
        (module.write_pdf if made.suffix == ".pdf" else module.write_docx)(content, made)
        assert made.read_bytes() == (SAMPLE / "documents" / target).read_bytes(), source
