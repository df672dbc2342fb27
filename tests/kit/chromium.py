"""Finds Debian's Chromium, or installs it where that is possible, and drives it over the pages of a gateway."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from tests.kit.gateway import Gateway
from weir import identity

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
PATIENCE = 30_000
"""Milliseconds that a page may take to show what is expected of it, on a busy machine."""


class NoChromium(RuntimeError):
    """There is no browser here and none can be installed. The message says why."""


def find() -> Path | None:
    named = os.environ.get("WEIR_TEST_CHROMIUM")
    found = named or next((p for p in map(shutil.which, NAMES) if p), None)
    return Path(found) if found else None


def ensure() -> Path:
    """The browser's path; installed with apt-get first where this process may.

    Raises:
        NoChromium: it may not, or the installation failed.
    """
    if (found := find()) is not None:
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NoChromium("Chromium is not installed: `apt-get install chromium`, or name it in WEIR_TEST_CHROMIUM")
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]):
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "DEBIAN_FRONTEND":
                                                                            "noninteractive"}, check=False)
        if done.returncode != 0:
            raise NoChromium(f"`{' '.join(command)}` failed: {done.stderr.strip()[-300:]}")
    if (found := find()) is None:
        raise NoChromium("the package chromium was installed and brought no browser")
    return found


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A headless browser.

    Raises:
        NoChromium: there is none.
    """
    path = ensure()
    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=str(path), args=FLAGS)
        try:
            yield launched
        finally:
            await launched.close()


@asynccontextmanager
async def page(chromium: Browser, here: Gateway, path: str = "/", *, tolerated: str = "",
               **options: Any) -> AsyncIterator[Page]:
    """A page of the gateway. At its end: nothing foreign was asked for, and the browser has logged no error.

    Args:
        tolerated: a pattern of what it may log all the same. It logs each refused request, which a person gets to read
            where they are.
        options: of the browser's context.
    """
    context = await chromium.new_context(**options)
    made = await context.new_page()
    foreign: list[str] = []
    problems: list[str] = []

    def logged(message: ConsoleMessage) -> None:
        if message.type == "error" and not (tolerated and re.search(tolerated, message.text)):
            problems.append(message.text)

    made.on("request", lambda r: None if r.url.startswith(here.url) else foreign.append(r.url))
    made.on("console", logged)
    made.on("pageerror", lambda e: problems.append(str(e)))
    try:
        await made.goto(here.url + path)
        yield made
        assert not foreign and not problems, f"other hosts: {foreign}; problems: {problems}"
    finally:
        await context.close()


async def sign_in(made: Page, here: Gateway, person: str) -> None:
    """As one of the people that the gateway knows, with its access code."""
    path = urlsplit(made.url).path
    await made.select_option("#person", person)
    await made.fill("#code", identity.access_code(here.settings))
    await made.press("#code", "Enter")
    await made.wait_for_url(lambda url: urlsplit(url).path == path)
    await expect(made.locator("#shell")).to_be_visible()


@asynccontextmanager
async def page_of(chromium: Browser, here: Gateway, person: str, path: str = "/", *, tolerated: str = "",
                  **options: Any) -> AsyncIterator[Page]:
    """`page`, once somebody has signed in to it."""
    async with page(chromium, here, path, tolerated=tolerated, **options) as made:
        await sign_in(made, here, person)
        yield made


OVERFLOWING = """(() => {
  const scrolls = (e) => e && (/auto|scroll/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  return [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility({visibilityProperty: true})
    && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.visually-hidden, .skip')
    && !scrolls(e.parentElement)).map((e) => e.id || e.className || e.tagName);
})()"""


async def overflowing(page: Page) -> list[str]:
    """What reaches beyond the right edge of the screen and is not in a part that scrolls by itself."""
    return list(await page.evaluate(OVERFLOWING))


if __name__ == "__main__":
    try:
        print(ensure())
    except NoChromium as e:
        print(e, file=sys.stderr)
        sys.exit(1)
