"""Models that speak the OpenAI chat completions format: OpenAI's own, and the many servers that are compatible."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import httpx2
from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError, AsyncOpenAI

from weir.errors import ModelError
from weir.models import prompts
from weir.models.protocol import Asked, ModelRefused, ModelUnavailable, Piece, Prices, Text

MOST_TOKENS = 1024


class OpenAIModel:
    """A model named `openai:NAME`.

    Args:
        key: API key; compatible servers on the own network often need none.
        url: base URL with its `/v1`; empty for OpenAI's own.
        timeout: seconds to wait for the next bytes.
    """

    prompt = prompts.ANSWER
    context_chars = 12_000

    def __init__(self, model: str, *, key: str, url: str, timeout: float, prices: Prices) -> None:
        self.name = f"openai:{model}"
        self._model = model
        self._prices = prices
        self._client = AsyncOpenAI(api_key=key or "none", base_url=url or None, timeout=timeout, max_retries=1)

    async def answer(self, asked: Asked) -> AsyncGenerator[Piece, None]:
        """See `LanguageModel.answer`."""
        told: list[Any] = [{"role": "system", "content": prompts.system_prompt(self.prompt)},
                           *({"role": m.role, "content": m.content} for m in prompts.messages(asked))]
        reason: str | None = None
        try:
            stream = await self._client.chat.completions.create(
                model=self._model, messages=told, stream=True, stream_options={"include_usage": True},
                max_completion_tokens=MOST_TOKENS, temperature=0)
            async with stream:
                async for chunk in stream:
                    if chunk.usage is not None:
                        yield self._prices.usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
                    for choice in chunk.choices[:1]:
                        if choice.delta.refusal:
                            raise ModelRefused(f"{self.name} would not answer: {choice.delta.refusal}")
                        if choice.delta.content:
                            yield Text(choice.delta.content)
                        reason = choice.finish_reason or reason
        except (APIError, httpx2.HTTPError) as e:
            raise error(self.name, e, isinstance(e, APIConnectionError),
                        isinstance(e, APITimeoutError | httpx2.TimeoutException),
                        e.status_code if isinstance(e, APIStatusError) else None) from e
        ended(self.name, reason)

    async def close(self) -> None:
        await self._client.close()


def ended(model: str, reason: str | None) -> None:
    """
    Raises:
        ModelUnavailable: the stream ended without saying why: it was cut off.
        ModelRefused: a filter of the provider ended it.
    """
    if reason is None:
        raise ModelUnavailable(f"{model} broke off in the middle of its answer; ask again.", retry_after=2)
    if reason in ("content_filter", "refusal"):
        raise ModelRefused(f"{model} would not answer this question ({reason}); ask it in another way.")


def error(model: str, cause: Exception, no_connection: bool, timed_out: bool, status: int | None) -> ModelError:
    """A client library's error as one of ours."""
    if timed_out:
        return ModelUnavailable(f"{model} did not answer in time; ask again.", retry_after=5)
    if no_connection:
        return ModelUnavailable(f"cannot reach {model}: {cause}; see WEIR_MODEL_URL.", retry_after=5)
    if status in (401, 403):
        return ModelError(f"{model} refuses the API key; put a valid one into the file that WEIR_MODEL_KEY_FILE names.")
    if status is None or status in (408, 409, 429) or status >= 500:
        return ModelUnavailable(f"{model} cannot answer now: {cause}; ask again.", retry_after=5)
    return ModelError(f"{model} does not take the request (status {status}): {cause}.")
