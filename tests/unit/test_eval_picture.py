"""The picture of a run, and what of a run is withheld from whom."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lxml import etree

from gateway.evaluations import withheld
from schemas.events import Evaluation, Figure, Person, StageTime, Verdict
from tests.kit.golden import evaluation, result
from weir.evaluation.picture import picture

SVG = "{http://www.w3.org/2000/svg}"


def run(**more: Any) -> Evaluation:
    return evaluation(
        [result("open", {"quality": 1.0}), result("hr-1", {"quality": 0.2}, question="<b>What of & E4?</b>\x00",
                                                   groups=["hr"], clearance=1, answer="61,500")],
        figures=[Figure(name=f"f{i}", value=0.5, low=0.25, high=0.75, count=2) for i in range(5)],
        stages=[StageTime(name="embed", p50=5.0, low=4.0, high=6.0, p95=9.0)], **more)


def test_a_picture_is_svg_that_needs_nothing_else() -> None:
    text = picture(run(verdict=Verdict(passed=False, reasons=["hr-1 failed"], remarks=[]), index_version="v2"), run())
    root = etree.fromstring(text.encode())
    said = [t.text for t in root.iter(f"{SVG}text")]
    assert root.tag == f"{SVG}svg" and len(root.findall(f".//{SVG}circle")) == 10, "five figures, each beside live"
    assert "<b>What of & E4?</b> " in said
    assert "Refused: hr-1 failed" in said
    assert not any(name in text for name in ("style=", "<script", "href", "url("))
    assert said.index("<b>What of & E4?</b> ") < said.index("open?"), "the worst first"
    assert etree.fromstring(picture(evaluation([])).encode()) is not None


def test_a_question_asked_with_more_access_is_withheld() -> None:
    whole = run(verdict=Verdict(passed=False, reasons=["hr-1, open failed"], remarks=[]))
    hr = Person(subject="h", groups=["hr"], clearance=1)
    assert withheld(whole, hr) == whole
    for person in (replace(hr, groups=["board"]), replace(hr, clearance=0)):
        seen = withheld(whole, person)
        assert seen.questions[0] == whole.questions[0]
        assert (seen.questions[1].id, seen.questions[1].figures) == ("withheld-1", {"quality": 0.2})
        assert not any(word in repr(seen) for word in ("E4", "61,500", "hr-1"))
        assert seen.verdict is not None
        assert seen.verdict.reasons == ["(withheld), open failed"]
