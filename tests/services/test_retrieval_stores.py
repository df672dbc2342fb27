"""Both stores on real servers: what is written can be found, only by those who may, exactly once."""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from schemas import keys
from schemas.events import (
    Chunk,
    DocumentCut,
    EmbeddingPart,
    EmbeddingRow,
    Filter,
    FilterOp,
    Person,
    Section,
    Window,
)
from weir import settings as settings_module
from weir.access import elasticsearch_filter, matches, may_read, milvus_filter
from weir.errors import BadRecord, Unavailable
from weir.retrieval.dense import VectorCollection, rows_of
from weir.retrieval.embed import Embedder, WrongRevision, model_revision
from weir.retrieval.keyword import KeywordIndex, terms_field
from weir.settings import Settings
from weir.stores import Milvus, elasticsearch, milvus

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]

DIMENSION = 8
HOSTILE = ['" or 1 == 1 or "', "\\", '\\"', "a\nb", "*", "everyone ", "Everyone", "legal", "café", "🙂", "{}", "${x}",
           "a/b", "2026-01-31", "x" * 300]
COLOURS = ["red", "green", "blue", "grey", "pink", "brown", "black", "white"]
ANYONE = Person(subject="anyone", groups=[], clearance=0)


@dataclass(frozen=True)
class Stores:
    settings: Settings
    keyword: KeywordIndex
    dense: VectorCollection
    milvus: Milvus


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stores() -> AsyncIterator[Stores]:
    settings = settings_module.load()
    name = f"t-retrieval-{secrets.token_hex(4)}"
    es, client = elasticsearch(settings), milvus(settings)
    keyword = KeywordIndex(es, settings, name)
    dense = VectorCollection(client, name.replace("-", "_"), DIMENSION)
    await keyword.create()
    await dense.create()
    yield Stores(settings, keyword, dense, client)
    await keyword.drop()
    await dense.drop()
    await es.close()
    await client.close()


def cut(workspace: str, document: str, texts: list[str], version: int = 1, **about: Any) -> DocumentCut:
    """A document of one section a text, each one chunk."""
    return DocumentCut(
        workspace=workspace, document=document, version=version, cut="t", media_type="text/plain", published_at=0,
        sections=[Section(ordinal=n, heading_path=["Top", f"Part {n}"], text=text) for n, text in enumerate(texts)],
        chunks=[Chunk(ordinal=n, section=n, text=text, start=0, end=len(text), context="Title > Part",
                      windows=[Window(ordinal=0, text=text)]) for n, text in enumerate(texts)], **about)


def part(of: DocumentCut, vectors: np.ndarray, rows: list[tuple[int, int]]) -> EmbeddingPart:
    return EmbeddingPart(
        workspace=of.workspace, document=of.document, version=of.version, index_version="v", model="m", revision="r",
        part=0, parts=1, first_row=0, total_rows=len(rows), total_chunks=len(of.chunks), dimension=DIMENSION,
        rows=[EmbeddingRow(chunk=c, window=w) for c, w in rows], vectors=vectors.astype("<f2").tobytes(),
        groups=of.groups, clearance=of.clearance, metadata=of.metadata)


def unit(rng: np.random.Generator, n: int) -> np.ndarray:
    vectors = rng.normal(size=(n, DIMENSION))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


async def found_by_words(stores: Stores, question: str, workspace: str, limit: int = 50) -> list[str]:
    hits = await stores.keyword.search(workspace, question, elasticsearch_filter(workspace, ANYONE), limit)
    return [hit.document for hit in hits]


async def test_words_are_found_in_any_form_and_identifiers_by_their_parts(stores: Stores) -> None:
    texts = {"camel": "call parseHTTPResponse() now", "snake": "set max_retry_count first",
             "plural": "Invoices are sent", "unicode": "Der Übergang am Café 東京", "other": "nothing of the kind"}
    for document, text in texts.items():
        await stores.keyword.upsert(cut("words", document, [text]))
    await stores.keyword.refresh()
    for question, document in (("HTTP response", "camel"), ("parseHTTPResponse", "camel"), ("retry counts", "snake"),
                               ("what is max_retry_count used for?", "snake"), ("invoice sending", "plural"),
                               ("übergang", "unicode"), ("東京", "unicode")):
        assert (await found_by_words(stores, question, "words"))[:1] == [document], question
    assert await found_by_words(stores, "of the", "words") == []
    assert await found_by_words(stores, "word " * 2000, "words") == []


async def test_writing_a_version_twice_leaves_one_and_deleting_its_ids_leaves_none(stores: Stores) -> None:
    document = cut("twice", "d", ["alpha beta", "gamma beta"])
    rng = np.random.default_rng(1)
    rows = list(rows_of(part(document, unit(rng, 3), [(0, -1), (1, -1), (1, 0)])))
    for _ in range(2):
        await stores.keyword.upsert(document)
        await stores.dense.upsert(rows)
    await stores.keyword.refresh()
    assert await found_by_words(stores, "beta", "twice") == ["d", "d"]
    assert await stores.dense.count("twice") == 3
    section = await stores.keyword.section("twice", "d", 1)
    assert section is not None and (section.text, section.heading_path) == ("gamma beta", ["Top", "Part 1"])

    for _ in range(2):
        await stores.keyword.delete([keys.chunk_id("twice", "d", 1, n) for n in range(2)])
        await stores.dense.delete([str(row["id"]) for row in rows])
    await stores.keyword.refresh()
    assert await found_by_words(stores, "beta", "twice") == []
    assert await stores.keyword.section("twice", "d", 1) is None
    assert await stores.dense.count("twice") == 0


