"""The sinks' order of steps on the real stores: crashes after and before each, frozen workers, parts, repetition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from consumers import keywords, vectors
from consumers.keywords import KeywordStore
from consumers.replacing import Arrival, Replaced, Replacing, Store
from consumers.vectors import VectorStore
from schemas import keys
from schemas.events import Chunk, DocumentCut, DocumentDeleted, EmbeddingPart, EmbeddingRow, Section
from tests.kit.pipeline import WORKSPACE, Pipeline, pipeline
from weir.views.manifests import DocumentName, Manifest, Manifests

pytestmark = pytest.mark.services

POINTS = [f"{when} {what}" for what in ("announce", "upsert", "make_visible", "confirm", "delete", "forget")
          for when in ("before", "after")]


class Crash(Exception):
    """The process ends here."""


class Gate:
    """Crashes, or waits, at one point of the order."""

    def __init__(self) -> None:
        self.crash_at = self.wait_at = ""
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def pass_by(self, point: str) -> None:
        if point == self.crash_at:
            raise Crash(point)
        if point == self.wait_at and not self.reached.is_set():
            self.reached.set()
            await self.go_on.wait()


class GatedStore:
    def __init__(self, store: Store[Any], gate: Gate) -> None:
        self._store, self._gate = store, gate

    def id(self, name: DocumentName, version: int, ordinal: int) -> str:
        return self._store.id(name, version, ordinal)

    async def upsert(self, payloads: Sequence[Any]) -> None:
        await self._gate.pass_by("before upsert")
        await self._store.upsert(payloads)
        await self._gate.pass_by("after upsert")

    async def make_visible(self, names: Sequence[DocumentName]) -> None:
        await self._gate.pass_by("before make_visible")
        await self._store.make_visible(names)
        await self._gate.pass_by("after make_visible")

    async def delete(self, ids: Sequence[str]) -> None:
        await self._gate.pass_by("before delete")
        await self._store.delete(ids)
        await self._gate.pass_by("after delete")


class GatedManifests(Manifests):
    gate = Gate()
    before: Manifest | None = None

    def _step(self, m: Manifest) -> str:
        before, self.before = self.before, m
        if m.deleted:
            return "announce" if m.stale else "forget"
        if m.pending and not m.pending.done:
            return "announce"
        return "forget" if before and before.stale and before.pending is None and not m.stale else "confirm"

    async def put(self, manifests: Sequence[Manifest]) -> dict[DocumentName, Manifest]:
        if not manifests:
            return {}
        step = self._step(manifests[0])
        await self.gate.pass_by(f"before {step}")
        written = await super().put(manifests)
        await self.gate.pass_by(f"after {step}")
        return written


@dataclass
class Bench:
    """One kind of store with makers of what goes into it."""

    kind: str
    pipeline: Pipeline
    label: str = "v1"

    def replacing(self, gate: Gate | None = None) -> Replacing[Any]:
        gate = gate or Gate()
        p = self.pipeline
        plain: Store[Any] = KeywordStore(p.keyword_index) if self.kind == "keywords" else VectorStore(p.collection)
        manifests = GatedManifests(p.es, p.settings, f"{self.kind}@{self.label}")
        manifests.gate = gate

        async def report(replaced: list[Replaced]) -> None:
            assert all(r.version >= 0 for r in replaced)

        return Replacing(GatedStore(plain, gate), manifests, report)

    def version(self, document: str, version: int, chunks: int, *, parts: int = 1) -> list[Arrival[Any]]:
        if self.kind == "keywords":
            return [keywords.arrival(cut(document, version, chunks), self.pipeline.indexes.live())]
        live = self.pipeline.indexes.live()
        bounds = np.linspace(0, chunks, parts + 1).astype(int)
        return [vectors.arrival(EmbeddingPart(
            workspace=WORKSPACE, document=document, version=version, index_version=live.name, model=live.model,
            revision=live.revision, part=part, parts=parts, first_row=int(start), total_rows=chunks,
            total_chunks=chunks, rows=[EmbeddingRow(chunk=n, window=-1) for n in range(start, end)],
            dimension=live.dimension, vectors=unit_vectors(end - start, live.dimension)), live, live.name)
            for part, (start, end) in enumerate(pairwise(bounds))]

    def deletion(self, document: str, version: int) -> Arrival[Any]:
        return keywords.arrival(DocumentDeleted(workspace=WORKSPACE, document=document, version=version),
                                self.pipeline.indexes.live())

    def ids(self, document: str, version: int, chunks: int) -> list[str]:
        make = keys.chunk_id if self.kind == "keywords" else keys.row_id
        return sorted(make(WORKSPACE, document, version, n) for n in range(chunks))

    async def stored(self, document: str) -> list[str]:
        if self.kind == "keywords":
            return sorted(chunk["id"] for chunk in await self.pipeline.chunks(document))
        return await self.pipeline.row_ids(document)

    async def manifest(self, document: str) -> Manifest:
        vectors, keywords = await self.pipeline.manifests(document)
        return keywords if self.kind == "keywords" else vectors


def cut(document: str, version: int, chunks: int) -> DocumentCut:
    texts = [f"Chunk {n} of version {version}." for n in range(chunks)]
    return DocumentCut(
        workspace=WORKSPACE, document=document, version=version, cut="c800w", media_type="text/plain", published_at=0,
        sections=[Section(ordinal=0, heading_path=[], text="\n".join(texts))],
        chunks=[Chunk(ordinal=n, section=0, text=text, start=0, end=len(text)) for n, text in enumerate(texts)])


def unit_vectors(rows: int, dimension: int) -> bytes:
    found = np.random.default_rng(rows).normal(size=(rows, dimension))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype("<f2").tobytes()


@pytest.fixture(params=["keywords", "vectors"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with pipeline() as made:
        await Manifests(made.es, made.settings, "any").create()
        await (made.keyword_index if request.param == "keywords" else made.collection).create()
        yield Bench(request.param, made)


async def test_a_crash_at_any_point_leaves_one_version_whole_and_the_next_run_finishes(bench: Bench) -> None:
    for point in POINTS:
        await bench.replacing().replace(bench.version(point, 1, 4))
        gate = Gate()
        gate.crash_at = point
        with pytest.raises(Crash):
            await bench.replacing(gate).replace(bench.version(point, 2, 3))

        stored, manifest = set(await bench.stored(point)), await bench.manifest(point)
        old, new = bench.ids(point, 1, 4), bench.ids(point, 2, 3)
        assert stored >= set(old if manifest.version == 1 else new), point
        make = keys.chunk_id if bench.kind == "keywords" else keys.row_id
        known = {make(WORKSPACE, point, v, n) for v, n in manifest.kept | manifest.stale}
        assert stored <= known, f"{point}: the manifest does not know all that is stored"

        await bench.replacing().replace(bench.version(point, 2, 3))
        assert await bench.stored(point) == new, point
        manifest = await bench.manifest(point)
        assert (manifest.version, manifest.count, manifest.pending, manifest.stale) == (2, 3, None, frozenset()), point


async def test_a_crash_in_a_deletion_is_finished_by_the_next_run(bench: Bench) -> None:
    for point in ("before delete", "after delete", "before forget"):
        await bench.replacing().replace(bench.version(point, 1, 4))
        gate = Gate()
        gate.crash_at = point
        with pytest.raises(Crash):
            await bench.replacing(gate).replace([bench.deletion(point, 2)])
        await bench.replacing().replace([bench.deletion(point, 2)])
        assert await bench.stored(point) == []
        assert (await bench.manifest(point)).stale == frozenset()


@pytest.mark.parametrize("point", ["before announce", "after announce", "after upsert", "before confirm"])
async def test_a_frozen_worker_that_wakes_up_takes_back_what_a_newer_version_replaced(bench: Bench, point: str) -> None:
    for document, before in (("fresh", False), ("again", True)):
        if before:
            if "announce" in point:
                continue  # Who repeats what is confirmed has nothing to announce.
            await bench.replacing().replace(bench.version(document, 1, 4))
        gate = Gate()
        gate.wait_at = point
        frozen = asyncio.create_task(bench.replacing(gate).replace(bench.version(document, 1, 4)))
        await asyncio.wait_for(gate.reached.wait(), 20)
        await bench.replacing().replace(bench.version(document, 2, 2))
        gate.go_on.set()
        await frozen
        assert await bench.stored(document) == bench.ids(document, 2, 2)
        manifest = await bench.manifest(document)
        assert (manifest.version, manifest.pending, manifest.stale) == (2, None, frozenset())


async def test_older_and_repeated_records_change_nothing(bench: Bench) -> None:
    replacing = bench.replacing()
    await replacing.replace(bench.version("doc", 5, 3))
    for arrivals in (bench.version("doc", 4, 6), bench.version("doc", 5, 3), [bench.deletion("doc", 3)]):
        await replacing.replace(arrivals)
        assert await bench.stored("doc") == bench.ids("doc", 5, 3)
        manifest = await bench.manifest("doc")
        assert (manifest.version, manifest.pending, manifest.deleted) == (5, None, False)
    await replacing.replace([bench.deletion("doc", 6)])
    await replacing.replace([*bench.version("doc", 5, 3), bench.deletion("doc", 6)])
    assert await bench.stored("doc") == []


async def test_many_documents_and_versions_in_one_batch(bench: Bench) -> None:
    await bench.replacing().replace([a for n in range(30) for v in (0, 1) for a in bench.version(f"d{n}", v, n % 4)])
    for n in range(30):
        assert await bench.stored(f"d{n}") == bench.ids(f"d{n}", 1, n % 4)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
async def test_a_document_is_confirmed_when_the_last_of_its_parts_has_arrived(order: tuple[int, ...]) -> None:
    async with pipeline() as made:
        bench = Bench("vectors", made)
        await Manifests(made.es, made.settings, "any").create()
        await made.collection.create()
        await bench.replacing().replace(bench.version("doc", 1, 5))
        parts = bench.version("doc", 2, 9, parts=3)
        for n, part in enumerate(order):
            manifest = await bench.manifest("doc")
            assert manifest.version == 1, f"confirmed with {n} parts"
            await bench.replacing().replace([parts[part]])
            await bench.replacing().replace([parts[part]])
        assert (await bench.manifest("doc")).version == 2
        assert await bench.stored("doc") == bench.ids("doc", 2, 9)


async def test_a_confirmed_document_is_found_by_a_search_at_once() -> None:
    async with pipeline() as made:
        bench = Bench("vectors", made)
        await Manifests(made.es, made.settings, "any").create()
        await made.collection.create()
        for n in range(25):
            arrivals = bench.version(f"d{n}", n, 1)
            await bench.replacing().replace(arrivals)
            vector = np.frombuffer(arrivals[0].payload.vectors, "<f2").astype(np.float32)
            found = await made.collection.search(vector, "clearance <= 0", 100, 100)
            assert keys.chunk_id(WORKSPACE, f"d{n}", n, 0) in found.chunks, f"document {n} was confirmed and not found"
