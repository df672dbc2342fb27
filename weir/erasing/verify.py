"""Whether what a receipt says is so: the files of the log, the blobs, the stores and the views, read again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

from elasticsearch import AsyncElasticsearch

from schemas import topics
from schemas.topics import Topic
from weir.blobs import Blobs
from weir.erasing import broker, stores
from weir.erasing.receipt import Receipt, TopicReceipt
from weir.erasing.segments import Sealed, log_folder, partition_folders, read_segments
from weir.erasing.survey import Survey, claimed
from weir.erasing.target import Sight
from weir.erasing.traces import Traces
from weir.index.indexes import Indexes
from weir.kafka.records import Raw
from weir.settings import Settings
from weir.stores import Milvus

BATCH = 500
"""Records looked at before others get their turn."""


class Standing(StrEnum):
    """Where a topic stands."""

    FORGOTTEN = "forgotten"
    """No record in it holds anything of what was erased."""
    WAITING = "waiting"
    """Some do, and their date has not come."""
    KEPT = "kept"
    """Some do, and the receipt says why they stay."""
    OVERDUE = "overdue"
    """Some do, and the date is over."""
    BACK = "came back"
    """Some do that were written after the erasure had ended."""
    NO_DATE = "no date"
    """Some do, and the topic's settings let them stay for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicProof:
    name: str
    standing: Standing
    records: int
    """That hold something of it, wherever they were found."""
    read: str
    """How it was read: `segments`, `consumed`, or both where a publisher compresses what it sends."""
    looked_at: int
    """Records that were read."""
    gone_by: int | None
    """From the receipt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    receipt: Receipt
    at: int
    """When it was looked, in milliseconds since the epoch."""
    topics: list[TopicProof]
    blobs: list[str]
    """Blobs that hold something of it."""
    stores: list[str]
    """Stores and views that still show it."""
    published_again: bool
    """Whether the document was published anew; what came since is not looked for."""

    @property
    def forgotten(self) -> bool:
        """Nothing of it is left but what is kept on purpose."""
        return not (self.blobs or self.stores or self.receipt.pending) and all(
            t.standing in (Standing.FORGOTTEN, Standing.KEPT) for t in self.topics)

    @property
    def broken(self) -> bool:
        """Something is there that should be gone, or that will never go."""
        return bool(self.blobs or self.stores) or any(
            t.standing in (Standing.OVERDUE, Standing.BACK, Standing.NO_DATE) for t in self.topics)


class Verifier:
    """Reads everything again. Raises Unavailable where a server does not answer."""

    def __init__(self, settings: Settings, es: AsyncElasticsearch, milvus: Milvus, indexes: Indexes, blobs: Blobs,
                 now: int) -> None:
        self._settings, self._es, self._milvus, self._indexes, self._blobs = settings, es, milvus, indexes, blobs
        self._now = now
        self._survey = Survey(settings, blobs)
        self._folder = log_folder(settings)

    async def verify(self, receipt: Receipt) -> Proof:
        """Looks for what a receipt says is gone."""
        sight = Sight(receipt.target, Traces.from_json(receipt.traces), receipt.until, tasks=set(receipt.tasks),
                      answers=set(receipt.answers), before=receipt.finished_at)
        there = await asyncio.to_thread(broker.topics_there, self._settings)
        known = {t.name: t for t in receipt.topics}
        # `documents` first: whether the document was published anew decides what the others may hold.
        order = sorted(there, key=lambda name: there[name] is not topics.DOCUMENTS)
        fresh: set[str] = set()
        proofs = [await self._topic(sight, name, there[name], known.get(name), receipt.finished_at, fresh)
                  for name in order]
        again = sight.published_again is not None
        held = [sha for sha in sorted(await self._survey.orphans(sight) | await self._returned(receipt))
                if sha not in fresh] if not again else []
        told = [] if again and sight.target.kind == "document" else await stores.held(
            self._es, self._milvus, self._settings, self._indexes, receipt.target, receipt.tasks,
            receipt.finished_at)
        return Proof(receipt=receipt, at=self._now, topics=sorted(proofs, key=lambda p: p.name), blobs=held,
                     stores=told, published_again=again)

    async def _returned(self, receipt: Receipt) -> set[str]:
        """Erased blobs that somebody has brought back."""
        names = {sha async for sha in self._blobs.names()}
        return names & set(receipt.blobs)

    async def _topic(self, sight: Sight, name: str, topic: Topic, known: TopicReceipt | None, finished_at: int,
                     fresh: set[str]) -> TopicProof:
        holding, sealed, looked_at, newest = set[tuple[int, int]](), False, 0, 0

        async def look(reading: Iterator[Raw | Sealed]) -> None:
            nonlocal sealed, looked_at, newest
            while found := await asyncio.to_thread(lambda: list(islice(reading, BATCH))):
                for raw in found:
                    if isinstance(raw, Sealed):
                        sealed = True
                        continue
                    looked_at += 1
                    if await self._holds(sight, topic, raw, fresh):
                        holding.add((raw.partition, raw.offset))
                        newest = max(newest, raw.timestamp)

        read = []
        if self._folder is not None:
            read.append("segments")
            await look(_segments(self._folder, name))
        if self._folder is None or sealed:
            read.append("consumed")
            await look(broker.read(self._settings, name))
        standing = self._standing(len(holding), known, newest > finished_at)
        return TopicProof(name=name, standing=standing, records=len(holding),
                          read=" and ".join(read), looked_at=looked_at, gone_by=known.gone_by if known else None)

    async def _holds(self, sight: Sight, topic: Topic, raw: Raw, fresh: set[str]) -> bool:
        record = await self._survey.decoded(raw)
        if record is None:
            return bool(raw.value and sight.traces.found(raw.value))
        if topic is topics.DOCUMENTS and record.key == sight.target.name and sight.until is not None and (
                raw.offset > sight.until and record.event is not None):
            sight.published_again = min(raw.timestamp, sight.published_again or raw.timestamp)
            fresh |= claimed([raw])
        return sight.holds(record)

    def _standing(self, records: int, known: TopicReceipt | None, written_since: bool) -> Standing:
        if not records:
            return Standing.FORGOTTEN
        if known is not None and known.kept:
            return Standing.KEPT
        if known is None or written_since:
            return Standing.BACK
        if known.gone_by is None:
            return Standing.NO_DATE
        return Standing.WAITING if self._now < known.gone_by else Standing.OVERDUE


def _segments(folder: Path, topic: str) -> Iterator[Raw | Sealed]:
    for partition, folders in sorted(partition_folders(folder, topic).items()):
        for path in folders:
            yield from read_segments(path, topic, partition)
