"""How far the log behind the stores of an index version has come, by workspace.

The log position of what a search finds is a place in the topics that fill the stores (`chunks`, `embeddings` and the
replayed dead letters), not in `documents`: a document that has just been published changes nothing in the stores, and
when it does, `documents` stands still. A search may be used again where two things are proven:

    settled      before it began, the sinks had committed everything of its workspace that these topics held, so that
                 it saw all of it: they commit only what searches find
    still        now, the topics' ends are asked for, everything up to them has been read here, and none of it was of
                 this workspace

So whatever a search made now could find that the kept one did not would stand behind the position, and is seen.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas import keys, topics
from schemas.events import IndexVersion
from weir import telemetry
from weir.answers.tail import Tail
from weir.errors import Unavailable
from weir.index import names
from weir.kafka.config import client_config
from weir.kafka.records import Raw
from weir.kafka.topic_offsets import TIMEOUT, TopicOffsets
from weir.settings import Settings

ASKED = 0.5
"""Seconds that Kafka gets to answer while somebody waits: a search takes less."""
LOOK = 0.2
"""Seconds between two looks at what the sinks have committed, while something is missing."""
CATCH_UP = 0.05
"""Seconds that a lookup waits for the reader here to reach the topics' ends."""

Place = tuple[str, int]
"""Topic and partition."""
Changed = Callable[[str, str], None]
"""Told the workspace and document of every record."""

log = telemetry.logger(__name__)


