"""The embedder of OpenAI-compatible servers against a local one that speaks the format."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.events import Cut, IndexVersion
from tests.kit.embedding_server import EmbeddingServer, embedding_server
from weir.errors import BadRequest, Mismatch, Unavailable, WeirError
from weir.retrieval.embed import WrongRevision
from weir.retrieval.embed_openai import BATCH, MOST_CHARS, PROBE_SECONDS, OpenAIEmbedder
from weir.retrieval.embedders import described, embedder
from weir.settings import Settings

MODEL = "openai:tiny"


@pytest.fixture
async def server() -> AsyncIterator[EmbeddingServer]:
    async with embedding_server() as made:
        yield made


@pytest.fixture
def settings(server: EmbeddingServer, tmp_path: Path) -> Settings:
    key = tmp_path / "key"
    key.write_text("secret\n")
    return Settings(embed_url=server.url, embed_key_file=key)


async def version(settings: Settings, **more: Any) -> IndexVersion:
    found = await described(settings, MODEL)
    return IndexVersion(**{
        "name": "v2", "cut": Cut(name="c800w"), "model": MODEL, "revision": found.revision, "collection": "c",
        "dimension": found.dimension, "keyword_index": "k", "created_at": 0, "probe": found.probe, **more})


async def test_vectors_come_in_the_order_of_the_texts_with_length_one(
    server: EmbeddingServer, settings: Settings
) -> None:
    model = embedder(settings, await version(settings), bulk=True)
    texts = [f"text number {n}" for n in range(2 * BATCH + 3)]
    vectors = await model.embed(texts)
    await model.close()
    assert vectors.shape == (len(texts), server.dimension) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    wanted = np.array([server.vector(text) for text in texts])
    np.testing.assert_allclose(vectors, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-5)
    assert set(server.keys) == {"Bearer secret"}
    assert server.requests == 5  # what the server is; the probe again; three batches


async def test_the_tokens_that_the_server_counted_are_known(server: EmbeddingServer, settings: Settings) -> None:
    model = OpenAIEmbedder(settings, MODEL, None)
    await model.embed(["one two", "three"])
    await model.close()
    assert model.tokens == 3


async def test_long_texts_are_cut(server: EmbeddingServer, settings: Settings) -> None:
    model = OpenAIEmbedder(settings, MODEL, None)
    await model.embed(["word " * MOST_CHARS])
    await model.close()
    assert [len(text) for text in server.texts] == [MOST_CHARS]


@pytest.mark.parametrize("change", [{"dimension": 32}, {"seed": "b"}, {"model": "other"}])
async def test_another_model_behind_the_same_name_is_an_error(
    server: EmbeddingServer, settings: Settings, change: dict[str, Any]
) -> None:
    model = embedder(settings, await version(settings))
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises(WrongRevision):
        await model.embed(["any text"])
    await model.close()


async def test_a_server_that_is_replaced_later_is_found_out(server: EmbeddingServer, settings: Settings) -> None:
    now = 0.0
    made = await version(settings)
    model = OpenAIEmbedder(settings, MODEL, made.revision, dimension=made.dimension, probe=made.probe,
                           monotonic=lambda: now)
    await model.embed(["before"])
    server.seed = "b"
    now = PROBE_SECONDS + 1
    with pytest.raises(WrongRevision, match="other weights"):
        await model.embed(["after"])
    server.seed = "a"
    await model.embed(["again"])
    # An outage may be a change of servers.
    server.status = 503
    with pytest.raises(Unavailable):
        await model.embed(["away"])
    server.status, server.seed = 200, "b"
    with pytest.raises(WrongRevision, match="other weights"):
        await model.embed(["back"])
    await model.close()


@pytest.mark.parametrize(("status", "error"), [
    (400, BadRequest), (401, Unavailable), (404, Unavailable), (429, Unavailable), (500, Unavailable)])
async def test_what_the_server_refuses(
    server: EmbeddingServer, settings: Settings, status: int, error: type[WeirError]
) -> None:
    model = OpenAIEmbedder(settings, MODEL, None)
    server.status, server.headers = status, {"retry-after": "7"}
    with pytest.raises(error) as caught:
        await model.embed(["text"])
    await model.close()
    assert status != 429 or caught.value.retry_after == 7


async def test_a_server_that_is_not_there(settings: Settings) -> None:
    model = OpenAIEmbedder(settings.model_copy(update={"embed_url": "http://127.0.0.1:9/v1"}), MODEL, None)
    with pytest.raises(Unavailable, match="cannot reach"):
        await model.embed(["text"])
    await model.close()


async def test_replies_that_break_the_format_are_errors(server: EmbeddingServer, settings: Settings) -> None:
    model = OpenAIEmbedder(settings, MODEL, None)
    server.leave_out = 1
    with pytest.raises(Mismatch, match="gave 1"):
        await model.embed(["one", "two"])
    server.leave_out, server.zero = 0, True
    with pytest.raises(Mismatch, match="no direction"):
        await model.embed(["one"])
    await model.close()


@pytest.mark.parametrize("texts", [[], [" "], ["good", ""]])
async def test_empty_texts_are_refused_before_they_cost_anything(
    server: EmbeddingServer, settings: Settings, texts: list[str]
) -> None:
    model = OpenAIEmbedder(settings, MODEL, None)
    with pytest.raises(BadRequest):
        await model.embed(texts)
    await model.close()
    assert server.requests == 0
