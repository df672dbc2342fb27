"""A conversation in the formats of OpenAI and Anthropic, through their own clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anthropic
import httpx2
import openai
import orjson

from weir.models.chat import Function, Reply, Turn, Wanted
from weir.models.openai import error
from weir.models.protocol import ModelRefused, ModelUnavailable

NO_THOUGHT = "(calls)"


class OpenAIChat:
    """A model named `openai:NAME`, or a server that speaks the chat completions format.

    Args:
        key: API key; compatible servers on the own network often need none.
        url: base URL with its `/v1`; empty for OpenAI's own.
        timeout: seconds to wait for the reply.
    """

    def __init__(self, model: str, *, key: str, url: str, timeout: float) -> None:
        self.name = f"openai:{model}"
        self._model = model
        self._client = openai.AsyncOpenAI(api_key=key or "none", base_url=url or None, timeout=timeout, max_retries=1)

    async def reply(self, system: str, turns: Sequence[Turn], tools: Sequence[Function], most_tokens: int) -> Reply:
        """See `ChatModel.reply`."""
        messages: list[Any] = [{"role": "system", "content": system}]
        for turn in turns:
            messages += _openai(turn)
        offered: list[Any] = [{"type": "function", "function": {
            "name": t.name, "description": t.description, "parameters": t.schema}} for t in tools]
        sent = {"model": self._model, "messages": messages, "tools": offered, "max_completion_tokens": most_tokens,
                "temperature": 0}
        try:
            got = await self._client.chat.completions.create(
                model=self._model, messages=messages, tools=offered, max_completion_tokens=most_tokens, temperature=0)
        except (openai.APIError, httpx2.HTTPError) as e:
            raise error(self.name, e, isinstance(e, openai.APIConnectionError),
                        isinstance(e, openai.APITimeoutError | httpx2.TimeoutException),
                        e.status_code if isinstance(e, openai.APIStatusError) else None) from e
        if not got.choices:
            raise ModelUnavailable(f"{self.name} replied without a choice; it is asked again.")
        choice = got.choices[0]
        if choice.message.refusal or choice.finish_reason == "content_filter":
            raise ModelRefused(f"{self.name} would not do this: {choice.message.refusal or choice.finish_reason}")
        calls = [Wanted(call.function.name, call.function.arguments) for call in choice.message.tool_calls or []
                 if call.type == "function"]
        return Reply(choice.message.content or "", calls, choice.finish_reason == "length",
                     got.usage.prompt_tokens if got.usage else 0, got.usage.completion_tokens if got.usage else 0,
                     sent, got.model_dump(mode="json"))

    async def close(self) -> None:
        await self._client.close()


def _openai(turn: Turn) -> list[dict[str, Any]]:
    if not turn.calls:
        return [{"role": turn.role, "content": turn.text}]
    made = [{"id": call.id, "type": "function", "function": {
        "name": call.tool, "arguments": orjson.dumps(call.arguments).decode()}} for call in turn.calls]
    return [{"role": "assistant", "content": turn.text, "tool_calls": made},
            *({"role": "tool", "tool_call_id": call.id, "content": call.result} for call in turn.calls)]


class AnthropicChat:
    """A model named `anthropic:NAME`. Arguments as of `OpenAIChat`; the URL has no `/v1`."""

    def __init__(self, model: str, *, key: str, url: str, timeout: float) -> None:
        self.name = f"anthropic:{model}"
        self._model = model
        self._client = anthropic.AsyncAnthropic(api_key=key or "none", base_url=url or None, timeout=timeout,
                                                max_retries=1)

    async def reply(self, system: str, turns: Sequence[Turn], tools: Sequence[Function], most_tokens: int) -> Reply:
        """See `ChatModel.reply`."""
        messages: list[Any] = []
        for role, blocks in (block for turn in turns for block in _anthropic(turn)):
            if messages and messages[-1]["role"] == role:  # the roles must take turns
                messages[-1]["content"] += blocks
            else:
                messages.append({"role": role, "content": blocks})
        offered: list[Any] = [{"name": t.name, "description": t.description, "input_schema": t.schema} for t in tools]
        sent = {"model": self._model, "system": system, "messages": messages, "tools": offered,
                "max_tokens": most_tokens}
        try:
            got = await self._client.messages.create(model=self._model, system=system, messages=messages,
                                                     tools=offered, max_tokens=most_tokens)
        except (anthropic.APIError, httpx2.HTTPError) as e:
            raise error(self.name, e, isinstance(e, anthropic.APIConnectionError),
                        isinstance(e, anthropic.APITimeoutError | httpx2.TimeoutException),
                        e.status_code if isinstance(e, anthropic.APIStatusError) else None) from e
        if got.stop_reason == "refusal":
            raise ModelRefused(f"{self.name} would not do this")
        text = "\n".join(block.text for block in got.content if block.type == "text")
        calls = [Wanted(block.name, orjson.dumps(block.input).decode()) for block in got.content
                 if block.type == "tool_use"]
        return Reply(text, calls, got.stop_reason == "max_tokens", got.usage.input_tokens, got.usage.output_tokens,
                     sent, got.model_dump(mode="json"))

    async def close(self) -> None:
        await self._client.close()


def _anthropic(turn: Turn) -> list[tuple[str, list[dict[str, Any]]]]:
    if not turn.calls:
        return [(turn.role, [{"type": "text", "text": turn.text}])]
    made = [{"type": "tool_use", "id": call.id, "name": call.tool, "input": call.arguments} for call in turn.calls]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": call.result} for call in turn.calls]
    return [("assistant", [{"type": "text", "text": turn.text or NO_THOUGHT}, *made]), ("user", results)]
