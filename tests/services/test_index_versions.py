"""An index changes its model while documents change: versions are built, compared, go live, go back, are dropped."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient

from schemas import keys
from schemas.events import Index, IndexVersion, Person
from tests.kit.pipeline import WORKSPACE, Pipeline, pipeline
from tests.kit.versions import audits, build, built, versions
from tests.kit.waiting import until
from weir.errors import Conflict, NotFound, Unavailable
from weir.index import changes, names
from weir.index.record import change
from weir.index.versions import Verdict
from weir.kafka.config import client_config
from weir.retrieval.dense import VectorCollection
from weir.retrieval.pipeline import Retriever
from weir.views.manifests import Manifest, Manifests
from weir.views.status import keywords_store, vectors_store

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

INT8, FP32 = "minilm-int8", "minilm-fp32"
READER = Person(subject="reader", groups=["everyone"])
TEXTS = ("The main pump moves ninety litres a second.", "Unused leave ends in March of the following year.",
         "An invoice is paid within thirty days.", "Spring tides raise the water by four metres.")


def text(n: int, edition: int = 0) -> str:
    return f"{TEXTS[n % 4]} Edition {edition} of leaflet {n}. {random.Random(n).choice(TEXTS)}"


async def publish(made: Pipeline, count: int) -> None:
    sent = [await made.publish(f"d{n}", text(n)) for n in range(count)]
    for n, delivery in enumerate(sent):
        await made.searchable(f"d{n}", delivery.offset)


@asynccontextmanager
async def changing(made: Pipeline, documents: int) -> AsyncIterator[None]:
    """Documents change, go and come while this is open."""
    stop = asyncio.Event()

    async def go_on() -> None:
        chosen, edition = random.Random(3), 1
        while not stop.is_set():
            n = chosen.randrange(documents)
            if chosen.random() < 0.2:
                await made.delete(f"d{n}")
            else:
                await made.publish(f"d{n}", text(n, edition))
            edition += 1
            await asyncio.sleep(0.05)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        stop.set()
        await task


async def held(made: Pipeline, store: str) -> dict[str, Manifest]:
    return {m.document: m async for page in Manifests(made.es, made.settings, store).pages() for m in page}


def stores(made: Pipeline, version: IndexVersion) -> tuple[str, str]:
    return (vectors_store(names.collection_label(made.settings, version.collection)),
            keywords_store(names.keyword_label(made.settings, version.keyword_index)))


async def settled(made: Pipeline, version: IndexVersion) -> None:
    """Waits until nothing is on its way into the version's stores or out of them, and both know the same."""
    live = changes.live_of(await versions(made).record())

    async def quiet() -> bool:
        found = [await held(made, store) for v in (live, version) for store in stores(made, v)]
        says = [{d: (m.version, m.deleted) for d, m in of.items()} for of in found]
        return all(s == says[0] for s in says) and not any(
            m.pending or m.stale for of in found for m in of.values())

    await until(quiet, "the stores to agree")


async def exactly(made: Pipeline, version: IndexVersion) -> None:
    """The version's collection holds the rows that its manifests say, nothing less and nothing more."""
    await settled(made, version)
    vectors, _ = stores(made, version)
    collection = VectorCollection(made.milvus, version.collection, version.dimension)
    wanted = {keys.row_id(WORKSPACE, d, m.version, n)
              for d, m in (await held(made, vectors)).items() for n in range(m.count)}
    rows = await made.milvus.run("reading rows", lambda client: client.query(
        collection.name, filter='id != ""', output_fields=["id"], consistency_level="Strong", limit=10_000))
    assert {row["id"] for row in rows} == wanted and len(rows) == len(wanted)


async def ask(made: Pipeline, retriever: Retriever, question: str) -> tuple[str, list[str]]:
    for _ in range(60):
        try:
            found = await retriever.retrieve(WORKSPACE, question, READER, limit=3)
            break
        except Unavailable as e:  # the view of access is behind for a moment, and says so
            assert "behind" in e.message, e
            await asyncio.sleep(0.5)
    else:
        raise AssertionError("the view of access does not catch up")
    assert found.notices == [] or "being replaced" in found.notices[0], found.notices
    return found.index_version, [source.text for source in found.sources]


@asynccontextmanager
async def retriever_of(made: Pipeline) -> AsyncIterator[Retriever]:
    retriever = Retriever(made.settings, made.es, made.milvus, made.views,
                          lambda _: ("main", made.indexes.live()))
    try:
        yield retriever
    finally:
        await retriever.close()


