"""Does what the effects' loop has committed, and tells the tasks; on the event loop.

    begin    an Intent is committed             -> run it                -> Ended, or Late
    recover  an Intent was left by somebody     -> was it done?          -> Ended
    tell     an Outcome is committed            -> ToolReturned          -> Told
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from consumers.tools.calls import Calls, Ready
from consumers.tools.effect_log import Point, returned_event
from schemas import topics
from schemas.events import Effect, ToolReturned
from weir import telemetry
from weir.clock import Clock
from weir.errors import Unavailable
from weir.kafka.producer import Producer

log = telemetry.logger(__name__)

LEASE = 4.0
"""Seconds after the commit of an Intent within which its effect begins. Whoever was held up for longer may have been
replaced (after a session of 10 s) and first commits once more, which a replaced worker cannot."""
LONGEST_WAIT = 5.0

@dataclass(eq=False, slots=True)
class Held:
    """A call that is not finished with."""

    partition: int
    effect: Effect
    """Its latest record on the log."""
    ready: Ready | None = None
    """None for one that somebody else began."""
    work: asyncio.Task[None] | None = None
    dropped: bool = False
    """True once its partition has left."""


@dataclass(frozen=True, slots=True)
class Ended:
    held: Held
    outcome: ToolReturned


@dataclass(frozen=True, slots=True)
class Late:
    """It was held up, and was not begun."""

    held: Held


@dataclass(frozen=True, slots=True)
class Told:
    held: Held


class Hands:
    """
    Args:
        steps: gets what has happened, for the loop.
        timer: seconds that only grow, also while the process is frozen.
        crashed: called with the reason why the process must end.
    """

    def __init__(self, calls: Calls, producer: Producer, steps: SimpleQueue[Ended | Late | Told], clock: Clock,
                 timer: Callable[[], float], point: Point, crashed: Callable[[BaseException], Any]) -> None:
        self._calls, self._producer, self._steps = calls, producer, steps
        self._clock, self._timer, self._point, self._crashed = clock, timer, point, crashed
        self._events = topics.AGENT_EVENTS.named(producer.settings.prefix)

    def begin(self, held: Held, ours: float) -> None:
        """
        Args:
            ours: when the partition was this worker's for certain, by the timer.
        """
        self._start(held, self._do(held, ours))

    def recover(self, held: Held) -> None:
        self._start(held, self._settle(held))

    def tell(self, held: Held) -> None:
        self._start(held, self._tell(held))

    def drop(self, held: Held) -> None:
        """Its partition has left: whoever has it now decides what became of it."""
        held.dropped = True
        if held.work is not None:
            held.work.cancel()

    def _start(self, held: Held, work: Coroutine[Any, Any, None]) -> None:
        if held.dropped:
            work.close()
            return
        held.work = asyncio.get_running_loop().create_task(work)
        held.work.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crashed(error)

    async def _do(self, held: Held, ours: float) -> None:
        assert held.ready is not None
        self._point("after intent")
        if (late := self._timer() - ours) > LEASE:
            log.warning("an effect is late", key=held.effect.key, seconds=round(late, 1))
            self._steps.put(Late(held))
            return
        self._point("before effect")
        command = held.effect.command
        with telemetry.bound(task=command.task, tool=held.ready.tool.name, key=held.effect.key):
            outcome = await self._calls.write(held.ready)
            log.info("effect", outcome=outcome.outcome.value, reason=outcome.error)
        self._point("after effect")
        self._steps.put(Ended(held, outcome))

    async def _settle(self, held: Held) -> None:
        command = held.effect.command
        outcome = await self._calls.recover(command)
        log.warning("an effect was left without an outcome", task=command.task, key=held.effect.key,
                    worker=held.effect.worker, outcome=outcome.outcome.value, reason=outcome.error)
        self._steps.put(Ended(held, outcome))

    async def _tell(self, held: Held) -> None:
        self._point("after outcome")
        command, outcome = held.effect.command, held.effect.outcome
        assert outcome is not None
        wait = 0.1
        while True:
            try:
                await self._producer.send(self._events, command.task, returned_event(command, outcome, self._clock()))
                break
            except Unavailable as e:
                log.warning("cannot tell a task what became of its call", task=command.task, reason=e.message)
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT, 2 * wait)
        self._point("after report")
        self._steps.put(Told(held))
