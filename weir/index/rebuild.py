"""A store made anew from the log, while the old one goes on answering.

    1. make      an empty store, under a label that no group has read for
    2. fill      with the same sink code, in a consumer group of the new label, from the beginning of the log
    3. switch    when the group has caught up: one record in `indexes`, or one change of an alias; whoever reads or
                 fills the store follows it
    4. drop      the old store, its manifests and its group, once nobody works for it any more

Nothing is taken from the old store, and it misses no record meanwhile. Broken off before step 3, nothing has changed;
the next rebuild goes on with what is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from weir.errors import Unavailable
from weir.index.groups import forget, left
from weir.kafka.admin import lag
from weir.settings import Settings

LOOK_SECONDS = 0.5
QUESTIONS_SECONDS = 10.0
"""Questions under way when the switch happens may still read the old store."""

Tell = Callable[[str], None]
"""Shows a line of progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """What is particular to a kind of store."""

    topic: str
    """The topic on the broker that holds all of it."""
    old_group: str
    new_group: str
    """Both with the prefix."""
    fill: Callable[[asyncio.Event], Awaitable[None]]
    """Makes the new store and fills it until the event is set."""
    switch: Callable[[], Awaitable[None]]
    drop: Callable[[], Awaitable[None]]


async def rebuild(settings: Settings, plan: Rebuild, tell: Tell) -> None:
    """Carries a rebuild out; returns when the old store is gone.

    Raises:
        Unavailable: a server does not answer, or the old store's workers do not let go of it.
        WeirError: the new store cannot be filled.
    """
    # 1. Make, and 2. fill.
    stop = asyncio.Event()
    filling = asyncio.ensure_future(plan.fill(stop))
    try:
        await _unless_failed(filling, _caught_up(settings, plan.new_group, plan.topic, tell))
        # 3. Switch. The new store goes on being filled here until those who fill the old one have followed.
        await plan.switch()
        tell("switched to the new store")
        await _unless_failed(filling, left(settings, plan.old_group))
        await _unless_failed(filling, asyncio.sleep(QUESTIONS_SECONDS))
    finally:
        stop.set()
        await asyncio.gather(filling, return_exceptions=True)
    # 4. Drop.
    await plan.drop()
    await forget(settings, plan.old_group)
    tell("dropped the old store")


async def _unless_failed(filling: asyncio.Future[None], work: Awaitable[None]) -> None:
    """Waits for `work`; raises what `filling` raises if that ends first."""
    working = asyncio.ensure_future(work)
    await asyncio.wait([filling, working], return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        working.cancel()
        await filling
        raise Unavailable("the new store's worker ended too early: see the lines above.")
    await working


async def _caught_up(settings: Settings, group: str, topic: str, tell: Tell) -> None:
    said = -1
    while True:
        behind = (await lag(settings, group)).get(group, {}).get(topic)
        if behind == 0:
            return
        if behind is not None and behind != said:
            tell(f"{behind:,} records to go")
            said = behind
        await asyncio.sleep(LOOK_SECONDS)