def kafka(made: Pipeline) -> tuple[set[str], set[str]]:
    """Topics and groups of the test."""
    admin = AdminClient(client_config(made.settings))
    groups = admin.list_consumer_groups(request_timeout=30).result(30).valid
    prefix = made.settings.prefix
    return ({t.removeprefix(prefix) for t in admin.list_topics(timeout=30).topics if t.startswith(prefix)},
            {g.group_id.removeprefix(prefix) for g in groups if g.group_id.startswith(prefix)})


async def test_int8_is_built_beside_fp32_goes_live_comes_back_and_is_dropped() -> None:
    async with pipeline(FP32) as made, retriever_of(made) as retriever:
        made.start()
        await publish(made, 24)
        operator = versions(made)
        async with changing(made, 24):
            v2 = await build(made, INT8)
            assert (await ask(made, retriever, TEXTS[0]))[0] == "v1"
            v1 = changes.live_of(await operator.record())
            assert v2.keyword_index == v1.keyword_index and v2.collection != v1.collection
            assert v2.revision != v1.revision
            after = await operator.cutover("v2")
            assert (after.live, after.previous) == ("v2", "v1") and len(after.offsets) == 3
            await until(lambda: _live(made, "v2"), "the record to arrive")
            assert (await ask(made, retriever, TEXTS[0]))[0] == "v2"
        await exactly(made, v2)
        await exactly(made, v1)
        # The live version goes on being filled, and so does the one before.
        new = await made.publish("new", "The heron stands in the weir.")
        await made.searchable("new", new.offset)
        version, texts = await ask(made, retriever, "Where does the heron stand?")
        assert version == "v2" and texts[0] == "The heron stands in the weir."

        with pytest.raises(Conflict, match="answers questions"):
            await operator.drop("v2")
        await operator.rollback()
        await until(lambda: _live(made, "v1"), "the record to arrive")
        assert (await ask(made, retriever, "Where does the heron stand?"))[1][0] == "The heron stands in the weir."

        await operator.drop("v2")
        found, groups = kafka(made)
        assert "embeddings.v2" not in found and "embeddings.v1" in found
        assert not {g for g in groups if g.endswith("@v2")}
        assert v2.collection not in await made.milvus.run("listing", lambda c: c.list_collections())
        assert await made.es.indices.exists(index=v1.keyword_index)
        assert await held(made, stores(made, v2)[0]) == {}
        assert (await ask(made, retriever, TEXTS[0]))[0] == "v1"
        assert [a.action for a in await audits(made.settings)] == [
            "index_build", "index_cutover", "index_rollback", "index_drop"]
        with pytest.raises(NotFound):
            await operator.drop("v2")
        assert (await operator.plan(INT8)).name == "v3"


async def _live(made: Pipeline, name: str) -> bool:
    return made.indexes.live().name == name


async def test_a_cutover_is_refused_until_every_document_is_there() -> None:
    async with pipeline() as made:
        made.start()
        await publish(made, 6)
        operator = versions(made)
        await made.stop("consumers.vectors")
        v2 = await operator.build(await operator.plan(FP32))
        # The collection is there and empty.
        await VectorCollection(made.milvus, v2.collection, v2.dimension, f"{v2.model}@{v2.revision}").create()
        with pytest.raises(Conflict, match=r"library/d\d: version \d+ is live, vectors@v2 has nothing of it") as caught:
            await operator.cutover("v2", patience=0.2)
        assert "6 documents are live, 0" in caught.value.message or "partition" in caught.value.message
        assert made.indexes.live().name == "v1"
        made.start("consumers.vectors")
        await built(made, v2)

        # A document of an older version is missing too.
        await made.stop("streams.embeddings")
        changed = await made.publish("d0", text(0, 1))

        async def keyworded() -> bool:
            return (await made.manifests("d0"))[1].version == changed.offset

        await until(keyworded, "the keyword index")
        made.start("streams.embeddings")
        await made.searchable("d0", changed.offset)
        assert (await operator.cutover("v2")).live == "v2"


async def test_a_collection_that_lost_its_rows_does_not_go_live() -> None:
    async with pipeline() as made:
        made.start()
        await publish(made, 4)
        v2 = await build(made, FP32)
        await settled(made, v2)
        ids = [keys.row_id(WORKSPACE, d, m.version, n) for d, m in (await held(made, stores(made, v2)[0])).items()
               for n in range(m.count)]
        collection = VectorCollection(made.milvus, v2.collection, v2.dimension)
        await collection.delete(ids[:2])
        with pytest.raises(Conflict, match=f"holds {len(ids) - 2} rows, its manifests say {len(ids)}"):
            await versions(made).cutover("v2", patience=0.2)
        assert made.indexes.live().name == "v1"


