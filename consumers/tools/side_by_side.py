"""Two workers in one process, which end together."""

from __future__ import annotations

import asyncio

from consumers.tools.effects import Effects
from weir.kafka.worker import Worker


async def both(stop: asyncio.Event, reads: Worker, effects: Effects) -> None:
    """Runs the two until `stop`; where one cannot go on, the other hands over too.

    Raises:
        WeirError: the process cannot go on; a fresh one can.
    """
    ending = asyncio.Event()
    tasks = [asyncio.create_task(work) for work in (reads.run(ending), effects.run(ending))]
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    ending.set()
    for failure in await asyncio.gather(*tasks, return_exceptions=True):
        if failure is not None:
            raise failure
