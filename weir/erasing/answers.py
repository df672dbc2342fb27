"""Answers that are under way while something is erased: their turns must be there before turns are looked at.

An answer whose passages were chosen before the deletion ends after it, and its turn is folded later still. And a
folder that takes a partition over folds what ended behind its committed offset once more: the same turn, with
everything in it. So the erasure waits until each such answer has ended and the folders have committed past its end.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field

from schemas import topics
from schemas.events import Accepted, AnswerFrame, Done, Failed, Sources
from weir.answers.attempts import Answer
from weir.erasing.target import Target
from weir.errors import InputError, Unavailable
from weir.kafka.admin import committed
from weir.kafka.follow import Follower
from weir.kafka.records import Decoder, Raw
from weir.settings import Settings

FOLDER = "streams.turns"
LOOK = 0.3
"""Seconds between two looks."""


_END = Failed(code="", message="", retriable=False)


@dataclass(slots=True)
class Going:
    """An answer and where its last frame stands."""

    answer: Answer = field(default_factory=Answer)
    partition: int = 0
    offset: int = -1
    sourced: bool = False
    """Whether it has its passages."""
    concerned: bool = False
    """Whether it holds something of the target."""


async def over(settings: Settings, decoder: Decoder, target: Target, patience: float) -> None:
    """Returns when every answer that began before now and concerns the target has ended and was folded for good.

    Raises:
        Unavailable: one has not within `patience` seconds; say that `streams.turns` and the watchdog must run.
    """
    until = time.monotonic() + patience
    follower = _Follower(settings, decoder, target)
    try:
        await follower.start()
        waiting = {name for name, going in follower.going.items() if not going.answer.ended
                   and (going.concerned or not going.sourced)}
        while any(not (g := follower.going[name]).answer.ended and (g.concerned or not g.sourced) for name in waiting):
            await _pause(until, f"{len(waiting)} answers are under way; they end within WEIR_ANSWER_TIMEOUT while "
                         "`streams.answers` or `streams.watchdog` runs")
            await follower.step()
        ends: dict[int, int] = {}
        for going in follower.going.values():
            if going.concerned and going.answer.ended:
                ends[going.partition] = max(ends.get(going.partition, 0), going.offset + 1)
    finally:
        await follower.close()
    await passed(settings, FOLDER, topics.ANSWERS.named(settings.prefix), ends, until)


async def passed(settings: Settings, group: str, topic: str, ends: dict[int, int], until: float) -> None:
    """Returns when some group whose name begins so has committed past these offsets.

    Args:
        until: by `time.monotonic`.

    Raises:
        Unavailable: none has in time.
    """
    while ends:
        places = await committed(settings, group)
        if all(max(places.get((topic, n), {"": 0}).values()) >= end for n, end in ends.items()):
            return
        await _pause(until, f"`{group}` has not finished with {topic}; it must run while something is erased")


async def _pause(until: float, reason: str) -> None:
    if time.monotonic() > until:
        raise Unavailable(f"{reason}. Run the same erasure again: it goes on from here.", retry_after=5)
    await asyncio.sleep(LOOK)


class _Follower:
    """Folds `answers` from its beginning."""

    def __init__(self, settings: Settings, decoder: Decoder, target: Target) -> None:
        self._decoder, self._target = decoder, target
        self._arrived: list[Raw] = []
        self._caught_up = threading.Event()
        self._follower = Follower(settings, topics.ANSWERS.named(settings.prefix), self._arrived.extend,
                                  self._caught_up.set)
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="erase-answers", daemon=True)
        self.going: dict[str, Going] = {}

    async def start(self) -> None:
        self._thread.start()
        await asyncio.to_thread(self._caught_up.wait)
        await self.step()

    async def close(self) -> None:
        self._follower.stop()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            self._follower.run()
        except Unavailable as e:
            self._failed.append(e)
            self._caught_up.set()

    async def step(self) -> None:
        """Takes what has arrived."""
        if self._failed:
            raise self._failed[0]
        count = len(self._arrived)
        arrived = self._arrived[:count]
        del self._arrived[:count]
        for raw in arrived:
            try:
                record = self._decoder.now(raw) or await self._decoder.decode(raw)
            except (InputError, Unavailable):
                continue
            if isinstance(record.event, AnswerFrame):
                self._take(record.event, raw)

    def _take(self, frame: AnswerFrame, raw: Raw) -> None:
        going = self.going.setdefault(frame.answer, Going())
        going.answer.apply(frame)
        going.partition, going.offset = raw.partition, raw.offset
        if isinstance(frame.body, Accepted):
            going.sourced = False  # another attempt looks for passages of its own
        elif isinstance(frame.body, Sources | Done):
            going.sourced = True
        going.concerned = going.concerned or self._concerns(going.answer)
        if going.answer.ended:
            going.answer = Answer(terminal=_END)  # its text is of no more use

    def _concerns(self, answer: Answer) -> bool:
        accepted, target = answer.accepted, self._target
        if accepted is None:
            return False
        if target.kind == "person":
            return accepted.person.subject == target.name
        return accepted.workspace == target.workspace and any(s.document == target.document for s in answer.sources)

