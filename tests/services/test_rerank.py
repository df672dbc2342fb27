"""A cross-encoder on the real Triton, a tiny one that is built here, and when a search has it read the best again."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tritonclient.grpc import InferenceServerClient

from infra.local.models.reranker import add_reranker
from infra.local.server import Place
from infra.local.triton import Triton
from tests.kit.agreements import agreements
from tests.kit.gateway import Gateway
from tests.kit.pipeline import WORKSPACE
from weir import settings as settings_module
from weir.errors import BadRequest, Conflict, Unavailable
from weir.retrieval.rerank import Reranker
from weir.settings import Settings

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]

BUILDER = Path(__file__).parents[1] / "kit" / "tiny_reranker.py"
QUESTION = "written notice of an agreement"


@dataclass(frozen=True)
class Added:
    name: str
    source: Path
    settings: Settings


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Added]:
    """A model to which passages about leave are worth most, then those about payment."""
    settings = settings_module.load()
    triton = Triton(Place(settings, java_home=Path()))
    if not triton.models.exists():
        pytest.skip("this Triton is not ours")
    source, name = tmp_path_factory.mktemp("weights"), f"t-{secrets.token_hex(4)}"
    subprocess.run([sys.executable, str(BUILDER), str(source), "leave=5", "invoices=2", "written=-1"],
                   check=True, env={"PYTHONPATH": str(triton.packages())})
    add_reranker(settings, name, str(source), max_tokens=64)
    yield Added(name, source, settings.model_copy(update={"rerank_model": name}))
    client = InferenceServerClient(settings.triton_address)
    client.unload_model(name)
    client.close()
    shutil.rmtree(triton.models / name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(added: Added, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with agreements(tmp_path_factory.mktemp("home"), rerank_model=added.name) as (_, made):
        yield made


async def search(here: Gateway, **recipe: float) -> dict[str, Any]:
    status, found = await here.call("POST", "/v1/search", user="rob", json={
        "workspace": WORKSPACE, "question": QUESTION, "explain": True, "recipe": recipe, "limit": 3})
    assert status == 200, found
    return dict(found)


async def test_scores_are_those_of_the_passages_in_their_order(added: Added) -> None:
    reranker = Reranker(added.settings)
    try:
        long = " ".join(["leave"] * 99)
        found = await reranker.scores("leave leave", ["Annual leave", "written leave", "Ünknown", long])
        assert found.tolist()[:3] == [5.0, 4.0, 0.0], "the question itself is worth nothing"
        assert found[3] == 5.0 * (64 - 2), "the passage is cut and not the question"
    finally:
        await reranker.close()


async def test_by_default_nothing_is_read_again(here: Gateway) -> None:
    found = await search(here)
    assert found["explain"]["reranked"] is False and "rerank" not in found["timings"]
    assert found["sources"][0]["document"] != "handbook"


async def test_close_passages_are_read_again_and_ranked_by_that(here: Gateway) -> None:
    found = await search(here, rerank=10, rerank_margin=10)
    assert [s["heading_path"][-1] for s in found["sources"]] == ["Leave", "Payment", "Payment"]
    scores = {r["source"]: r["reranked"] for r in found["explain"]["ranking"] if r["source"]}
    # The heading is read too: "Leave" counts twice.
    assert scores == {1: 10.0, 2: 2.0, 3: 2.0} and found["timings"]["rerank"] > 0
    assert [s["number"] for s in found["sources"]] == [1, 2, 3]


async def test_a_clear_first_passage_is_not_read_again(here: Gateway) -> None:
    found = await search(here, rerank=10, rerank_margin=0)
    assert found["explain"]["reranked"] is False and "rerank" not in found["timings"]


async def test_without_the_model_the_fused_ranking_stands_and_says_so(added: Added) -> None:
    missing = Reranker(added.settings.model_copy(update={"rerank_model": "t-nobody"}))
    try:
        with pytest.raises(Unavailable, match="t-nobody did not score"):
            await missing.scores("q", ["a"])
    finally:
        await missing.close()


async def test_what_is_no_cross_encoder_is_not_added(added: Added, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be a model's name"):
        add_reranker(added.settings, "No Name", str(added.source))
    with pytest.raises(Conflict, match="an embedding model minilm-int8"):
        add_reranker(added.settings, "minilm-int8", str(added.source))
    with pytest.raises(Unavailable, match=r"holds no model\.onnx"):
        add_reranker(added.settings, "t-empty", str(tmp_path))
    embedder = Triton(Place(added.settings, java_home=Path())).models / "minilm-int8" / "1"
    with pytest.raises(BadRequest, match="one or two numbers a pair"):
        add_reranker(added.settings, "t-embedder", str(embedder))


async def test_a_search_goes_on_without_a_model_that_is_away(added: Added, here: Gateway) -> None:
    client = InferenceServerClient(added.settings.triton_address)
    folder = Triton(Place(added.settings, java_home=Path())).models / added.name
    kept = folder.with_name(f"{added.name}.kept")
    client.unload_model(added.name)
    client.close()
    folder.rename(kept)
    try:
        found = await search(here, rerank=10, rerank_margin=10)
        assert any(n.startswith("Ranked without the cross-encoder") for n in found["notices"])
        assert len(found["sources"]) == 3
    finally:
        kept.rename(folder)
