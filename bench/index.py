"""An index changes its model under load: `python -m bench.index`.

    rebuild    vectors a second of a version that is built, against its model alone on the same texts
    questions  p95 of a search while a version is built, against the same searches while nothing is
    cutover    from the record in the log to the last search that was answered by the version before
    filters    searches at 1, 10 and 50 % selectivity against unfiltered ones, and recall against exact search

It publishes passages of made-up words into a workspace of its own the first time, and drops the versions that it built.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from elasticsearch import AsyncElasticsearch

from bench.common import MEDIA_TYPE, Passage, People, console, finish, passages_json, percentile, show, target
from bench.scale import OF_DOCUMENT, passages
from schemas import keys, topics
from schemas.events import DocumentCut, DocumentPublished, Filter, FilterOp, Index, IndexVersion, Person
from streams.embeddings import groups
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
from weir.kafka.follow import sample
from weir.kafka.producer import Producer
from weir.kafka.records import Decoder
from weir.retrieval.dense import VectorCollection
from weir.retrieval.embed import Embedder
from weir.retrieval.embedders import embedder
from weir.retrieval.recipe import Recipe
from weir.settings import Settings
from weir.stores import Milvus, elasticsearch, milvus
from weir.views.status import document_statuses

PASSAGES, MODEL = 5000, "minilm-fp32"
RATE_LIMIT, P95_LIMIT, SWITCH_LIMIT, RECALL_LIMIT = 0.9, 1.5, 1.0, 0.98
ALONE_TEXTS = 3000
"""Most texts that the model embeds alone."""
QUESTIONS, WARM_UP = 150, 40
PAUSE = 0.1
"""Seconds between a person's answer and the next question."""
CHANGES = 10
SHARES = (1.0, 0.5, 0.1, 0.01)
TOP = 10
PATIENCE = 3600.0
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


async def alone(bench: Bench, version: IndexVersion) -> float:
    """Texts a second of the version's model with nothing else, in the groups that the worker makes."""
    topic = topics.CHUNKS.named(bench.settings.prefix, cut=version.cut.name)
    decoder = Decoder(bench.settings, Blobs(bench.settings))
    raws = await asyncio.to_thread(sample, bench.settings, topic, 100_000)
    events = [(await decoder.decode(raw)).event for raw in raws]
    texts = [[text for document in group for text in document.texts]
             for group in groups([event for event in events if isinstance(event, DocumentCut)])]
    taken: list[list[str]] = []
    for group in texts:
        if sum(map(len, taken)) < ALONE_TEXTS:
            taken.append(group)
    model = Embedder(bench.settings, version.model, version.revision, bulk=True)
    try:
        await model.embed(taken[0][:32])
        begun = time.perf_counter()
        await asyncio.gather(*(model.embed(group) for group in taken))
        return sum(map(len, taken)) / (time.perf_counter() - begun)
    finally:
        await model.close()


async def look(bench: Bench, version: IndexVersion) -> Progress:
    return await progress(bench.settings, bench.es, await bench.versions.record(), version)


async def built(bench: Bench, version: IndexVersion) -> list[Progress]:
    """Looks at the version until it is complete."""
    looks = [await look(bench, version)]
    until = time.monotonic() + PATIENCE
    while not looks[-1].complete:
        if time.monotonic() > until:
            raise Unavailable(f"{version.name} is not built: see `weir index status`.")
        await asyncio.sleep(1.0)
        looks.append(await look(bench, version))
    return looks


async def rebuild(bench: Bench, model: str) -> IndexVersion:
    """Builds a version while nobody asks."""
    version = await bench.versions.plan(model)
    before = await alone(bench, version)
    begun = time.monotonic()
    await bench.versions.build(version)
    looks = await built(bench, version)
    took = time.monotonic() - begun
    after = await alone(bench, version)
    # From the first vectors to the last: a group that has just been joined is no matter of how fast vectors are made.
    first = next(look for look in looks if look.rows)
    if first is looks[-1]:
        raise Conflict("the version was built between two looks: give more --passages")
    rate, mean = looks[-1].rate(first), (before + after) / 2
    show(f"{looks[-1].rows:,} vectors with {model}, {took:.0f} s from the record to the last", ["way", "vectors/s"], [
        ["model alone, before", before], ["rebuild, from its first vectors to its last", rate],
        ["model alone, after", after]])
    bench.targets["rebuild over the model alone, vectors/s"] = target(rate / mean, RATE_LIMIT, at_most=False)
    return version


