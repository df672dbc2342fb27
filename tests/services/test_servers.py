"""The servers themselves: each answers, analysis gives the documented tokens, the embedder keeps its promises."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from elasticsearch import ApiError, AsyncElasticsearch
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from infra.local.report import report
from weir import stores
from weir.settings import Settings, load

pytestmark = pytest.mark.services

TEXTS = [
    "What is the notice period of the contract?",
    "Pumps of the series K need a new seal every 4,000 hours of operation.",
    "def parse(line): return line.split(',')",
    "Grüße aus Köln, naïve café",
    "price " * 400,
    "x",
    "The quick brown fox jumps over the lazy dog. " * 5,
]
IDENTIFIERS: dict[str, Any] = {
    "analysis": {
        "filter": {
            "parts": {"type": "word_delimiter_graph", "preserve_original": True},
            "english": {"type": "stemmer", "language": "english"},
            "porter2": {"type": "stemmer", "language": "porter2"},
            "snow": {"type": "snowball", "language": "English"},
            "short": {"type": "length", "min": 2, "max": 5},
            "fold": {"type": "asciifolding", "preserve_original": True},
        },
        "tokenizer": {
            "commas": {"type": "pattern", "pattern": ","},
            "digits": {"type": "pattern", "pattern": "(\\d+)", "group": 1},
        },
        "analyzer": {
            "identifiers": {"tokenizer": "whitespace", "filter": ["parts", "flatten_graph", "lowercase"]},
            "prose": {"tokenizer": "standard", "filter": ["lowercase", "stop", "english"]},
            "prose2": {"tokenizer": "standard", "filter": ["lowercase", "porter2"]},
            "snowy": {"tokenizer": "standard", "filter": ["lowercase", "snow"]},
            "short": {"tokenizer": "whitespace", "filter": ["short"]},
            "folded": {"tokenizer": "whitespace", "filter": ["fold"]},
            "commas": {"tokenizer": "commas", "filter": ["trim"]},
            "digits": {"tokenizer": "digits"},
        },
        "normalizer": {"plain": {"type": "custom", "filter": ["lowercase", "asciifolding"]}},
    }
}


@pytest.fixture
def settings() -> Settings:
    return load()


@pytest.fixture
def embedder(settings: Settings) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(settings.triton_address)
    yield client
    client.close()


def embed(client: triton.InferenceServerClient, model: str, texts: list[Any]) -> tuple[np.ndarray, set[bytes]]:
    """Vectors and the revisions that were told."""
    tensor = triton.InferInput("TEXT", [len(texts), 1], "BYTES")
    raw = [[t if isinstance(t, bytes) else t.encode()] for t in texts]
    tensor.set_data_from_numpy(np.array(raw, dtype=object))
    reply = client.infer(model, [tensor])
    return reply.as_numpy("VECTOR"), set(reply.as_numpy("REVISION").ravel())


# -- Kafka ------------------------------------------------------------------------------------------------------------


def test_kafka_keeps_offsets_for_a_year_and_sweeps_dead_transactions_every_second(settings: Settings) -> None:
    admin = AdminClient({"bootstrap.servers": settings.kafka_address})
    broker = next(iter(admin.list_topics(timeout=10).brokers))
    resource = ConfigResource(ResourceType.BROKER, str(broker))
    (future,) = admin.describe_configs([resource]).values()
    found = {name: entry.value for name, entry in future.result(10).items()}
    assert found["offsets.retention.minutes"] == "525600"
    assert found["auto.create.topics.enable"] == "false"
    assert found["transaction.abort.timed.out.transaction.cleanup.interval.ms"] == "1000"
    assert found["group.initial.rebalance.delay.ms"] == "0"


def test_kafka_carries_a_record(settings: Settings) -> None:
    topic = f"t-servers-{secrets.token_hex(4)}"
    admin = AdminClient({"bootstrap.servers": settings.kafka_address})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
    producer = Producer({"bootstrap.servers": settings.kafka_address, "linger.ms": 0})
    producer.produce(topic, b"value", key=b"key")
    assert producer.flush(10) == 0
    consumer = Consumer(
        {"bootstrap.servers": settings.kafka_address, "group.id": topic, "auto.offset.reset": "earliest"}
    )
    try:
        consumer.subscribe([topic])
        message = consumer.poll(20)
        assert message is not None and message.error() is None
        assert (message.key(), message.value()) == (b"key", b"value")
    finally:
        consumer.close()
        admin.delete_topics([topic])[topic].result(20)


# -- Elasticsearch ----------------------------------------------------------------------------------------------------


async def analysed(settings: Settings, index: str, analyzer: str, text: str) -> list[str]:
    client = stores.elasticsearch(settings)
    try:
        reply = await client.indices.analyze(index=index, analyzer=analyzer, text=text)
        return [token["token"] for token in reply["tokens"]]
    finally:
        await client.close()


@pytest.fixture
async def index(settings: Settings) -> Any:
    name = f"t-servers-{secrets.token_hex(4)}"
    client = stores.elasticsearch(settings)
    try:
        await client.indices.create(index=name, settings={"number_of_replicas": 0, **IDENTIFIERS})
        yield name
        await client.indices.delete(index=name)
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("analyzer", "text", "tokens"),
    [
        ("identifiers", "parseHttpHeader", ["parseHttpHeader", "parse", "Http", "Header"]),
        ("identifiers", "max_token_length", ["max_token_length", "max", "token", "length"]),
        ("identifiers", "utf8Decoder", ["utf8Decoder", "utf", "8", "Decoder"]),
        ("identifiers", "XMLReader's", ["XMLReader's", "XMLReader"]),
        ("identifiers", "plain", ["plain"]),
        ("prose", "the contracts were running", ["contract", "were", "run"]),
        ("prose2", "generously relational", ["generous", "relat"]),
        ("snowy", "generously", ["generous"]),
        ("short", "a be seventeen three", ["be", "three"]),
        ("folded", "café tea", ["cafe", "café", "tea"]),
        ("commas", "one, two ,three", ["one", "two", "three"]),
        ("digits", "a12b345", ["12", "345"]),
    ],
)
async def test_analysis_gives_the_documented_tokens(
    settings: Settings, index: str, analyzer: str, text: str, tokens: list[str]
) -> None:
    expected = [token.lower() if analyzer == "identifiers" else token for token in tokens]
    assert await analysed(settings, index, analyzer, text) == expected


async def test_porter_and_porter2_differ_where_they_should(settings: Settings, index: str) -> None:
    assert await analysed(settings, index, "prose", "generously") == ["gener"]
    assert await analysed(settings, index, "prose2", "generously") == ["generous"]


async def test_a_stemmer_that_is_not_there_is_refused(settings: Settings) -> None:
    client = stores.elasticsearch(settings)
    analysis = {
        "filter": {"f": {"type": "stemmer", "language": "klingon"}},
        "analyzer": {"a": {"tokenizer": "standard", "filter": ["f"]}},
    }
    try:
        with pytest.raises(ApiError) as refused:
            await client.indices.create(index=f"t-servers-{secrets.token_hex(4)}", settings={"analysis": analysis})
        assert refused.value.status_code == 400
    finally:
        await client.close()


async def test_an_index_is_never_made_by_a_typo(settings: Settings) -> None:
    client = stores.elasticsearch(settings)
    name = f"t-servers-{secrets.token_hex(4)}"
    try:
        with pytest.raises(ApiError) as refused:
            await client.index(index=name, document={"a": 1})
        assert refused.value.status_code == 404
    finally:
        await client.close()


async def test_external_versions_refuse_older_writes(settings: Settings, index: str) -> None:
    client: AsyncElasticsearch = stores.elasticsearch(settings)
    try:
        await client.index(index=index, id="1", document={"v": 5}, version=5, version_type="external")
        with pytest.raises(ApiError) as refused:
            await client.index(index=index, id="1", document={"v": 4}, version=4, version_type="external")
        assert refused.value.status_code == 409
    finally:
        await client.close()


# -- Milvus -----------------------------------------------------------------------------------------------------------


def test_milvus_keeps_rows_and_finds_them(settings: Settings) -> None:
    client = MilvusClient(
        uri=settings.milvus_uri, user=settings.milvus_username, password=settings.milvus_password.get_secret_value()
    )
    name = f"t_servers_{secrets.token_hex(4)}"
    try:
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, max_length=32, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
        schema.add_field("groups", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=8, max_length=32)
        indexes = client.prepare_index_params()
        indexes.add_index("vector", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 64})
        client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")
        rows = [
            {"id": "north", "vector": [1.0, 0.0, 0.0, 0.0], "groups": ["legal"]},
            {"id": "east", "vector": [0.0, 1.0, 0.0, 0.0], "groups": ["everyone"]},
        ]
        client.upsert(name, rows)
        found = client.search(
            name,
            [[0.9, 0.1, 0.0, 0.0]],
            limit=2,
            filter='array_contains_any(groups, ["everyone"])',
            output_fields=["id"],
        )
        assert [hit["id"] for hit in found[0]] == ["east"]
    finally:
        client.drop_collection(name)
        client.close()


@pytest.mark.parametrize("password", ["Milvus", "", "wrong"])
def test_milvus_lets_nobody_in_without_its_password(settings: Settings, password: str) -> None:
    """It listens on every interface, and everybody knows the password that it comes with."""
    if not settings.milvus_password.get_secret_value():
        pytest.skip("the official image starts without authorization")
    with pytest.raises(MilvusException):
        MilvusClient(uri=settings.milvus_uri, user="root", password=password, timeout=5.0).list_collections()


def test_the_password_is_for_its_owner_only(settings: Settings) -> None:
    secret = settings.home / "secrets" / "milvus"
    if settings.milvus:
        pytest.skip("this Milvus is not ours")
    assert secret.stat().st_mode & 0o077 == 0


# -- Triton -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["minilm-int8", "minilm-int8-bulk"])
def test_vectors_have_length_one_and_carry_their_revision(embedder: triton.InferenceServerClient, model: str) -> None:
    vectors, revisions = embed(embedder, model, TEXTS)
    assert vectors.shape == (len(TEXTS), 384) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    (revision,) = revisions
    assert len(revision) == 16 and int(revision, 16)


def test_the_revision_is_the_hash_of_weights_and_tokenizer(
    settings: Settings, embedder: triton.InferenceServerClient
) -> None:
    folder = settings.home / "run" / "triton" / "models" / "minilm-int8" / "1"
    if not folder.exists():
        pytest.skip("this Triton is not ours")
    digest = hashlib.sha256((folder / "model.onnx").read_bytes() + (folder / "tokenizer.json").read_bytes())
    _, revisions = embed(embedder, "minilm-int8", ["a"])
    assert revisions == {digest.hexdigest()[:16].encode()}


def test_a_text_has_one_vector_whatever_comes_with_it(embedder: triton.InferenceServerClient) -> None:
    """Alone, in a batch, by the online and by the bulk model: the same to the last bit."""
    singles = np.concatenate([embed(embedder, "minilm-int8", [text])[0] for text in TEXTS])
    together, _ = embed(embedder, "minilm-int8", TEXTS)
    bulk, _ = embed(embedder, "minilm-int8-bulk", TEXTS[::-1] * 8)
    np.testing.assert_array_equal(together, singles)
    np.testing.assert_array_equal(bulk, np.concatenate([singles[::-1]] * 8))


def test_int8_stays_close_to_the_exact_weights(embedder: triton.InferenceServerClient) -> None:
    embedder.load_model("minilm-fp32")
    try:
        exact, exact_revision = embed(embedder, "minilm-fp32", TEXTS)
    finally:
        embedder.unload_model("minilm-fp32")
    quick, quick_revision = embed(embedder, "minilm-int8", TEXTS)
    assert exact_revision != quick_revision
    assert (exact * quick).sum(axis=1).min() > 0.97
    # Each text is nearest to itself among all.
    assert list((quick @ exact.T).argmax(axis=1)) == list(range(len(TEXTS)))


def test_related_texts_are_nearer_than_unrelated_ones(embedder: triton.InferenceServerClient) -> None:
    vectors, _ = embed(
        embedder, "minilm-int8", ["How do I cancel the contract?", "Termination of the agreement", "Recipe for soup"]
    )
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


@pytest.mark.parametrize(("bad", "said"), [(b"\xff\xfe", "not UTF-8"), (b"", "empty"), (b" \n\t", "empty")])
async def test_a_bad_text_is_an_error_of_its_own_request_alone(
    embedder: triton.InferenceServerClient, bad: bytes, said: str
) -> None:
    async def ask(text: str | bytes) -> Any:
        return await asyncio.to_thread(embed, embedder, "minilm-int8", [text])

    replies = await asyncio.gather(*(ask(t) for t in ["good", bad, "good"] * 8), return_exceptions=True)
    for text, reply in zip(["good", bad, "good"] * 8, replies, strict=True):
        if text == bad:
            assert isinstance(reply, triton.InferenceServerException) and said in str(reply)
        else:
            assert reply[0].shape == (1, 384)


def test_bulk_work_does_not_hold_up_a_question(settings: Settings, embedder: triton.InferenceServerClient) -> None:
    """While a bulk batch of many seconds runs, the median question stays within four times its own time."""

    def question() -> float:
        started = time.perf_counter()
        embed(embedder, "minilm-int8", [TEXTS[0]])
        return time.perf_counter() - started

    embed(embedder, "minilm-int8", TEXTS)
    alone = statistics.median(question() for _ in range(40))
    done = threading.Event()

    def bulk() -> None:
        client = triton.InferenceServerClient(settings.triton_address)
        while not done.is_set():
            embed(client, "minilm-int8-bulk", [f"{text} {number}" for number in range(9) for text in TEXTS])
        client.close()

    worker = threading.Thread(target=bulk)
    worker.start()
    try:
        time.sleep(0.3)
        beside = statistics.median(question() for _ in range(40))
    finally:
        done.set()
        worker.join()
    assert beside < 4 * alone + 0.005, f"{alone * 1e3:.1f} ms alone, {beside * 1e3:.1f} ms beside bulk work"


# -- the report -------------------------------------------------------------------------------------------------------


async def test_the_report_asks_every_server(settings: Settings) -> None:
    found = await report(settings.model_copy(update={"prefix": f"t-none-{secrets.token_hex(4)}-"}))
    assert set(found.unknown) <= {"dead_letters"}, found.unknown
    assert (found.lag, found.keyword_indexes, found.collections) == ({}, {}, {})


async def test_the_report_says_which_server_does_not_answer(tmp_path: Path) -> None:
    nowhere = Settings(home=tmp_path, port_base=64000)
    found = await report(nowhere)
    assert set(found.unknown) == {"lag", "keyword_indexes", "collections", "dead_letters"}
    assert not found.healthy and found.supervisor is None
    assert "64001" in found.unknown["lag"] and "64005" in found.unknown["collections"]
