"""The figures of a window, counted from the topics themselves, and what the live ones make of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from schemas import topics
from schemas.events import Insight
from weir.blobs import Blobs
from weir.errors import InputError
from weir.insights.figures import MINUTE, SOURCES, Figures, Where, counted, totals
from weir.kafka.follow import read_all
from weir.kafka.records import Decoder
from weir.settings import Settings

SLACK = 10 * MINUTE
"""Milliseconds by which the clocks that stamp a record and what it tells of may differ."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure that the live count has otherwise."""

    workspace: str
    minute: int
    """When it began, in milliseconds since the epoch."""
    figure: str
    live: int
    exact: int


def window(found: dict[Where, Figures], since: int, until: int, workspace: str | None = None) -> dict[Where, Figures]:
    """The figures of the minutes that begin in a window.

    Args:
        since: milliseconds since the epoch.
        until: the same, not included.
        workspace: only of this one; None is all.
    """
    return {at: figures for at, figures in found.items()
            if since <= at[1] < until and workspace in (None, at[0])}


async def exact(settings: Settings, since: int = 0) -> dict[Where, Figures]:
    """Every minute from a moment on that the topics still have, each turn, verdict and result counted once.

    Args:
        since: milliseconds since the epoch; minutes before it may lack something.

    Raises:
        Unavailable: Kafka or the object store does not answer.
    """
    found: dict[Where, Figures] = {}
    latest: dict[tuple[str, str], dict[Where, Figures]] = {}
    for topic in SOURCES:
        async for key, event in _events(settings, topic.named(settings.prefix), since):
            if topic.compacted:
                # A turn that was folded twice is one turn; a proposal and what became of it are one proposal.
                # What was erased since counts as it is now: answered, and without citations.
                latest[topic.name, key] = counted(event)
            else:
                _add(found, counted(event))
    for figures in latest.values():
        _add(found, figures)
    return found


def _add(found: dict[Where, Figures], more: dict[Where, Figures]) -> None:
    for at, figures in more.items():
        found.setdefault(at, Figures()).__iadd__(figures)


async def live(settings: Settings, since: int = 0) -> dict[Where, Figures]:
    """What the workers have counted of the minutes from a moment on.

    Args:
        since: milliseconds since the epoch.

    Raises:
        Unavailable: Kafka does not answer.
    """
    return totals([e async for _, e in _events(settings, topics.INSIGHTS.named(settings.prefix), since)
                   if isinstance(e, Insight)])


async def _events(settings: Settings, topic: str, since: int) -> AsyncIterator[tuple[str, Any]]:
    decoder = Decoder(settings, Blobs(settings))
    for raw in await asyncio.to_thread(read_all, settings, topic, since - SLACK if since else None):
        try:
            record = decoder.now(raw) or await decoder.decode(raw)
        except InputError:
            continue
        yield record.key, record.event


def compared(live: dict[Where, Figures], exact: dict[Where, Figures]) -> list[Difference]:
    """Where the two differ, by workspace, minute and figure; the buckets of stages and scores are figures too."""
    told = []
    for at in sorted(live.keys() | exact.keys()):
        counted, true = live.get(at, Figures()).flat(), exact.get(at, Figures()).flat()
        told += [Difference(*at, name, counted.get(name, 0), true.get(name, 0))
                 for name in sorted(counted.keys() | true.keys()) if counted.get(name, 0) != true.get(name, 0)]
    return told


def summed(found: dict[Where, Figures]) -> Figures:
    """All of it as one."""
    total = Figures()
    for figures in found.values():
        total += figures
    return total

