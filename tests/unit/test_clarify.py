"""When a question is asked back."""

from __future__ import annotations

import pytest

from schemas.events import Source
from weir.answers.clarify import counter_question


def source(document: str, title: str, heading: str, score: float) -> Source:
    return Source(number=1, chunk=document, document=document, version=1, title=title, heading_path=[title, heading],
                  text="text", section=0, start=0, end=4, score=score)


TWO = [source("a", "Thornlea agreement", "Notice", 3.0), source("b", "Brackwater agreement", "notice", 2.8),
       source("c", "Handbook", "Leave", 2.7)]


def test_documents_that_would_answer_equally_well_are_offered() -> None:
    asked = counter_question("How long is the notice period?", False, TWO)
    assert asked is not None and "“Thornlea agreement” or “Brackwater agreement”" in asked.text
    assert asked.choices == ["How long is the notice period (Thornlea agreement)?",
                             "How long is the notice period (Brackwater agreement)?"]
    assert counter_question(asked.choices[0], False, TWO) is None, "the choice is clear"


@pytest.mark.parametrize("question", ["How long is the notice period of Thornlea?", "Which notice periods are there?",
                                      "Compare the notice periods", "What is the notice period of each supplier?"])
def test_a_question_that_says_which_or_wants_all_is_not_asked_back(question: str) -> None:
    assert counter_question(question, False, TWO) is None


def test_one_that_is_clearly_better_is_taken() -> None:
    clear = [TWO[0], source("b", "Brackwater agreement", "Notice", 2.4)]
    assert counter_question("How long is the notice period?", False, clear) is None
    other = [TWO[0], source("b", "Brackwater agreement", "Price", 2.9)]
    assert counter_question("How long is the notice period?", False, other) is None
    assert counter_question("How long is the notice period?", False, []) is None


@pytest.mark.parametrize(("question", "word"), [("What does it cost?", "“it”"), ("And who are they?", "“they”"),
                                                ("What about that?", "what it is about")])
def test_a_question_that_names_nothing_is_asked_back_unless_it_follows_one(question: str, word: str) -> None:
    asked = counter_question(question, False, TWO[:1])
    assert asked is not None and word in asked.text and not asked.choices
    assert counter_question(question, True, TWO[:1]) is None
