"""A store made anew from the log answers as the old one did, while documents go on arriving."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest

from cli.rebuild import rebuild_view
from schemas.events import Person
from tests.kit.pipeline import WORKSPACE, Pipeline, pipeline
from weir.access import elasticsearch_filter, milvus_filter
from weir.clock import system_clock
from weir.retrieval.dense import VectorCollection
from weir.retrieval.embed import Embedder
from weir.retrieval.keyword import KeywordIndex

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

PERSON = Person(subject="reader", groups=[])
STEMS = ("heron", "otter", "river", "valve", "sensor", "gauge")
WORDS = [stem + ending for stem in STEMS for ending in ("", "s", "ing", "ed", "er")]
QUERIES = 100


def text(n: int) -> str:
    chosen = random.Random(n)
    return "\n\n".join(" ".join(chosen.choices(WORDS, k=60)) + "." for _ in range(3))


def query(n: int) -> str:
    return " ".join(random.Random(-1 - n).choices(WORDS, k=4))


async def keyword_tops(made: Pipeline) -> list[list[str]]:
    """The chunks of the best 20 of each query, from an index of one segment, so that nothing deleted counts."""
    index = KeywordIndex(made.es, made.settings, made.indexes.live().keyword_index)
    # A shard keeps what was deleted until its retention lease has moved on, which it looks at every 30 s by default.
    for _ in range(120):
        await made.es.indices.flush(index=index.name, force=True)
        await made.es.indices.forcemerge(index=index.name, max_num_segments=1)
        await index.refresh()
        stats = await made.es.indices.stats(index=index.name, metric="docs")
        if stats["_all"]["primaries"]["docs"]["deleted"] == 0:
            break
        await asyncio.sleep(1)
    else:
        raise AssertionError("deleted chunks stay in the statistics")
    allowed = elasticsearch_filter(WORKSPACE, PERSON)
    return [[hit.chunk for hit in await index.search(WORKSPACE, query(n), allowed, 20)] for n in range(QUERIES)]


async def vector_tops(made: Pipeline) -> list[list[str]]:
    live = made.indexes.live()
    embedder = Embedder(made.settings, live.model, live.revision)
    vectors = await embedder.embed([query(n) for n in range(QUERIES)])
    await embedder.close()
    collection = VectorCollection(made.milvus, live.collection, live.dimension)
    await collection.make_visible()
    found = []
    for vector in vectors:
        chunks = (await collection.search(np.asarray(vector), milvus_filter(WORKSPACE, PERSON), 60, 60)).chunks
        best = sorted(chunks, key=lambda c: -max(s for s in (chunks[c].chunk, chunks[c].window) if s is not None))
        found.append(best[:20])
    return found


async def test_every_view_is_rebuilt_while_documents_go_on_arriving() -> None:
    async with pipeline() as made:
        made.start()
        deleted = {}
        for n in range(40):
            last = await made.publish(f"d{n}", text(n))
            if n % 4 == 0:
                last = await made.publish(f"d{n}", text(n + 1000))
            if n % 10 == 3:
                deleted[n] = await made.delete(f"d{n}")
        kept = [n for n in range(40) if n % 10 != 3]
        await made.searchable("d39", last.offset)
        for n in kept:
            await made.until(f"d{n}", lambda s: s["searchable"])
        for n, gone in deleted.items():
            await made.gone(f"d{n}", gone.offset)
        before = made.indexes.live()
        tops, near = await keyword_tops(made), await vector_tops(made)

        for view in ("keywords", "vectors"):
            building = asyncio.create_task(rebuild_view(made.settings, view, lambda _: None, system_clock))
            extra = await made.publish("elsewhere", f"Written while the {view} were rebuilt.", groups=["nobody else"])
            await made.searchable("elsewhere", extra.offset)
            await building
        after = made.indexes.live()
        assert after.keyword_index != before.keyword_index and after.collection != before.collection
        assert not await made.es.indices.exists(index=before.keyword_index)
        assert before.collection not in await made.milvus.run("listing", lambda c: c.list_collections())

        await made.gone("elsewhere", (await made.delete("elsewhere")).offset)
        assert await keyword_tops(made) == tops
        overlap = [len(set(a) & set(b)) / max(1, len(a)) for a, b in zip(near, await vector_tops(made), strict=True)]
        assert sum(overlap) / QUERIES >= 0.98, overlap

        # The sinks went over to the new stores by themselves.
        last = await made.publish("d0", "The newest text of all.")
        await made.searchable("d0", last.offset)

        sights = await made.views.check(WORKSPACE, [f"d{n}" for n in range(40)])
        await rebuild_view(made.settings, "documents", lambda _: None, system_clock)
        assert await made.views.check(WORKSPACE, [f"d{n}" for n in range(40)]) == sights
