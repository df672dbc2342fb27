"""Questions that a hosted model reads before they are searched: a local server speaks its wire format."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.kit.agreements import agreements
from tests.kit.gateway import Gateway
from tests.kit.models import Wire, model_server
from tests.kit.pipeline import WORKSPACE

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]

TWO = {"standalone": "How long is the notice of Brackwater, and the holiday?",
       "parts": ["How many days of notice end the Brackwater agreement?", "How many days of annual leave are there?"],
       "also": ["holiday", "vacation"], "difficulty": "hard", "unclear": "", "choices": []}
ANSWER = "The notice is 60 days [1]."


class Model(Wire):
    """Reads questions as a test wants, and writes one answer to all."""

    async def openai(self, request: web.Request) -> web.StreamResponse:  # type: ignore[override]  # it streams too
        if not (await request.json()).get("stream") or self.status != 200:
            return await super().openai(request)
        chunk: dict[str, Any] = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in ({"choices": [{"index": 0, "delta": {"content": ANSWER}, "finish_reason": None}]},
                     {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
                     {"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 7, "total_tokens": 1007}}):
            await response.write(f"data: {json.dumps(chunk | part)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    def reads(self, **more: Any) -> None:
        self.replies, self.status = [("", [("question", {**TWO, **more})])], 200


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(("", [("question", TWO)]))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(model: Model, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    home: Path = tmp_path_factory.mktemp("home")
    async with model_server("openai", model) as url, agreements(home, model="openai:m", model_url=url) as (_, made):
        yield made


async def ask(here: Gateway, question: str, **more: Any) -> dict[str, Any]:
    async with here.chat("rob") as chat:
        await chat.ask(question, explain=True, **more)
        done = (await chat.rest())[-1]
    assert done["type"] == "done", done
    return dict(done)


async def test_the_recipe_says_what_of_it_is_used(here: Gateway, model: Model) -> None:
    model.reads()
    before = len(model.seen)
    plain = await ask(here, "Brackwater and leave?")
    assert (plain["explain"]["read_by"], plain["tokens_in"]) == ("", 1000)
    assert len(model.seen) == before, "nothing was to be read"
    parts = await ask(here, "Brackwater and leave?", recipe={"decompose": 1})
    assert [p["query"] for p in parts["explain"]["parts"]] == TWO["parts"]
    assert parts["explain"]["read_by"] == "openai:m question-1"
    assert {s["document"] for s in parts["sources"]} >= {"brackwater", "handbook"}
    assert (parts["tokens_in"], parts["tokens_out"]) == (1100, 27), "what reading it cost is not left out"
    assert parts["timings"]["reading"] > 0
    more = await ask(here, "Brackwater and leave?", recipe={"expand": 1, "adaptive_depth": 1})
    assert (more["explain"]["also"], more["explain"]["depth"]) == ("holiday vacation", 400)
    assert more["explain"]["parts"] == [] and more["explain"]["query"] == "Brackwater and leave?"


async def test_a_follow_up_is_made_whole(here: Gateway, model: Model) -> None:
    first = await ask(here, "How many days of notice end the Thornlea agreement?")
    assert await here.services.turns.wait(first["answer"], 30)
    model.reads(standalone="How many days of notice end the Brackwater agreement?")
    whole = await ask(here, "And the other one?", conversation=first["conversation"], follows=first["answer"])
    assert whole["explain"]["rewritten"] == "How many days of notice end the Brackwater agreement?"
    assert "How many days of notice end the Thornlea agreement?" in json.dumps(model.seen)


async def test_an_unclear_question_is_asked_back(here: Gateway, model: Model) -> None:
    model.reads(unclear="The notice of which agreement?", choices=["The notice of Brackwater?"])
    done = await ask(here, "How long is the notice?", recipe={"clarify": 1})
    assert (done["text"], done["choices"]) == ("The notice of which agreement?", ["The notice of Brackwater?"])


async def test_a_model_that_is_away_costs_no_search(here: Gateway, model: Model) -> None:
    model.status = 500
    question = "How many days of notice end the Brackwater agreement, and how many days of annual leave do people have?"
    status, found = await here.call("POST", "/v1/search", user="rob", json={
        "workspace": WORKSPACE, "question": question, "explain": True, "recipe": {"decompose": 1}})
    assert status == 200, found
    assert len(found["explain"]["parts"]) == 2 and found["explain"]["read_by"] == ""
    assert any(n.startswith("Read by rule: ") for n in found["notices"]), found["notices"]
