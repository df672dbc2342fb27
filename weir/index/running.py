"""One worker for each index version or store that exists, as long as it exists."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from schemas.events import IndexVersion
from weir import telemetry
from weir.errors import Mismatch, Unavailable
from weir.index.indexes import Indexes

log = telemetry.logger(__name__)

Run = Callable[[IndexVersion, asyncio.Event], Awaitable[None]]
"""Works for an index version until the event is set."""


async def run_for_each(indexes: Indexes, stop: asyncio.Event, label: Callable[[IndexVersion], str], run: Run,
                       only: str = "") -> None:
    """Keeps `run` going for every index version, and ends it when the version, or its store, is gone.

    Args:
        label: what the work is for; versions with the same label share it, and a version whose label changes gets
            new work.
        only: the name of the one version to work for; empty works for all.

    Raises:
        Unavailable: no index was declared in time.
        Exception: whatever one of them raises; the others are stopped first.
    """
    await indexes.declared()
    changed = asyncio.Event()
    indexes.on_change(changed.set)
    running: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}
    try:
        while not stop.is_set():
            changed.clear()
            wanted = {label(v): v for v in indexes.versions() if only in ("", v.name)}
            for name in running.keys() - wanted.keys():
                log.info("the index version is gone", label=name)
                await _end(running.pop(name))
            for name in wanted.keys() - running.keys():
                log.info("working for an index version", label=name)
                end = asyncio.Event()
                running[name] = end, asyncio.create_task(_until(run, wanted[name], end), name=f"index {name}")
            await _first_of(stop, changed, [task for _, task in running.values()])
    finally:
        for work in running.values():
            work[0].set()
        await asyncio.gather(*(task for _, task in running.values()), return_exceptions=True)


async def available(make: Callable[[], Awaitable[None]], stop: asyncio.Event) -> bool:
    """Makes what a worker needs in a store as soon as its server answers; False where `stop` came first."""
    while not stop.is_set():
        try:
            await make()
            return True
        except (Unavailable, Mismatch) as e:
            # A store that belongs to another version holds up its own worker; those of the other versions go on.
            log.warning("waiting for a store", reason=e.message)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), e.retry_after or 1.0)
    return False


async def _until(run: Run, version: IndexVersion, end: asyncio.Event) -> None:
    await run(version, end)


async def _end(work: tuple[asyncio.Event, asyncio.Task[None]]) -> None:
    work[0].set()
    await work[1]


async def _first_of(stop: asyncio.Event, changed: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Waits for any of them; raises what a task raised."""
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(changed.wait())]
    try:
        await asyncio.wait([*waits, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    for task in tasks:
        if task.done():
            await task
