"""Asks questions on the log and reads what comes back, as a gateway does."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any, TypeVar

from schemas import keys, topics
from schemas.events import AnswerFrame, CancelAnswer, Person, QuestionAsked, Turn
from tests.kit.waiting import until
from weir.answers.attempts import Answer, Effect
from weir.answers.tail import Tail
from weir.blobs import Blobs
from weir.kafka.producer import Producer
from weir.kafka.records import Decoder, Raw
from weir.settings import Settings
from weir.views.turns import TurnViews

T = TypeVar("T")

READER = Person(subject="reader", groups=["everyone"])
PATIENCE = 60.0


class Asker:
    """`async with Asker(settings, producer) as asker`."""

    def __init__(self, settings: Settings, producer: Producer, workspace: str = "library") -> None:
        self.settings, self.producer, self.workspace = settings, producer, workspace
        self._decoder = Decoder(settings, Blobs(settings))
        self._tail = Tail(settings, topics.ANSWERS.named(settings.prefix), self._take)
        self._numbers = itertools.count()
        self._moved = asyncio.Event()
        self.log: list[AnswerFrame] = []
        """Every frame, in the order of its partition."""
        self.answers: dict[str, Answer] = {}
        self.effects: dict[str, list[tuple[Effect, AnswerFrame, float]]] = {}
        """By answer: what each frame did, the frame, when it was read."""

    async def __aenter__(self) -> Asker:
        self._tail.start()
        for partition in range(self.producer.partitions(topics.ANSWERS.named(self.settings.prefix))):
            await self._tail.follow(partition, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tail.close()

    async def ask(self, question: str, *, conversation: str | None = None, person: Person = READER,
                  request: str | None = None, workspace: str | None = None, **fields: Any) -> str:
        """Publishes a question and returns the answer's id."""
        number = next(self._numbers)
        conversation = conversation or f"conversation-{number}"
        answer = keys.answer_id(conversation, person.subject, request or f"request-{number}")
        await self.producer.send(topics.QUESTIONS.named(self.settings.prefix), conversation, QuestionAsked(
            answer=answer, conversation=conversation, workspace=workspace or self.workspace, question=question,
            person=person, asked_at=time.time_ns() // 1_000_000, **fields))
        return answer

    async def cancel(self, answer: str, conversation: str, subject: str = READER.subject) -> None:
        await self.producer.send(topics.QUESTIONS.named(self.settings.prefix), conversation, CancelAnswer(
            answer=answer, conversation=conversation, subject=subject, at=time.time_ns() // 1_000_000))

    async def ended(self, answer: str, patience: float = PATIENCE) -> Answer:
        return await self.until(answer, lambda a: a.ended, patience)

    async def until(self, answer: str, holds: Callable[[Answer], bool], patience: float = PATIENCE) -> Answer:
        """The answer once `holds` says so of it."""
        async with asyncio.timeout(patience):
            while answer not in self.answers or not holds(self.answers[answer]):
                self._moved.clear()
                await self._moved.wait()
        return self.answers[answer]

    def _take(self, raws: list[Raw]) -> None:
        for raw in raws:
            record = self._decoder.now(raw)
            assert record is not None and isinstance(record.event, AnswerFrame)
            frame = record.event
            self.log.append(frame)
            effect = self.answers.setdefault(frame.answer, Answer()).apply(frame)
            self.effects.setdefault(frame.answer, []).append((effect, frame, time.perf_counter()))
        self._moved.set()


async def turn_of(turns: TurnViews, answer: str) -> Turn:
    found: Turn = await until(lambda: turns.get(answer), "the turn")
    return found
