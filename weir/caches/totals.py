"""What the caches of all workers did in the last days, added up from `cache-figures`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas import topics
from schemas.events import CacheFigures
from weir import telemetry
from weir.answers.tail import Tail
from weir.blobs import Blobs
from weir.caches import FIT, HITS, HOUR
from weir.clock import Clock
from weir.errors import BadRecord
from weir.kafka.records import Decoder, Raw
from weir.kafka.topic_offsets import TopicOffsets
from weir.settings import Settings

KEPT = 7 * 24
"""Hours."""

log = telemetry.logger(__name__)


@dataclass(slots=True)
class Total:
    """One cache in one workspace."""

    cache: str
    workspace: str
    lookups: Counter[str] = field(default_factory=Counter)
    evictions: Counter[str] = field(default_factory=Counter)
    saved: float = 0.0
    hours: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By the hour's beginning in milliseconds since the epoch: hits, and lookups that could have been some."""


class Totals:
    """`await start()`; `await close()` at the end."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._topic = topics.CACHE_FIGURES.named(settings.prefix)
        self._decoder = Decoder(settings, Blobs(settings))
        self._tail = Tail(settings, self._topic, self._take)
        self._hours: dict[int, dict[tuple[str, str], Total]] = {}

    async def start(self) -> None:
        """
        Raises:
            Unavailable: Kafka does not answer, or there is no such topic.
        """
        self._tail.start()
        try:
            for partition in await asyncio.to_thread(TopicOffsets(self._settings, self._topic).ends):
                await self._tail.follow(partition, self._clock() - KEPT * HOUR)
        except BaseException:
            await self._tail.close()
            raise

    async def close(self) -> None:
        await self._tail.close()

    def of(self, hours: int, workspaces: Iterable[str]) -> list[Total]:
        """The totals of the last so many hours, by cache and workspace."""
        wanted, since = set(workspaces), self._clock() - hours * HOUR
        found: dict[tuple[str, str], Total] = {}
        for hour, of_hour in sorted(self._hours.items()):
            for place, one in of_hour.items() if hour + HOUR > since else ():
                if one.workspace in wanted:
                    total = found.setdefault(place, Total(one.cache, one.workspace))
                    total.lookups += one.lookups
                    total.evictions += one.evictions
                    total.saved += one.saved
                    total.hours[hour] = (sum(one.lookups[o] for o in HITS), sum(one.lookups[o] for o in FIT))
        return [found[place] for place in sorted(found)]

    def workspaces(self) -> set[str]:
        """Those that anything is known of."""
        return {one.workspace for of_hour in self._hours.values() for one in of_hour.values()}

    def _take(self, raws: list[Raw]) -> None:
        for raw in raws:
            try:
                record = self._decoder.now(raw)
            except BadRecord as e:
                log.error("skipping figures of a cache", offset=raw.offset, reason=e.message)
                continue
            if record is not None and isinstance(record.event, CacheFigures):
                self._add(record.event)

    def _add(self, figures: CacheFigures) -> None:
        of_hour = self._hours.setdefault(figures.until // HOUR * HOUR, {})
        for counts in figures.caches:
            total = of_hour.setdefault((counts.cache, counts.workspace), Total(counts.cache, counts.workspace))
            total.lookups.update(counts.lookups)
            total.evictions.update(counts.evictions)
            total.saved += counts.saved
        oldest = self._clock() - KEPT * HOUR
        for hour in [h for h in self._hours if h + HOUR < oldest]:
            del self._hours[hour]