async def test_what_is_lost_while_the_gate_measures_is_missed() -> None:
    async with pipeline() as made:
        made.start()
        await publish(made, 4)
        v2 = await build(made, FP32)
        await settled(made, v2)
        lost = [keys.row_id(WORKSPACE, d, m.version, 0) for d, m in (await held(made, stores(made, v2)[0])).items()]

        async def gate(live: IndexVersion, new: IndexVersion) -> Verdict:
            await VectorCollection(made.milvus, new.collection, new.dimension).delete(lost)
            return Verdict(True, "it finds as much")

        with pytest.raises(Conflict, match="v2 does not hold what v1 holds"):
            await versions(made).cutover("v2", gate, patience=0.2)
        assert (await versions(made).record()).live == "v1"


async def test_a_gate_refuses_and_who_forces_it_is_audited() -> None:
    async with pipeline() as made:
        made.start()
        await publish(made, 2)
        v2 = await build(made, INT8, recipe={"dense_weight": 0.9})
        v1 = made.indexes.live()
        # Only the parameters of retrieval differ: nothing is embedded again.
        assert (v2.collection, v2.keyword_index) == (v1.collection, v1.keyword_index)
        asked: list[tuple[str, str]] = []

        async def gate(live: IndexVersion, new: IndexVersion) -> Verdict:
            asked.append((live.name, new.name))
            return Verdict(False, "recall is worse by 3 points", {"recall": [0.9, 0.87]})

        operator = versions(made, "ben")
        with pytest.raises(Conflict, match="recall is worse"):
            await operator.cutover("v2", gate)
        assert (await operator.record()).live == "v1"
        await operator.cutover("v2", gate, force=True)
        assert asked == [("v1", "v2")] * 2
        forced = (await audits(made.settings))[-1]
        assert (forced.subject, forced.action, forced.target) == ("ben", "index_cutover", "main/v2")
        detail = json.loads(forced.detail)
        assert detail["forced"] and detail["gate"]["recall"] == [0.9, 0.87]

        # The version that the stores were made for may go; what it shares stays.
        await operator.drop("v1")
        async with retriever_of(made) as retriever:
            await until(lambda: _live(made, "v2"), "the record to arrive")
            assert (await ask(made, retriever, TEXTS[0]))[0] == "v2"
            new = await made.publish("new", "The heron stands in the weir.")
            await made.searchable("new", new.offset)
            assert (await ask(made, retriever, "Where is the heron?"))[1][0] == "The heron stands in the weir."


async def test_another_cutting_is_built_from_the_documents_themselves() -> None:
    async with pipeline() as made, retriever_of(made) as retriever:
        made.start()
        long = "\n\n".join(f"{text(n)} Paragraph {n} goes on about the river and what it carries." for n in range(12))
        first = await made.publish("long", long)
        await made.searchable("long", first.offset)
        async with changing(made, 6):
            v2 = await build(made, INT8, cut=changes.cut_with(200, False))
            v1 = made.indexes.live()
            assert v2.keyword_index != v1.keyword_index and v2.cut.name == "c200"
            await versions(made).cutover("v2")
            await until(lambda: _live(made, "v2"), "the record to arrive")
        await exactly(made, v2)
        version, texts = await ask(made, retriever, "Paragraph 3")
        assert version == "v2" and all(len(t) <= 200 for t in texts)
        counts = [(await held(made, stores(made, v)[1]))["long"].count for v in (v1, v2)]
        assert counts[1] > counts[0]
        assert (await made.dead_letters(0)) == []

        await versions(made).drop("v1")
        found, groups = kafka(made)
        assert "chunks.c800w" not in found and "chunks.c200" in found
        assert "streams.documents@c200" in groups and "streams.documents" not in groups
        assert not await made.es.indices.exists(index=v1.keyword_index)
        new = await made.publish("new", "The heron stands in the weir.")
        await made.searchable("new", new.offset)


async def test_two_operators_cannot_both_change_an_index() -> None:
    async with pipeline() as made:
        begun, go_on = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(now: Index) -> Index:
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(60)
            return replace(now, changed_by="slow")

        first = asyncio.create_task(change(made.settings, "main", slow))
        await begun.wait()
        await change(made.settings, "main", lambda now: replace(now, changed_by="quick"))
        go_on.set()
        with pytest.raises(Conflict, match="somebody else"):
            await first
        assert (await versions(made).record()).changed_by == "quick"


