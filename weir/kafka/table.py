"""A compacted topic in memory: its latest event of every key."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from weir import telemetry
from weir.blobs import Blobs
from weir.errors import InputError
from weir.kafka.follow import Follower
from weir.kafka.records import Decoder, Raw
from weir.settings import Settings

log = telemetry.logger(__name__)

Listener = Callable[[str, Any | None], None]


class Table:
    """Follows a topic. `await start()` before reading it; `await close()` at the end."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self.topic = topic
        self._events: dict[str, Any] = {}
        self._listeners: list[Listener] = []
        self._decoder = Decoder(settings, Blobs(settings))
        self._steps: asyncio.Queue[list[Raw] | None] = asyncio.Queue()

    def get(self, key: str) -> Any | None:
        """The latest event of a key; None where there is none or it was deleted."""
        return self._events.get(key)

    def items(self) -> list[tuple[str, Any]]:
        """All keys and their latest events."""
        return list(self._events.items())

    def on_change(self, listener: Listener) -> None:
        """Calls `listener(key, event)` on the loop after each change, None for a deletion; also while it starts."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Reads to the end of the topic and follows it from then on.

        Raises:
            Unavailable: Kafka does not answer, or there is no such topic.
        """
        loop = asyncio.get_running_loop()
        self._started: asyncio.Future[None] = loop.create_future()
        self._follower = Follower(
            self._settings, self.topic, lambda raws: loop.call_soon_threadsafe(self._steps.put_nowait, raws),
            lambda: loop.call_soon_threadsafe(self._steps.put_nowait, None))
        self._applying = loop.create_task(self._apply())
        self._thread = threading.Thread(target=self._run, args=(loop,), name=f"table-{self.topic}", daemon=True)
        self._thread.start()
        try:
            await asyncio.shield(self._started)
        except BaseException:
            await self.close()
            raise

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._follower.stopped:
            try:
                self._follower.run()
            except Exception as e:
                if not self._started.done():
                    loop.call_soon_threadsafe(self._started.set_exception, e)
                    return
                # The events are still there and may grow old: better than none while the topic is read anew.
                log.error("reading a table anew", topic=self.topic, reason=str(e))
                time.sleep(1.0)

    async def _apply(self) -> None:
        while True:
            raws = await self._steps.get()
            if raws is None:
                if not self._started.done():
                    self._started.set_result(None)
                continue
            for raw in raws:
                try:
                    record = self._decoder.now(raw) or await self._decoder.decode(raw)
                except InputError as e:
                    log.error("skipping a record", topic=raw.topic, partition=raw.partition, offset=raw.offset,
                              reason=e.message)
                    continue
                if record.event is None:
                    self._events.pop(record.key, None)
                else:
                    self._events[record.key] = record.event
                for listener in self._listeners:
                    listener(record.key, record.event)

    async def close(self) -> None:
        self._follower.stop()
        await asyncio.to_thread(self._thread.join)
        self._applying.cancel()
        await asyncio.gather(self._applying, return_exceptions=True)
