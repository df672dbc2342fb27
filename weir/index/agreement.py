"""Whether a version that is being built holds what the live one holds: document by document, before a cutover.

    1  the ends of `documents` are noted: the cutover's offsets
    2  every manifest of the live store is read, a page at a time, and the same documents' of the new store
    3  where the new store is behind, it gets a while: documents go on changing while this runs
    4  what is in each store is counted against what its manifests say, so that an emptied collection is found out

A document agrees when the new store has confirmed the version that the live store had when it was read, or a newer
one. Both stores are filled from one log, so that nothing else has to be equal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from elasticsearch import AsyncElasticsearch

from schemas import keys, topics
from schemas.events import IndexVersion
from weir.index import names
from weir.kafka.dead_letters import letters
from weir.kafka.topic_offsets import TopicOffsets
from weir.retrieval.dense import VectorCollection, weights
from weir.retrieval.keyword import KeywordIndex
from weir.settings import Settings
from weir.stores import Milvus
from weir.views.manifests import NOTHING, DocumentName, Manifest, Manifests
from weir.views.status import keywords_store, vectors_store

PATIENCE = 60.0
"""Seconds that documents get which the live store has and the new one has not yet."""
LOOK_SECONDS = 0.5
SHOWN = 20
"""Documents that are named."""
COUNTS = 5
"""Times that a store is counted: while documents change, a count and its manifests are not of one moment."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A document that the new version does not have as the live one has it."""

    store: str
    workspace: str
    document: str
    wanted: int
    """Its version in the live store."""
    has: int
    """Its version in the new store; -1 where it has none."""
    reason: str

    def __str__(self) -> str:
        has = "nothing of it" if self.has == NOTHING else f"version {self.has}"
        return f"{self.workspace}/{self.document}: version {self.wanted} is live, {self.store} has {has}{self.reason}"


@dataclass(slots=True)
class Agreement:
    """What was found."""

    offsets: dict[int, int]
    """End of each partition of `documents` when it began."""
    counts: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    """By store of the new version and partition of `documents`: documents of the live version, those deleted included
    (a deletion is a version too), and how many of them agree."""
    missing: list[Missing] = field(default_factory=list)
    """Some of those that do not agree."""
    wrong: list[str] = field(default_factory=list)
    """What else does not agree."""

    @property
    def holds(self) -> bool:
        return not self.wrong and all(live == agreeing for live, agreeing in self.counts.values())

    @property
    def documents(self) -> int:
        """Documents that were compared, once for each store that differs."""
        return sum(live for live, _ in self.counts.values())

    def lines(self) -> list[str]:
        """What is missing, for people."""
        found = [f"partition {p} of documents, up to offset {self.offsets.get(p, 0)}: {live} documents are live, "
                 f"{agreeing} of them are in {store}"
                 for (store, p), (live, agreeing) in sorted(self.counts.items()) if live != agreeing]
        return [*found, *map(str, self.missing), *self.wrong]


@dataclass(frozen=True, slots=True)
class _Pair:
    """A store of the live version and the one that takes its place."""

    live: Manifests
    new: Manifests
    group: str
    """That fills the new one."""


async def compare(settings: Settings, es: AsyncElasticsearch, milvus: Milvus, live: IndexVersion, new: IndexVersion,
                  patience: float = PATIENCE) -> Agreement:
    """Compares two versions of an index.

    Raises:
        Unavailable: a server does not answer.
        Mismatch: a store of the new version was made for another one.
    """
    found = Agreement(await asyncio.to_thread(TopicOffsets(settings, topics.DOCUMENTS.named(settings.prefix)).ends))
    for pair in _pairs(settings, es, live, new):
        await _compare(settings, pair, found, patience)
    await _count(settings, es, milvus, new, found)
    return found


def _pairs(settings: Settings, es: AsyncElasticsearch, live: IndexVersion, new: IndexVersion) -> list[_Pair]:
    """The stores that differ. What both versions share agrees with itself."""
    kinds: tuple[tuple[Callable[[str], str], Callable[[Settings, str], str], str, str, str], ...] = (
        (vectors_store, names.collection_label, live.collection, new.collection, "consumers.vectors"),
        (keywords_store, names.keyword_label, live.keyword_index, new.keyword_index, "consumers.keywords"))
    found = []
    for store, label, old, now, process in kinds:
        if old != now:
            at = label(settings, now)
            found.append(_Pair(Manifests(es, settings, store(label(settings, old))),
                               Manifests(es, settings, store(at)), settings.prefix + names.worker_name(process, at)))
    return found


