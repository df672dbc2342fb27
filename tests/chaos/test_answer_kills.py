"""Answers while their workers die: every question ends exactly once, no character is lost, every turn is whole."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from schemas import keys, topics
from schemas.events import Accepted, Delta, DocumentPublished, Done, Failed, Outcome, TurnOutcome
from tests.kit.answers import Asker, turn_of
from tests.kit.system import NAMES, System, system
from tests.kit.waiting import until
from weir.answers.attempts import Answer, Effect
from weir.kafka.producer import Producer
from weir.stores import elasticsearch
from weir.views.turns import TurnViews

pytestmark = pytest.mark.chaos

QUESTIONS = 50
NEEDED = tuple(name for name in NAMES if name != "gateway")
SEED = 20261121
TREES = ("Alder", "Birch", "Cedar", "Damson", "Elm", "Fir", "Gorse", "Hazel", "Juniper", "Larch")
"""Names of the contracts: a digit alone is no word that a keyword search knows."""


@asynccontextmanager
async def asking(home: Path, **changes: Any) -> AsyncIterator[tuple[System, Asker]]:
    """A Weir without a gateway, a small library in its keyword store, and someone who asks on the log."""
    async with system(home, start=False, **changes) as made:
        await made.start(*NEEDED)
        async with Producer(made.settings) as producer, Asker(made.settings, producer) as asker:
            for number, tree in enumerate(TREES):
                name = f"contract-{tree}"
                await producer.send(
                    topics.DOCUMENTS.named(made.settings.prefix), keys.document_key("library", name),
                    DocumentPublished(workspace="library", document=name, title=f"Contract {tree}",
                                      media_type="text/markdown", publisher="test",
                                      content=f"The notice period of contract {tree} is {number + 20} days."
                                      .encode()))
            await until(lambda: found_all(asker), what="the library to be found")
            yield made, asker


async def found_all(asker: Asker) -> bool:
    ended = await asker.ended(await asker.ask("notice period contract", search_only=True, limit=20))
    return isinstance(ended.terminal, Done) and len(ended.terminal.sources) == 10


def shown(asker: Asker, answer: str) -> tuple[str, int]:
    """What a reader of the frames has in the end, and how many ends counted."""
    text, ends = "", 0
    for effect, frame, _ in asker.effects[answer]:
        if effect is Effect.RESET:
            text = ""
        if effect is not Effect.IGNORED:
            text += frame.body.text if isinstance(frame.body, Delta) else ""
            ends += isinstance(frame.body, Done | Failed)
    return text, ends


async def test_every_answer_is_whole_while_workers_are_killed_and_frozen(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    async with asking(tmp_path) as (made, asker):
        asked: dict[str, int] = {}

        async def ask() -> None:
            for n in range(QUESTIONS):
                asked[await asker.ask(f"What is the notice period of contract {TREES[n % 10]}?")] = n % 10
                await asyncio.sleep(0.15)

        async def disturb() -> None:
            for _ in range(4):
                await asyncio.sleep(chance.uniform(0.3, 1.5))
                victim = chance.choice(["streams.answers", "streams.answers", "streams.turns", "streams.watchdog"])
                if chance.random() < 0.3:
                    made.freeze(victim)
                    await asyncio.sleep(chance.uniform(7, 9))
                    made.thaw(victim)
                else:
                    made.kill(victim)
                    await made.start(victim)

        await asyncio.gather(ask(), disturb())
        failures = 0
        async with elasticsearch(made.settings) as es:
            for answer, number in asked.items():
                ended: Answer = await asker.ended(answer, 90)
                while isinstance(ended.terminal, Failed):
                    # A server that was too slow: told as it should be, once, and asked again.
                    assert ended.terminal.retriable, ended.terminal
                    assert shown(asker, answer)[1] == 1
                    failures += 1
                    assert failures < QUESTIONS, ended.terminal
                    await asyncio.sleep(ended.terminal.retry_after or 1.0)
                    answer = await asker.ask(f"What is the notice period of contract {TREES[number]}?")
                    ended = await asker.ended(answer, 90)
                assert isinstance(ended.terminal, Done)
                assert f"{number + 20} days" in ended.terminal.text
                assert shown(asker, answer) == (ended.terminal.text, 1)
                turn = await turn_of(TurnViews(es, made.settings), answer)
                assert (turn.text, turn.outcome) == (ended.terminal.text, TurnOutcome.ANSWERED)


async def test_a_question_that_nobody_answers_is_ended_once_though_the_watchdog_is_killed(tmp_path: Path) -> None:
    async with asking(tmp_path, answer_timeout=4.0) as (made, asker):
        made.kill("streams.answers")
        answers = [await asker.ask("What is the notice period of contract Damson?") for _ in range(10)]
        made.kill("streams.watchdog")
        await made.start("streams.watchdog")
        for answer in answers:
            ended = await asker.ended(answer)
            assert isinstance(ended.terminal, Failed) and ended.terminal.code == "timeout"
            assert shown(asker, answer)[1] == 1
        # A worker that comes late finds them finished: it neither answers nor disturbs.
        async with elasticsearch(made.settings) as es:
            for answer in answers:
                assert (await turn_of(TurnViews(es, made.settings), answer)).outcome is TurnOutcome.FAILED
            await made.start("streams.answers")
            last = await asker.ended(await asker.ask("What is the notice period of contract Elm?"))
            assert isinstance(last.terminal, Done)
            for answer in answers:
                assert isinstance(asker.answers[answer].terminal, Failed)
                assert (await turn_of(TurnViews(es, made.settings), answer)).outcome is TurnOutcome.FAILED


async def test_a_cancelled_question_ends_as_cancelled_though_its_worker_was_away(tmp_path: Path) -> None:
    async with asking(tmp_path) as (made, asker):
        made.kill("streams.answers")
        answer = await asker.ask("What is the notice period of contract Damson?", conversation="c")
        await asker.cancel(answer, "c", subject="somebody else")
        other = await asker.ask("What is the notice period of contract Fir?", conversation="d")
        await asker.cancel(other, "d")
        await made.start("streams.answers")
        kept, gone = await asker.ended(answer), await asker.ended(other)
        assert isinstance(kept.terminal, Done) and kept.terminal.outcome is Outcome.ANSWERED
        assert isinstance(gone.terminal, Done) and gone.terminal.outcome is Outcome.CANCELLED
        assert sum(isinstance(f.body, Accepted) for _, f, _ in asker.effects[other]) == 1
