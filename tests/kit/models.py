"""A local server that speaks the wire formats of hosted language models."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from aiohttp import web

KINDS = ["openai", "anthropic"]
Said = tuple[str, list[tuple[str, Any]]]
"""Text, and calls: tool, and arguments as values or, to be broken, as text."""


class Speaks(Protocol):
    """Handlers of one request each."""

    openai: Callable[[web.Request], Awaitable[web.StreamResponse]]
    anthropic: Callable[[web.Request], Awaitable[web.StreamResponse]]


class Wire:
    """A server of either format that says what a test wants, one reply after the other."""

    def __init__(self, *replies: Said) -> None:
        self.replies = list(replies)
        self.status = 200
        self.stop = ""
        self.seen: list[dict[str, Any]] = []

    def _next(self) -> Said:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    async def openai(self, request: web.Request) -> web.Response:
        self.seen.append(await request.json())
        if self.status != 200:
            return web.json_response({"error": {"message": "no", "type": "t"}}, status=self.status)
        text, calls = self._next()
        made = [{"id": f"c{i}", "type": "function", "function": {
            "name": tool, "arguments": a if isinstance(a, str) else json.dumps(a)}}
            for i, (tool, a) in enumerate(calls)]
        message = {"role": "assistant", "content": text or None} | ({"tool_calls": made} if made else {})
        return web.json_response({
            "id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [
                {"index": 0, "message": message, "finish_reason": self.stop or ("tool_calls" if made else "stop")}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}})

    async def anthropic(self, request: web.Request) -> web.Response:
        self.seen.append(await request.json())
        if self.status != 200:
            return web.json_response({"type": "error", "error": {"message": "no", "type": "t"}}, status=self.status)
        text, calls = self._next()
        blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
        blocks += [{"type": "tool_use", "id": f"c{i}", "name": tool, "input": a} for i, (tool, a) in enumerate(calls)]
        stop = {"length": "max_tokens", "content_filter": "refusal"}.get(self.stop, "tool_use" if calls else "end_turn")
        return web.json_response({
            "id": "m", "type": "message", "role": "assistant", "model": "m", "content": blocks, "stop_reason": stop,
            "stop_sequence": None, "usage": {"input_tokens": 100, "output_tokens": 20}})

    def told(self) -> str:
        """The last request, as text."""
        return json.dumps(self.seen[-1], ensure_ascii=False)


@asynccontextmanager
async def model_server(kind: str, wire: Speaks) -> AsyncIterator[str]:
    """The address that a client of that kind (`openai` or `anthropic`) is given."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", wire.openai)
    app.router.add_post("/v1/messages", wire.anthropic)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}" + ("/v1" if kind == "openai" else "")
    finally:
        await runner.cleanup()
