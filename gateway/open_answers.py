"""The answers that this gateway is listening to, whoever asked and however many follow.

    opened ──records──▶ told to each follower ──Done | Failed──▶ ended, kept a minute for those who ask again
       │
       └── somebody joins in the middle: records wait while the log is read back, then all go on in order

An answer stays open without followers: closing a socket does not cancel, and whoever comes back finds the records here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gateway.catch_up import CatchUp, MovedOn
from gateway.frames import Frames
from gateway.limits import Limits
from gateway.metrics import FIRST_TEXT, OPEN_ANSWERS
from gateway.wire import Cursor, Message, Received, View, error_message
from schemas.events import Accepted, Delta
from weir import telemetry
from weir.answers.attempts import Answer
from weir.errors import Unavailable, WeirError
from weir.settings import Settings

log = telemetry.logger(__name__)

KEEP_ENDED = 60.0
"""Seconds that an ended answer's records stay here."""
KEEP_RECORDS = 4096
"""Records of one answer that are kept; a client further behind reads the log."""
SILENCE = (1.0, 2.0, 4.0)
"""Seconds between looks among the finished turns for an answer from which nothing came: it may have been asked before,
through another gateway."""

Send = Callable[[Message], None]


@dataclass(eq=False, slots=True)
class Follower:
    """One client of one answer."""

    send: Send
    view: View = field(default_factory=View)
    lost: bool = False
    """Whether the beginning is missing here, so that nothing can be told until it was read back."""

    def tell(self, received: Received) -> None:
        if not self.lost and (message := self.view.message(received)) is not None:
            self.send(message)


