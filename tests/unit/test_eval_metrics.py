"""Figures of one question against values that were worked out by hand."""

from __future__ import annotations

import math

import pytest

from schemas.events import Citation
from tests.kit.golden import expects, question, ranked, source
from weir.evaluation.metrics import answer_figures, meets, plain, ranking_figures, supported, with_quality


def cite(start: int, end: int, number: int = 1) -> Citation:
    return Citation(source=number, start=start, end=end, quote_start=0, quote_end=end - start)


def test_a_ranking_by_hand() -> None:
    # Expected a and b, found at ranks 2 and 5.
    found = ranking_figures([expects("a"), expects("b")], ranked("x", "a", "y", "z", "b", "a"))
    dcg = 1 / math.log2(3) + 1 / math.log2(6)
    assert found == {
        "hit@1": 0.0, "hit@5": 1.0, "hit@10": 1.0, "recall@5": 1.0, "recall@10": 1.0, "recall@20": 1.0, "mrr": 0.5,
        "ndcg@10": pytest.approx(dcg / (1 + 1 / math.log2(3)))}
    assert found["ndcg@10"] == pytest.approx(0.6240505)


def test_grades_are_gains() -> None:
    # Järvelin and Kekäläinen's sum with linear gain: 1/log2(2) + 3/log2(3) over 3/log2(2) + 1/log2(3).
    found = ranking_figures([expects("good", grade=3), expects("fair")], ranked("fair", "good"))
    assert found["ndcg@10"] == pytest.approx((1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)))
    assert found["ndcg@10"] == pytest.approx(0.7967076)


def test_each_expectation_counts_once_and_only_where_it_stands() -> None:
    twice = ranking_figures([expects("a"), expects("b")], ranked("a", "a", "a"))
    assert (twice["recall@20"], twice["hit@1"]) == (0.5, 1.0)
    deep = ranking_figures([expects("a")], ranked(*["x"] * 10, "a"))
    assert (deep["recall@10"], deep["recall@20"], deep["mrr"], deep["ndcg@10"]) == (0.0, 1.0, 1 / 11, 0.0)
    beyond = ranking_figures([expects("a")], ranked(*["x"] * 20, "a"))
    assert set(beyond.values()) == {0.0}
    both = [source("a", "27 days of leave, five may be kept")]
    assert ranking_figures([expects("a", "27 days"), expects("a", "five may")], both)["ndcg@10"] == 1.0
    assert ranking_figures([], ranked("a")) == {}


def test_an_ideal_of_more_than_ten_is_cut_at_ten() -> None:
    many = [f"d{i}" for i in range(15)]
    assert ranking_figures([expects(d) for d in many], ranked(*many))["ndcg@10"] == pytest.approx(1.0)


def test_what_meets_an_expectation() -> None:
    chunk = source("handbook", "Employees have\n27  Days of leave. More follows.", passage="p7")
    assert meets(expects("handbook"), chunk)
    assert meets(expects("handbook", "employees have 27 days"), chunk)
    assert meets(expects("handbook", "Before. Employees have 27 days of leave. More follows. And on."), chunk)
    assert meets(expects("", passage="p7"), chunk)
    assert not meets(expects("handbook", "28 days"), chunk)
    assert not meets(expects("handbook", passage="p8"), chunk)
    assert not meets(expects("policy", "27 days of leave"), chunk)
    assert plain("ﬁne  Straße\n") == "fine strasse"


def test_an_answer() -> None:
    text = "It is 27 days. Ask Pia."
    asked = question(answers=["27 days", "twenty-seven days"], expected=[expects("handbook")], never=["secret"])
    found = answer_figures(asked, False, text, [cite(0, 14)], ["It is 27 days."], ["handbook"], quoted=False)
    assert found == {"gold_in_cited": 1.0, "cited": 1.0, "supported": 0.5, "withheld": 1.0}
    quoted = answer_figures(asked, False, text, [], ["It is 26 days."], ["handbook", "secret"], quoted=True)
    assert quoted == {"gold_in_cited": 0.0, "cited": 0.0, "withheld": 0.0}


def test_refusals_right_and_wrong() -> None:
    no = question(unanswerable=True)
    assert answer_figures(no, True, "", [], [], [], quoted=True) == {"refused": 1.0, "refusal_right": 1.0}
    assert answer_figures(no, False, "Yes.", [], [], [], quoted=True) == {"refused": 0.0, "cited": 0.0}
    yes = question(answers=["27 days"])
    assert answer_figures(yes, True, "", [], [], [], quoted=True) == {"gold_in_cited": 0.0, "refusal_right": 0.0}
    assert answer_figures(question(), True, "", [], [], [], quoted=True) == {}, "nobody said what is expected"


def test_sentences_with_support() -> None:
    text = "One is so. Two is not. Three is so."
    assert supported(text, [cite(0, 10), cite(23, 35)]) == pytest.approx(2 / 3)
    assert supported("", []) == 0.0


def test_quality_is_the_mean_of_what_applies() -> None:
    assert with_quality({"ndcg@10": 0.5, "gold_in_cited": 1.0, "mrr": 0.1})["quality"] == 0.75
    assert "quality" not in with_quality({"cited": 1.0})
