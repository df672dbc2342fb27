"""An index changes its model under load: `python -m bench.index`.

    filters    searches at 1, 10 and 50 % selectivity against unfiltered ones, and recall against exact search
    rebuild    the first half of a build, while nobody asks: its seconds against its model's alone on the same texts
    questions  p95 of a search in the second half of the build, against the same searches while nothing is built
    cutover    from the record in the log to the last search that was answered by the version before

It publishes passages of made-up words into a workspace of its own the first time, and drops the version that it built.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from elasticsearch import AsyncElasticsearch

from bench.common import MEDIA_TYPE, Passage, People, console, finish, passages_json, percentile, show, target
from bench.scale import OF_DOCUMENT, passages
from schemas import keys, topics
from schemas.events import DocumentCut, DocumentPublished, Filter, FilterOp, Index, IndexVersion, Person
from streams.embeddings import groups, rows_of
from weir import settings as settings_module
from weir.access import milvus_filter, token
from weir.blobs import Blobs
from weir.clock import system_clock
from weir.errors import Conflict, Unavailable, WeirError
from weir.index.changes import gone_live
from weir.index.indexes import MAIN, Indexes
from weir.index.progress import Progress, progress
from weir.index.record import change
from weir.index.versions import Versions
from weir.kafka.follow import read_all
from weir.kafka.producer import Producer
from weir.kafka.records import Decoder
from weir.retrieval.dense import WHOLE_CHUNK, VectorCollection
from weir.retrieval.embed import Embedder
from weir.retrieval.embedders import embedder
from weir.retrieval.recipe import Recipe
from weir.settings import Settings
from weir.stores import Milvus, elasticsearch, milvus
from weir.views.status import document_statuses

PASSAGES, MODEL = 5000, "minilm-fp32"
RATE_LIMIT, P95_LIMIT, SWITCH_LIMIT, RECALL_LIMIT = 0.9, 1.5, 1.0, 0.98
GAP_MS, BURST_MS = 300, 3000
"""A group's vectors are published together, without such a gap and within so long."""
FEWEST_TEXTS, FEWEST_QUESTIONS = 200, 50
QUESTIONS, WARM_UP = 120, 30
PAUSE = 0.1
"""Seconds between a person's answer and the next question."""
CHANGES, ASKING = 10, 3
SETTLE = 2.0
"""Seconds of questions after each change: twice what the last worker may take."""
SHARES = (1.0, 0.5, 0.1, 0.01)
TOP = 10
PATIENCE, TELL = 3600.0, 30.0
"""Seconds to wait for a build at most, and between two lines about it."""
READER = Person(subject="bench", groups=["everyone"])


@dataclass(slots=True)
class Bench:
    settings: Settings
    es: AsyncElasticsearch
    milvus: Milvus
    indexes: Indexes
    people: People
    versions: Versions
    workspace: str
    questions: list[str]
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: int = 0

    async def search(self, filters: Sequence[dict[str, Any]] = ()) -> tuple[dict[str, Any], float, float]:
        """A reply, the milliseconds it took, and when it was asked, in seconds since the epoch."""
        question, at = self.questions[self.asked % len(self.questions)], time.time()
        self.asked += 1
        reply, millis = await self.people.search(self.asked, {
            "workspace": self.workspace, "question": question, "filters": list(filters)})
        if reply["notices"]:
            raise Unavailable(f"the product answers, but says: {' '.join(reply['notices'])} See `weir status`.")
        return reply, millis, at

    async def searches(self, count: int, filters: Sequence[dict[str, Any]] = ()) -> list[float]:
        found = []
        for _ in range(count):
            found.append((await self.search(filters))[1])
            await asyncio.sleep(PAUSE)
        return found


# -- the collection -----------------------------------------------------------------------------------------------


