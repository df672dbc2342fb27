"""What nobody answers is ended once, however many watchdogs there are, and only when it has really stopped."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from schemas import topics
from schemas.events import Accepted, AnswerFrame, Delta, Done, Failed, Outcome
from streams import watchdog
from tests.kit.answers import READER, Asker
from tests.kit.pipeline import Pipeline, pipeline
from weir.answers.attempts import Effect
from weir.clock import system_clock
from weir.kafka.process import Context

pytestmark = pytest.mark.services

TIMEOUT = 3.0


@asynccontextmanager
async def watching(made: Pipeline, count: int) -> AsyncIterator[None]:
    """So many watchdogs at once."""
    stop = asyncio.Event()
    running = [asyncio.create_task(watchdog.main(Context(made.settings, made.producer, stop, system_clock)))
               for _ in range(count)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*running)


@pytest.fixture
async def made() -> AsyncIterator[Pipeline]:
    async with pipeline(answer_timeout=TIMEOUT) as made:
        yield made


@pytest.fixture
async def asker(made: Pipeline) -> AsyncIterator[Asker]:
    async with Asker(made.settings, made.producer) as asker:
        yield asker


class Worker:
    """Writes frames of one attempt by hand."""

    def __init__(self, made: Pipeline, answer: str, conversation: str) -> None:
        self._made, self._answer, self._conversation = made, answer, conversation
        self._attempt, self._seq = uuid.uuid4().hex, 0

    async def say(self, body: Accepted | Delta | Done) -> None:
        await self._made.producer.send(self._made.topic(topics.ANSWERS), self._conversation, AnswerFrame(
            answer=self._answer, conversation=self._conversation, attempt=self._attempt, seq=self._seq,
            at=system_clock(), body=body))
        self._seq += 1


def accepted() -> Accepted:
    return Accepted(question="?", workspace="library", person=READER, asked_at=0)


def done(text: str) -> Done:
    return Done(outcome=Outcome.ANSWERED, text=text, sources=[], citations=[], model="m")


def ends(asker: Asker, answer: str) -> list[AnswerFrame]:
    return [f for e, f, _ in asker.effects[answer] if e is not Effect.IGNORED and isinstance(f.body, Done | Failed)]


async def test_two_watchdogs_end_each_question_once(made: Pipeline, asker: Asker) -> None:
    async with watching(made, 2):
        answers = [await asker.ask("Is anybody there?") for _ in range(10)]
        for answer in answers:
            ended = await asker.ended(answer)
            assert isinstance(ended.terminal, Failed) and ended.terminal.code == "timeout"
        await asyncio.sleep(TIMEOUT)
        assert [len(ends(asker, answer)) for answer in answers] == [1] * 10
        assert [asker.answers[answer].attempts for answer in answers] == [1] * 10


async def test_an_answer_that_moves_is_left_alone_and_one_that_stops_is_ended(made: Pipeline, asker: Asker) -> None:
    async with watching(made, 1):
        moves = await asker.ask("A long story?", conversation="moves")
        stops = await asker.ask("A short story?", conversation="stops")
        lively, stuck = Worker(made, moves, "moves"), Worker(made, stops, "stops")
        for worker in (lively, stuck):
            await worker.say(accepted())
            await worker.say(Delta(text="Once", position=0))
        for n in range(8):
            await asyncio.sleep(TIMEOUT / 4)
            await lively.say(Delta(text=" more", position=4 + 5 * n))
        await lively.say(done("Once" + " more" * 8))
        assert isinstance((await asker.ended(moves)).terminal, Done)
        ended = await asker.ended(stops)
        assert isinstance(ended.terminal, Failed) and ended.attempts == 2
        # The worker wakes up and goes on: nobody listens any more.
        await stuck.say(done("Once upon a time"))
        assert len(ends(asker, stops)) == 1


async def test_a_watchdog_that_was_away_reads_what_happened_before_it_judges(made: Pipeline, asker: Asker) -> None:
    answered = await asker.ask("Who answered?", conversation="answered")
    worker = Worker(made, answered, "answered")
    await worker.say(accepted())
    await worker.say(done("I did."))
    alone = await asker.ask("Nobody?", conversation="alone")
    await asyncio.sleep(TIMEOUT * 1.5)
    async with watching(made, 1):
        assert isinstance((await asker.ended(alone)).terminal, Failed)
        assert sum(isinstance(frame.body, Accepted) for _, frame, _ in asker.effects[answered]) == 1
        assert len(ends(asker, answered)) == 1
