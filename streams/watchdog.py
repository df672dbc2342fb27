"""Ends what nobody answers: `questions` and `answers` -> `answers`.

Each question stays open here until its answer has ended. One whose answer has not moved for `answer_timeout` seconds
(the worker hangs, or nobody took it) gets a last attempt: `Accepted`, then `Failed` with code `timeout`. Should a
worker take it at that very moment, the log's order decides: either this attempt is the live one when its end arrives,
or the end is ignored and the worker's counts. Nothing is judged before everything in the partition has been read.

Open questions are not committed, so that a new watchdog reads them again, and the frames since then with them.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from schemas import keys, topics
from schemas.events import Accepted, AnswerFrame, Failed, QuestionAsked
from weir import telemetry
from weir.answers.attempts import Answer
from weir.answers.tail import Tail
from weir.clock import Clock
from weir.errors import BadRecord, Unavailable, WeirError
from weir.kafka.handlers import Each
from weir.kafka.process import Context, run_process
from weir.kafka.producer import Producer
from weir.kafka.records import Decoder, Raw, Record
from weir.kafka.worker import Partition, Worker
from weir.settings import Settings

NAME = "streams.watchdog"
GATHER = 0.5
"""Seconds that records are gathered: what is watched takes far longer."""
REMEMBERED = 100_000
"""Answers whose end is remembered in case their question is read later."""
OPEN = 10_000
"""Answers that are followed at a time."""
MARGIN = 10_000
"""Milliseconds by which the clocks of two machines may differ."""
TOO_OLD = 12 * 3600 * 1000
"""Milliseconds after which a question is let go: its frames may have left the log already."""
LOOKS = 10
"""How often each open question is looked at within the time-out."""

log = telemetry.logger(__name__)


@dataclass(slots=True)
class Watched:
    """A question whose answer has not ended."""

    question: QuestionAsked
    partition: int
    """Of `answers`."""
    moved_at: int
    """Milliseconds since the epoch."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Watchdog:
    """Handles one record of `questions`; `frames` takes the records of `answers`."""

    def __init__(self, settings: Settings, producer: Producer, clock: Clock, new_id: Callable[[], str]) -> None:
        self._producer, self._clock, self._new_id = producer, clock, new_id
        self._timeout = settings.answer_timeout
        self._topic = topics.ANSWERS.named(settings.prefix)
        self._tail = Tail(settings, self._topic, self.frames, gather=GATHER)
        self._decoder = Decoder(settings, producer.blobs)
        self._watched: dict[str, Watched] = {}
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._slow: set[asyncio.Task[None]] = set()

    async def handle(self, record: Record) -> None:
        """Returns when the answer has ended, by whomever.

        Raises:
            Unavailable: Kafka does not answer.
        """
        question = record.event
        if not isinstance(question, QuestionAsked) or self._clock() - record.timestamp > TOO_OLD:
            return
        partitions = await asyncio.to_thread(self._producer.partitions, self._topic)
        partition = keys.partition(question.conversation, partitions)
        watched = self._watched.setdefault(question.answer, Watched(question, partition, record.timestamp))
        try:
            await self._tail.follow(partition, record.timestamp - MARGIN)
            if question.answer not in self._ended:
                await watched.ended.wait()
        finally:
            if self._watched.get(question.answer) is watched:
                del self._watched[question.answer]

    async def revoked(self, _: list[Partition]) -> None:
        """Stops reading what no open question needs."""
        needed = {w.partition for w in self._watched.values()}
        for partition in set(self._tail.since) - needed:
            await self._tail.unfollow(partition)

    def frames(self, raws: list[Raw]) -> None:
        for raw in raws:
            try:
                record = self._decoder.now(raw)
            except BadRecord:
                continue
            if record is None:
                # A large last frame: nothing of this answer follows it but what is ignored anyway.
                task = asyncio.create_task(self._decode(raw))
                self._slow.add(task)
                task.add_done_callback(self._slow.discard)
            elif isinstance(record.event, AnswerFrame):
                self._frame(record.event, record.timestamp)

    async def _decode(self, raw: Raw) -> None:
        try:
            record = await self._decoder.decode(raw)
        except WeirError as e:
            log.warning("cannot read a frame", reason=e.message)
            return
        if isinstance(record.event, AnswerFrame):
            self._frame(record.event, record.timestamp)

    def _frame(self, frame: AnswerFrame, at: int) -> None:
        if frame.answer in self._ended:
            return
        answer = self._answers.setdefault(frame.answer, Answer())
        counted, attempt = answer.next_seq, answer.attempt
        answer.apply(frame)
        watched = self._watched.get(frame.answer)
        if watched is not None:
            if (answer.next_seq, answer.attempt) != (counted, attempt):
                watched.moved_at = max(watched.moved_at, at)
            if answer.ended:
                watched.ended.set()
        if answer.ended:
            # Only the fact is kept: an answer with its sources takes twenty kilobytes.
            del self._answers[frame.answer]
            self._ended[frame.answer] = None
        else:
            self._answers.move_to_end(frame.answer)
        for kept, most in ((self._answers, OPEN), (self._ended, REMEMBERED)):
            while len(kept) > most:
                kept.popitem(last=False)

    async def watch(self) -> None:
        """Looks at every open question now and then, for ever."""
        self._tail.start()
        try:
            while True:
                await asyncio.sleep(self._timeout / LOOKS)
                try:
                    await self._look()
                except WeirError as e:
                    log.warning("cannot end answers now", code=e.code, reason=e.message)
        finally:
            await self._tail.close()

    async def _look(self) -> None:
        now = self._clock()
        late = [w for w in self._watched.values() if now - w.moved_at > self._timeout * 1000]
        caught_up = {p: await self._tail.caught_up(p) for p in {w.partition for w in late}}
        for watched in late:
            if caught_up[watched.partition] and not watched.ended.is_set():
                await self._end(watched)

    async def _end(self, watched: Watched) -> None:
        question, attempt = watched.question, self._new_id()
        bodies: tuple[Accepted, Failed] = (
            Accepted(question=question.question, workspace=question.workspace, person=question.person,
                     asked_at=question.asked_at, follows=question.follows, search_only=question.search_only),
            Failed(code="timeout", retriable=True, retry_after=1.0, message="Nobody answered for "
                   f"{self._timeout:.0f} s. Ask again; `weir status` shows whether the answers workers run."))
        watched.moved_at = self._clock()
        for seq in range(len(bodies)):
            await self._producer.send(self._topic, question.conversation, AnswerFrame(
                answer=question.answer, conversation=question.conversation, attempt=attempt, seq=seq,
                at=self._clock(), body=bodies[seq]))
        log.warning("ended an answer that did not move", answer=question.answer)


async def main(context: Context) -> None:
    watchdog = Watchdog(context.settings, context.producer, context.clock, lambda: f"watchdog-{uuid.uuid4().hex}")
    worker = Worker(
        context.settings, name=NAME, topics=[topics.QUESTIONS.named(context.settings.prefix)],
        producer=context.producer, on_revoked=watchdog.revoked,
        handler=Each(watchdog.handle, concurrency=None, ordered=False, drain=False), gather=GATHER)
    watching = asyncio.create_task(watchdog.watch())
    working = asyncio.create_task(worker.run(context.stop))
    try:
        await asyncio.wait([watching, working], return_when=asyncio.FIRST_COMPLETED)
    finally:
        context.stop.set()
        await asyncio.gather(working)
        watching.cancel()
        results = await asyncio.gather(watching, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise Unavailable(f"the watch over open answers ended: {result}") from result


if __name__ == "__main__":
    run_process(NAME, main)
