"""How a version of a document takes the place of the one before it in a store: whole, once, and never backwards.

    1. read the manifests          skip what is older than what the store has heard of
    2. announce                    write the pending version and its number of ids, by compare-and-set
    3. upsert                      the new ids; they are known from step 2 on, whatever happens now
    4. make visible                so that "confirmed" means "found by a search"
    5. confirm                     once all parts have arrived, by compare-and-set
    6. delete                      the ids of the versions before
    7. forget them                 in the manifest

A crash after any step leaves either the old version complete or the new one, and the manifest knows every id that has
to go. The record was not committed, so the steps run again and end in the same state. A worker that was replaced
without noticing loses the compare-and-set, reads again, finds a newer version and takes back what it wrote.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from weir import telemetry
from weir.errors import Unavailable
from weir.views.manifests import DocumentName, Manifest, Manifests

P = TypeVar("P")
"""What one part of a version carries to the store."""

P_contra = TypeVar("P_contra", contravariant=True)

ROUNDS = 5
"""Races with another worker that are run before the batch waits."""

log = telemetry.logger(__name__)


class Store(Protocol[P_contra]):
    """A store as a sink sees it. Every method may raise Unavailable."""

    def id(self, name: DocumentName, version: int, ordinal: int) -> str:
        """The id of the `ordinal`-th thing that the store keeps of a document's version."""
        ...

    async def upsert(self, payloads: Sequence[P_contra]) -> None:
        """Writes all that the parts carry. Writing it again changes nothing."""
        ...

    async def make_visible(self, names: Sequence[DocumentName]) -> None:
        """Returns when searches find everything that was upserted for these documents."""
        ...

    async def delete(self, ids: Sequence[str]) -> None:
        """Deletes these ids; those that are not there are no error."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival(Generic[P]):
    """One record for a store: a part of a document's version, or its deletion."""

    name: DocumentName
    version: int
    payload: P | None
    """None deletes the document as of this version."""
    count: int = 0
    """Ids of the whole version."""
    part: int = 0
    parts: int = 1


@dataclass(slots=True, kw_only=True)
class Work(Generic[P]):
    """What a batch brings for one document: its newest version, as far as it has arrived."""

    name: DocumentName
    version: int
    count: int
    parts: int
    deleted: bool
    payloads: dict[int, P] = field(default_factory=dict)
    written: bool = False
    """Whether ids of this version may be in the store by our doing."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """A document whose newest version is now complete in the store, or gone from it."""

    name: DocumentName
    version: int
    count: int
    deleted: bool
    millis: float


Report = Callable[[list[Replaced]], Awaitable[None]]


class Replacing(Generic[P]):
    """Replaces versions in one store. `report` is awaited with what was confirmed."""

    def __init__(self, store: Store[P], manifests: Manifests, report: Report) -> None:
        self._store = store
        self._manifests = manifests
        self._report = report

    async def replace(self, arrivals: Iterable[Arrival[P]]) -> None:
        """Brings a batch into the store; when it returns, all of it is durable.

        Raises:
            Unavailable: a server does not answer, or other workers keep changing the same documents.
        """
        started = time.perf_counter()
        works = newest(arrivals)
        for _ in range(ROUNDS):
            if not works:
                return
            works = await self._round(works, started)
        raise Unavailable(f"another worker keeps changing the manifests of {len(works)} documents of "
                          f"{self._manifests.store}; it will be over when the group has settled.", retry_after=1)

    async def _round(self, works: dict[DocumentName, Work[P]], started: float) -> dict[DocumentName, Work[P]]:
        """Takes the steps for these documents; returns those that somebody else changed on the way."""
        # 1. Read.
        read = await self._manifests.get(list(works))
        mine = {name: work for name, work in works.items() if work.version >= read[name].newest}
        again = await self._take_back([work for name, work in works.items() if name not in mine], read)

        # 2. Announce.
        held = await self._change(read, {name: _announced(read[name], work) for name, work in mine.items()})

        # 3. Upsert.
        upserts = [mine[name] for name in held if mine[name].payloads]
        for work in upserts:
            work.written = True
        await self._store.upsert([payload for work in upserts for payload in work.payloads.values()])

        # 4. Make visible.
        if upserts:
            await self._store.make_visible([work.name for work in upserts])

        # 5. Confirm. Written even where nothing differs: whoever upserted must learn that it was replaced.
        gone = {name: m for name, m in held.items() if not mine[name].payloads}
        held = gone | await self._manifests.put([_confirmed(held[work.name], work) for work in upserts])

        # 6. Delete, and 7. forget. Losing the last compare-and-set is harmless: who won it knows these ids as well.
        await self._clean(held.values())
        millis = (time.perf_counter() - started) * 1000
        await self._report([Replaced(name, mine[name].version, mine[name].count, mine[name].deleted, millis)
                            for name, m in held.items() if m.pending is None])
        return again | {name: work for name, work in mine.items() if name not in held}

    async def _change(self, before: dict[DocumentName, Manifest], after: dict[DocumentName, Manifest]
                      ) -> dict[DocumentName, Manifest]:
        """Writes the manifests that differ; returns those that are now as `after` says."""
        same = {name: m for name, m in after.items() if m == before[name]}
        return same | await self._manifests.put([m for name, m in after.items() if name not in same])

    async def _clean(self, manifests: Iterable[Manifest]) -> None:
        dirty = [m for m in manifests if m.stale]
        if dirty:
            await self._store.delete([self._store.id(m.name, *i) for m in dirty for i in sorted(m.stale - m.kept)])
            await self._manifests.put([m.cleaned() for m in dirty])

    async def _take_back(self, late: Sequence[Work[P]], read: dict[DocumentName, Manifest]
                         ) -> dict[DocumentName, Work[P]]:
        """Removes what was upserted for a version that another worker has replaced meanwhile; returns what is left."""
        spoiled = [read[work.name].abandoned(work.version, work.count) for work in late if work.written]
        if spoiled:
            log.warning("taking back what a newer version has replaced", documents=len(spoiled))
        noted = await self._manifests.put(spoiled)
        await self._clean(noted.values())
        return {work.name: work for work in late if work.written and work.name not in noted}


def newest(arrivals: Iterable[Arrival[P]]) -> dict[DocumentName, Work[P]]:
    """What the arrivals bring, by document. Of one version that came twice and differs, the later one counts."""
    works: dict[DocumentName, Work[P]] = {}
    for a in arrivals:
        work = works.get(a.name)
        if work is not None and a.version < work.version:
            continue
        shape = (a.version, a.count, a.parts, a.payload is None)
        if work is None or (work.version, work.count, work.parts, work.deleted) != shape:
            works[a.name] = work = Work(name=a.name, version=a.version, count=a.count, parts=a.parts,
                                        deleted=a.payload is None)
        if a.payload is not None:
            work.payloads[a.part] = a.payload
    return works


def _announced(manifest: Manifest, work: Work[P]) -> Manifest:
    if work.deleted:
        gone = manifest.deleted and manifest.version == work.version and manifest.pending is None
        return manifest if gone else manifest.removed(work.version)
    # What is confirmed already is written again under the same ids: a replay may carry a better reading.
    if manifest.holds(work.version, work.count):
        return manifest
    return manifest.begun(work.version, work.count, work.parts)


def _confirmed(manifest: Manifest, work: Work[P]) -> Manifest:
    if manifest.pending is None:
        return manifest
    arrived = manifest.arrived(work.payloads)
    return arrived.confirmed() if arrived.pending and arrived.pending.complete else arrived
