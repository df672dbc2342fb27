"""How far the access view has come, per partition of `documents`: written beside the view, read by `freshness`.

Everything below the offset that the view's group has committed is in the view or was given up as a dead letter. What
lies between that and the end may hold no records at all (transaction markers, compacted ones); a short look tells.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition
from elasticsearch import AsyncElasticsearch

from weir import telemetry
from weir.errors import Unavailable
from weir.kafka.config import consumer_config
from weir.kafka.topic_offsets import TIMEOUT, TopicOffsets
from weir.settings import Settings
from weir.views import elastic
from weir.views.documents import progress_id

INTERVAL = 0.5
"""Seconds between two looks; a quarter of the lag that readers allow by default."""
QUIET = 1.0
"""Seconds that a partition must have stood still short of its end before somebody looks what is there."""

log = telemetry.logger(__name__)


class Progress:
    """Follows the committed offsets of the view's group and writes them into the view's index.

    Args:
        index: the view's physical index, so that a rebuilt view has a progress of its own.
    """

    def __init__(self, es: AsyncElasticsearch, settings: Settings, index: str, topic: str, group: str,
                 monotonic: Callable[[], float] = time.monotonic) -> None:
        self._es = es
        self._settings = settings
        self._index = index
        self._topic = topic
        self._group = group
        self._monotonic = monotonic
        self._offsets = TopicOffsets(settings, topic)
        self._written: dict[int, int] = {}
        self._stuck: dict[int, tuple[int, float]] = {}

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
        committed, ends = await asyncio.to_thread(self._look)
        reached = {p: max(committed.get(p, 0), self._written.get(p, 0)) for p in ends}
        for partition, end in ends.items():
            if reached[partition] < end and self._quiet(partition, reached[partition]):
                reached[partition] = await asyncio.to_thread(self._past_nothing, partition, reached[partition])
        changed = {p: offset for p, offset in reached.items() if offset != self._written.get(p)}
        operations: list[dict[str, Any]] = []
        for partition, offset in changed.items():
            operations += [
                {"index": {"_index": self._index, "_id": progress_id(partition), "version": offset,
                           "version_type": "external_gte"}},
                {"partition": partition, "next": offset}]
        await elastic.bulk(self._es, operations)
        self._written |= changed

    def _look(self) -> tuple[dict[int, int], dict[int, int]]:
        """The group's committed offsets and, as of before them, the partitions' ends."""
        ends = self._offsets.ends()
        return self._offsets.committed(self._group), ends

    def _quiet(self, partition: int, offset: int) -> bool:
        """Whether the partition has stood at this offset for a while."""
        since = self._stuck.get(partition)
        if since is None or since[0] != offset:
            self._stuck[partition] = offset, self._monotonic()
            return False
        return self._monotonic() - since[1] >= QUIET

    def _past_nothing(self, partition: int, offset: int) -> int:
        """The end of the partition if there is no record from `offset` on, else `offset`. Blocks."""
        client = Consumer(consumer_config(self._settings, self._group, enable_partition_eof=True))
        try:
            client.assign([TopicPartition(self._topic, partition, offset)])
            message = client.poll(TIMEOUT)
            if message is None or (error := message.error()) is None or error.code() != KafkaError._PARTITION_EOF:
                return offset
            place, = client.position([TopicPartition(self._topic, partition)])
            return max(offset, message.offset() or 0, place.offset)
        finally:
            client.close()
