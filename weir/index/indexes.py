"""The index versions that exist and the one that answers, followed from the topic `indexes`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from schemas import topics
from schemas.events import Cut, Index, IndexVersion
from weir.clock import Clock
from weir.errors import Mismatch, Unavailable
from weir.index import names
from weir.kafka.admin import ensure_index_topics
from weir.kafka.producer import Producer
from weir.kafka.table import Table
from weir.retrieval.embed import model_revision
from weir.settings import Settings

MAIN = "main"
FIRST_VERSION = "v1"
FIRST_CUT = Cut(name=names.FIRST_CUT)
FIRST_MODEL = "minilm-int8"
FIRST_DIMENSION = 384


class Indexes:
    """Follows `indexes`. Every worker takes the version it works for from here, and so does every question.

    Raises:
        Unavailable: from the accessors, where no index has been declared yet.
    """

    def __init__(self, settings: Settings) -> None:
        self._table = Table(settings, topics.INDEXES.named(settings.prefix))

    async def start(self) -> None:
        """Reads what the topic holds now; later changes follow by themselves."""
        await self._table.start()

    async def close(self) -> None:
        await self._table.close()

    async def declared(self, index: str = MAIN, patience: float = 60.0) -> Index:
        """The index as soon as it has been declared.

        Raises:
            Unavailable: nobody declared it within `patience` seconds.
        """
        for _ in range(max(1, int(patience / 0.1))):
            if self._table.get(index) is not None:
                break
            await asyncio.sleep(0.1)
        return self.index(index)

    def index(self, index: str = MAIN) -> Index:
        found = self._table.get(index)
        if found is None:
            raise Unavailable(f"no index {index!r} has been declared: `weir up` declares the first one.", retry_after=2)
        assert isinstance(found, Index)
        return found

    def all(self) -> list[Index]:
        return [event for _, event in sorted(self._table.items())]

    def live(self, index: str = MAIN) -> IndexVersion:
        """The version that answers questions.

        Raises:
            Mismatch: the record names a version that it does not have.
        """
        found = self.index(index)
        for version in found.versions:
            if version.name == found.live:
                return version
        raise Mismatch(f"the index {index!r} says that {found.live} answers and has no such version: put the record "
                       "right (`weir index list`).")

    def versions(self) -> list[IndexVersion]:
        """All versions of all indexes, by name."""
        return sorted((v for index in self.all() for v in index.versions), key=lambda v: v.name)

    def version(self, name: str) -> IndexVersion:
        """
        Raises:
            Unavailable: no version of this name exists.
        """
        for version in self.versions():
            if version.name == name:
                return version
        raise Unavailable(f"no index version {name!r} exists; there are {', '.join(v.name for v in self.versions())}.")

    def answers(self, version: IndexVersion) -> bool:
        """Whether questions are answered from the version, or from another one that shares its collection."""
        return any(self.live(index.index).collection == version.collection for index in self.all())

    def cut_answers(self, cut: Cut) -> bool:
        """The same of a cutting recipe."""
        return any(self.live(index.index).cut.name == cut.name for index in self.all())

    def on_change(self, callback: Callable[[], None]) -> None:
        """Calls back after each change, on the event loop."""
        self._table.on_change(lambda *_: callback())


def initial_index(settings: Settings, model: str, revision: str, clock: Clock) -> Index:
    """The first index with its first version."""
    now = clock()
    version = IndexVersion(
        name=FIRST_VERSION, cut=FIRST_CUT, model=model, revision=revision, dimension=FIRST_DIMENSION,
        collection=names.collection(settings, FIRST_VERSION),
        keyword_index=names.keyword_index(settings, FIRST_VERSION), created_at=now)
    return Index(index=MAIN, live=FIRST_VERSION, versions=[version], changed_at=now, changed_by="weir", numbered=1)


async def declare_initial(settings: Settings, producer: Producer, clock: Clock, model: str = FIRST_MODEL) -> Index:
    """Declares the first index if there is none, and creates the topics of its version. Harmless to repeat.

    Raises:
        Unavailable: Kafka or Triton does not answer.
    """
    indexes = Indexes(settings)
    await indexes.start()
    try:
        found = next((i for i in indexes.all() if i.index == MAIN), None)
    finally:
        await indexes.close()
    if found is not None:
        return found
    found = initial_index(settings, model, await model_revision(settings, model), clock)
    for version in found.versions:
        await ensure_index_topics(settings, cut=version.cut.name, version=version.name)
    await publish(settings, producer, found)
    return found


async def publish(settings: Settings, producer: Producer, index: Index) -> None:
    """Writes the first record of an index. Whoever changes it later does so with `weir.index.record.change`."""
    await producer.send(topics.INDEXES.named(settings.prefix), index.index, index)

