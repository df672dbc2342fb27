"""What the caches of a worker did: for Prometheus at once, and every few seconds onto the topic `cache-figures`.

The topic holds differences, so that a page can add those of all workers up, whenever each of them was started.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from prometheus_client import Counter as Counted
from prometheus_client import Gauge

from schemas import topics
from schemas.events import CacheCounts, CacheFigures
from weir import telemetry
from weir.caches import EVERYWHERE, MISSED, VECTORS
from weir.clock import Clock
from weir.errors import WeirError
from weir.kafka.producer import Producer
from weir.retrieval.remembered import VectorCache

INTERVAL = 10.0
"""Seconds between two records of a worker that has something to tell."""

LOOKUPS = Counted("weir_cache_lookups", "Lookups by what came of them", ["cache", "outcome"])
EVICTIONS = Counted("weir_cache_evictions", "Entries that were thrown away", ["cache", "reason"])
SAVED = Counted("weir_cache_saved_cost", "Cost of the model's calls that were not made")
ENTRIES = Gauge("weir_cache_entries", "Entries that are held", ["cache"])

log = telemetry.logger(__name__)


class Figures:
    """Counts for one worker.

    Args:
        worker: its name on the topic.
    """

    def __init__(self, worker: str, clock: Clock) -> None:
        self._worker, self._clock = worker, clock
        self._since = clock()
        self._lookups: dict[tuple[str, str], Counter[str]] = {}
        self._evictions: dict[tuple[str, str], Counter[str]] = {}
        self._saved: Counter[tuple[str, str]] = Counter()
        self._vectors: VectorCache | None = None
        self._told = 0, 0
        """Hits and misses of the vectors that were told before."""

    def counts(self, vectors: VectorCache) -> None:
        """From now on, the hits of these are told too."""
        self._vectors = vectors

    def looked(self, cache: str, workspace: str, outcome: str, saved: float = 0.0) -> None:
        """
        Args:
            outcome: how it hit, or why it did not.
            saved: what the model would have cost.
        """
        LOOKUPS.labels(cache, outcome).inc()
        self._lookups.setdefault((cache, workspace), Counter())[outcome] += 1
        if saved:
            SAVED.inc(saved)
            self._saved[cache, workspace] += saved  # type: ignore[assignment]  # a sum of money

    def evicted(self, cache: str, workspace: str, reason: str) -> None:
        EVICTIONS.labels(cache, reason).inc()
        self._evictions.setdefault((cache, workspace), Counter())[reason] += 1

    def held(self, cache: str, entries: int) -> None:
        ENTRIES.labels(cache).set(entries)

    def taken(self) -> CacheFigures | None:
        """What happened since the last call; None where nothing did."""
        self._remembered()
        places = sorted(self._lookups.keys() | self._evictions.keys())
        since, self._since = self._since, self._clock()
        if not places:
            return None
        told = [CacheCounts(cache=cache, workspace=workspace, saved=float(self._saved[cache, workspace]),
                            lookups=dict(self._lookups.get((cache, workspace), {})),
                            evictions=dict(self._evictions.get((cache, workspace), {})))
                for cache, workspace in places]
        self._lookups, self._evictions, self._saved = {}, {}, Counter()
        return CacheFigures(worker=self._worker, since=since, until=self._since, caches=told)

    def _remembered(self) -> None:
        if self._vectors is None:
            return
        (hits, misses), self._told = self._told, (self._vectors.hits, self._vectors.misses)
        found = Counter({"hit": self._told[0] - hits, MISSED: self._told[1] - misses})
        if found.total():
            self._lookups[VECTORS, EVERYWHERE] = +found

    async def tell(self, producer: Producer) -> None:
        """Writes what happened since the last call, where something did; figures that Kafka does not take are lost."""
        figures = self.taken()
        if figures is None:
            return
        try:
            await producer.send(topics.CACHE_FIGURES.named(producer.settings.prefix), self._worker, figures)
        except WeirError as e:
            log.warning("figures of the caches are lost", reason=e.message)

    async def keep_telling(self, producer: Producer, interval: float = INTERVAL) -> None:
        while True:
            await asyncio.sleep(interval)
            await self.tell(producer)