class Positions:
    """Follows what fills the stores of one index version. `await start()` first; `await close()` at the end.

    Args:
        changed: called on the loop with each document that has another version, other access or is gone.
    """

    def __init__(self, settings: Settings, version: IndexVersion, changed: Changed) -> None:
        self._settings, self._changed = settings, changed
        collection = names.collection_label(settings, version.collection)
        keyword = names.keyword_label(settings, version.keyword_index)
        sinks = [settings.prefix + names.worker_name("consumers.keywords", keyword),
                 settings.prefix + names.worker_name("consumers.vectors", collection)]
        self._sinks = {
            topics.CHUNKS.named(settings.prefix, cut=version.cut.name): sinks[:1],
            topics.EMBEDDINGS.named(settings.prefix, version=names.owner(collection)): sinks[1:],
            topics.REPLAYS.named(settings.prefix): sinks}
        self._chunks, _, self._replays = self._sinks
        self._connect()
        self._topics = {topic: TopicOffsets(settings, topic) for topic in self._sinks}
        self._tails = {topic: Tail(settings, topic, self._read) for topic in self._sinks}
        self._started: list[Tail] = []
        self._looking: asyncio.Task[None] | None = None
        self._missing: dict[str | None, dict[Place, int]] = {}
        """What the sinks have to commit, by workspace, None for all: offsets behind the last record."""
        self._numbers: dict[str, int] = {}
        """By workspace, how often it has changed."""
        self._all = 0
        """How often all of them may have."""

    def _connect(self) -> None:
        # A client that has seen its broker die may not recover.
        self._admin = AdminClient(client_config(self._settings))

    async def start(self) -> None:
        """Begins at the topics' ends.

        Raises:
            Unavailable: Kafka does not answer, or a topic is not there.
        """
        for topic, tail in self._tails.items():
            partitions = await asyncio.to_thread(self._topics[topic].ends)
            tail.start()
            self._started.append(tail)
            for partition in partitions:
                await tail.follow(partition, time.time_ns() // 1_000_000)
        first = await asyncio.to_thread(self._offsets, self._followed(), OffsetSpec.earliest())
        begun = {(topic, p): offset for topic, tail in self._tails.items() for p, offset in tail.positions.items()}
        self._missing[None] = {place: offset for place, offset in begun.items() if offset > first[place]}
        self._looking = asyncio.create_task(self._look(), name="how far the sinks are")

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for tail in self._started:
            await tail.close()

    # -- asking ---------------------------------------------------------------------------------------------------

    def settled(self, workspace: str) -> tuple[int, int] | None:
        """A mark of where the workspace stands, if its stores hold all of that; None if not or nobody knows."""
        if self._missing.get(None) or self._missing.get(workspace):
            return None
        return self._mark(workspace)

    async def still(self, workspace: str, mark: tuple[int, int]) -> bool:
        """Whether nothing has been written for the workspace since the mark, up to now."""
        if mark != self._mark(workspace):
            return False
        try:
            ends = await asyncio.to_thread(self._offsets, self._followed(), OffsetSpec.latest(), ASKED)
        except Unavailable as e:
            log.warning("nobody knows whether searches may be used again", reason=e.message)
            self._connect()
            return False
        until = time.monotonic() + CATCH_UP
        while not self._reached(ends):
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.005)
        return mark == self._mark(workspace)

    def _mark(self, workspace: str) -> tuple[int, int]:
        return self._all, self._numbers.get(workspace, 0)

    def _followed(self) -> list[Place]:
        return [(topic, p) for topic, tail in self._tails.items() for p in tail.since]

    def _reached(self, ends: Mapping[Place, int]) -> bool:
        return all(self._tails[topic].positions.get(p, -1) >= end for (topic, p), end in ends.items())

    # -- following ------------------------------------------------------------------------------------------------

    def _read(self, raws: list[Raw]) -> None:
        for raw in raws:
            place, behind = (raw.topic, raw.partition), raw.offset + 1
            if raw.topic == self._replays:
                # It may be of any workspace: what failed stands in the letter.
                self._all += 1
                self._missing.setdefault(None, {})[place] = behind
                continue
            try:
                workspace, document = keys.split_document_key(_document_key(raw, self._chunks))
            except ValueError:
                continue
            self._numbers[workspace] = self._numbers.get(workspace, 0) + 1
            self._missing.setdefault(workspace, {})[place] = behind
            self._changed(workspace, document)

    async def _look(self) -> None:
        while True:
            if self._missing:
                try:
                    self._settle(await asyncio.to_thread(self._committed))
                except Unavailable as e:
                    log.warning("nobody knows how far the sinks are", reason=e.message)
            await asyncio.sleep(LOOK)

    def _settle(self, committed: Mapping[str, Mapping[Place, int]]) -> None:
        """Takes what was committed off what is missing."""
        for workspace, places in list(self._missing.items()):
            left = {place: offset for place, offset in places.items()
                    if any(committed[sink].get(place, -1) < offset for sink in self._sinks[place[0]])}
            if left:
                self._missing[workspace] = left
            else:
                del self._missing[workspace]

    # -- Kafka ----------------------------------------------------------------------------------------------------

    def _offsets(self, places: list[Place], spec: OffsetSpec, timeout: float = TIMEOUT) -> dict[Place, int]:
        """Where the partitions begin or end. Blocks."""
        try:
            futures = self._admin.list_offsets({TopicPartition(*place): spec for place in places},
                                               request_timeout=timeout)
            return {(at.topic, at.partition): future.result(timeout).offset for at, future in futures.items()}
        except (KafkaException, TimeoutError) as e:
            raise Unavailable(f"Kafka does not answer: {e}", retry_after=2) from e

    def _committed(self) -> dict[str, dict[Place, int]]:
        """What each sink has committed. Blocks."""
        found: dict[str, dict[Place, int]] = {}
        for topic, sinks in self._sinks.items():
            for sink in sinks:
                places = self._topics[topic].committed(sink)
                found.setdefault(sink, {}).update({(topic, p): offset for p, offset in places.items()})
        return found


def _document_key(raw: Raw, chunks: str) -> str:
    """The key of the document that a record is about: keys of vectors have the part behind it."""
    key = (raw.key or b"").decode(errors="replace")
    return key if raw.topic == chunks else key.rpartition(keys.SEPARATOR)[0]
