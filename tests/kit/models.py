"""A local server that speaks the wire formats of hosted language models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from aiohttp import web


class Speaks(Protocol):
    """Handlers of one request each."""

    openai: Callable[[web.Request], Awaitable[web.StreamResponse]]
    anthropic: Callable[[web.Request], Awaitable[web.StreamResponse]]


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
