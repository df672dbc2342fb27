"""A question read by a hosted model before it is searched: what a follow-up leaves out, its parts, other words for it.

What the model says only changes what is looked for. Filters, access and the recipe's switches are not its to say.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from weir.errors import ModelError
from weir.models import prompts
from weir.models.chat import ChatModel, Function, Reply, Turn, chat_model
from weir.models.extractive import Extractive
from weir.models.protocol import ModelUnavailable, Prices
from weir.retrieval.questions import MOST_PARTS, MOST_SPELLINGS, Difficulty, Reading
from weir.settings import Settings

MOST_TOKENS = 600
MOST_CHARS = 4_000
"""Of a question, as the gateway takes it."""
MOST_CHOICES = 5
_TEXTS = {"type": "array", "items": {"type": "string"}}
QUESTION = Function("question", "What the question asks for.", {
    "type": "object", "additionalProperties": False,
    "required": ["standalone", "parts", "also", "difficulty", "unclear", "choices"],
    "properties": {"standalone": {"type": "string"}, "parts": _TEXTS, "also": _TEXTS,
                   "difficulty": {"type": "string", "enum": [d.value for d in Difficulty]},
                   "unclear": {"type": "string"}, "choices": _TEXTS}})


class QuestionReader:
    """Reads questions with a hosted model."""

    def __init__(self, model: ChatModel, prices: Prices, patience: float, prompt: str = prompts.QUESTION) -> None:
        self._model, self._prices, self._patience, self._prompt = model, prices, patience, prompt
        self.name = f"{model.name} {prompt}"

    async def read(self, question: str, before: Sequence[str] = ()) -> Reading:
        """
        Args:
            before: the questions that lead to it, oldest first.

        Raises:
            ModelError: the model refused, is away, is too slow, or does not say what it was asked for.
        """
        told = [Turn("user", _told(question, before))]
        try:
            reply = await asyncio.wait_for(
                self._model.reply(prompts.system_prompt(self._prompt), told, [QUESTION], MOST_TOKENS), self._patience)
        except TimeoutError as e:
            raise ModelUnavailable(f"{self._model.name} did not read the question within {self._patience:g} s") from e
        said = next((call.arguments for call in reply.calls if call.tool == QUESTION.name), reply.text)
        return self._reading(said, reply)

    async def close(self) -> None:
        await self._model.close()

    def _reading(self, said: str, reply: Reply) -> Reading:
        try:
            found = orjson.loads(said[said.find("{"):said.rfind("}") + 1])
            standalone = _text(found["standalone"])
            parts = _texts(found["parts"], MOST_PARTS)
            unclear, choices = str(found["unclear"]).strip(), _texts(found["choices"], MOST_CHOICES)
            also, difficulty = _texts(found["also"], MOST_SPELLINGS), Difficulty(found["difficulty"])
        except (ValueError, KeyError, TypeError) as e:
            raise ModelError(f"{self._model.name} did not say what the question asks for ({e!r}); look at the prompt "
                             f"{self._prompt}.") from e
        return Reading(self.name, standalone, tuple(parts) or (standalone,), " ".join(also), difficulty,
                       unclear[:MOST_CHARS], tuple(choices) if unclear else (),
                       self._prices.usage(reply.tokens_in, reply.tokens_out))


def reader_from(settings: Settings) -> QuestionReader | None:
    """The reader that the settings allow; None without a hosted model.

    Raises:
        SettingsError: the model is misconfigured.
    """
    if settings.model == Extractive.name:
        return None
    prices = Prices(settings.model_price_in, settings.model_price_out)
    return QuestionReader(chat_model(settings), prices, settings.question_timeout)


def _told(question: str, before: Sequence[str]) -> str:
    """What the model reads. Each question stands between marks that its text cannot hold."""
    mark = hashlib.sha256("\0".join([*before, question]).encode()).hexdigest()[:12]
    parts = [*(("before", text) for text in before), ("question", question)]
    return "\n\n".join(f"<{name} {mark}>\n{text}\n</{name} {mark}>" for name, text in parts)


def _text(value: Any) -> str:
    """
    Raises:
        ValueError: it is no question.
    """
    if not isinstance(value, str) or not 0 < len(value.strip()) <= MOST_CHARS:
        raise ValueError("not a question")
    return value.strip()


def _texts(value: Any, most: int) -> list[str]:
    return [_text(item) for item in list(value)[:most]]
