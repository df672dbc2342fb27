"""Single records of a topic by their offsets, through a cache: what a reference in another record leads to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from weir.blobs import Blobs
from weir.errors import NotFound, Unavailable
from weir.kafka.config import consumer_config
from weir.kafka.records import Decoder, Raw, from_message
from weir.settings import Settings

Place = tuple[int, int]
"""Partition and offset."""
NEAR = 500
"""Records that are rather read past than jumped over: a jump costs a round trip."""
PATIENCE = 10.0
"""Seconds for a record to arrive."""
POLL = 0.2


class Places:
    """Reads records of one topic by place. No group is joined and nothing is committed.

    Args:
        most_bytes: of the records that are kept; those used last stay.
    """

    def __init__(self, settings: Settings, topic: str, blobs: Blobs, *, most_bytes: int = 64 * 2**20) -> None:
        self._topic = topic
        self._most_bytes = most_bytes
        self._decoder = Decoder(settings, blobs)
        self._kept: OrderedDict[Place, Raw] = OrderedDict()
        self._bytes = 0
        config = consumer_config(settings, f"{settings.prefix}{settings.process or 'places'}", fetch_wait_max_ms=10,
                                 queued_min_messages=NEAR, auto_offset_reset="error")
        self._client = Consumer(config, logger=logging.getLogger("librdkafka"))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"places-{topic}")

    async def events(self, places: Sequence[Place]) -> list[Any | None]:
        """The events at `places`, in their order; None where a record is gone.

        Raises:
            Unavailable: Kafka does not answer.
            BadRecord: a record cannot be read.
        """
        found = {place: self._kept[place] for place in places if place in self._kept}
        for place in found:
            self._kept.move_to_end(place)
        missing = sorted({place for place in places if place not in found})
        if missing:
            loop = asyncio.get_running_loop()
            for raw in await loop.run_in_executor(self._thread, self._read, missing):
                place = raw.partition, raw.offset
                found[place] = raw
                self._keep(place, raw)
        return [(await self._decoder.decode(found[place])).event if place in found else None for place in places]

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._client.close)
        self._thread.shutdown()

    def _keep(self, place: Place, raw: Raw) -> None:
        if place in self._kept:
            return
        self._kept[place] = raw
        self._bytes += raw.size
        while self._bytes > self._most_bytes and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._bytes -= old.size

    def _read(self, places: list[Place]) -> list[Raw]:
        """What is at `places`, which are sorted. Blocks."""
        found: list[Raw] = []
        try:
            here: Place | None = None
            for place in places:
                if here is None or here[0] != place[0] or not here[1] <= place[1] < here[1] + NEAR:
                    self._client.assign([TopicPartition(self._topic, *place)])
                try:
                    found.append(self._next(place))
                    here = place[0], place[1] + 1
                except NotFound:
                    here = None
        except KafkaException as e:
            raise Unavailable(f"{self._topic} cannot be read: {e.args[0].str()}") from e
        finally:
            self._client.unassign()
        return found

    def _next(self, place: Place) -> Raw:
        """Reads on until `place`.

        Raises:
            NotFound: the log does not reach back, or not yet forward, to it.
            Unavailable: nothing comes.
        """
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            message = self._client.poll(POLL)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                    raise NotFound(f"{self._topic}/{place[0]} has no offset {place[1]} any more")
                continue
            raw = from_message(message)
            if (raw.partition, raw.offset) == place:
                return raw
            if raw.partition == place[0] and raw.offset > place[1]:
                raise NotFound(f"{self._topic}/{place[0]} has no offset {place[1]} any more")
        raise Unavailable(f"{self._topic}/{place[0]} gives nothing at offset {place[1]}; is Kafka up?", retry_after=1)
