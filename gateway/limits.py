"""Refusing early: how fast one person may ask, how much may be open at a time.

Each gateway counts by itself; behind a load balancer a person has these limits on each.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from weir.errors import Overloaded
from weir.settings import Settings

REMEMBERED = 100_000
"""People whose buckets are kept; the one who was quiet longest is forgotten, which gives them a full bucket."""

Clock = Callable[[], float]
"""Monotonic seconds."""


class TokenBuckets:
    """A bucket of `per_minute` tokens for each key, filled evenly."""

    def __init__(self, per_minute: float, clock: Clock, *, burst: float | None = None) -> None:
        self._rate = per_minute / 60
        self._size = burst or per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Takes a token: 0.0 where there was one, else the seconds until there is."""
        now = self._clock()
        tokens, at = self._buckets.pop(key, (self._size, now))
        tokens = min(self._size, tokens + (now - at) * self._rate)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._rate
        self._buckets[key] = (tokens - 1 if wait == 0 else tokens, now)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return wait


class Limits:
    """The limits of one gateway."""

    def __init__(self, settings: Settings, clock: Clock = time.monotonic) -> None:
        self._settings = settings
        self._questions = TokenBuckets(settings.questions_per_minute, clock)
        self._publishes = TokenBuckets(settings.publishes_per_minute, clock)
        self._tasks = TokenBuckets(settings.tasks_per_minute, clock)
        self._acts = TokenBuckets(settings.acts_per_minute, clock)
        self._sign_ins = TokenBuckets(settings.sign_ins_per_minute, clock)
        self._open: Counter[str] = Counter()

    @property
    def open_answers(self) -> int:
        return self._open.total()

    def open(self, subject: str) -> None:
        """Counts an answer in; `close` must follow.

        Raises:
            Overloaded: the person, or this gateway, has as many open answers as it may, or the person asks too fast.
        """
        if self._open[subject] >= self._settings.questions_in_flight:
            raise Overloaded(f"you have {self._open[subject]} questions open and may have "
                             f"{self._settings.questions_in_flight}: wait for one to finish, or cancel it",
                             retry_after=2)
        if self.open_answers >= self._settings.open_answers:
            raise Overloaded("this gateway streams as many answers as it can: try again in a moment", retry_after=2)
        if wait := self._questions.take(subject):
            raise Overloaded(f"you may ask {self._settings.questions_per_minute} questions a minute",
                             retry_after=round(wait, 2))
        self._open[subject] += 1

    def close(self, subject: str) -> None:
        self._open[subject] -= 1
        if self._open[subject] <= 0:
            del self._open[subject]

    def publish(self, subject: str) -> None:
        """Raises: Overloaded: the person publishes too fast."""
        if wait := self._publishes.take(subject):
            raise Overloaded(f"you may publish {self._settings.publishes_per_minute} documents a minute",
                             retry_after=round(wait, 2))

    def task(self, subject: str) -> None:
        """Raises: Overloaded: the person begins tasks too fast."""
        if wait := self._tasks.take(subject):
            raise Overloaded(f"you may begin {self._settings.tasks_per_minute} tasks a minute",
                             retry_after=round(wait, 2))

    def act(self, subject: str) -> None:
        """Raises: Overloaded: the person steers tasks, or decides, too fast."""
        if wait := self._acts.take(subject):
            raise Overloaded(f"you may do {self._settings.acts_per_minute} things to tasks a minute",
                             retry_after=round(wait, 2))

    def sign_in(self, address: str) -> None:
        """Raises: Overloaded: too many attempts came from this address."""
        if wait := self._sign_ins.take(address):
            raise Overloaded("too many attempts to sign in: wait a little", retry_after=round(wait, 2))
