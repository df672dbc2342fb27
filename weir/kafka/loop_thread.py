"""A transactional loop on a thread of its own, watched from the process's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Any

from weir.errors import Unavailable
from weir.kafka.transactional import Loop

STUCK_SECONDS = 45.0
"""How long a commit or an abort may take before the process ends. When the broker goes away in the middle of
`send_offsets_to_transaction`, the library's call may never return, whatever its time-out says (librdkafka 2.16)."""


async def run_on_thread(loop: Loop, stop: asyncio.Event) -> None:
    """Runs until `stop` is set and the loop has handed over.

    Raises:
        WeirError: the loop cannot go on, or does not come back from the library; a fresh process can go on.
    """
    here = asyncio.get_running_loop()
    ended: asyncio.Future[None] = here.create_future()
    leave = threading.Event()

    def end(error: BaseException | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def work() -> None:
        error: BaseException | None = None
        try:
            loop.run(leave)
        except BaseException as e:
            error = e
        with contextlib.suppress(RuntimeError):
            here.call_soon_threadsafe(end, error)

    async def watch() -> None:
        while True:
            await asyncio.sleep(1.0)
            if (since := loop.busy_since) and time.monotonic() - since > STUCK_SECONDS:
                end(Unavailable(f"a transaction does not end within {STUCK_SECONDS:g} s; restart the process"))

    # A daemon: where the library does not come back, nobody waits for it at the end.
    threading.Thread(target=work, name="transactions", daemon=True).start()
    watching, stopped = asyncio.create_task(watch()), asyncio.create_task(stop.wait())
    either: list[asyncio.Future[Any]] = [ended, stopped]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        leave.set()
        await ended
    finally:
        leave.set()
        watching.cancel()
        stopped.cancel()
