"""How far a version has been built: what its stores hold, and what is left of the topics that fill them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from elasticsearch import AsyncElasticsearch

from schemas import topics
from schemas.events import Index, IndexVersion
from weir.index import names
from weir.index.changes import live_of
from weir.index.groups import Place, places
from weir.settings import Settings
from weir.views.manifests import Manifests
from weir.views.status import vectors_store

SLACK = 5
"""Records by which a version that is built may be behind all the same."""
NEARLY = 0.9
"""Share of the live version's documents without which no version is built, however far the live one is behind."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A look at a version."""

    version: str
    rows: int
    """Vectors in its collection."""
    of_rows: int | None
    """Vectors that it will have; None where another cutting recipe makes other ones than the live version's."""
    documents: int
    of_documents: int
    """Documents of the live version."""
    places: list[Place]
    """Of the groups on the way into its stores, the first one first."""
    live_behind: int
    """Records that are left on the way into the live version: while documents change, neither is ever at the end."""
    at: float

    @property
    def behind(self) -> int:
        """Records that are left in the topics on its way."""
        return sum(place.behind for place in self.places)

    @property
    def complete(self) -> bool:
        """Whether it is about as far as the live version. That nothing is missing, `weir.index.agreement` says."""
        level = self.behind <= max(SLACK, 2 * self.live_behind)
        # After a crash the live version may be far behind too: that alone makes nothing complete.
        there = self.documents >= min(NEARLY * self.of_documents, self.of_documents - SLACK)
        return level and there and self.documents + self.behind + self.live_behind >= self.of_documents

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return min(1.0, self._done / self._whole) if self._whole else 1.0

    @property
    def _done(self) -> int:
        return self.rows if self.of_rows is not None else self.documents

    @property
    def _whole(self) -> int:
        return self.of_rows if self.of_rows is not None else self.of_documents

    def rate(self, before: Progress) -> float:
        """Vectors a second since an earlier look."""
        return max(0.0, (self.rows - before.rows) / max(1e-9, self.at - before.at))

    def seconds_left(self, before: Progress) -> float | None:
        """As fast as since an earlier look; None where nobody can tell."""
        # Not by the share: that moves with every document of the live version that comes or goes.
        done = self._done - before._done
        return max(0, self._whole - self._done) * (self.at - before.at) / done if done > 0 else None


async def progress(settings: Settings, es: AsyncElasticsearch, index: Index, version: IndexVersion,
                   monotonic: Callable[[], float] = time.monotonic) -> Progress:
    """
    Raises:
        Unavailable: a server does not answer.
    """
    live = live_of(index)
    mine = Manifests(es, settings, vectors_store(names.collection_label(settings, version.collection)))
    theirs = Manifests(es, settings, vectors_store(names.collection_label(settings, live.collection)))
    return Progress(
        version=version.name, rows=await mine.rows(), documents=await mine.documents(),
        of_rows=await theirs.rows() if version.cut == live.cut else None, of_documents=await theirs.documents(),
        places=await places(settings, groups_of(settings, version)),
        live_behind=sum(p.behind for p in await places(settings, groups_of(settings, live))), at=monotonic())


def groups_of(settings: Settings, version: IndexVersion) -> list[tuple[str, str]]:
    """The groups on the way into a version's stores and the topic that each reads, both with the prefix."""
    vectors = names.collection_label(settings, version.collection)
    keywords = names.keyword_label(settings, version.keyword_index)
    documents = topics.DOCUMENTS.named(settings.prefix)
    chunks = topics.CHUNKS.named(settings.prefix, cut=version.cut.name)
    embeddings = topics.EMBEDDINGS.named(settings.prefix, version=names.owner(vectors))
    found = [(names.cutting_worker(version.cut.name), documents),
             (names.worker_name("streams.embeddings", names.owner(vectors)), chunks),
             (names.worker_name("consumers.vectors", vectors), embeddings),
             (names.worker_name("consumers.keywords", keywords), chunks)]
    return [(settings.prefix + group, topic) for group, topic in found]
