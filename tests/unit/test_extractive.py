"""Sentences, what a question asks for, and the quotes that answer it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Source
from weir.answers.followups import standalone, standalone_of
from weir.answers.sentences import sentences
from weir.errors import Unavailable
from weir.models.extractive import Extractive
from weir.models.protocol import Asked, NotInSources, Quote, Text, Vectors


def texts(passage: str) -> list[str]:
    return [s.text for s in sentences(passage)]


@pytest.mark.parametrize(("passage", "expected"), [
    ("The fee is £5 (approx. ten a year). Dr. Smith of Acme Inc. agreed. It rose 3.5 per cent!",
     ["The fee is £5 (approx. ten a year).", "Dr. Smith of Acme Inc. agreed.", "It rose 3.5 per cent!"]),
    ("J. R. Jones left. U.S. rules apply.", ["J. R. Jones left.", "U.S. rules apply."]),
    ("# Notice\n\nEither party may end this agreement by giving ninety\ndays' notice. It ends then.",
     ["Either party may end this agreement by giving ninety\ndays' notice.", "It ends then."]),
    ("Fees:\n- Price: 10 EUR\n- Term: 3 years", ["- Price: 10 EUR", "- Term: 3 years"]),
    ("| Item | Price |\n|---|---|\n| Otter | 10 |\n| Heron | 20 |", ["| Otter | 10 |", "| Heron | 20 |"]),
    ("How do I reset it?\nHold the button.", ["Hold the button."]),
    ("```\nx = 1\nprint(x)\n```", ["x = 1", "print(x)"]),
    ("the tax was $20 million. it expires in 2027.", ["the tax was $20 million.", "it expires in 2027."]),
])
def test_a_passage_falls_into_sentences(passage: str, expected: list[str]) -> None:
    assert texts(passage) == expected


def test_what_leads_to_a_sentence_goes_with_it() -> None:
    assert [s.lead for s in sentences("| Item | Price |\n|---|---|\n| Otter | 10 |")] == ["| Item | Price |"]
    assert sentences("How do I reset it?\nHold the button.")[0].lead == "How do I reset it?"


@given(st.text(alphabet="aB .\n|-#?:`1", max_size=120))
def test_sentences_stand_where_they_say_and_never_overlap(passage: str) -> None:
    end = 0
    for sentence in sentences(passage):
        assert passage[sentence.start:sentence.end] == sentence.text
        assert end <= sentence.start < sentence.end
        end = sentence.end


@pytest.mark.parametrize(("before", "question", "whole"), [
    ("What notice period does the Thornlea contract have?", "And Brackwater?",
     "What notice period does the Brackwater contract have?"),
    ("What notice does Thornlea want?", "What about Nordhavn Connectivity?",
     "What notice does Nordhavn Connectivity want?"),
    ("How often are valves inspected?", "and in winter?", "and in winter? (often valves inspected)"),
    ("What is the Nordhavn contract about?", "When does it end?", "When does it end? (Nordhavn contract)"),
    ("How many days of leave do employees get?", "How do I reset my Otter sensor?", "How do I reset my Otter sensor?"),
])
def test_a_follow_up_stands_by_itself(before: str, question: str, whole: str) -> None:
    assert standalone(question, before) == whole


def test_a_chain_of_follow_ups_keeps_what_it_is_about() -> None:
    assert standalone_of(["What does the Heron 3 cost?", "And the Otter?", "And the Beaver?"]) == \
        "What does the Beaver cost?"


def source(number: int, text: str, title: str) -> Source:
    return Source(number=number, chunk=f"c{number}", document=title, version=1, title=title, heading_path=[], text=text,
                  section=0, start=0, end=len(text), score=1.0)


THORNLEA = source(1, "Either party may end it with ninety days' notice. Enclosures cost 41 euros each.",
                  "Thornlea contract")
BRACKWATER = source(2, "Either party may end it with thirty days' notice. Transducers cost 17 euros each.",
                    "Brackwater contract")


async def hashed(passages: Sequence[str]) -> Vectors:
    """Vectors of words by a hash: two texts are as near as they share words."""
    out = np.zeros((len(passages), 256), np.float32)
    for row, passage in enumerate(passages):
        for word in passage.lower().replace(".", " ").replace("'", " ").split():
            out[row, int(hashlib.sha256(word[:5].encode()).hexdigest(), 16) % 256] += 1
        out[row] /= max(float(np.linalg.norm(out[row])), 1e-6)
    return out


async def asked(question: str, sources: Sequence[Source], *, vectors: bool = True) -> tuple[str, bool]:
    """What is quoted, and whether the sources are said to hold nothing."""
    vector = (await hashed([question]))[0] if vectors else None
    pieces = [p async for p in Extractive().answer(Asked(question, sources, vector=vector, embed=hashed))]
    by_number = {s.number: s for s in sources}
    quoted = " ".join(by_number[p.source].text[p.start:p.end] for p in pieces if isinstance(p, Quote))
    assert any(isinstance(p, Text) for p in pieces)
    return quoted, any(isinstance(p, NotInSources) for p in pieces)


@pytest.mark.parametrize("vectors", [True, False])
async def test_it_quotes_the_sentence_that_answers_and_names_its_source(vectors: bool) -> None:
    quoted, missing = await asked("How many days of notice end the Brackwater contract?", [THORNLEA, BRACKWATER],
                                  vectors=vectors)
    assert "thirty days" in quoted and "ninety" not in quoted and not missing


@pytest.mark.parametrize("vectors", [True, False])
async def test_it_says_when_the_sources_hold_nothing(vectors: bool) -> None:
    quoted, missing = await asked("Which treatment did the cardiology trial compare with placebo?",
                                  [THORNLEA, BRACKWATER], vectors=vectors)
    assert missing and not quoted


async def test_without_sources_there_is_no_answer() -> None:
    assert await asked("Anything?", []) == ("", True)


async def test_when_the_embedder_is_away_words_alone_decide() -> None:
    async def away(_: Sequence[str]) -> Vectors:
        raise Unavailable("Triton does not answer")

    question = "How many days of notice end the Thornlea contract?"
    told = Asked(question, [THORNLEA], vector=(await hashed([question]))[0], embed=away)
    assert any(isinstance(p, Quote) for p in [p async for p in Extractive().answer(told)])
