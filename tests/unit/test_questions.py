"""A question's parts, other spellings of its words, and how far one has to look for its answer."""

from __future__ import annotations

import pytest

from weir.retrieval.questions import Difficulty, deep_enough, difficulty, other_spellings, parts
from weir.retrieval.recipe import Recipe


@pytest.mark.parametrize(("question", "expected"), [
    ("How long is annual leave? And when does it expire?",
     ["How long is annual leave?", "when does it expire? (annual leave)"]),
    ("What is the notice period of Thornlea, and what does an enclosure cost?",
     ["What is the notice period of Thornlea?", "what does an enclosure cost?"]),
    ("Who approves travel and how are hotels booked?", ["Who approves travel?", "how are hotels booked?"]),
])
def test_a_question_with_several_parts_is_taken_apart(question: str, expected: list[str]) -> None:
    found = parts(question)
    assert len(found) == len(expected)
    for piece, want in zip(found, expected, strict=True):
        assert want.split(" (")[0].rstrip("?").lower() in piece.lower()


@pytest.mark.parametrize("question", [
    "What is the notice period of Thornlea and Brackwater?", "What do pumps and valves cost?", "Restart the gateway",
    "Does the policy say what is allowed?", "I lost my badge. What must I do?", "What is it and what is that?",
    "Why is the gauge read and by whom, and when, and where, and how, and what for?"])
def test_one_question_stays_one(question: str) -> None:
    assert parts(question) == [question]


def test_a_part_that_leaves_something_out_takes_it_from_the_part_before() -> None:
    assert "leave" in parts("How long is annual leave? And when does it expire?")[1]


@pytest.mark.parametrize(("question", "word"), [
    ("Who has to authorise 3 invoices?", "authorize"), ("Who has to authorise 3 invoices?", "three"),
    ("the colour of the cable", "color"), ("follow-up calls", "followup"), ("Whom in HR do I ask?", "human resources"),
    ("the licence of the software", "license"), ("twelve months", "12")])
def test_other_spellings_are_found(question: str, word: str) -> None:
    assert word in other_spellings(question)


def test_a_question_s_own_words_are_not_repeated() -> None:
    assert other_spellings("authorise or authorize") == "" and other_spellings("pumps") == ""


def test_hard_questions_look_further() -> None:
    assert difficulty("What does E042 mean?") is Difficulty.PLAIN
    assert difficulty("How many days of annual leave are there for new employees?") is Difficulty.USUAL
    assert difficulty("Compare the notice periods of all suppliers") is Difficulty.HARD
    depths = [deep_enough(difficulty(q), Recipe()).depth for q in ("What does E042 mean?", "how is travel booked",
                                                       "Compare all notice periods")]
    assert depths == [100, 200, 400]
    assert deep_enough(Difficulty.HARD, Recipe(depth=900, windows=16_000)).windows == 16_384
