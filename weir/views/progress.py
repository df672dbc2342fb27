"""How far the access view has come, per partition of `documents`: written beside the view, read by `freshness`.

Everything below the offset that the view's group has committed is in the view or was given up as a dead letter. A group
that has read everything commits the end itself, past what holds no record.
"""

from __future__ import annotations

import asyncio
from typing import Any

from elasticsearch import AsyncElasticsearch

from weir import telemetry
from weir.errors import Unavailable
from weir.kafka.topic_offsets import TopicOffsets
from weir.settings import Settings
from weir.views import elastic
from weir.views.documents import progress_id

INTERVAL = 0.5
"""Seconds between two looks; a quarter of the lag that readers allow by default."""

log = telemetry.logger(__name__)


class Progress:
    """Follows the committed offsets of the view's group and writes them into the view's index.

    Args:
        index: the view's physical index, so that a rebuilt view has a progress of its own.
    """

    def __init__(self, es: AsyncElasticsearch, settings: Settings, index: str, topic: str, group: str) -> None:
        self._es = es
        self._index = index
        self._group = group
        self._offsets = TopicOffsets(settings, topic)
        self._written: dict[int, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Writes progress until `stop` is set; an outage is waited for."""
        while not stop.is_set():
            try:
                await self.step()
            except Unavailable as e:
                log.warning("cannot tell how far the access view is", reason=e.message)
            except Exception:
                # Nobody could be answered if this ended while the view itself goes on.
                log.exception("cannot tell how far the access view is")
            try:
                await asyncio.wait_for(stop.wait(), INTERVAL)
            except TimeoutError:
                continue

    async def step(self) -> None:
        """One look.

        Raises:
            Unavailable: Kafka or Elasticsearch does not answer.
        """
        committed = await asyncio.to_thread(self._offsets.committed, self._group)
        changed = {p: offset for p, offset in committed.items() if offset > self._written.get(p, -1)}
        operations: list[dict[str, Any]] = []
        for partition, offset in changed.items():
            operations += [
                {"index": {"_index": self._index, "_id": progress_id(partition), "version": offset,
                           "version_type": "external_gte"}},
                {"partition": partition, "next": offset}]
        await elastic.bulk(self._es, operations)
        self._written |= changed