async def test_a_chunk_comes_back_as_it_was_written(stores: Stores) -> None:
    metadata: dict[str, Any] = {"year": 2026, "price": 5.0, "draft": False, "from": date(2026, 1, 31),
                                "tags": ["a", "b"], "kind": "contract"}
    long = "long " * 20_000
    document = cut("back", "d", [long, "short"], groups=["legal"], clearance=2, title="T", source="s",
                   metadata=metadata)
    await stores.keyword.upsert(document)
    await stores.keyword.refresh()
    ids = [keys.chunk_id("back", "d", 1, n) for n in range(2)]
    found = await stores.keyword.fetch([*ids, "absent"])
    assert list(found) == ids
    chunk = found[ids[1]]
    assert (chunk.text, chunk.title, chunk.source, chunk.groups, chunk.clearance) == ("short", "T", "s", ["legal"], 2)
    assert (chunk.section, chunk.section_chunk, chunk.document_chunks) == (1, ids[1], 2)
    assert chunk.metadata == metadata and found[ids[0]].text == long
    sections = await stores.keyword.sections([chunk.section_chunk, "absent"])
    assert {i: s.text for i, s in sections.items()} == {ids[1]: "short"}


async def test_scores_by_id_are_those_of_the_search(stores: Stores) -> None:
    rng = np.random.default_rng(2)
    texts = [" ".join(rng.choice(COLOURS, 5)) for _ in range(40)]
    document = cut("scores", "d", texts)
    vectors = unit(rng, 80)
    await stores.keyword.upsert(document)
    await stores.dense.upsert(list(rows_of(part(document, vectors, [(n // 2, n % 2 - 1) for n in range(80)]))))
    await stores.keyword.refresh()
    await stores.dense.make_visible()

    where = elasticsearch_filter("scores", ANYONE)
    all_hits = {hit.chunk: hit for hit in await stores.keyword.search("scores", "red pink", where, 100)}
    some = sorted(keys.chunk_id("scores", "d", 1, n) for n in range(40))
    by_id = {hit.chunk: hit for hit in await stores.keyword.scores("scores", "red pink", some, where)}
    assert set(by_id) == set(some) and set(all_hits) < set(some)
    assert all(hit.score == (all_hits[c].score if c in all_hits else 0.0) for c, hit in by_id.items())

    question = unit(rng, 1)[0].astype(np.float32)
    rows = milvus_filter("scores", ANYONE)
    everything = await stores.dense.search(question, rows, 500, 500)
    assert everything.exhausted and len(everything.chunks) == 40
    few = await stores.dense.search(question, rows, 10, 10)
    assert not few.exhausted
    exact = vectors.astype(np.float16).astype(np.float32) @ question
    for chunk, score in (await stores.dense.scores(question, some[:20], rows, 100)).items():
        number = next(n for n in range(40) if keys.chunk_id("scores", "d", 1, n) == chunk)
        assert (score.chunk, score.window) == pytest.approx((exact[2 * number], exact[2 * number + 1]), abs=2e-3)
        assert (score.version, score.document_chunks) == (1, 40)


async def test_the_windows_of_a_long_chunk_push_no_other_chunk_out(stores: Stores) -> None:
    rng = np.random.default_rng(4)
    document, question = cut("long", "d", ["text"] * 21), unit(rng, 1)[0]
    near = question + 0.01 * unit(rng, 60)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    rows = [*((0, w) for w in range(-1, 59)), *((c, w) for c in range(1, 21) for w in (-1, 0))]
    vectors = np.concatenate([near, unit(rng, 40)])
    await stores.dense.upsert(list(rows_of(part(document, vectors, rows))))
    await stores.dense.make_visible()
    found = await stores.dense.search(question.astype(np.float32), milvus_filter("long", ANYONE), 21, 10)
    assert set(found.chunks) == {keys.chunk_id("long", "d", 1, n) for n in range(21)}


async def test_a_workspace_s_scores_do_not_depend_on_another_s_texts(stores: Stores) -> None:
    for document, text in (("a", "red green"), ("b", "green blue"), ("c", "blue red grey")):
        await stores.keyword.upsert(cut("quiet", document, [text]))
    await stores.keyword.refresh()
    where = elasticsearch_filter("quiet", ANYONE)
    before = await stores.keyword.search("quiet", "red blue", where, 10)
    await stores.keyword.upsert(cut("loud", "d", ["red and red and red"] * 50))
    await stores.keyword.refresh()
    assert terms_field("quiet") != terms_field("loud")
    assert await stores.keyword.search("quiet", "red blue", where, 10) == before


async def test_equal_scores_come_in_the_order_of_their_ids(stores: Stores) -> None:
    await stores.keyword.upsert(cut("ties", "d", ["the same words"] * 30))
    await stores.keyword.refresh()
    where = elasticsearch_filter("ties", ANYONE)
    hits = [hit.chunk for hit in await stores.keyword.search("ties", "same words", where, 10)]
    assert hits == sorted(keys.chunk_id("ties", "d", 1, n) for n in range(30))[:10]


async def test_both_stores_give_a_person_exactly_what_the_rule_gives(stores: Stores) -> None:
    """Groups, clearance and metadata of hostile texts, over and over, against the rule in Python."""
    chance, rng = random.Random(3), np.random.default_rng(3)
    names = ["a", 'k"] or true', "year", "kind"]
    values: list[Any] = [*HOSTILE, 1, 1.0, 1.5, -7, 2**53 + 1, True, False, date(2026, 1, 31), date(1999, 12, 31)]
    documents = []
    for n in range(60):
        metadata: dict[str, Any] = {k: chance.choice([*values, [chance.choice(HOSTILE), chance.choice(HOSTILE)]])
                                    for k in chance.sample(names, chance.randrange(4))}
        document = cut("hostile", f'd{n} {chance.choice(HOSTILE)}', ["needle in a haystack"],
                       clearance=chance.randrange(3), groups=chance.sample([*HOSTILE, "everyone"], chance.randrange(4)),
                       metadata=metadata)
        documents.append(document)
        await stores.keyword.upsert(document)
        await stores.dense.upsert(list(rows_of(part(document, unit(rng, 1), [(0, -1)]))))
    other = cut("hostile2", "theirs", ["needle in a haystack"])
    await stores.keyword.upsert(other)
    await stores.dense.upsert(list(rows_of(part(other, unit(rng, 1), [(0, -1)]))))
    await stores.keyword.refresh()
    await stores.dense.make_visible()

    def condition() -> Filter:
        op = chance.choice(list(FilterOp))
        if chance.random() < 0.15:
            return Filter(field="document", op=FilterOp.ANY, values=[chance.choice(documents).document, *HOSTILE[:2]])
        if op in (FilterOp.GTE, FilterOp.LTE):
            return Filter(field=chance.choice(names), op=op, values=[chance.choice([1, 0.5, -7, date(2020, 1, 1)])])
        return Filter(field=chance.choice(names), op=op,
                      values=[chance.choice(values) for _ in range(1 if op is FilterOp.EQ else chance.randrange(1, 4))])

    question, seen = unit(rng, 1)[0].astype(np.float32), 0
    for _ in range(150):
        person = Person(subject="p", groups=chance.sample(HOSTILE, chance.randrange(5)), clearance=chance.randrange(3))
        filters = [condition() for _ in range(chance.choice([0, 0, 1, 1, 2]))]
        allowed = {d.document for d in documents
                   if may_read(person, d.groups, d.clearance) and matches(filters, d.document, d.metadata)}
        where = elasticsearch_filter("hostile", person, filters)
        by_word = await stores.keyword.search("hostile", "needle", where, 200)
        by_vector = await stores.dense.search(question, milvus_filter("hostile", person, filters), 200, 1)
        assert {hit.document for hit in by_word} == allowed, (person, filters)
        assert set(by_vector.chunks) == {keys.chunk_id("hostile", d, 1, 0) for d in allowed}, (person, filters)
        seen += len(allowed)
    assert seen > 300


async def test_a_document_s_id_that_cannot_be_a_term_is_refused_with_the_reason(stores: Stores) -> None:
    with pytest.raises(BadRecord, match="immense term"):
        await stores.keyword.upsert(cut("long", "x" * 40_000, ["text"]))


async def test_a_store_that_was_never_created_is_unavailable(stores: Stores) -> None:
    es = elasticsearch(stores.settings)
    try:
        with pytest.raises(Unavailable, match="no such index"):
            await KeywordIndex(es, stores.settings, "t-retrieval-absent").search("w", "x", [], 1)
    finally:
        await es.close()
    absent = VectorCollection(stores.milvus, "t_retrieval_absent", DIMENSION)
    with pytest.raises(Unavailable, match="searching vectors"):
        await absent.search(np.ones(DIMENSION, np.float32), "", 1, 1)


async def test_vectors_are_taken_only_with_the_expected_revision(stores: Stores) -> None:
    revision = await model_revision(stores.settings, "minilm-int8")
    online = Embedder(stores.settings, "minilm-int8", revision)
    bulk = Embedder(stores.settings, "minilm-int8", revision, bulk=True)
    other = Embedder(stores.settings, "minilm-int8", "0" * 16)
    try:
        texts = [f"text {n} " * (n % 7 + 1) for n in range(70)]
        vectors = await online.embed(texts)
        assert vectors.shape == (70, 384) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        # int8 activations are scaled by batch, so the same text moves a little with its company.
        assert (np.sum(vectors * await bulk.embed(texts), axis=1) > 0.97).all()
        with pytest.raises(WrongRevision, match=revision):
            await other.embed(["text"])
    finally:
        for embedder in (online, bulk, other):
            await embedder.close()
