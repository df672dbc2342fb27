"""The whole way from a question to its passages, on real servers."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import pytest_asyncio

from bench.common import Collection, Passage, passages_json
from bench.oracle import Oracle
from schemas.events import (
    Chunk,
    Cut,
    DocumentCut,
    EmbeddingPart,
    EmbeddingRow,
    Filter,
    FilterOp,
    IndexVersion,
    Person,
    Section,
    Window,
)
from weir import settings as settings_module
from weir.documents.cut import cut_document
from weir.documents.types import Cut as CuttingRecipe
from weir.documents.types import embedded_text
from weir.errors import BadRequest, Unavailable
from weir.retrieval.dense import rows_of
from weir.retrieval.embed import Embedder, model_revision
from weir.retrieval.keyword import KeywordIndex
from weir.retrieval.pipeline import Retriever
from weir.settings import Settings
from weir.stores import Milvus, elasticsearch, milvus

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]

MODEL = "minilm-int8"
READER = Person(subject="reader", groups=["staff"], clearance=0)
TOPICS = {
    "tides": "The harbour gauge reads the tide every ten minutes. Spring tides raise the water by four metres.",
    "pumps": "The main pump moves ninety litres a second. Its bearings are greased each quarter by the night shift.",
    "leave": "Employees have twenty-six days of leave a year. Unused leave ends in March of the following year.",
    "invoices": "An invoice is paid within thirty days. Late payment costs eight percent above the base rate.",
    "sensors": "The HeronSensor sends readings over LoRaWAN. A calibrateProbe() call resets its zero point.",
    "travel": "Trains are preferred to flights under six hours. A hotel may cost a hundred and forty a night.",
}


@dataclass(frozen=True)
class View:
    """What the newest event says of a document, as `weir.views.documents` would."""

    version: int = 1
    deleted: bool = False
    groups: tuple[str, ...] = ("everyone",)
    clearance: int = 0


@dataclass
class Views:
    """The access view as a value that a test turns."""

    of: dict[str, View] = field(default_factory=dict)
    error: Unavailable | None = None

    async def check(self, workspace: str, documents: Sequence[str]) -> Mapping[str, View]:
        if self.error is not None:
            raise self.error
        return {d: self.of[d] for d in documents if d in self.of}


@dataclass
class System:
    settings: Settings
    version: IndexVersion
    milvus: Milvus
    views: Views
    retriever: Retriever
    embedder: Embedder
    collection: Collection

    async def put(self, workspace: str, document: str, passages: list[Passage], version: int = 1) -> None:
        """Into both stores, as the sinks do."""
        made = cut_document(passages_json(passages), "application/x-passages+json", document_id=document,
                            cut=CuttingRecipe("t"))
        cut = DocumentCut(
            workspace=workspace, document=document, version=version, cut="t", media_type="text/plain", published_at=0,
            sections=[Section(ordinal=s.ordinal, heading_path=list(s.heading_path), text=s.text)
                      for s in made.sections],
            chunks=[Chunk(ordinal=c.ordinal, section=c.section, text=c.text, start=c.start, end=c.end,
                          context=c.context, passage=c.passage_id,
                          windows=[Window(ordinal=w.ordinal, text=w.text) for w in c.windows]) for c in made.chunks])
        rows, texts = [], []
        for chunk in cut.chunks:
            rows.append(EmbeddingRow(chunk=chunk.ordinal, window=-1))
            texts.append(embedded_text(chunk.context, chunk.text))
            for window in chunk.windows if len(chunk.windows) > 1 else ():
                rows.append(EmbeddingRow(chunk=chunk.ordinal, window=window.ordinal))
                texts.append(embedded_text(chunk.context, window.text))
        vectors = await self.embedder.embed(texts)
        stores = self.retriever.stores(self.version)
        await stores.keyword.upsert(cut)
        await stores.dense.upsert(list(rows_of(EmbeddingPart(
            workspace=workspace, document=document, version=version, index_version="v", model=MODEL, revision="r",
            part=0, parts=1, first_row=0, total_rows=len(rows), total_chunks=len(cut.chunks), rows=rows, dimension=384,
            vectors=vectors.astype("<f2").tobytes()))))
        await stores.keyword.refresh()
        await stores.dense.make_visible()

    def retriever_with(self, **servers: str) -> Retriever:
        """The same retriever with a server at another address."""
        settings = Settings.model_validate({**self.settings.model_dump(), **servers})
        return Retriever(settings, elasticsearch(settings), milvus(settings), self.views,
                         lambda _: ("main", self.version))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def system() -> AsyncIterator[System]:
    settings = settings_module.load()
    name = f"t-pipeline-{secrets.token_hex(4)}"
    revision = await model_revision(settings, MODEL)
    version = IndexVersion(name="v1", cut=Cut(name="t"), model=MODEL, revision=revision, dimension=384, created_at=0,
                           collection=name.replace("-", "_"), keyword_index=name)
    es, client, views = elasticsearch(settings), milvus(settings), Views()
    retriever = Retriever(settings, es, client, views, lambda _: ("main", version))
    embedder = Embedder(settings, MODEL, revision, bulk=True)
    stores = retriever.stores(version)
    await stores.keyword.create()
    await stores.dense.create()
    passages = [Passage(f"{topic}-{n}", topic, n, topic.capitalize(), f"{sentence.strip()}. " * (1 + 6 * (n == 1)))
                for topic, text in TOPICS.items() for n, sentence in enumerate(text.rstrip(".").split(". "))]
    made = System(settings, version, client, views, retriever, embedder,
                  Collection("topics", passages, [], {}))
    for document, of in made.collection.documents.items():
        await made.put("topics", document, of)
        views.of[document] = View()
    yield made
    await stores.keyword.drop()
    await stores.dense.drop()
    await retriever.close()
    await embedder.close()
    await es.close()
    await client.close()


async def passages(system: System, question: str, **more: object) -> list[str | None]:
    found = await system.retriever.retrieve("topics", question, READER, **more)  # type: ignore[arg-type]  # keywords of a test
    assert found.notices == []
    return [source.passage for source in found.sources]


QUESTIONS = ["How many days of leave do employees have?", "calibrateProbe", "When is an invoice paid?",
             "night shift grease", "how high is the water at spring tide", "flights or trains",
             "LoRaWAN readings", "what does it cost"]


async def test_the_servers_rank_as_the_recipe_in_memory(system: System) -> None:
    oracle = await Oracle.of(system.collection, system.embedder.embed)
    agreed = 0
    for question in QUESTIONS:
        vector = (await system.embedder.embed([question]))[0].astype(np.float64)
        expected = oracle.ranked(question, vector)["recipe"]
        got = await passages(system, question, limit=len(expected))
        assert sorted(map(str, got)) == sorted(expected)
        assert got[0] == expected[0], question
        agreed += len(set(got[:5]) & set(expected[:5]))
    # int8 vectors move a little with their batch, so places far down may change.
    assert agreed >= 0.9 * 5 * len(QUESTIONS)


async def test_the_same_question_gets_the_same_ranking(system: System) -> None:
    assert await passages(system, "leave and invoices") == await passages(system, "leave and invoices")


async def test_access_follows_the_newest_event_whatever_the_stores_hold(system: System) -> None:
    question, was = "How many days of leave do employees have?", system.views.of["leave"]
    assert (await passages(system, question))[0] == "leave-0"
    try:
        for view in (View(version=2, deleted=True), View(version=2, groups=("board",)), View(version=2, groups=()),
                     View(version=2, clearance=1)):
            system.views.of["leave"] = view
            assert not {"leave-0", "leave-1"} & set(await passages(system, question)), view
        del system.views.of["leave"]
        assert not {"leave-0", "leave-1"} & set(await passages(system, question))
    finally:
        system.views.of["leave"] = was


async def test_when_access_cannot_be_checked_nothing_is_shown(system: System) -> None:
    system.views.error = Unavailable("the view is behind", retry_after=2)
    try:
        with pytest.raises(Unavailable, match="behind"):
            await system.retriever.retrieve("topics", "leave", READER)
    finally:
        system.views.error = None


async def test_an_older_version_is_served_and_marked_until_the_newer_one_is_there(system: System) -> None:
    await system.put("moving", "rules", [Passage("r0", "rules", 0, "Rules", "The gate closes at eight.")], version=3)
    system.views.of["rules"] = View(version=5)
    found = await system.retriever.retrieve("moving", "when does the gate close", READER)
    assert [(s.version, s.being_replaced) for s in found.sources] == [(3, True)]
    assert "1 of the documents is being replaced" in found.notices[0]

    await system.put("moving", "rules", [Passage("r0", "rules", 0, "Rules", "The gate closes at nine."),
                                         Passage("r1", "rules", 1, "Rules", "The gate opens at six.")], version=5)
    found = await system.retriever.retrieve("moving", "when does the gate close", READER)
    assert len({s.version for s in found.sources}) == 1


async def test_filters_narrow_both_stores(system: System) -> None:
    only = [Filter(field="document", op=FilterOp.ANY, values=["pumps", "tides"])]
    found = await system.retriever.retrieve("topics", "water", READER, only)
    assert {s.document for s in found.sources} == {"pumps", "tides"}
    unheard_of = [Filter(field="x", op=FilterOp.EQ, values=[1])]
    nothing = await system.retriever.retrieve("topics", "water", READER, unheard_of)
    assert nothing.sources == []


async def test_another_workspace_s_passages_are_never_found(system: System) -> None:
    assert (await system.retriever.retrieve("elsewhere", "leave", READER)).sources == []


async def test_an_answer_s_context_grows_to_whole_sections_within_its_budget(system: System) -> None:
    found = await system.retriever.retrieve("topics", "pump bearings", READER, context_chars=600)
    assert len(found.sources) > 1 and sum(len(s.text) for s in found.sources) <= 600
    assert [s.number for s in found.sources] == list(range(1, len(found.sources) + 1))


@pytest.mark.parametrize("server", [{"milvus": "http://127.0.0.1:9"}, {"triton": "127.0.0.1:9"}])
async def test_without_vectors_it_answers_by_keywords_and_says_so(system: System, server: dict[str, str]) -> None:
    retriever = system.retriever_with(**server)
    try:
        found = await retriever.retrieve("topics", "How many days of leave do employees have?", READER, explain=True)
        assert found.sources[0].passage == "leave-0"
        assert found.notices[0].startswith("Found by keywords alone")
        again = await retriever.retrieve("topics", "invoices", READER)
        assert again.sources and again.timings["total"] < 1500  # it does not wait for the same store again
    finally:
        await close(retriever)


async def test_without_the_keyword_search_it_answers_by_vectors_and_says_so(system: System) -> None:
    class Deaf(KeywordIndex):
        """An index whose searches fail while its texts can be read, as when a shard is overloaded."""

        async def search(self, *_: object, **__: object) -> list[object]:  # type: ignore[override]  # fails before it returns
            raise Unavailable("Elasticsearch refused searching by keywords (429).")

    retriever = system.retriever_with()
    stores = retriever.stores(system.version)
    deaf = Deaf(elasticsearch(system.settings), system.settings, system.version.keyword_index)
    hearing_nothing = replace(stores, keyword=deaf)
    retriever._stores = dict.fromkeys(retriever._stores, (system.version, hearing_nothing))
    try:
        found = await retriever.retrieve("topics", "How many days of leave do employees have?", READER)
        assert found.sources[0].passage == "leave-0"
        assert found.notices == ["Found by vectors alone: Elasticsearch refused searching by keywords (429)."]
    finally:
        await deaf._es.close()
        await close(retriever)


async def test_without_either_store_it_says_that_it_cannot(system: System) -> None:
    retriever = system.retriever_with(milvus="http://127.0.0.1:9", elasticsearch="http://127.0.0.1:9")
    try:
        with pytest.raises(Unavailable, match="neither store can be searched"):
            await retriever.retrieve("topics", "leave", READER)
    finally:
        await close(retriever)


async def test_an_explanation_shows_the_way_of_every_passage(system: System) -> None:
    found = await system.retriever.retrieve("topics", "what is calibrateProbe used for?", READER, explain=True)
    assert found.explain is not None
    first = found.explain["ranking"][0]
    assert first["source"] == 1 and first["document"] == "sensors" and first["keyword"] > 0
    assert first["score"] == pytest.approx(0.5 * first["keyword_z"] + 0.5 * first["dense_z"] + first["document_bonus"])
    assert found.explain["keywords"] == "calibrateProbe for"
    assert {"embed", "keyword", "dense", "fuse", "fetch", "total"} <= found.timings.keys()


async def test_an_empty_question_is_refused(system: System) -> None:
    with pytest.raises(BadRequest, match="empty"):
        await system.retriever.retrieve("topics", " \n", READER)


async def close(retriever: Retriever) -> None:
    await retriever.close()
    await retriever._es.close()
    await retriever._milvus.close()
