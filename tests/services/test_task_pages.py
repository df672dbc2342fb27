"""The pages of tasks and approvals in a real browser, over the real engine. Without Chromium, and without the right to
install it, these tests do not run and say so."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.kit.chromium import overflowing, page_of
from tests.kit.hands import answer, ask, call, calls
from tests.kit.tasks import Office, office

pytestmark = [pytest.mark.services, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

HOSTILE = "<img src=x onerror=alert(1)> \u202egnp.exe \u200b9007199254740993"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def weir(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    async with office(tmp_path_factory.mktemp("home")) as made:
        (made.settings.home / "people.json").write_text(json.dumps([
            {"user": "ann", "name": "Ann Owner", "groups": []},
            {"user": "pia", "name": "Pia Decides", "groups": ["approvers"]}]))
        # The first task of all finds everything cold, and a page that asks too early logs a 404.
        await made.standing(await made.begin([answer()], "somebody"), "succeeded", "somebody")
        yield made


async def test_a_task_is_asked_for_watched_approved_in_another_window_and_finished(chromium: Browser,
                                                                                   weir: Office) -> None:
    async with (page_of(chromium, weir.gateway, "ann", "/tasks") as owner,
                page_of(chromium, weir.gateway, "pia", "/approvals") as approver):
        await expect(approver.locator("#no-queue")).to_be_visible()
        await owner.fill("#goal", "Find the contracts and email them to purchasing")
        await owner.press("#goal", "Enter")
        await expect(owner.locator(".standing .chip")).to_have_text("waiting for an approval")
        await expect(owner.locator("#tasks .line").first).to_contain_text("waiting for an approval")
        await expect(owner.locator(".step")).to_have_count(2)
        # The approver's page learns of it without a reload, and the keyboard is enough to decide.
        await expect(approver.locator("#proposal h1")).to_contain_text("send_email")
        await expect(approver.locator("#pending")).to_have_text("1")
        await expect(approver.locator(".exact")).to_contain_text("purchasing@quillmere.example")
        await approver.keyboard.press("r")
        await approver.keyboard.type("it looks right")
        await approver.keyboard.press("Tab")
        await expect(approver.locator("[data-key=decide-first]")).to_be_focused()
        await approver.keyboard.press("Enter")
        await expect(approver.locator(".callout")).to_contain_text("Pia Decides approved")
        await expect(approver.locator(".callout")).to_contain_text("it looks right")
        await expect(approver.locator("#pending")).to_be_hidden()
        await expect(owner.locator(".standing .chip")).to_have_text("done")
        await expect(owner.locator(".result")).to_contain_text("The contracts were sent.")
        await expect(owner.locator(".note")).to_contain_text("Pia Decides decided: approve: it looks right")
        await owner.locator(".call summary").first.click()
        await expect(owner.locator(".call[open]")).to_contain_text("search_documents did it")


async def test_a_question_starts_no_task_and_a_task_no_answer(chromium: Browser, weir: Office) -> None:
    async with page_of(chromium, weir.gateway, "ann", "/tasks") as made:
        await made.fill("#goal", "What is the notice period?")
        await made.press("#goal", "Enter")
        await expect(made.locator("#routed")).to_contain_text("This is a question")
        assert "#" not in made.url
        await made.goto(weir.gateway.url + "/")
        await made.fill("#question", "Compare the three contracts and email the table to purchasing")
        await made.press("#question", "Enter")
        await expect(made.locator("#turns")).to_contain_text("This reads like a task")
        await made.get_by_role("button", name="Start the task").click()
        await made.wait_for_url(re.compile("/tasks#[0-9a-f]{32}$"))
        await expect(made.locator(".standing .chip")).to_have_text("waiting for an approval")
        await made.get_by_role("button", name="Cancel").click()
        await made.fill("[name=reason]", "only a test")
        await made.get_by_role("button", name="Cancel the task").click()
        await expect(made.locator(".standing .chip")).to_have_text("cancelled")


async def test_what_a_planner_wrote_is_shown_exactly_and_does_nothing(chromium: Browser, weir: Office) -> None:
    task = await weir.begin([calls(call("send_email", HOSTILE, to=[HOSTILE], amount=9007199254740993), text=HOSTILE),
                             answer()], goal=HOSTILE)
    proposal = await weir.proposal(task)
    async with page_of(chromium, weir.gateway, "pia", f"/approvals#{proposal['approval']}") as made:
        shown = made.locator(".exact")
        await expect(shown).to_contain_text("<img src=x onerror=alert(1)>")
        await expect(shown).to_contain_text("9007199254740993")
        assert await shown.locator(".unseen").all_text_contents() == ["U+202E", "U+200B"]
        await made.click("[data-key=edit]")
        text = await made.input_value("[data-key=changed]")
        assert "9007199254740993" in text
        await made.fill("[data-key=changed]", text.replace("9007199254740993", "9007199254740995"))
        await made.click("[data-key=propose]")
        await expect(made.locator(".callout")).to_contain_text("Pia Decides approved")
        await expect(made.locator(".standing")).to_contain_text("replaced by a changed one")
        assert await made.locator("img").count() == 0
    _, reply = await weir.call("GET", f"/v1/tasks/{task}")
    [changed] = reply["proposals"]
    assert '"amount":9007199254740995' in changed["arguments"]
    async with page_of(chromium, weir.gateway, "ann", f"/tasks#{task}") as made:
        await expect(made.locator("h1").last).to_contain_text("<img src=x")
        await expect(made.locator(".call")).to_have_count(1)
        assert await made.locator("img").count() == 0
    await weir.call("POST", f"/v1/tasks/{task}/cancel", reason="enough")


async def test_proposals_of_one_tool_are_marked_and_decided_together(chromium: Browser, weir: Office) -> None:
    tasks = [await weir.begin() for _ in range(2)]
    letters = [await weir.begin([calls(call("send_letter", to=["x"])), answer()]) for _ in range(2)]
    for task in tasks + letters:
        await weir.proposal(task)
    async with page_of(chromium, weir.gateway, "pia", "/approvals") as made:
        await expect(made.locator("#queue li")).to_have_count(4)
        marks = made.locator("#queue li", has_text="send_email").locator("input")
        await marks.nth(0).check()
        assert await made.locator("#queue li", has_text="send_letter").locator("input").first.is_disabled()
        await marks.nth(1).check()
        await expect(made.locator("#batch-what")).to_contain_text("2 proposals of send_email")
        await made.get_by_role("button", name="Approve all").click()
        await expect(made.locator("#queue li")).to_have_count(2)
        await expect(made.locator("#batch")).to_be_hidden()
    for task in tasks:
        await weir.standing(task, "succeeded")
    for task in letters:
        await weir.call("POST", f"/v1/tasks/{task}/cancel", reason="enough")


async def test_a_question_of_the_task_is_answered_and_a_step_forked(chromium: Browser, weir: Office) -> None:
    task = await weir.begin([calls(call("search_documents", query="x")), ask("Which quarter?"), answer("The third.")])
    await weir.standing(task, "asking")
    # The page asks for the new task at once, and again while the view does not have it.
    async with page_of(chromium, weir.gateway, "ann", f"/tasks#{task}", tolerated="status of 404") as made:
        await expect(made.locator(".callout")).to_contain_text("Which quarter?")
        await made.fill("#goal", "The third")
        await made.press("#goal", "Enter")
        await expect(made.locator(".result")).to_contain_text("The third.")
        await expect(made.locator("#compose")).to_be_hidden()
        await made.get_by_role("button", name="Fork from here").first.click()
        await made.wait_for_url(lambda url: task not in url)
        await expect(made.locator(".task-head")).to_contain_text("Goes on from another task")


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
async def test_no_screen_needs_sideways_scrolling(chromium: Browser, weir: Office, width: int) -> None:
    table = "| a long heading | another long heading | a third |\n|---|---|---|\n| " + "x" * 60 + " | y | z |"
    done = await weir.begin([calls(call("search_documents", "y" * 90, query="z" * 200)), answer(table)])
    await weir.standing(done, "succeeded")
    waiting = await weir.begin()
    proposal = await weir.proposal(waiting)
    view: Any = {"viewport": {"width": width, "height": 700}, "has_touch": width < 800}
    async with page_of(chromium, weir.gateway, "ann", f"/tasks#{done}", **view) as made:
        await expect(made.locator(".result table")).to_be_visible()
        await made.locator(".call summary").first.click()
        assert await overflowing(made) == []
        for path in (f"/tasks#{waiting}", "/tasks", "/"):
            await made.goto(weir.gateway.url + path)
            await asyncio.sleep(0.5)
            assert await overflowing(made) == [], path
    async with page_of(chromium, weir.gateway, "pia", f"/approvals#{proposal['approval']}", **view) as made:
        await expect(made.locator("[data-key=decide-first]")).to_be_attached()
        assert await overflowing(made) == []
        if width < 768:
            await made.locator("#menu").tap()
            await expect(made.locator("#queue a").first).to_be_visible()
            await made.keyboard.press("Escape")
            await expect(made.locator("#menu")).to_be_focused()
    await weir.call("POST", f"/v1/tasks/{waiting}/cancel", reason="enough")
