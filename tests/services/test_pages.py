"""The page in a real browser, over the whole pipeline. Without Chromium, and without the right to install it, these
tests do not run and say so."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.kit.chromium import overflowing, page, page_of, sign_in
from tests.kit.gateway import Gateway, gateway, gateway_settings
from tests.kit.pipeline import ANSWERING, INGEST, Pipeline, pipeline
from weir import identity

pytestmark = [pytest.mark.services, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

HANDBOOK = """# Annual leave

Welcome to the chapter on leave. Employees have 27 days of annual leave a year. <img src=x onerror=alert(1)>

# Travel

Trains are booked in second class, and nobody flies below 600 kilometres.
"""
QUESTION = "How many days of annual leave do employees have?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def weir() -> AsyncIterator[Pipeline]:
    async with pipeline(sign_ins_per_minute=1000) as made:
        made.start(*INGEST, *ANSWERING)
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(weir: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    (home / "people.json").write_text(json.dumps([{"user": "robin", "name": "Robin Reader", "groups": []}]))
    async with gateway(gateway_settings(weir.settings, home)) as made:
        admin: dict[str, Any] = {"user": "adam", "groups": ("weir-admins",)}
        await made.call("PUT", "/v1/workspaces/library", json={"title": "The Library"}, **admin)
        path = "/v1/workspaces/library/documents"
        body = {"document": "handbook", "title": "Handbook", "content": HANDBOOK, "media_type": "text/markdown",
                "source": "https://intranet.example/handbook"}
        status, reply = await made.call("POST", path, json=body, **admin)
        assert status == 202, reply
        for _ in range(600):
            status, found = await made.call("GET", f"{path}/handbook", **admin)
            if status == 200 and found["searchable"]:
                break
            await asyncio.sleep(0.1)
        yield made


async def ask(made: Page, question: str = QUESTION) -> None:
    await made.fill("#question", question)
    await made.press("#question", "Enter")
    await expect(made.locator(".turn").last.locator(".after")).to_be_visible()


async def test_a_question_streams_and_its_citation_opens_at_the_passage(chromium: Browser, here: Gateway) -> None:
    async with page_of(chromium, here, "robin") as made:
        requests: list[str] = []
        made.on("request", lambda r: requests.append(r.url))
        await ask(made)
        await expect(made.locator(".said")).to_contain_text("27 days of annual leave")
        await made.locator(".cite").first.click()
        await expect(made.locator("#panel-title")).to_have_text("Handbook")
        await expect(made.locator("#panel mark")).to_contain_text("27 days of annual leave")
        await expect(made.locator("#panel mark")).to_be_in_viewport()
        await expect(made.locator("#panel-text")).to_contain_text("Welcome to the chapter")
        await expect(made.locator("#panel-link")).to_have_attribute("href", "https://intranet.example/handbook")
        assert await made.locator("#panel img, #turns img").count() == 0, "text of documents is text"
        assert any(u.endswith("/sections/0?version=0") for u in requests)


async def test_a_follow_up_joins_its_conversation_and_comes_back_from_the_side_bar(
        chromium: Browser, here: Gateway) -> None:
    async with page_of(chromium, here, "robin") as made:
        await ask(made, "In which class are trains booked?")
        await expect(made.locator("#follow-hint")).to_be_visible()
        await ask(made, "And below how many kilometres does nobody fly?")
        assert await made.locator(".turn").count() == 2
        await made.click("#new")
        await expect(made.locator("#welcome")).to_be_visible()
        await made.locator("#conversations button", has_text="In which class").first.click()
        await expect(made.locator(".turn h2")).to_have_text(
            ["In which class are trains booked?", "And below how many kilometres does nobody fly?"])
        await expect(made.locator(".said").first).to_contain_text("second class")


async def test_an_answer_that_is_not_there_looks_different(chromium: Browser, here: Gateway) -> None:
    async with page_of(chromium, here, "robin") as made:
        await ask(made, "Who won the football world cup in 1998?")
        await expect(made.locator(".absent")).to_contain_text("Not in your sources")
        assert await made.locator(".cite").count() == 0


async def test_search_shows_passages_with_scores(chromium: Browser, here: Gateway) -> None:
    async with page_of(chromium, here, "robin") as made:
        await made.click("#mode-search")
        await made.fill("#question", "trains second class")
        await made.press("#question", "Enter")
        await expect(made.locator(".hit").first).to_contain_text("Trains are booked in second class")
        await expect(made.locator(".hit .score").first).to_have_text(re.compile(r"^-?\d+\.\d\d$"))
        await made.locator(".hit").first.click()
        await expect(made.locator("#panel mark")).to_contain_text("second class")


async def test_everything_can_be_done_by_keyboard(chromium: Browser, here: Gateway) -> None:
    async with page(chromium, here) as made:
        await expect(made.locator("#code")).to_be_focused()
        await made.keyboard.type(identity.access_code(here.settings))
        await made.keyboard.press("Enter")
        await expect(made.locator("#question")).to_be_focused()
        await made.keyboard.type(QUESTION)
        await made.keyboard.press("Enter")
        await expect(made.locator(".after")).to_be_visible()
        for _ in range(40):
            await made.keyboard.press("Shift+Tab")
            if await made.evaluate("document.activeElement.classList.contains('cite')"):
                break
        key = await made.evaluate("document.activeElement.dataset.key")
        await made.keyboard.press("Enter")
        await expect(made.locator("#panel-title")).to_be_focused()
        await made.keyboard.press("Tab")
        await expect(made.locator("#panel-close")).to_be_focused()
        await made.keyboard.press("Escape")
        await expect(made.locator("#panel")).to_be_hidden()
        assert key and await made.evaluate("document.activeElement.dataset.key") == key
        await expect(made.locator("#live")).to_contain_text("27 days")
        await made.evaluate("document.activeElement.blur()")
        await made.keyboard.press("Tab")
        assert await made.evaluate("document.activeElement !== document.body")


@pytest.mark.parametrize("width", [320, 360, 768])
async def test_a_narrow_screen_needs_no_sideways_scrolling(chromium: Browser, here: Gateway, width: int) -> None:
    async with page(chromium, here, viewport={"width": width, "height": 700}, has_touch=True) as made:
        async def fits() -> None:
            assert await overflowing(made) == []
            assert await made.evaluate("document.documentElement.scrollWidth <= innerWidth")

        await fits()
        await sign_in(made, here, "robin")
        await fits()
        await ask(made)
        await fits()
        await made.locator(".cite").first.tap()
        await expect(made.locator("#panel mark")).to_be_in_viewport()
        await fits()
        await made.keyboard.press("Escape")
        if width < 768:
            await made.locator("#menu").tap()
            await expect(made.locator("#new")).to_be_focused()
            await made.keyboard.press("Escape")
            await expect(made.locator("#menu")).to_be_focused()


async def test_a_wrong_code_is_said_and_a_lost_connection_is_taken_up_again(chromium: Browser, here: Gateway) -> None:
    async with page(chromium, here, tolerated="status of 401") as made:
        await made.fill("#code", "wrong")
        await made.press("#code", "Enter")
        await expect(made.locator("#sign-in-error")).to_contain_text("wrong")
        await sign_in(made, here, "robin")
        await here.services.sessions.close()
        await ask(made)
        await expect(made.locator(".said")).to_contain_text("27 days")
        await made.click("#sign-out")
        await expect(made.locator("#code")).to_be_visible()