async def questions(bench: Bench, model: str) -> IndexVersion:
    """Asks while nothing is built and while a version is; the version, complete."""
    await bench.searches(WARM_UP)
    before = await bench.searches(QUESTIONS)
    version = await bench.versions.plan(model)
    await bench.versions.build(version)
    building = asyncio.create_task(built(bench, version))
    while not building.done() and (await look(bench, version)).rows == 0:  # noqa: ASYNC110  # a store, not an event
        await asyncio.sleep(0.5)
    during: list[float] = []
    while not building.done():
        during += await bench.searches(5)
    await building
    after = await bench.searches(QUESTIONS)
    idle = [*before, *after]
    if len(during) < QUESTIONS // 3:
        raise Conflict(f"only {len(during)} questions were asked while the version was built: give more --passages")
    show("Searches as their people see them, ms", ["while", "asked", "p50", "p95"], [
        [name, len(of), percentile(of, 50), percentile(of, 95)]
        for name, of in (("nothing is built, before", before), ("a version is built", during),
                         ("nothing is built, after", after))])
    bench.targets["p95 of a search during a build over idle"] = target(
        percentile(during, 95) / percentile(idle, 95), P95_LIMIT, at_most=True)
    return version


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

    asking = [asyncio.create_task(ask()) for _ in range(3)]
    late = []
    try:
        for n in range(CHANGES):
            await asyncio.sleep(1.0)
            old, new = (first, version.name) if n % 2 == 0 else (version.name, first)
            at = 0.0

            def over(now: Index, old: str = old, new: str = new) -> Index:
                nonlocal at
                at = time.time()
                return gone_live(now, new, system_clock(), "bench.index", old)

            await change(bench.settings, MAIN, over)
            done = len(seen)
            while {v for _, v in seen[done:]} != {new} or len(seen) < done + 9:
                done += sum(v == old for _, v in seen[done:done + 1])
                await asyncio.sleep(0.02)
            # The search of an old answer that was asked last was not switched yet.
            late.append(max([0.0, *(asked - at for asked, v in seen if v == old and asked > at)]))
    finally:
        stop.set()
        await asyncio.gather(*asking, return_exceptions=True)
    for task in asking:
        task.result()
    show(f"{CHANGES} cutovers and rollbacks, {len(seen)} searches: record to the last one of the version before",
         ["", "ms"], [["median", percentile(late, 50) * 1000], ["longest", max(late) * 1000]])
    bench.targets["cutover to the last worker switched, s"] = target(max(late), SWITCH_LIMIT, at_most=True)


# -- filters ------------------------------------------------------------------------------------------------------


def filters(share: float) -> list[Filter]:
    return [] if share == 1 else [Filter(field="place", op=FilterOp.LTE, values=[round(share * 100) - 1])]


async def exact(bench: Bench, version: IndexVersion) -> tuple[list[str], list[int], npt.NDArray[np.float32]]:
    """Chunk, place and vector of every row of the workspace."""
    ids, places, vectors = list[str](), list[int](), list[npt.NDArray[np.float32]]()
    for place in range(100):
        rows = await bench.milvus.run("reading vectors", lambda client, place=place: client.query(  # type: ignore[misc]  # bound now
            version.collection, output_fields=["chunk", "window", "vector"], limit=16_000, filter=(
                f'workspace == "{token(bench.workspace)}" and metadata["n{token("place")}"] == {float(place)!r}')))
        ids += [f"{row['chunk']}/{row['window']}" for row in rows]
        places += [place] * len(rows)
        vectors += [np.asarray(row["vector"], np.float32) for row in rows]
    return ids, places, np.array(vectors)


async def filtered(bench: Bench, count: int) -> None:
    """Searches of the live version under filters."""
    version = bench.indexes.live()
    ids, places, vectors = await exact(bench, version)
    if len(ids) < count:
        raise Conflict(f"only {len(ids)} vectors of {count} passages were read for the exact search")
    model = embedder(bench.settings, version)
    asked = await model.embed(bench.questions)
    await model.close()
    collection = VectorCollection(bench.milvus, version.collection, version.dimension)
    rows, recalls, millis = Recipe.with_overrides(version.recipe).rows, dict[float, float](), dict[float, list[float]]()
    for share in SHARES:
        allowed = np.array([share == 1 or place < round(share * 100) for place in places])
        scores = np.where(allowed, asked @ vectors.T, -2.0)
        rules, hits = milvus_filter(bench.workspace, READER, filters(share)), 0
        for q in range(len(bench.questions)):
            found = (await collection.search(asked[q], rules, rows)).chunks
            best = np.argsort(-scores[q])[:TOP]
            hits += sum(ids[i].partition("/")[0] in found for i in best)
        recalls[share] = hits / (TOP * len(bench.questions))
        body = [{"field": f.field, "op": f.op.value, "values": f.values} for f in filters(share)]
        millis[share] = (await bench.searches(WARM_UP + len(bench.questions) // 2, body))[WARM_UP // 2:]
    plain = percentile(millis[1.0], 50)
    show(f"Searches over {len(ids):,} vectors, {count:,} passages", [
        "selectivity", "p50 ms", "p95 ms", "p50 over unfiltered", f"recall of the best {TOP}"], [
        [f"{share:.0%}", percentile(millis[share], 50), percentile(millis[share], 95),
         f"{percentile(millis[share], 50) / plain:.2f}", f"{recalls[share]:.3f}"] for share in SHARES])
    for share in SHARES:
        bench.targets[f"recall against exact search at {share:.0%}"] = target(recalls[share], RECALL_LIMIT,
                                                                              at_most=False)


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
            await versions.drop((await rebuild(bench, model)).name)
            version = await questions(bench, model)
            await cutover(bench, version)
            if (await versions.record()).live == version.name:
                await versions.rollback()
            await versions.drop(version.name)
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
