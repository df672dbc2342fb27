"""An earlier answer and the figures of the caches as a person meets them: over REST, and in a real browser."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.kit.chromium import overflowing, page_of
from tests.kit.gateway import Gateway
from tests.kit.pipeline import WORKSPACE, Pipeline
from tests.kit.rivers import PUBLISHER, asked, library, open_gateway
from tests.kit.waiting import until

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]

QUESTION = "How is the gauge at the bridge read?"
OTHER = {360: "How is the gauge at a bridge read?", 1280: "How is a gauge at the bridge read?"}
"""The same in other words, by the width of the screen."""
REUSE = {"kinds": ["how"], "semantic": True, "similarity": 0.8}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def weir() -> AsyncIterator[Pipeline]:
    async with library() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(weir: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with open_gateway(weir, tmp_path_factory.mktemp("home")) as made:
        status, kept = await made.call("PUT", f"/v1/workspaces/{WORKSPACE}", user="adam", groups=("weir-admins",),
                                       json={"title": "Rivers", "reuse": REUSE})
        assert (status, kept["reuse"]) == (200, {**REUSE, "hours": 24})
        yield made


async def earlier(here: Gateway, question: str) -> dict[str, object]:
    """The turn of a question once it is answered by an earlier one."""
    async def again() -> dict[str, object] | None:
        turn = (await here.call("GET", f"/v1/turns/{await asked(here, question)}", **PUBLISHER))[1]
        return turn if turn["earlier"] else None

    found = await until(again)
    assert isinstance(found, dict)
    return found


async def test_a_turn_tells_which_answer_it_repeats(here: Gateway) -> None:
    first = (await here.call("GET", f"/v1/turns/{await asked(here, QUESTION)}", **PUBLISHER))[1]
    assert first["earlier"] is None
    again = await earlier(here, QUESTION)
    assert again["earlier"]["question"] == QUESTION  # type: ignore[index]  # it has one
    assert again["text"] == first["text"] and "earlier answer" in again["notices"][0]  # type: ignore[index]


async def test_kinds_that_nobody_knows_are_refused(here: Gateway) -> None:
    status, found = await here.call("PUT", f"/v1/workspaces/{WORKSPACE}", user="adam", groups=("weir-admins",), json={
        "reuse": {"kinds": ["poems"]}})
    assert (status, "kinds" in found["error"]["message"]) == (400, True)


async def test_the_figures_are_for_those_who_look_after_the_workspace(weir: Pipeline, here: Gateway) -> None:
    await earlier(here, QUESTION)
    await weir.stop("streams.answers")
    weir.start("streams.answers")

    async def told() -> dict[str, dict[str, object]]:
        found = (await here.call("GET", "/v1/caches", **PUBLISHER))[1]["caches"]
        return {c["cache"]: c for c in found if c["workspace"] == WORKSPACE}

    found = await until(told)
    assert found["answers"]["lookups"]["exact"] >= 1 and found["answers"]["reuse"]["kinds"] == ["how"]
    [(_, (hits, lookups))] = found["answers"]["hours"][-1:]
    assert 0 < hits <= lookups
    assert (await here.call("GET", "/v1/caches", user="rob", groups=()))[1]["caches"] == []


async def both_by_themselves(here: Gateway) -> bool:
    """Whether an earlier answer and then a new one were given, neither to a follow-up of the other."""
    talks = (await here.call("GET", "/v1/conversations", **PUBLISHER))[1]["conversations"]
    turns = (await here.call("GET", f"/v1/conversations/{talks[0]['conversation']}", **PUBLISHER))[1]["turns"]
    return [(t["earlier"] is None, t["follows"]) for t in turns] == [(False, None), (True, None)]


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1280])
async def test_the_pages_show_both(chromium: Browser, here: Gateway, tmp_path: Path, width: int) -> None:
    await earlier(here, QUESTION)
    shots = Path(os.environ.get("WEIR_TEST_SHOTS", tmp_path))
    async with page_of(chromium, here, "pia", viewport={"width": width, "height": 800}) as made:
        await made.fill("#question", OTHER[width])
        await made.press("#question", "Enter")
        notice = made.locator(".notice.earlier")
        await expect(notice).to_contain_text(re.compile(r"An earlier answer to “How is .* read\?”, asked on "))
        await made.screenshot(path=shots / f"earlier-{width}.png")
        await made.get_by_role("button", name="Ask anew").click()
        await expect(made.locator(".after")).to_be_visible()
        await expect(notice).to_have_count(0)
        await until(lambda: both_by_themselves(here), what="the turns")
        await made.goto(here.url + "/caches")
        card = made.locator(".card", has=made.get_by_role("heading", name="Answers"))
        await expect(card.locator(".reasons").first).to_contain_text("the same question")
        await expect(made.locator(".card", has=made.get_by_role("heading", name="Searches"))).to_be_visible()
        await expect(made.locator(".card", has=made.get_by_role("heading", name="Vectors"))).to_be_visible()
        assert await overflowing(made) == []
        await made.screenshot(path=shots / f"caches-{width}.png", full_page=True)
