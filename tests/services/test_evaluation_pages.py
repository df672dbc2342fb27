"""Who may look after golden sets and see runs: over REST, and on the pages in a real browser. Without Chromium, and
without the right to install it, the pages are not looked at, and the tests say so."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from lxml import etree
from playwright.async_api import Browser, expect

from tests.kit.chromium import overflowing, page_of
from tests.kit.gateway import Gateway
from tests.kit.pipeline import WORKSPACE, Pipeline
from tests.kit.rivers import PUBLISHER, WET, asked, golden_questions, golden_sets, library, open_gateway, versions
from tests.kit.waiting import until
from weir.clock import system_clock
from weir.evaluation.compare import evaluate
from weir.evaluation.sets import GoldenSet, GoldenSets
from weir.views.evaluations import EvaluationViews

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def weir() -> AsyncIterator[Pipeline]:
    async with library() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sets(weir: Pipeline) -> AsyncIterator[GoldenSets]:
    async with golden_sets(weir) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rivers(sets: GoldenSets) -> GoldenSet:
    return await sets.change("rivers", WORKSPACE, "eve", put=golden_questions(), reason="the first ones")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(weir: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with open_gateway(weir, tmp_path_factory.mktemp("home")) as made:
        yield made


async def test_a_marked_answer_becomes_a_question_of_the_set(here: Gateway, sets: GoldenSets) -> None:
    turn = await asked(here, WET.format("Esk"))
    path = f"/v1/turns/{turn}/golden"
    status, made = await here.call("POST", path, json={"good": True}, **PUBLISHER)
    assert (status, made) == (201, {"set": WORKSPACE, "version": 1, "question": f"turn-{turn}"})
    assert (await here.call("POST", path, json={"good": True}, **PUBLISHER))[1]["version"] == 1, "it is in already"
    status, found = await here.call("GET", f"/v1/golden/{WORKSPACE}", **PUBLISHER)
    [kept] = found["questions"]
    assert (kept["groups"], kept["good"], kept["expected"][0]["document"]) == (["everyone", "publishers"], True, "esk")
    assert "7.5 cubic metres" in kept["expected"][0]["text"]
    status, refused = await here.call("POST", path, json={"good": False}, **PUBLISHER)
    assert (status, "say what would have been right" in refused["error"]["message"]) == (400, True)
    status, made = await here.call("POST", path, json={"good": False, "documents": ["esk"], "answer": "7.5"},
                                   **PUBLISHER)
    assert (status, made["version"]) == (201, 2)
    assert sets.get(WORKSPACE, 1).questions[0].good is True, "the version before stays as it was"


async def test_who_may_see_and_change_golden_sets(here: Gateway, rivers: GoldenSet) -> None:
    turn = await asked(here, WET.format("Dove"), user="rob", groups=())
    assert (await here.call("POST", f"/v1/turns/{turn}/golden", json={"good": True}, user="rob"))[0] == 403
    assert (await here.call("POST", f"/v1/turns/{turn}/golden", json={"good": True}, **PUBLISHER))[0] == 404
    assert (await here.call("GET", "/v1/golden", user="rob"))[1] == {"sets": []}
    assert (await here.call("GET", "/v1/golden/rivers", user="rob"))[0] == 404
    assert (await here.call("GET", "/v1/evaluations", user="rob"))[1] == {"evaluations": []}
    status, found = await here.call("GET", "/v1/golden/rivers", **PUBLISHER)
    assert (status, found["count"]) == (200, len(rivers.questions))
    assert "4.2 million" not in json.dumps(found)
    assert found["questions"].count({"withheld": True}) == 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(weir: Pipeline, rivers: GoldenSet) -> str:
    """A run that was compared, once the view has it."""
    _, made = await evaluate(weir.settings, weir.producer, rivers, versions(weir, depth=1, windows=1), "v2", by="eve",
                             clock=system_clock)
    assert await EvaluationViews(weir.es, weir.settings).wait(made.run) is not None
    return made.run


async def test_a_run_over_rest_withholds_what_the_reader_may_not_ask(here: Gateway, run: str) -> None:
    path = f"/v1/evaluations/{run}"
    status, found = await here.call("GET", path, **PUBLISHER)
    assert status == 200
    assert "4.2 million" not in json.dumps(found) and "reserve-board" not in json.dumps(found)
    hidden = [q for q in found["questions"] if q["id"].startswith("withheld-")]
    assert [q["live"]["id"] for q in hidden] == [q["id"] for q in hidden] and len(hidden) == 1
    status, board = await here.call("GET", path, user="bea", groups=("publishers", "board"), clearance=2)
    assert "4.2 million" in json.dumps(board)
    assert found["verdict"]["passed"] is False and found["live_run"]["index_version"] == "v1"
    status, drawn = await here.call("GET", f"{path}/picture.svg", **PUBLISHER)
    assert (status, "4.2 million" in drawn) == (200, False)
    assert etree.fromstring(drawn.encode()).tag.endswith("svg")
    assert (await here.call("GET", path, user="rob"))[0] == 404


# -- pages --------------------------------------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1280])
async def test_the_report_by_keyboard_and_on_a_phone(chromium: Browser, here: Gateway, rivers: GoldenSet, run: str,
                                                     width: int) -> None:
    async with page_of(chromium, here, "pia", f"/evaluations#{run}", viewport={"width": width, "height": 800}) as made:
        await expect(made.locator(".callout")).to_contain_text("The gate refuses it.")
        await expect(made.locator(".panel-small", has_text="Recall@10").locator("circle")).to_have_count(2)
        await expect(made.locator(".panel-small", has_text="Recall@10").locator("strong.worse")).to_be_visible()
        await expect(made.locator(".question")).to_have_count(len(rivers.questions))
        await made.keyboard.press("j")
        await made.keyboard.press("Enter")
        first = made.locator(".question[open]")
        await expect(first.locator(".beside > section")).to_have_count(2)
        await expect(first).to_contain_text("bridge of")
        await made.keyboard.press("j")
        assert await made.evaluate("document.activeElement.tagName") == "SUMMARY"
        await made.select_option(".choose select", "differ")
        assert 0 < await made.locator(".question:visible").count() < len(rivers.questions)
        assert await overflowing(made) == []


@pytest.mark.browser
async def test_a_bad_answer_is_marked_on_the_page(chromium: Browser, here: Gateway, sets: GoldenSets) -> None:
    async with page_of(chromium, here, "pia", tolerated="status of 400") as made:
        await expect(made.locator("#pages a[href='/evaluations']")).to_be_visible()
        await made.fill("#question", WET.format("Gade"))
        await made.press("#question", "Enter")
        await made.locator("[data-key=feedback-false]").click(timeout=30_000)
        form = made.locator(".golden")
        await form.get_by_role("button").click()
        await expect(form.locator(".error-text")).to_contain_text("say what would have been right", timeout=15_000)
        await form.locator("[name=document]").first.check()
        await form.locator("[name=answer]").fill("9.5 cubic metres per second")
        await form.get_by_role("button").click()
        await expect(form).to_contain_text(f"Kept in the golden set {WORKSPACE}, version")
        kept = await until(lambda: [q for q in sets.get(WORKSPACE).questions if q.question == WET.format("Gade")])
        assert [(q.answers, q.good) for q in kept] == [(["9.5 cubic metres per second"], False)]
