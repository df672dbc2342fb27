"""The OpenAI and Anthropic models against a local server that speaks their wire formats."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from schemas.events import Source
from tests.kit.models import model_server
from weir.errors import ModelError, SettingsError
from weir.models.configured import model_from
from weir.models.protocol import Asked, Exchange, LanguageModel, ModelRefused, ModelUnavailable, Piece, Text, Usage
from weir.settings import Settings

SOURCE = Source(number=1, chunk="c", document="d", version=1, title="Contract", heading_path=["Notice"], section=0,
                text="Ninety days.", start=0, end=12, score=1.0)
ASKED = Asked("How long?", [SOURCE], [Exchange("Who?", "Thornlea.")])
KINDS = ["openai", "anthropic"]


class Wire:
    """A server of either format that says what a test wants."""

    def __init__(self) -> None:
        self.words = ["The notice ", "is 90 days [1]."]
        self.status = 200
        self.cut_off = False
        self.hang = False
        self.stop: dict[str, str] = {"openai": "stop", "anthropic": "end_turn"}
        self.seen: list[tuple[dict[str, Any], dict[str, str]]] = []

    async def openai(self, request: web.Request) -> web.StreamResponse:
        chunk: dict[str, Any] = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        events: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"content": w}, "finish_reason": None}]} for w in self.words]
        end: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {}, "finish_reason": self.stop["openai"]}]},
               {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}}]
        return await self._stream(request, [("", chunk | e) for e in events], [("", chunk | e) for e in end],
                                  "data: [DONE]\n\n")

    async def anthropic(self, request: web.Request) -> web.StreamResponse:
        start: dict[str, Any] = {"type": "message_start", "message": {
            "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
            "stop_sequence": None, "usage": {"input_tokens": 100, "output_tokens": 1}}}
        block: dict[str, Any] = {"type": "content_block_start", "index": 0,
                                 "content_block": {"type": "text", "text": ""}}
        events = [start, block, *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": w}}
            for w in self.words)]
        end: list[dict[str, Any]] = [{"type": "content_block_stop", "index": 0},
               {"type": "message_delta", "delta": {"stop_reason": self.stop["anthropic"], "stop_sequence": None},
                "usage": {"output_tokens": 20}}, {"type": "message_stop"}]
        return await self._stream(request, [(e["type"], e) for e in events], [(e["type"], e) for e in end], "")

    async def _stream(self, request: web.Request, events: list[tuple[Any, Any]], end: list[tuple[Any, Any]],
                      last: str) -> web.StreamResponse:
        self.seen.append((await request.json(), dict(request.headers)))
        if self.status != 200:
            return web.json_response({"error": {"message": "no", "type": "t"}, "type": "error"}, status=self.status)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for name, event in events if self.cut_off else [*events, *end]:
            await response.write(f"{f'event: {name}' + chr(10) if name else ''}data: {json.dumps(event)}\n\n".encode())
        if self.hang:
            await asyncio.sleep(30)
        if self.cut_off:
            assert request.transport is not None
            request.transport.close()
        else:
            await response.write(last.encode())
        return response


@asynccontextmanager
async def serving(kind: str, tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[Wire, LanguageModel]]:
    wire, key = Wire(), tmp_path / "key"
    key.write_text("secret-key\n")
    async with model_server(kind, wire) as url:
        model = model_from(Settings(**{
            "model": f"{kind}:m", "model_url": url, "model_key_file": key, "model_price_in": 3.0,
            "model_price_out": 15.0, **settings}))
        try:
            yield wire, model
        finally:
            await model.close()


async def pieces(model: LanguageModel, asked: Asked = ASKED) -> list[Piece]:
    return [piece async for piece in model.answer(asked)]


@pytest.mark.parametrize("kind", KINDS)
async def test_it_streams_text_and_tells_what_it_cost(kind: str, tmp_path: Path) -> None:
    async with serving(kind, tmp_path) as (wire, model):
        got = await pieces(model)
        assert [p.text for p in got if isinstance(p, Text)] == wire.words
        assert got[-1] == Usage(100, 20, (100 * 3 + 20 * 15) / 1e6)
        body, headers = wire.seen[0]
        told = json.dumps(body)
        assert "[1] Contract > Notice\\nNinety days." in told and "answer questions" in told
        assert [m["content"] for m in body["messages"]][-3:-1] == ["Who?", "Thornlea."]
        assert any("secret-key" in value for value in headers.values())
        assert (model.name, model.prompt) == (f"{kind}:m", "answer-1")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_breaks_off_is_no_answer(kind: str, tmp_path: Path) -> None:
    async with serving(kind, tmp_path) as (wire, model):
        wire.cut_off = True
        with pytest.raises(ModelUnavailable) as e:
            await pieces(model)
        assert e.value.retriable


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("status", "retriable", "says"), [
    (401, False, "WEIR_MODEL_KEY_FILE"), (400, False, "status 400"), (529, True, "ask again"),
    (429, True, "ask again")])
async def test_a_refused_request_says_what_to_do(kind: str, status: int, retriable: bool, says: str,
                                                 tmp_path: Path) -> None:
    async with serving(kind, tmp_path) as (wire, model):
        wire.status = status
        with pytest.raises(ModelError) as e:
            await pieces(model)
        assert e.value.retriable is retriable and says in e.value.message and "secret-key" not in e.value.message


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refusal_of_the_model_is_told_as_one(kind: str, tmp_path: Path) -> None:
    async with serving(kind, tmp_path) as (wire, model):
        wire.stop = {"openai": "content_filter", "anthropic": "refusal"}
        with pytest.raises(ModelRefused):
            await pieces(model)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_hangs_is_given_up(kind: str, tmp_path: Path) -> None:
    async with serving(kind, tmp_path, model_timeout=0.3) as (wire, model):
        wire.hang = wire.cut_off = True
        with pytest.raises(ModelUnavailable):
            await asyncio.wait_for(pieces(model), 5)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_is_away_is_told_apart(kind: str, tmp_path: Path) -> None:
    async with serving(kind, tmp_path, model_url="http://127.0.0.1:9") as (_, model):
        with pytest.raises(ModelUnavailable, match="WEIR_MODEL_URL"):
            await pieces(model)


@pytest.mark.parametrize("make", [lambda: Settings(model="gpt"), lambda: Settings(model="openai:")])
def test_a_model_that_nobody_knows_stops_the_start(make: Callable[[], Settings]) -> None:
    with pytest.raises(SettingsError, match="WEIR_MODEL"):
        model_from(make())
