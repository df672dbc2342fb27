"""Models of Anthropic, and servers that speak the same messages format."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import httpx2
from anthropic import APIConnectionError, APIError, APIStatusError, APITimeoutError, AsyncAnthropic

from weir.models import prompts
from weir.models.openai import MOST_TOKENS, ended, error
from weir.models.protocol import Asked, Piece, Prices, Text


class AnthropicModel:
    """A model named `anthropic:NAME`. Arguments as of `OpenAIModel`; the URL has no `/v1`."""

    prompt = prompts.ANSWER
    context_chars = 12_000

    def __init__(self, model: str, *, key: str, url: str, timeout: float, prices: Prices) -> None:
        self.name = f"anthropic:{model}"
        self._model = model
        self._prices = prices
        self._client = AsyncAnthropic(api_key=key or "none", base_url=url or None, timeout=timeout, max_retries=1)

    async def answer(self, asked: Asked) -> AsyncGenerator[Piece, None]:
        """See `LanguageModel.answer`."""
        told: list[Any] = [{"role": m.role, "content": m.content} for m in prompts.messages(asked)]
        reason: str | None = None
        tokens_in = tokens_out = 0
        try:
            stream = await self._client.messages.create(
                model=self._model, system=prompts.system_prompt(self.prompt), messages=told, stream=True,
                max_tokens=MOST_TOKENS)
            async with stream:
                async for event in stream:
                    match event.type:
                        case "message_start":
                            tokens_in = event.message.usage.input_tokens
                        case "content_block_delta" if event.delta.type == "text_delta":
                            yield Text(event.delta.text)
                        case "message_delta":
                            tokens_out = event.usage.output_tokens
                            reason = event.delta.stop_reason or reason
        except (APIError, httpx2.HTTPError) as e:  # once it streams, the client lets the transport's errors through
            raise error(self.name, e, isinstance(e, APIConnectionError),
                        isinstance(e, APITimeoutError | httpx2.TimeoutException),
                        e.status_code if isinstance(e, APIStatusError) else None) from e
        ended(self.name, reason)
        yield self._prices.usage(tokens_in, tokens_out)

    async def close(self) -> None:
        await self._client.close()