async def publish(settings: Settings, es: AsyncElasticsearch, indexes: Indexes, workspace: str,
                  documents: dict[str, list[Passage]]) -> None:
    """Publishes what is not there; each document has its number among the others, in hundredths, to be filtered by.

    Raises:
        Unavailable: it is not searchable in time.
    """
    there = await document_statuses(es, settings, indexes, workspace, list(documents))
    left = [d for d in documents if d not in there or not there[d]["searchable"]]
    async with Producer(settings) as producer:
        for name in left:
            place = list(documents).index(name) * 100 // len(documents)
            await producer.send(topics.DOCUMENTS.named(settings.prefix), keys.document_key(workspace, name),
                                DocumentPublished(workspace=workspace, document=name, media_type=MEDIA_TYPE,
                                                  content=passages_json(documents[name]), metadata={"place": place},
                                                  publisher="bench", published_at=system_clock()))
    until = time.monotonic() + PATIENCE
    while left:
        if time.monotonic() > until:
            raise Unavailable(f"{len(left)} documents are not searchable: see `weir status`.")
        found = await document_statuses(es, settings, indexes, workspace, left[:20])
        left = [d for d in left[:20] if not (d in found and found[d]["searchable"])] + left[20:]
        await asyncio.sleep(0.2)


# -- building -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Embedded:
    """What a build embedded between two moments, and how long that took."""

    cuts: list[DocumentCut]
    seconds: float

    @property
    def texts(self) -> int:
        return sum(len(rows_of(cut).texts) for cut in self.cuts)


async def embedded(bench: Bench, version: IndexVersion, until: float) -> Embedded:
    """What the version's topic got from the end of the first burst of vectors until then, in seconds since the epoch.

    Without the first burst: how long a group takes to be joined and a model to be loaded is no matter of its rate.
    """
    settings, decoder = bench.settings, Decoder(bench.settings, Blobs(bench.settings))
    raws = await asyncio.to_thread(read_all, settings, topics.EMBEDDINGS.named(settings.prefix, version=version.name))
    raws = [raw for raw in raws if raw.value is not None and raw.timestamp <= until * 1000]
    if not raws:
        raise Conflict("nothing was embedded before the first question: give more --passages")
    times = sorted(raw.timestamp for raw in raws)
    start = next((now for now, then in pairwise(times) if then - now > GAP_MS or now > times[0] + BURST_MS), times[-1])
    made = {(raw.key or b"").rpartition(b"/")[0] for raw in raws if raw.timestamp > start}
    chunks = await asyncio.to_thread(read_all, settings, topics.CHUNKS.named(settings.prefix, cut=version.cut.name))
    newest = {raw.key: raw for raw in chunks if raw.key in made}
    cuts = [(await decoder.decode(raw)).event for raw in newest.values()]
    found = Embedded([cut for cut in cuts if isinstance(cut, DocumentCut)], (times[-1] - start) / 1000)
    if found.texts < FEWEST_TEXTS:
        raise Conflict(f"only {found.texts} texts were embedded before the first question: give more --passages")
    return found


async def alone(bench: Bench, version: IndexVersion, cuts: Sequence[DocumentCut]) -> float:
    """Seconds that the version's model takes for these documents with nothing else, in groups as the worker makes."""
    texts = [[text for document in group for text in document.texts] for group in groups(cuts)]
    model = Embedder(bench.settings, version.model, version.revision, bulk=True)
    try:
        await model.embed(texts[0][:32])
        begun = time.perf_counter()
        await asyncio.gather(*(model.embed(group) for group in texts))
        return time.perf_counter() - begun
    finally:
        await model.close()


async def look(bench: Bench, version: IndexVersion) -> Progress:
    return await progress(bench.settings, bench.es, await bench.versions.record(), version)


async def reaches(bench: Bench, version: IndexVersion, share: float) -> Progress:
    """The version as soon as this share of it is built; all of it where that is 1."""
    until, tell = time.monotonic() + PATIENCE, time.monotonic() + TELL
    while True:
        found = await look(bench, version)
        if time.monotonic() >= tell:
            tell = time.monotonic() + TELL
            console.print(f"{found.share:.0%} of {version.name} is built")
        if found.complete or (share < 1 and found.share >= share):
            return found
        if time.monotonic() > until:
            raise Unavailable(f"{version.name} is not built: see `weir index status`.")
        await asyncio.sleep(1.0)


