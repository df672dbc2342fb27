"""A server that speaks the OpenAI embeddings format, with vectors made of words: equal words, near vectors."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from aiohttp import web


class EmbeddingServer:
    """What a test may turn. `texts` are all that came, `tokens` what they were counted as."""

    def __init__(self) -> None:
        self.dimension, self.seed, self.model = 64, "a", ""
        self.status, self.headers = 200, dict[str, str]()
        self.leave_out = 0
        self.zero = False
        self.texts: list[str] = []
        self.keys: list[str] = []
        self.requests = self.tokens = 0
        self.url = ""
        self.hold = ""
        """A text whose vector is held back until `go_on`; `held` says that it was asked for."""
        self.held, self.go_on = asyncio.Event(), asyncio.Event()

    def vector(self, text: str) -> list[float]:
        """The sum of its words' vectors, of any length."""
        made = np.zeros(self.dimension)
        for word in text.lower().split():
            digest = hashlib.sha256(f"{self.seed}/{word}".encode()).digest()
            made += np.random.default_rng(int.from_bytes(digest[:8], "little")).normal(size=self.dimension)
        return [float(x) for x in made] if not self.zero else [0.0] * self.dimension

    async def embeddings(self, request: web.Request) -> web.Response:
        self.requests += 1
        self.keys.append(request.headers.get("Authorization", ""))
        if self.status != 200:
            return web.json_response({"error": {"message": "no", "type": "t"}}, status=self.status,
                                     headers=self.headers)
        body: dict[str, Any] = await request.json()
        texts: list[str] = body["input"]
        self.texts += texts
        if self.hold in texts:
            self.held.set()
            await self.go_on.wait()
        count = sum(len(text.split()) for text in texts)
        self.tokens += count
        data = [{"object": "embedding", "index": n, "embedding": self.vector(text)} for n, text in enumerate(texts)]
        # In any order: `index` says which is which.
        return web.json_response({"object": "list", "data": data[::-1][self.leave_out:],
                                  "model": self.model or body["model"],
                                  "usage": {"prompt_tokens": count, "total_tokens": count}})


@asynccontextmanager
async def embedding_server() -> AsyncIterator[EmbeddingServer]:
    server = EmbeddingServer()
    app = web.Application()
    app.router.add_post("/v1/embeddings", server.embeddings)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()
