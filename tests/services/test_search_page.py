"""The page of searches, and what conditions and counter-questions look like, in a real browser. Without Chromium, and
without the right to install it, they are not looked at, and the tests say so."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.kit.agreements import ADMIN, agreements
from tests.kit.chromium import overflowing, page_of
from tests.kit.gateway import Gateway
from tests.kit.pipeline import WORKSPACE

pytestmark = [pytest.mark.services, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

QUESTION = "Which contracts signed after March 2026 say how long the written notice is?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with agreements(tmp_path_factory.mktemp("home"), sign_ins_per_minute=1000) as (_, made):
        yield made


@pytest.mark.parametrize("width", [360, 1280])
async def test_a_search_shows_its_whole_way(chromium: Browser, here: Gateway, width: int) -> None:
    async with page_of(chromium, here, "robin", f"/search#in={WORKSPACE}&q={QUESTION}",
                    viewport={"width": width, "height": 900}) as made:
        found = made.locator("#found")
        await expect(found.locator(".condition").first).to_contain_text("Only where signed is 2026-04-01 or later")
        await expect(found.locator(".path-facts").first).to_contain_text("Which contracts say how long the written")
        await expect(found.locator(".lists ol")).to_have_count(2)
        await expect(found.locator(".ranking tbody tr")).to_have_count(2)
        await expect(found.locator(".ranking tbody tr").first.locator(".became")).to_have_text("[1]")
        await expect(found.locator(".times")).to_contain_text("vectors")
        await expect(found.locator(".hit").first).to_contain_text("90 days")
        assert await overflowing(made) == []
        await found.get_by_role("button", name="Without “signed after March 2026”").click()
        await expect(found.locator(".condition.away")).to_have_text("signed after March 2026")
        await expect(found.locator(".ranking tbody")).to_contain_text("Brackwater agreement")
        await found.locator(".condition.away").click()
        await expect(found.locator(".ranking tbody tr")).to_have_count(2)
        await found.locator(".ranking .link").first.click()
        await expect(made.locator("#panel")).to_contain_text("Thornlea agreement")
        await made.keyboard.press("Escape")
        await expect(made.locator("#panel")).to_be_hidden()


async def test_the_controls_change_this_search_alone(chromium: Browser, here: Gateway) -> None:
    async with page_of(chromium, here, "robin", "/search", tolerated="status of 400",
                       viewport={"width": 1280, "height": 900}) as made:
        await made.fill("#question", "written notice")
        await made.press("#question", "Enter")
        found = made.locator("#found")
        await expect(found.locator(".recipe summary")).to_have_text("Recipe: the defaults")
        await made.fill("[name=context_tokens]", "50")
        await made.press("[name=context_tokens]", "Tab")
        await expect(found.locator(".recipe summary")).to_contain_text("context_tokens 50 (question)")
        await expect(found.locator(".ranking")).to_contain_text("over the budget")
        await made.fill("[name=depth]", "5000")
        await made.press("[name=depth]", "Tab")
        await expect(found.locator("[role=alert]")).to_contain_text("between 10 and 400")
        await made.click("#as-said")
        await expect(found.locator(".recipe summary")).to_have_text("Recipe: the defaults")


async def test_conditions_and_choices_of_an_answer_can_be_pressed(chromium: Browser, here: Gateway) -> None:
    body = {"title": "Agreements", "recipe": {"clarify": 1}}
    assert (await here.call("PUT", f"/v1/workspaces/{WORKSPACE}", json=body, **ADMIN))[0] == 200
    async with page_of(chromium, here, "robin", viewport={"width": 1280, "height": 900}) as made:
        await made.fill("#question", "How many days is the written notice of an agreement signed after March 2026?")
        await made.press("#question", "Enter")
        turn = made.locator(".turn").last
        await expect(turn).to_contain_text("90 days")
        await expect(turn.locator(".notice")).to_have_count(0)
        await turn.get_by_role("button", name="Without “signed after March 2026”").click()
        await expect(made.locator(".turn").last.locator(".condition.away")).to_be_visible()
        await made.click("#new")
        await made.fill("#question", "How many days is the notice?")
        await made.press("#question", "Enter")
        turn = made.locator(".turn").last
        await expect(turn.locator(".absent strong")).to_have_text("Which one is meant?")
        await turn.get_by_role("button", name="Brackwater agreement").click()
        await expect(made.locator(".turn").last).to_contain_text("60 days")
        await expect(made.locator(".turn")).to_have_count(2)
