"""The planner with a language model: its own tool calling, through the provider's own client.

What the model wants is a wish. The tools' schemas, the machine's limits and people's approvals decide what is done.
"""

from __future__ import annotations

from typing import Any

import orjson

from schemas.events import PlanEnd, ToolCall
from weir.agents.planning import prompts
from weir.agents.planning.conversation import ASK, GIVE_UP, conversation, functions
from weir.agents.planning.plan import Plan, Situation
from weir.models.chat import ChatModel, Reply, chat_model
from weir.models.protocol import ModelUnavailable, Prices
from weir.settings import Settings

MOST_TOKENS = 4096
"""Of one reply."""
CUT_OFF = "\n\n[The reply was cut off here: it was longer than the model may write.]"


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


def _argument(arguments: str, name: str) -> str:
    try:
        found = orjson.loads(arguments)
    except ValueError:
        return ""
    value = found.get(name) if isinstance(found, dict) else None
    return value.strip() if isinstance(value, str) else ""


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
