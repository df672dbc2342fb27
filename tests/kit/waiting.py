"""Waiting for what comes true by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

PATIENCE = 180.0
"""Seconds; a machine that does something else as well must not fail a test."""


async def until(condition: Callable[[], Any], what: str = "", *, within: float = PATIENCE) -> Any:
    """Waits until the condition, which may be a coroutine function, gives something true, and returns that.

    Raises:
        AssertionError: it does not in time.
    """
    end = time.monotonic() + within
    pause = 0.01
    while True:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        assert time.monotonic() < end, f"waited {within:.0f} s in vain for {what or condition}"
        await asyncio.sleep(pause)
        pause = min(0.1, 1.5 * pause)
