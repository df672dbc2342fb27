"""Going on without a store: a time limit for each call, and a pause before a store that failed is asked again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from weir.errors import ModelError, Unavailable, WeirError

T = TypeVar("T")
Timer = Callable[[], float]

STORE_TIMEOUT = 3.0
"""Seconds after which a question goes on without a store."""
AWAY = 1.0
"""Seconds for which a store that failed is not asked again."""


class Guard:
    """Remembers which stores are away. One for all questions of a process."""

    def __init__(self, timer: Timer = time.monotonic, timeout: float = STORE_TIMEOUT, away: float = AWAY) -> None:
        self._timer, self._timeout, self._pause = timer, timeout, away
        self._until: dict[str, tuple[float, WeirError]] = {}

    async def tried(self, store: str, call: Callable[[], Awaitable[T]]) -> T | WeirError:
        """What the call returns, or the error that says why the store is to be left out.

        Errors that are not about the store being away are raised: a bad filter, or a store that belongs to another
        index version.
        """
        until, error = self._until.get(store, (0.0, None))
        if error is not None and self._timer() < until:
            return error
        try:
            async with asyncio.timeout(self._timeout):
                found = await call()
        except TimeoutError:
            error = Unavailable(f"{store} did not answer within {self._timeout:g} s: see `weir status`.", retry_after=2)
        except (Unavailable, ModelError) as e:
            error = e
        else:
            self._until.pop(store, None)
            return found
        self._until[store] = (self._timer() + self._pause, error)
        return error


class Stopwatch:
    """Milliseconds by stage."""

    def __init__(self, timer: Timer = time.perf_counter) -> None:
        self._timer = timer
        self._begun = timer()
        self.timings: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = self._timer()
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + (self._timer() - begun) * 1000

    def stop(self) -> dict[str, float]:
        """All stages, with `total` since the watch was made."""
        self.timings["total"] = (self._timer() - self._begun) * 1000
        return self.timings
