"""Messages on their way to one client: never waited for, dropped with the client when it is too slow."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from gateway.wire import Message


class SlowClient(Exception):
    """More messages wait than the client may leave waiting. It may come back with its cursor."""


STALLED = 0.5
"""Seconds without a message sent after which a full outbox means a client that does not read."""
BACKLOG = 32
"""How many times its size an outbox may hold for a client that reads: one that resumes is told a lot at once."""


class Outbox:
    """A bounded queue with one reader. `put` never blocks: what follows an overflow is thrown away."""

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._moved = 0.0
        """When the last message was sent, or the first of those that wait was put."""
        self._waiting: deque[Message] = deque()
        self._more = asyncio.Event()
        self._full = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def overflown(self) -> bool:
        return self._full.is_set()

    def put(self, message: Message) -> None:
        if self._full.is_set():
            return
        waiting = len(self._waiting)
        if not waiting:
            self._moved = self._clock()
        if waiting >= self._size * BACKLOG or (waiting >= self._size and self._clock() > self._moved + STALLED):
            self._full.set()
        else:
            self._waiting.append(message)
            self._empty.clear()
        self._more.set()

    async def get(self) -> Message:
        """The next message. Call `sent` once it is.

        Raises:
            SlowClient: the client did not keep up.
        """
        while not self._waiting and not self._full.is_set():
            self._more.clear()
            await self._more.wait()
        if self._full.is_set():
            raise SlowClient
        return self._waiting.popleft()

    def sent(self) -> None:
        self._moved = self._clock()
        if not self._waiting:
            self._empty.set()

    async def emptied(self, within: float = 2.0) -> None:
        """Returns once everything was sent, or when that takes too long."""
        try:
            async with asyncio.timeout(within):
                await self._empty.wait()
        except TimeoutError:
            return

    async def overflow(self) -> None:
        """Returns once the client is too slow, even while the reader is stuck in a write."""
        await self._full.wait()
