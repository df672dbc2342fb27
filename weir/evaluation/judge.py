"""A language model's opinion of answers, and how far it agrees with the people who marked some.

The judge sees what the answer cites, not what it could have cited, and is told of the accepted answers. Its opinion is
two times yes or no: a scale would have to be explained to people before they could agree with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import orjson

from schemas.events import Agreement, GoldenQuestion, QuestionResult, Turn, TurnOutcome
from weir import telemetry
from weir.errors import ModelError
from weir.evaluation import prompts
from weir.evaluation.statistics import kappa
from weir.models.chat import ChatModel, Function, chat_model
from weir.models.chat import Turn as Said
from weir.models.extractive import Extractive
from weir.models.protocol import ModelUnavailable
from weir.settings import Settings

MOST_TOKENS = 400
MOST_CHARS = 12_000
"""Of the passages that the judge is shown."""
TRIES = 2
VERDICT = Function("verdict", "What you think of the answer.", {
    "type": "object", "additionalProperties": False, "required": ["faithful", "relevant", "why"],
    "properties": {"faithful": {"type": "boolean"}, "relevant": {"type": "boolean"}, "why": {"type": "string"}}})

log = telemetry.logger(__name__)


@dataclass(frozen=True, slots=True)
class Opinion:
    faithful: bool
    relevant: bool
    why: str

    @property
    def good(self) -> bool:
        """What a person means who marks an answer as good."""
        return self.faithful and self.relevant


class Judge:
    """Asks a provider's model for its opinion."""

    def __init__(self, model: ChatModel, prompt: str = prompts.JUDGE) -> None:
        self._model, self.prompt = model, prompt
        self.name = model.name

    async def opinion(self, question: str, passages: Sequence[str], answer: str, accepted: Sequence[str] = ()
                      ) -> Opinion:
        """
        Raises:
            ModelError: the model refused, is away, or gives no verdict.
        """
        system = prompts.system_prompt(self.prompt)
        told = [Said("user", _told(question, passages, answer, accepted))]
        for attempt in range(1, TRIES + 1):
            reply = await self._model.reply(system, told, [VERDICT], MOST_TOKENS)
            said = next((call.arguments for call in reply.calls if call.tool == VERDICT.name), reply.text)
            if (found := _opinion(said)) is not None:
                return found
            log.warning("the judge gave no verdict", attempt=attempt, said=said[:200])
        raise ModelUnavailable(f"{self.name} gives no verdict; look at the prompt {self.prompt}.")

    async def judged(self, result: QuestionResult) -> QuestionResult:
        """The result with the judge's figures, where there is an answer; without, where the model cannot say."""
        if result.outcome != "answered":
            return result
        try:
            said = await self.opinion(result.question, [c.text for c in result.cited], result.answer, result.answers)
        except ModelError as e:
            return replace(result, why=f"The judge did not say: {e.message}")
        return replace(result, why=said.why, figures={
            **result.figures, "faithful": float(said.faithful), "relevant": float(said.relevant)})

    async def agreement(self, questions: Sequence[GoldenQuestion], turns: Mapping[str, Turn], seed: int
                        ) -> Agreement | None:
        """How far the judge agrees with the people who marked the turns; None where there is nothing to compare.

        Args:
            turns: the turns that questions were made from, by their ids; those that are gone are left out.
        """
        people, own = [], []
        for question in questions:
            turn = turns.get(question.turn)
            if question.good is None or turn is None or turn.outcome is not TurnOutcome.ANSWERED:
                continue
            try:
                said = await self.opinion(turn.question, _cited(turn), turn.text)
            except ModelError as e:
                log.warning("a marked answer was not judged", turn=turn.turn, reason=e.message)
                continue
            people.append(question.good)
            own.append(said.good)
        if not people:
            return None
        agreed, k = kappa(people, own, np.random.default_rng(seed))
        return Agreement(marks=len(people), agreed=agreed, kappa=k.value, low=k.low, high=k.high)

    async def close(self) -> None:
        await self._model.close()


def judge_from(settings: Settings) -> Judge | None:
    """The judge that the settings allow; None without a language model.

    Raises:
        SettingsError: the model is misconfigured.
    """
    return None if settings.model == Extractive.name else Judge(chat_model(settings))


def _cited(turn: Turn) -> list[str]:
    sources = {s.number: s for s in turn.sources}
    return list(dict.fromkeys(sources[c.source].text[c.quote_start:c.quote_end] for c in turn.citations
                              if c.source in sources))


def _told(question: str, passages: Sequence[str], answer: str, accepted: Sequence[str]) -> str:
    """What the judge reads. Each part stands between marks that its text cannot hold."""
    text = "\n\n".join(passages)[:MOST_CHARS] or "(it cites nothing)"
    parts = [("question", question), ("passages", text), *(("accepted answer", a) for a in accepted),
             ("answer", answer)]
    mark = hashlib.sha256("\0".join(text for _, text in parts).encode()).hexdigest()[:12]
    return "\n\n".join(f"<{name} {mark}>\n{text}\n</{name} {mark}>" for name, text in parts)


def _opinion(said: str) -> Opinion | None:
    """What the model said, by the function or as JSON in its text."""
    try:
        found = orjson.loads(said[said.find("{"):said.rfind("}") + 1])
    except ValueError:
        return None
    if not isinstance(found, dict) or not all(isinstance(found.get(n), bool) for n in ("faithful", "relevant")):
        return None
    return Opinion(found["faithful"], found["relevant"], str(found.get("why", ""))[:500])
