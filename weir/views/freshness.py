"""Whether the access view has seen what the log holds.

The view's writer stores, per partition of `documents`, the offset up to which everything is in the view. A reader keeps
the partitions' end offsets of the last seconds in memory: the view is fresh enough where its progress has reached the
ends that were known `lag` seconds ago.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from weir import telemetry
from weir.errors import Unavailable
from weir.kafka.config import client_config
from weir.settings import Settings

log = telemetry.logger(__name__)

INTERVAL = 0.5
"""Seconds between two looks at the end offsets."""

TIMEOUT = 5.0
"""Seconds that Kafka gets to answer; ends that are older than this and the interval prove nothing."""

PARTITIONS_SECONDS = 30.0
"""How long the number of partitions is believed."""

Ends = Mapping[int, int]
"""Partition to end offset: that of the next record."""


class EndOffsets:
    """The end offsets of one topic, looked up in the background."""

    def __init__(self, settings: Settings, topic: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._topic = topic
        self._lag = settings.views_lag
        self._monotonic = monotonic
        self._settings = settings
        self._connect()
        self._seen: deque[tuple[float, Ends]] = deque()
        self._task: asyncio.Task[None] | None = None

    def _connect(self) -> None:
        self._admin = AdminClient(client_config(self._settings))
        self._partitions = Partitions(self._admin, self._topic)

    async def start(self) -> None:
        """Looks once, then goes on in the background.

        Raises:
            Unavailable: Kafka does not answer.
        """
        if self._task is None:
            self._note(await asyncio.to_thread(self._look))
            self._task = asyncio.create_task(self._follow(), name=f"end offsets of {self._topic}")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    @property
    def partitions(self) -> int:
        return len(self._seen[-1][1])

    def required(self) -> Ends:
        """What the view must have reached by now: the ends known `lag` seconds ago, or the first ones that were seen.

        Raises:
            Unavailable: Kafka has not answered for too long to know.
        """
        now = self._monotonic()
        if not self._seen or now - self._seen[-1][0] > TIMEOUT + 2 * INTERVAL:
            raise Unavailable("Kafka does not say how far the documents have come, so that nobody can tell whether "
                              "the access rights at hand are the newest.", retry_after=2)
        return [ends for at, ends in self._seen if at <= now - self._lag or at == self._seen[0][0]][-1]

    def _look(self) -> Ends:
        return end_offsets(self._admin, self._topic, self._partitions.known())

    def _note(self, ends: Ends) -> None:
        now = self._monotonic()
        self._seen.append((now, ends))
        while len(self._seen) > 1 and self._seen[1][0] <= now - self._lag:
            self._seen.popleft()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                self._note(await asyncio.to_thread(self._look))
            except Unavailable:
                # `required` says so once it has lasted. A client that has seen its broker die may not recover.
                self._connect()
            except Exception:
                # This must not end: nobody could be answered until the process is restarted.
                log.exception("cannot look up end offsets", topic=self._topic)


class Partitions:
    """The numbers of a topic's partitions, asked for again every half minute."""

    def __init__(self, admin: AdminClient, topic: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._admin = admin
        self._topic = topic
        self._monotonic = monotonic
        self._found: list[int] = []
        self._until = 0.0

    def known(self) -> list[int]:
        """Blocks for a round trip now and then.

        Raises:
            Unavailable: Kafka does not answer, or the topic is not there.
        """
        if not self._found or self._monotonic() >= self._until:
            try:
                metadata = self._admin.list_topics(self._topic, timeout=TIMEOUT).topics[self._topic]
            except KafkaException as e:
                raise Unavailable(f"Kafka does not answer: {e}", retry_after=2) from e
            if metadata.error is not None or not metadata.partitions:
                said = metadata.error.str() if metadata.error is not None else "it has no partitions yet"
                raise Unavailable(f"the topic {self._topic} cannot be read: {said}", retry_after=2)
            self._found, self._until = list(metadata.partitions), self._monotonic() + PARTITIONS_SECONDS
        return self._found


def end_offsets_of(settings: Settings, topic: str) -> dict[int, int]:
    """End offset of each partition of a topic, once. Blocks.

    Raises:
        Unavailable: Kafka does not answer, or the topic is not there.
    """
    admin = AdminClient(client_config(settings))
    return end_offsets(admin, topic, Partitions(admin, topic).known())


def end_offsets(admin: AdminClient, topic: str, partitions: Sequence[int]) -> dict[int, int]:
    """End offset of each of these partitions. Blocks.

    Raises:
        Unavailable: Kafka does not answer.
    """
    try:
        wanted = {TopicPartition(topic, p): OffsetSpec.latest() for p in partitions}
        found = admin.list_offsets(wanted, request_timeout=TIMEOUT)
        return {where.partition: future.result(TIMEOUT).offset for where, future in found.items()}
    except (KafkaException, TimeoutError) as e:
        raise Unavailable(f"Kafka does not answer: {e}", retry_after=2) from e
