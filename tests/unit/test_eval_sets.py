"""Versions of golden sets as a fold over the log, files, and questions from marked turns."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Citation, GoldenChange, GoldenPassage, GoldenQuestion, Person, Turn, TurnOutcome
from tests.kit.golden import expects, question, source
from weir.errors import BadRequest
from weir.evaluation.files import read, to_csv
from weir.evaluation.marking import marked
from weir.evaluation.sets import chain, check, erased, folded


def change(name: str, parent: str, *put: GoldenQuestion, **more: Any) -> GoldenChange:
    return GoldenChange(set="s", version=1, change=name, parent=parent, workspace="w", put=list(put), by="eve", at=1,
                        **more)


# -- versions -----------------------------------------------------------------------------------------------------


def test_each_change_is_a_version_and_all_of_them_stay() -> None:
    log = [change("a", "", question("1"), question("2")), change("b", "a", question("2", "Who?"), question("3")),
           change("c", "b", remove=["1"])]
    first, second, third = (folded(chain(log)[:n]) for n in (1, 2, 3))
    assert [(q.id, q.question) for q in first.questions] == [("1", "Why?"), ("2", "Why?")]
    assert [(q.id, q.question) for q in second.questions] == [("1", "Why?"), ("2", "Who?"), ("3", "Why?")]
    assert [q.id for q in third.questions] == ["2", "3"]
    assert (first.version, second.change, third.version) == (1, "b", 3)


def test_of_two_changes_at_once_the_first_in_the_log_counts() -> None:
    log = [change("a", ""), change("late", "a", question("lost")), change("c", "late"), change("too late", "a")]
    assert [c.change for c in chain(log)] == ["a", "late", "c"]
    assert chain([change("x", "nowhere")]) == []


def test_an_erased_record_keeps_its_place_wherever_compaction_leaves_it() -> None:
    a, b, rival = change("a", "", question("1")), change("b", "a", question("2")), change("r", "a", question("x"))
    emptied = erased(b, ["2"])
    for order in itertools.permutations([a, rival, emptied, change("c", "b")]):
        assert [c.change for c in chain(order)] == ["a", "b", "c"]
    assert [q.id for q in folded(chain([a, rival, emptied])).questions] == ["1"]


@pytest.mark.parametrize(("bad", "why"), [
    (question(""), "give it one"), (question(text=" "), "is empty"), (question(groups=[]), "names no group"),
    (question(unanswerable=True, answers=["x"]), "cannot be answered"),
    (question(expected=[expects("", "words")]), "does not say in which document"),
    (question(expected=[expects("d", grade=0)]), "grade"),
])
def test_a_question_that_contradicts_itself_is_refused(bad: GoldenQuestion, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        check(bad)


# -- files --------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=12)


@given(st.lists(st.builds(
    GoldenQuestion, id=TEXT, question=TEXT, groups=st.lists(TEXT, min_size=1, max_size=3, unique=True),
    clearance=st.integers(0, 9), answers=st.lists(TEXT, max_size=2), never=st.lists(TEXT, max_size=2), kind=TEXT,
    turn=TEXT, good=st.none() | st.booleans(),
    expected=st.lists(st.builds(GoldenPassage, document=TEXT, passage=st.just("") | TEXT, text=st.just("") | TEXT,
                                grade=st.integers(1, 3)), max_size=3)), min_size=1, max_size=4,
    unique_by=lambda q: q.id))
def test_a_set_goes_through_csv_unchanged(tmp_path_factory: pytest.TempPathFactory,
                                          questions: list[GoldenQuestion]) -> None:
    questions = [replace(q, answers=[a for a in q.answers if not a.endswith("\\")],
                         groups=[g.rstrip("\\") or "g" for g in q.groups],
                         never=[n for n in q.never if not n.endswith("\\")]) for q in questions]
    path = tmp_path_factory.mktemp("csv") / "s.csv"
    path.write_text(to_csv(questions), "utf-8")
    assert read(path) == questions


def beir(folder: Path, **files: str) -> Path:
    (folder / "qrels").mkdir(exist_ok=True)
    for name, text in {
        "queries.jsonl": '{"_id": "1", "text": "Why?"}\n\n{"_id": "2", "text": "Who?"}\n',
        "qrels/test.tsv": "query-id\tcorpus-id\tscore\n1\td1\t2\n1\td2\t1\n1\td3\t0\n", **files,
    }.items():
        (folder / name).write_text(text)
    return folder


def test_a_beir_folder(tmp_path: Path) -> None:
    assert read(beir(tmp_path)) == [question("1", expected=[expects("d1", grade=2), expects("d2")])]
    (tmp_path / "answers.jsonl").write_text('{"_id": "1", "answers": ["So."]}')
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"_id": "d1", "text": "", "metadata": {"doc": "book"}}))
    [found] = read(tmp_path)
    assert found.answers == ["So."]
    assert found.expected == [expects("book", passage="d1", grade=2), expects("", passage="d2")]
    assert read(tmp_path, passages=False)[0].expected[0] == expects("d1", grade=2)


@pytest.mark.parametrize(("name", "text", "why"), [
    ("qrels/test.tsv", "1\td1\tgood\n", r"test.tsv line 1: expected a query, a corpus id and a whole number"),
    ("qrels/test.tsv", "1\td1\t1\n9\td1\t1\n", r"test.tsv line 2: queries.jsonl has no query '9'"),
    ("queries.jsonl", "{", r"queries.jsonl line 1 is not JSON"),
    ("queries.jsonl", '{"id": 1}', r"queries.jsonl line 1 is not as BEIR has it: KeyError '_id'"),
    ("qrels/test.tsv", "", "holds no question"),
])
def test_a_broken_beir_folder_is_told_with_its_line(tmp_path: Path, name: str, text: str, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        read(beir(tmp_path, **{name: text}))
    with pytest.raises(BadRequest, match=r"neither qrels/dev\.tsv"):
        read(tmp_path, split="dev")


@pytest.mark.parametrize(("text", "why"), [
    ("id,query\n1,Why?\n", "unknown columns query; there are id, question"),
    ("id,document\n1,d\n", "no column `question`"),
    ("id,question,grade,document\n1,Why?,many,d\n", "line 2: `grade` is 'many'"),
    ("id,question,unanswerable\n1,Why?,perhaps\n", "line 2: `unanswerable` is 'perhaps'"),
    ("id,question\n1,Why?\n1,Who?\n", "line 3: '1' has another `question` than in line 2"),
    ("id,question\n1,Why?,more\n", "line 2: it has another number of fields"),
    ('id,question\n1,"Why?\n', "set.csv from line 1 on: unexpected end of data"),
    ("id,question\n", "holds no question"),
    ("id,question,document,unanswerable\n1,Why?,d,yes\n", "cannot be answered"),
])
def test_a_broken_csv_file_is_told_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "set.csv"
    path.write_text(text)
    with pytest.raises(BadRequest, match=why):
        read(path)
    with pytest.raises(BadRequest, match="cannot be read"):
        read(tmp_path / "nothing.csv")
    path.write_bytes(b"id,question\n1,\xff\n")
    with pytest.raises(BadRequest, match="not UTF-8"):
        read(path)


# -- marks --------------------------------------------------------------------------------------------------------

ANN = Person(subject="ann", groups=["hr", "left"], clearance=2)


def turn(**more: Any) -> Turn:
    text = "Leave is 27 days. It starts in April."
    return Turn(**{
        "turn": "t1", "conversation": "c", "workspace": "w", "person": ANN, "question": "How long is leave?",
        "outcome": TurnOutcome.ANSWERED, "text": text, "sources": [source("handbook", text)], "asked_at": 1,
        "finished_at": 2, "citations": [Citation(source=1, start=0, end=17, quote_start=0, quote_end=17)], **more})


def test_a_good_answer_says_what_is_expected_and_asks_with_no_more_than_the_person_has() -> None:
    found = marked(turn(), Person(subject="ann", groups=["hr", "new"], clearance=1), True)
    assert found == question("turn-t1", "How long is leave?", groups=["everyone", "hr"], clearance=1, kind="marked",
                             expected=[expects("handbook", "Leave is 27 days.")], turn="t1", good=True)
    refused = marked(turn(outcome=TurnOutcome.NOT_IN_SOURCES, citations=[]), ANN, True)
    assert (refused.unanswerable, refused.expected) == (True, [])


def test_of_a_bad_answer_somebody_says_what_would_be_right() -> None:
    found = marked(turn(), ANN, False, documents=["handbook"], answer="27 days")
    assert (found.good, found.expected, found.answers) == (False, [expects("handbook")], ["27 days"])
    assert marked(turn(), ANN, False, unanswerable=True).unanswerable
    for why, options in (("say what would have been right", {}), ("not among", {"documents": ["other"]}),
                         ("say either", {"documents": ["handbook"], "unanswerable": True})):
        with pytest.raises(BadRequest, match=why):
            marked(turn(), ANN, False, **options)  # type: ignore[arg-type]  # one of several


@pytest.mark.parametrize("more", [
    {"outcome": TurnOutcome.FAILED}, {"outcome": TurnOutcome.CANCELLED}, {"follows": "t0"}])
def test_what_is_no_answer_by_itself_cannot_be_marked(more: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        marked(turn(**more), ANN, True)
