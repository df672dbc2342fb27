"""The planner with a language model: its own tool calling, through the provider's own client.

What the model wants is a wish. The tools' schemas, the machine's limits and people's approvals decide what is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from schemas.events import PlanEnd, ToolCall
from weir.agents.planning import prompts
from weir.agents.planning.conversation import ASK, GIVE_UP, Function, Turn, conversation, functions
from weir.agents.planning.plan import Plan, Situation
from weir.errors import SettingsError
from weir.models.openai import Prices
from weir.models.protocol import ModelUnavailable
from weir.settings import Settings

MOST_TOKENS = 4096
"""Of one reply."""
CUT_OFF = "\n\n[The reply was cut off here: it was longer than the model may write.]"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call as the model wrote it."""

    tool: str
    arguments: str
    """JSON, if the model kept to it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said, in no provider's format."""

    text: str
    calls: Sequence[Wanted]
    cut_off: bool
    tokens_in: int
    tokens_out: int
    sent: Any
    """The request as sent."""
    received: Any
    """The reply as received."""


class ChatModel(Protocol):
    """A provider's model."""

    @property
    def name(self) -> str: ...

    async def reply(self, system: str, turns: Sequence[Turn], tools: Sequence[Function], most_tokens: int) -> Reply:
        """
        Raises:
            ModelError: the model refused, is away or is misconfigured.
        """

    async def close(self) -> None: ...


class ModelPlanner:
    """Plans with a language model."""

    def __init__(self, model: ChatModel, prices: Prices) -> None:
        self._model, self._prices = model, prices

    async def plan(self, situation: Situation) -> Plan:
        """See `Planner.plan`."""
        system = prompts.system_prompt(situation.request.prompt or prompts.PLAN)
        offered = functions(list(situation.tools.values()))
        most = max(1, min(MOST_TOKENS, situation.left.tokens))
        reply = await self._model.reply(system, conversation(situation), offered, most)
        end, text, calls = self._meant(reply)
        # Prices are for a million tokens and micros are millionths: they cancel out.
        micros = round(reply.tokens_in * self._prices.tokens_in + reply.tokens_out * self._prices.tokens_out)
        return Plan(end, text, calls, prompt=_json(reply.sent), reply=_json(reply.received),
                    tokens_in=reply.tokens_in, tokens_out=reply.tokens_out, micros=micros)

    async def close(self) -> None:
        await self._model.close()

    def _meant(self, reply: Reply) -> tuple[PlanEnd, str, list[ToolCall]]:
        text = reply.text.strip()
        for wanted in reply.calls:
            if wanted.tool in (ASK, GIVE_UP):
                said = _argument(wanted.arguments, "question" if wanted.tool == ASK else "reason") or text
                return (PlanEnd.ASK if wanted.tool == ASK else PlanEnd.GIVE_UP), said or "(no reason given)", []
        if reply.calls:
            return PlanEnd.CALLS, text, [ToolCall(tool=w.tool, arguments=w.arguments or "{}", reason=text)
                                         for w in reply.calls]
        if not text:
            raise ModelUnavailable(f"{self._model.name} said nothing; it is asked again.")
        return PlanEnd.ANSWER, text + (CUT_OFF if reply.cut_off else ""), []


def model_planner(settings: Settings) -> ModelPlanner:
    """Raises as `chat_model`."""
    return ModelPlanner(chat_model(settings), Prices(settings.model_price_in, settings.model_price_out))


def chat_model(settings: Settings) -> ChatModel:
    """The provider's model that the settings name.

    Raises:
        SettingsError: `WEIR_MODEL` is not one of the known forms, or its key cannot be read.
    """
    kind, _, name = settings.model.partition(":")
    if kind not in ("openai", "anthropic") or not name:
        raise SettingsError(f"WEIR_MODEL is {settings.model!r}; it must be `extractive`, `openai:NAME` or "
                            "`anthropic:NAME`")
    from weir.agents.planning.providers import AnthropicChat, OpenAIChat

    secret = settings.secret(settings.model_key_file)
    made = OpenAIChat if kind == "openai" else AnthropicChat
    return made(name, key=secret.get_secret_value() if secret else "", url=settings.model_url,
                timeout=settings.model_timeout)


def _argument(arguments: str, name: str) -> str:
    try:
        found = orjson.loads(arguments)
    except ValueError:
        return ""
    value = found.get(name) if isinstance(found, dict) else None
    return value.strip() if isinstance(value, str) else ""


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
