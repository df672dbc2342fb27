"""A model that is added to Triton, and one behind an API: both build a version, answer, and are told apart."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient

from infra.local.models.add import add
from infra.local.server import Place
from infra.local.triton import Triton
from schemas.events import Person
from tests.kit.embedding_server import EmbeddingServer, embedding_server
from tests.kit.pipeline import WORKSPACE, pipeline
from tests.kit.versions import build, versions
from tests.kit.waiting import until
from weir.errors import BadRequest, Conflict
from weir.index.cost import estimate
from weir.retrieval.embed import Embedder, WrongRevision
from weir.retrieval.embedders import described
from weir.retrieval.pipeline import Retriever
from weir.settings import load

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
TINY, DIMENSION = ROOT / "tests" / "kit" / "tiny_model.py", 48
READER = Person(subject="reader", groups=["everyone"])
TEXTS = {"heron": "The heron stands in the weir.", "leave": "Leave ends in March.", "invoice": "The invoice is paid."}


def tiny(folder: Path, seed: int) -> Path:
    """A model of its own, built with the packages that Triton's models have."""
    packages = Triton(Place(load(), Path())).packages()
    subprocess.run([sys.executable, str(TINY), str(folder), str(seed)], check=True,
                   env={"PYTHONPATH": str(packages)})
    return folder


@pytest.fixture
def name() -> Iterator[str]:
    """Of a model that is taken from Triton at the end."""
    settings = load()
    if settings.triton:
        pytest.skip("this Triton is not ours")
    made = f"t-{secrets.token_hex(4)}"
    yield made
    client = InferenceServerClient(settings.triton_address)
    for model in (made, f"{made}-bulk"):
        if client.is_model_ready(model):
            client.unload_model(model)
        shutil.rmtree(Triton(Place(settings, Path())).models / model, ignore_errors=True)
    client.close()


async def test_a_model_from_elsewhere_builds_a_version_and_answers(name: str, tmp_path: Path) -> None:
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "cli.main", "index", "add-model", name, str(tiny(tmp_path / "a", 1)),
                         "--pooling", "mean"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert f"{name} is there: revision" in done.stdout and f"{DIMENSION} dimensions" in done.stdout, done.stderr
    async with pipeline() as made:
        made.start()
        for document, text in TEXTS.items():
            await made.searchable(document, (await made.publish(document, text)).offset)
        version = await build(made, name)
        assert version.dimension == DIMENSION
        await versions(made).cutover(version.name)

        async def live() -> bool:
            return made.indexes.live().name == version.name

        await until(live, "the cutover")
        retriever = Retriever(made.settings, made.es, made.milvus, made.views, lambda _: ("main", made.indexes.live()))
        found = await retriever.retrieve(WORKSPACE, "Where is the heron?", READER, limit=3)
        await retriever.close()
        assert (found.index_version, found.notices, found.sources[0].document) == (version.name, [], "heron")


async def test_pooling_and_prefixes_are_part_of_the_revision(name: str, tmp_path: Path) -> None:
    settings, folder = load(), tiny(tmp_path / "a", 1)
    await asyncio.to_thread(add, settings, name, str(folder), pooling="cls", prefixes=("query ", "text "))
    first = await described(settings, name)
    questions, documents = Embedder(settings, name, first.revision), Embedder(settings, name, first.revision, bulk=True)
    asked, told = await questions.embed(["pump"]), await documents.embed(["pump"])
    # The first token is that of the prefix.
    np.testing.assert_allclose(asked, await questions.embed(["heron"]), atol=1e-6)
    assert float((asked @ told.T).item()) < 0.9
    await questions.close()
    await documents.close()
    with InferenceServerClient(settings.triton_address) as client:
        client.unload_model(name)
        await until(lambda: _away(client, name), "the model to be unloaded")
    await asyncio.to_thread(add, settings, name, str(folder), pooling="mean")
    assert (await described(settings, name)).revision != first.revision
    other = Embedder(settings, name, first.revision)
    with pytest.raises(WrongRevision):
        await other.embed(["pump"])
    await other.close()


async def _away(client: InferenceServerClient, name: str) -> bool:
    return not client.is_model_ready(name)


async def test_what_is_no_embedding_model_is_refused(name: str, tmp_path: Path) -> None:
    settings, folder = load(), str(tiny(tmp_path / "a", 1))
    with pytest.raises(BadRequest, match="a vector a token"):
        add(settings, name, folder)
    with pytest.raises(BadRequest, match="small letters"):
        add(settings, "../x", folder, pooling="cls")
    with pytest.raises(Conflict, match="Take another name"):
        add(settings, "minilm-int8", folder, pooling="cls")
    add(settings, name, folder, pooling="cls")
    with pytest.raises(Conflict, match="Take another name"):
        add(settings, name, str(tiny(tmp_path / "b", 2)), pooling="cls")


@pytest.fixture
async def server() -> AsyncIterator[EmbeddingServer]:
    async with embedding_server() as made:
        yield made


async def test_what_a_paid_model_will_cost_is_told_before_it_begins(server: EmbeddingServer) -> None:
    async with pipeline(embed_url=server.url, embed_price=2.0) as made:
        made.start()
        text = "The heron stands in the weir and waits. "
        sent = [await made.publish(f"d{n}", text * (20 + 2 * n)) for n in range(8)]
        for n, delivery in enumerate(sent):
            await made.searchable(f"d{n}", delivery.offset)
        live = made.indexes.live()
        found = await estimate(made.settings, made.es, live, "openai:tiny", live.cut)
        assert server.requests == 1  # a sample, nothing else
        before = server.tokens
        await build(made, "openai:tiny")
        used = server.tokens - before
        assert found.texts == await made.rows() and found.priced
        assert found.tokens == pytest.approx(used, rel=0.15)
        assert found.cost == pytest.approx(used * 2.0 / 1e6, rel=0.15)