async def build(bench: Bench, version: IndexVersion) -> None:
    """Builds the version: nobody asks during the first half, one person all the time during the second."""
    await bench.searches(WARM_UP)
    before = await bench.searches(QUESTIONS)
    begun = time.monotonic()
    await bench.versions.build(version)
    await reaches(bench, version, 0.5)
    quiet = time.time()
    building = asyncio.create_task(reaches(bench, version, 1.0))
    during: list[float] = []
    while not building.done():
        during += await bench.searches(5)
    whole = await building
    took = time.monotonic() - begun
    if len(during) < FEWEST_QUESTIONS:
        raise Conflict(f"only {len(during)} questions were asked while the version was built: give more --passages")

    made = await embedded(bench, version, quiet)
    half = len(made.cuts) // 2
    # Half of it before and half of it after the questions: the machine is not the same all the time.
    model = await alone(bench, version, made.cuts[:half])
    after = await bench.searches(QUESTIONS)
    model += await alone(bench, version, made.cuts[half:])
    console.print(f"{whole.rows:,} vectors with {version.model}, {took:.0f} s from the record to the last; "
                  f"{made.texts:,} of them are compared, embedded while nobody asked")
    show("Build", ["way", "seconds", "vectors/s"], [
        ["build", made.seconds, made.texts / made.seconds], ["the same texts, model alone", model, made.texts / model]])
    show("Searches as their people see them, ms", ["while", "asked", "p50", "p95"], [
        [name, len(of), percentile(of, 50), percentile(of, 95)]
        for name, of in (("nothing is built, before", before), ("a version is built", during),
                         ("nothing is built, after", after))])
    bench.targets["rebuild over the model alone, vectors/s"] = target(model / made.seconds, RATE_LIMIT, at_most=False)
    bench.targets["p95 of a search during a build over idle"] = target(
        percentile(during, 95) / percentile([*before, *after], 95), P95_LIMIT, at_most=True)


# -- cutover ------------------------------------------------------------------------------------------------------


async def cutover(bench: Bench, version: IndexVersion) -> None:
    """Goes over and back, while three people ask without a pause."""
    first = (await bench.versions.record()).live
    await bench.versions.cutover(version.name)
    await bench.versions.rollback()
    stop, seen = asyncio.Event(), list[tuple[float, str]]()

    async def ask() -> None:
        while not stop.is_set():
            reply, _, at = await bench.search()
            seen.append((at, reply["index_version"]))

    asking = [asyncio.create_task(ask()) for _ in range(ASKING)]
    late = []
    try:
        for n in range(CHANGES):
            old, new = (first, version.name) if n % 2 == 0 else (version.name, first)
            at = 0.0

            def over(now: Index, old: str = old, new: str = new) -> Index:
                nonlocal at
                at = time.time()
                return gone_live(now, new, system_clock(), "bench.index", old)

            await change(bench.settings, MAIN, over)
            await asyncio.wait(asking, timeout=SETTLE, return_when=asyncio.FIRST_EXCEPTION)
            for task in asking:
                if task.done():
                    task.result()
            if {v for _, v in seen[-ASKING:]} != {new}:
                raise Unavailable(f"the answers workers do not follow the index to {new}: see `weir logs`.")
            # Whoever was answered from the version before asked before a worker had switched.
            late.append(max([0.0, *(asked - at for asked, v in seen if v == old and asked > at)]))
    finally:
        stop.set()
        await asyncio.gather(*asking, return_exceptions=True)
    for task in asking:
        task.result()
    console.print(f"{CHANGES} cutovers and rollbacks, {len(seen)} searches; from the record to the last search that "
                  "was answered from the version before:")
    show("Cutover", ["", "ms"], [
        ["median", percentile(late, 50) * 1000], ["longest", max(late) * 1000]])
    bench.targets["cutover to the last worker switched, s"] = target(max(late), SWITCH_LIMIT, at_most=True)


async def removed(bench: Bench, version: IndexVersion) -> None:
    record = await bench.versions.record()
    if record.live == version.name:
        await bench.versions.rollback()
    if version.name in {v.name for v in record.versions}:
        await bench.versions.drop(version.name)


# -- filters ------------------------------------------------------------------------------------------------------


def filters(share: float) -> list[Filter]:
    return [] if share == 1 else [Filter(field="place", op=FilterOp.LTE, values=[round(share * 100) - 1])]


