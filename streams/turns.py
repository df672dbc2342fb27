"""Frames to finished turns: `answers` -> `turns` and `usage`.

The record that holds `Accepted` stays open until the turn of its answer is written. So no offset behind an open answer
is ever committed: whoever takes the partition over reads each open answer from its beginning, and folds the ones that
ended in between once more, to the same turn. A sum over `usage` counts each turn once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from schemas import keys, topics
from schemas.events import Accepted, AnswerFrame, Done, Failed, Outcome, Turn, TurnOutcome, Usage
from weir import telemetry
from weir.answers.attempts import Answer
from weir.kafka.handlers import Each
from weir.kafka.process import Context, run_process
from weir.kafka.producer import Producer
from weir.kafka.records import Record
from weir.kafka.worker import Partition, Worker
from weir.settings import Settings

NAME = "streams.turns"
GATHER = 0.05
"""Seconds that frames are gathered: no follow-up comes sooner."""
REMEMBERED = 10_000
"""Answers of a partition whose end is remembered: what still arrives of them changes nothing."""

log = telemetry.logger(__name__)


@dataclass(slots=True)
class Open:
    """An answer, and whether its turn is written."""

    answer: Answer = field(default_factory=Answer)
    written: asyncio.Event = field(default_factory=asyncio.Event)


class Turns:
    """Handles one record of `answers`. Calls must start in the order of the partition."""

    def __init__(self, settings: Settings, producer: Producer) -> None:
        self._producer = producer
        self._turns = topics.TURNS.named(settings.prefix)
        self._usage = topics.USAGE.named(settings.prefix)
        self._open: dict[Partition, dict[str, Open]] = {}
        self._finished: dict[Partition, OrderedDict[str, None]] = {}

    async def handle(self, record: Record) -> None:
        """
        Raises:
            Unavailable: Kafka did not take the turn; the same call again writes it.
        """
        frame = record.event
        if not isinstance(frame, AnswerFrame):
            return
        partition = (record.topic, record.partition)
        answers, finished = self._open.setdefault(partition, {}), self._finished.setdefault(partition, OrderedDict())
        opened = answers.get(frame.answer)
        if opened is None:
            if not isinstance(frame.body, Accepted) or frame.answer in finished:
                return
            opened = answers[frame.answer] = Open()
        opened.answer.apply(frame)
        if isinstance(frame.body, Accepted):
            await opened.written.wait()
        elif frame.body is opened.answer.terminal or self._is_end(frame, opened.answer):
            await self._write(frame, opened)
            answers.pop(frame.answer, None)
            finished[frame.answer] = None
            while len(finished) > REMEMBERED:
                finished.popitem(last=False)

    async def revoked(self, partitions: list[Partition]) -> None:
        """Another worker folds these from their beginning."""
        for partition in partitions:
            self._open.pop(partition, None)
            self._finished.pop(partition, None)

    @staticmethod
    def _is_end(frame: AnswerFrame, answer: Answer) -> bool:
        """Whether the frame is the answer's end, seen again because writing the turn failed."""
        return answer.ended and frame.attempt == answer.attempt and frame.seq == answer.next_seq - 1

    async def _write(self, frame: AnswerFrame, opened: Open) -> None:
        turn = turn_of(frame, opened.answer)
        await self._producer.send(self._turns, keys.turn_key(turn.conversation, turn.turn), turn,
                                  partition_key=turn.conversation)
        await self._producer.send(self._usage, turn.person.subject, usage_of(turn))
        opened.written.set()
        log.info("turn", answer=turn.turn, outcome=turn.outcome.value, attempts=turn.attempts)


def turn_of(end: AnswerFrame, answer: Answer) -> Turn:
    """The turn of an answer that has ended with this frame."""
    accepted, terminal = answer.accepted, answer.terminal
    assert accepted is not None and terminal is not None
    failed = terminal if isinstance(terminal, Failed) else None
    done = terminal if isinstance(terminal, Done) else Done(
        outcome=Outcome.ANSWERED, text=answer.text, sources=answer.sources, citations=answer.citations, model="",
        notices=answer.notices)
    return Turn(
        turn=end.answer, conversation=end.conversation, workspace=accepted.workspace, person=accepted.person,
        question=accepted.question, outcome=TurnOutcome.FAILED if failed else TurnOutcome(done.outcome.value),
        text=done.text, sources=done.sources, citations=done.citations, asked_at=accepted.asked_at, finished_at=end.at,
        follows=accepted.follows, code=failed.code if failed else None, message=failed.message if failed else None,
        notices=done.notices, model=done.model, prompt=done.prompt, index=done.index, index_version=done.index_version,
        tokens_in=done.tokens_in, tokens_out=done.tokens_out, cost=done.cost, timings=done.timings,
        attempts=answer.attempts, reuse=done.reuse, earlier=done.earlier)


def usage_of(turn: Turn) -> Usage:
    kind = "search" if turn.outcome is TurnOutcome.SEARCHED else "answer"
    return Usage(subject=turn.person.subject, workspace=turn.workspace, kind=kind, at=turn.finished_at, turn=turn.turn,
                 model=turn.model, tokens_in=turn.tokens_in, tokens_out=turn.tokens_out, cost=turn.cost)


async def main(context: Context) -> None:
    turns = Turns(context.settings, context.producer)
    worker = Worker(
        context.settings, name=NAME, topics=[topics.ANSWERS.named(context.settings.prefix)], producer=context.producer,
        handler=Each(turns.handle, concurrency=None, ordered=False, drain=False), on_revoked=turns.revoked,
        max_in_flight=50_000, max_in_flight_bytes=256 * 2**20, gather=GATHER)
    await worker.run(context.stop)


if __name__ == "__main__":
    run_process(NAME, main)
