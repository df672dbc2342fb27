"""Which words of a passage say what a field is."""

from __future__ import annotations

import pytest

from consumers.tools.fields import find
from schemas.events import Source

KEY_TERMS = ("Term: Agreed\nPrice: €212.50 per module\nPayment: 45 days\nTerm: 36 months\nNotice period: six months\n"
             "Liability cap: €1,500,000 per contract year\nGoverning law: the Netherlands")
PROSE = ("The price is £38.40 per TE-3 housing, including gasket and vent plug. Either party may terminate the "
         "agreement with a notice period of 90 days to the end of a month.")


def source(text: str) -> Source:
    return Source(number=1, chunk="c", document="d", version=1, title="t", heading_path=["Agreement"], text=text,
                  section=0, start=0, end=len(text), score=1.0)


@pytest.mark.parametrize(("field", "value"), [
    ("price", "€212.50 per module"), ("payment", "45 days"), ("notice period", "six months"),
    ("governing law", "the Netherlands"), ("liability", "€1,500,000 per contract year")])
def test_a_row_that_has_the_name_of_the_field_says_what_it_is(field: str, value: str) -> None:
    found = find(field, [source(KEY_TERMS)])
    assert found is not None and found.value == value


def test_the_heads_of_a_table_are_no_value() -> None:
    found = find("term", [source(KEY_TERMS)])
    assert found is not None and (found.value, found.quote) == ("36 months", "Term: 36 months")


@pytest.mark.parametrize(("field", "value"), [("price", "£38.40 per TE-3 housing"), ("notice", "90 days")])
def test_of_a_sentence_the_part_of_the_right_kind_is_the_value(field: str, value: str) -> None:
    found = find(field, [source(PROSE)])
    assert found is not None and found.value == value


def test_what_the_passage_does_not_say_is_not_found() -> None:
    assert find("warranty", [source(PROSE)]) is None