async def _compare(settings: Settings, pair: _Pair, found: Agreement, patience: float) -> None:
    behind: dict[DocumentName, Manifest] = {}

    def counts(name: DocumentName) -> list[int]:
        partition = keys.partition(keys.document_key(*name), len(found.offsets))
        return found.counts.setdefault((pair.new.store, partition), [0, 0])

    async for page in pair.live.pages():
        held = await pair.new.get([m.name for m in page])
        for m in page:
            counts(m.name)[0] += 1
            if _agrees(m, held[m.name]):
                counts(m.name)[1] += 1
            else:
                behind[m.name] = m
    until = asyncio.get_running_loop().time() + patience
    while behind:
        held = {}
        some = list(behind)
        for first in range(0, len(some), 1000):
            held |= await pair.new.get(some[first:first + 1000])
        for name in some:
            if _agrees(behind[name], held[name]):
                counts(name)[1] += 1
                del behind[name]
        if not behind or asyncio.get_running_loop().time() >= until:
            break
        await asyncio.sleep(LOOK_SECONDS)
    reasons = await _reasons(settings, pair, list(behind)[:SHOWN]) if behind else {}
    found.missing += [Missing(pair.new.store, *name, behind[name].version, held[name].version, reasons.get(name, ""))
                      for name in list(behind)[:SHOWN]]


def _agrees(live: Manifest, new: Manifest) -> bool:
    """Whether the new store has confirmed what the live one has, or something newer."""
    if live.version == NOTHING:
        return True  # on its way into the live store for the first time
    if live.deleted and new.newest == NOTHING:
        return True  # its tombstone is older than tombstones are kept: whoever began later never heard of it
    return new.version > live.version or (new.version == live.version and new.deleted == live.deleted)


async def _reasons(settings: Settings, pair: _Pair, behind: list[DocumentName]) -> dict[DocumentName, str]:
    """Why documents may be missing: dead letters of the groups on the way into the new store."""
    label = names.owner(pair.new.store.partition("@")[2])
    on_the_way = {pair.group, settings.prefix + names.worker_name("streams.embeddings", label)}
    found: dict[DocumentName, str] = {}
    for letter in await letters(settings):
        if letter.letter.group not in on_the_way and "streams.documents" not in letter.letter.group:
            continue
        key = (letter.letter.key or b"").decode(errors="replace")
        for name in behind:
            document = keys.document_key(*name)
            if key == document or key.startswith(document + keys.SEPARATOR):
                found[name] = f" ({letter.letter.code}: {letter.letter.reason} `weir dead-letters replay {letter.key}`)"
    return found


async def _count(settings: Settings, es: AsyncElasticsearch, milvus: Milvus, new: IndexVersion, found: Agreement
                 ) -> None:
    """What the stores themselves hold, against what their manifests say."""
    collection = VectorCollection(milvus, new.collection, new.dimension, weights(new.model, new.revision))
    keyword = KeywordIndex(es, settings, new.keyword_index, new.cut)
    await collection.check()
    await keyword.check()

    async def chunks() -> int:
        await keyword.refresh()
        return await keyword.count([])

    for what, store, count in (
            (f"the collection {new.collection}", vectors_store(names.collection_label(settings, new.collection)),
             collection.count),
            (f"the keyword index {new.keyword_index}", keywords_store(names.keyword_label(
                settings, new.keyword_index)), chunks)):
        holds, says = await _counted(Manifests(es, settings, store), count)
        if holds < says:
            found.wrong.append(f"{what} holds {holds:,} rows, its manifests say {says:,}: it has lost some. `weir "
                               f"rebuild --view {store.partition('@')[0]}` makes it anew.")


async def _counted(manifests: Manifests, count: Callable[[], Awaitable[int]]) -> tuple[int, int]:
    """Rows that a store holds, and rows that it holds by its manifests at the least."""
    holds = says = 0
    for _ in range(COUNTS):
        before = await manifests.rows()
        holds = await count()
        says = min(before, await manifests.rows())
        if holds >= says:
            break
        await asyncio.sleep(LOOK_SECONDS)
    return holds, says
