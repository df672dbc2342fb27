"""Whether the access view has seen what the log holds.

The view's writer stores, per partition of `documents`, the offset up to which everything is in the view. A reader keeps
the partitions' end offsets of the last seconds in memory: the view is fresh enough where its progress has reached the
ends that were known `lag` seconds ago.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping

from weir import telemetry
from weir.errors import Unavailable
from weir.kafka.topic_offsets import TIMEOUT, TopicOffsets
from weir.settings import Settings

log = telemetry.logger(__name__)

INTERVAL = 0.5
"""Seconds between two looks at the end offsets."""

OLD = TIMEOUT + 2 * INTERVAL
"""Seconds after which ends prove nothing: by then Kafka has had its time to answer."""

Ends = Mapping[int, int]
"""Partition to end offset: that of the next record."""


class EndOffsets:
    """The end offsets of one topic, looked up in the background."""

    def __init__(self, settings: Settings, topic: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._topic = topic
        self._lag = settings.views_lag
        self._monotonic = monotonic
        self._offsets = TopicOffsets(settings, topic)
        self._seen: deque[tuple[float, Ends]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Looks once, then goes on in the background.

        Raises:
            Unavailable: Kafka does not answer.
        """
        if self._task is None:
            self._note(await asyncio.to_thread(self._offsets.ends))
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
        if not self._seen or now - self._seen[-1][0] > OLD:
            raise Unavailable("Kafka does not say how far the documents have come, so that nobody can tell whether "
                              "the access rights at hand are the newest.", retry_after=2)
        return [ends for at, ends in self._seen if at <= now - self._lag or at == self._seen[0][0]][-1]

    def _note(self, ends: Ends) -> None:
        now = self._monotonic()
        self._seen.append((now, ends))
        while len(self._seen) > 1 and self._seen[1][0] <= now - self._lag:
            self._seen.popleft()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                self._note(await asyncio.to_thread(self._offsets.ends))
            except Unavailable:
                pass  # `required` says so once it has lasted
            except Exception:
                # This must not end: nobody could be answered until the process is restarted.
                log.exception("cannot look up end offsets", topic=self._topic)
