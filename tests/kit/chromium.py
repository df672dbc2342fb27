"""Finds Debian's Chromium, or installs it where that is possible, and drives it with Playwright."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright, expect

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