async def exact(bench: Bench, version: IndexVersion) -> tuple[list[str], list[int], npt.NDArray[np.float32]]:
    """Id, place and vector of every chunk of the workspace as a whole."""
    ids, places, vectors = list[str](), list[int](), list[npt.NDArray[np.float32]]()
    for place in range(100):
        rows = await bench.milvus.run("reading vectors", lambda client, place=place: client.query(  # type: ignore[misc]  # bound now
            version.collection, output_fields=["chunk", "vector"], limit=16_000, filter=(
                f'workspace == "{token(bench.workspace)}" and window <= {WHOLE_CHUNK} and '
                f'metadata["n{token("place")}"] == {float(place)!r}')))
        ids += [row["chunk"] for row in rows]
        places += [place] * len(rows)
        vectors += [np.asarray(row["vector"], np.float32) for row in rows]
    return ids, places, np.array(vectors)


async def filtered(bench: Bench, count: int) -> None:
    """Searches of the live version under filters."""
    version = bench.indexes.live()
    ids, places, vectors = await exact(bench, version)
    if len(ids) < count:
        raise Conflict(f"only {len(ids)} of {count} passages were read for the exact search")
    model = embedder(bench.settings, version)
    asked = await model.embed(bench.questions)
    await model.close()
    collection = VectorCollection(bench.milvus, version.collection, version.dimension)
    recipe = Recipe.with_overrides(version.recipe)
    recalls, millis = dict[tuple[float, int], float](), dict[float, list[float]]()
    for share in SHARES:
        allowed = np.array([share == 1 or place < round(share * 100) for place in places])
        scores = np.where(allowed, asked @ vectors.T, -2.0)
        rules = milvus_filter(bench.workspace, READER, filters(share))
        found = [(await collection.search(vector, rules, recipe.depth, recipe.windows)).chunks for vector in asked]
        for top in (TOP, recipe.depth):
            best = [np.argsort(-row)[:min(top, int(allowed.sum()))] for row in scores]
            hits = [ids[i] in chunks and chunks[ids[i]].chunk is not None
                    for chunks, row in zip(found, best, strict=True) for i in row]
            recalls[share, top] = float(np.mean(hits))
        body = [{"field": f.field, "op": f.op.value, "values": f.values} for f in filters(share)]
        await bench.searches(WARM_UP // 3, body)
        millis[share] = await bench.searches(QUESTIONS // 2, body)
    plain = percentile(millis[1.0], 50)
    show(f"Searches over {len(ids):,} passages", [
        "selectivity", "p50 ms", "p95 ms", "p50 over unfiltered", f"recall of the best {TOP}",
        f"of the best {recipe.depth}"], [
        [f"{share:.0%}", percentile(millis[share], 50), percentile(millis[share], 95),
         f"{percentile(millis[share], 50) / plain:.2f}", *(f"{recalls[share, top]:.3f}" for top in (TOP, recipe.depth))]
        for share in SHARES])
    for share in SHARES:
        # Of all that the search takes, not of the first ten alone: that would be easy among so many.
        bench.targets[f"recall of the best {recipe.depth} against exact search at {share:.0%}"] = target(
            recalls[share, recipe.depth], RECALL_LIMIT, at_most=False)


async def run(settings: Settings, count: int, model: str) -> int:
    documents, asked = passages(count)
    workspace = f"bench-index-{count}"
    es, client, indexes = elasticsearch(settings), milvus(settings), Indexes(settings)
    await indexes.start()
    try:
        async with People(settings) as people:
            versions = Versions(settings, es, client, system_clock, "bench.index", console.print)
            bench = Bench(settings, es, client, indexes, people, versions, workspace, asked[:100])
            await publish(settings, es, indexes, workspace, dict(documents))
            console.print(f"{count:,} passages in {count // OF_DOCUMENT} documents; {indexes.live().model} is live")
            await filtered(bench, count)
            version = await versions.plan(model)
            if version in (await versions.record()).versions:
                raise Conflict(f"{version.name} is such a version already: `weir index drop {version.name}` first.")
            try:
                await build(bench, version)
                await cutover(bench, version)
            finally:
                await removed(bench, version)
            return finish(bench.targets)
    finally:
        await indexes.close()
        await es.close()
        await client.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.index", description=__doc__)
    parser.add_argument("--passages", type=int, default=PASSAGES)
    parser.add_argument("--model", default=MODEL, help="the model to build with, another one than the live version's")
    arguments = parser.parse_args()
    try:
        sys.exit(asyncio.run(run(settings_module.load(), arguments.passages, arguments.model)))
    except WeirError as e:
        sys.exit(f"{e.code}: {e.message}")


if __name__ == "__main__":
    main()