@dataclass(eq=False, slots=True)
class OpenAnswer:
    answer: str
    conversation: str
    subject: str
    partition: int
    touched: float
    records: list[Received] = field(default_factory=list)
    state: Answer = field(default_factory=Answer)
    followers: set[Follower] = field(default_factory=set)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: list[Received] | None = None
    """Records that came while the log is read back."""
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    asked: float | None = None
    """When it was asked here, in monotonic seconds, until its first text has come."""
    counted: bool = False
    """Whether it counts against the person's limit."""
    finished: bool = False

    def take(self, received: Received) -> None:
        """The next record of the log; one that was taken before changes nothing."""
        if self.waiting is not None:
            self.waiting.append(received)
            return
        if self.records and received.offset <= self.records[-1].offset:
            return
        self.records.append(received)
        if self.asked is not None and isinstance(received.frame.body, Delta):
            FIRST_TEXT.observe(time.monotonic() - self.asked)
            self.asked = None
        if len(self.records) > KEEP_RECORDS:
            del self.records[:KEEP_RECORDS // 2]
        self.state.apply(received.frame)
        for follower in list(self.followers):
            follower.tell(received)

    @property
    def begins(self) -> bool:
        """Whether the first record here is the first frame of an attempt."""
        return bool(self.records) and isinstance(self.records[0].frame.body, Accepted)

    def at(self, cursor: Cursor) -> int | None:
        """Place of the cursor's record among those here."""
        return next((i for i, r in enumerate(self.records) if r.cursor == cursor), None)

    def splice(self, read: list[Received]) -> None:
        """Puts what the log says in front of what came meanwhile."""
        came, self.waiting = self.waiting or [], None
        known = self.records
        self.records = []
        for received in sorted({r.offset: r for r in [*read, *known]}.values(), key=lambda r: r.offset):
            self.records.append(received)
        first = self.records[0].frame if self.records else None
        self.state = Answer() if first is None or self.begins else Answer.at(first.attempt, first.seq - 1)
        for received in self.records:
            self.state.apply(received.frame)
        for received in came:
            self.take(received)


class OpenAnswers:
    """All open answers of a gateway."""

    def __init__(self, settings: Settings, limits: Limits, catch_up: CatchUp) -> None:
        self._settings = settings
        self._limits = limits
        self._catch_up = catch_up
        self._answers: dict[str, OpenAnswer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.frames = Frames(settings, self.deliver)

    async def start(self) -> None:
        await self.frames.start()
        self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        for task in [self._sweeper, *self._tasks]:
            task.cancel()
        await asyncio.gather(self._sweeper, *self._tasks, return_exceptions=True)
        await self.frames.close()

    def get(self, answer: str) -> OpenAnswer | None:
        return self._answers.get(answer)

    async def open(self, answer: str, conversation: str, subject: str, *, counted: bool) -> tuple[OpenAnswer, bool]:
        """Begins to listen to an answer, or finds the one that is open; and which of the two.

        Raises:
            Overloaded: `counted` and a limit is reached.
            Unavailable: Kafka does not answer.
        """
        if (found := self._answers.get(answer)) is not None:
            await found.listening.wait()
            return found, False
        if counted:
            self._limits.open(subject)
        opened = OpenAnswer(answer, conversation, subject, self.frames.partition(conversation), time.monotonic(),
                            counted=counted)
        OPEN_ANSWERS.inc()
        self._answers[answer] = opened  # before anything is awaited: a second ask in this moment must find it
        try:
            await self.frames.listen(conversation)
        except BaseException:
            del self._answers[answer]
            OPEN_ANSWERS.dec()
            if counted:
                self._limits.close(subject)
            raise
        finally:
            opened.listening.set()
        return opened, True

    def follow(self, opened: OpenAnswer, send: Send) -> Follower:
        """Tells a client the answer from its beginning, as far as it is known here, and whatever comes."""
        follower = Follower(send, lost=bool(opened.records) and not opened.begins)
        for received in opened.records:
            follower.tell(received)
        opened.followers.add(follower)
        return follower

    async def resume(self, opened: OpenAnswer, cursor: Cursor, send: Send) -> Follower | None:
        """Tells a client exactly what it missed after the cursor and whatever comes; None where the log has moved on.

        Raises:
            Unavailable: Kafka does not answer.
        """
        if opened.at(cursor) is None:
            try:
                await self._read_back(opened, self._catch_up.since(cursor, opened.conversation, opened.answer))
            except MovedOn:
                return None
        at = opened.at(cursor)
        if at is None:
            return None
        seen = opened.records[at]
        again = seen.frame.body is opened.state.terminal  # the end itself may have been lost on its way
        follower = Follower(send, View(Answer.at(seen.frame.attempt, seen.frame.seq - again)))
        for received in opened.records[at + (not again):]:
            follower.tell(received)
        opened.followers.add(follower)
        return follower

    async def recall(self, opened: OpenAnswer) -> bool:
        """Reads the log back to the answer's first frame; whether it is there.

        Raises:
            Unavailable: Kafka does not answer.
        """
        if not opened.begins:
            await self._read_back(opened, self._catch_up.recent(opened.partition, opened.conversation, opened.answer))
        return opened.begins

    def anew(self, opened: OpenAnswer, send: Send) -> Follower:
        """Tells a client all that was said so far at once, then whatever comes. For an answer that was recalled."""
        view = View()
        told = [(m, r) for r in opened.records if (m := view.message(r)) is not None]
        send(view.snapshot(told[-1][1]))
        if view.ended:
            send(told[-1][0])
        follower = Follower(send, view)
        opened.followers.add(follower)
        return follower

    async def _read_back(self, opened: OpenAnswer, reading: Awaitable[list[Received]]) -> None:
        async with opened.reading:
            opened.waiting = []
            read: list[Received] = []
            try:
                read = await reading
            finally:
                opened.splice(read)
                self._finish_if_ended(opened)

    def deliver(self, batch: list[Received]) -> None:
        """Records from the listener, in order."""
        for received in batch:
            opened = self._answers.get(received.frame.answer)
            if opened is None or received.frame.conversation != opened.conversation:
                continue
            opened.touched = time.monotonic()
            missed = not opened.records and opened.waiting is None and not isinstance(received.frame.body, Accepted)
            opened.take(received)
            if missed and opened.followers:  # it was asked before, and its beginning is in the log
                for follower in opened.followers:
                    follower.lost = True
                self._spawn(self._from_the_start(opened))
            self._finish_if_ended(opened)

    async def _from_the_start(self, opened: OpenAnswer) -> None:
        told: Message | None = None
        try:
            if not await self.recall(opened):
                raise Unavailable("the beginning of this answer is not in the log: look in your history, or ask again")
        except WeirError as e:
            told = error_message(e, answer=opened.answer, conversation=opened.conversation)
        for follower in [f for f in opened.followers if f.lost]:
            follower.lost = False
            if told is not None:
                follower.send(told)
                opened.followers.discard(follower)
                continue
            for received in opened.records:
                follower.tell(received)
        if opened.finished:
            opened.followers.clear()

    def watch(self, opened: OpenAnswer, look: Callable[[OpenAnswer], Awaitable[None]]) -> None:
        """Calls `look` while nothing comes: the answer may have ended before this gateway listened."""
        async def watch() -> None:
            for pause in SILENCE:
                await asyncio.sleep(pause)
                if not opened.records and not opened.finished and opened.waiting is None:
                    await look(opened)

        self._spawn(watch())

    def _spawn(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            try:
                await work
            except WeirError as e:
                log.warning("an open answer cannot be looked for", code=e.code, reason=e.message)
            except Exception:
                log.exception("an open answer could not be looked for")

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def end(self, opened: OpenAnswer, *messages: Message) -> None:
        """Ends an answer by other means than its own last frame: a finished turn, or an error."""
        if not opened.finished:
            for follower in list(opened.followers):
                for message in messages:
                    follower.send(message)
            self._finish(opened)
            self._forget(opened)

    def _finish_if_ended(self, opened: OpenAnswer) -> None:
        if opened.state.ended and not opened.finished and opened.waiting is None:
            self._finish(opened)

    def _finish(self, opened: OpenAnswer) -> None:
        opened.finished = True
        opened.followers = {f for f in opened.followers if f.lost}
        opened.touched = time.monotonic()
        if opened.counted:
            self._limits.close(opened.subject)

    def _forget(self, opened: OpenAnswer) -> None:
        if self._answers.pop(opened.answer, None) is not None:
            OPEN_ANSWERS.dec()
            self.frames.leave(opened.conversation)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(5)
            now = time.monotonic()
            for opened in list(self._answers.values()):
                if opened.finished and now - opened.touched > KEEP_ENDED:
                    self._forget(opened)
                elif now - opened.touched > self._settings.answer_timeout * 1.5:
                    error = Unavailable("nothing came for too long: ask again", retry_after=5)
                    self.end(opened, error_message(error, answer=opened.answer, conversation=opened.conversation))
            try:
                await self.frames.sweep()
            except Exception as e:  # the next round tries again
                log.warning("partitions could not be let go", reason=str(e))

