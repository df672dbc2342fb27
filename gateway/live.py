"""The gateway's ear on tasks: the engine's replies to people, proposals, and the tasks that somebody here watches.

    agent-replies, decisions                    every record, from the start
    agent-state, agent-events, task-results     the partitions of watched tasks, from when they are

Nothing is kept: whoever comes later asks the views first. All is read committed, so that what is told has happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.tail import Tail
from gateway.task_wire import decision_message, event_message, task_message, waits_for
from gateway.wire import Message
from schemas import codec, topics
from schemas.events import AgentEvent, AgentReply, AgentState, Decision, Person, TaskResult
from weir import telemetry
from weir.errors import NotFound
from weir.kafka.records import Raw
from weir.settings import Settings
from weir.views.decisions import DecisionViews, may_see
from weir.views.tasks import Task, TaskViews, live_task

log = telemetry.logger(__name__)

SWEEP = 30.0
Send = Callable[[Message], None]


class Heard(NamedTuple):
    """A record and its offset."""

    offset: int
    event: AgentReply | Decision | AgentState | AgentEvent | TaskResult


@dataclass(eq=False, slots=True)
class Watcher:
    """One socket that watches tasks, or the approval queue."""

    person: Person
    admin: bool
    send: Send
    tasks: set[str] = field(default_factory=set)
    listening: list[tuple[str, str]] = field(default_factory=list)
    """Topics and tasks that are listened to on its behalf."""
    approvals: bool = False


class Live:
    """Waits for the engine's replies and tells watchers what happens."""

    def __init__(self, settings: Settings, views: TaskViews, proposals: DecisionViews) -> None:
        self._views, self._proposals = views, proposals
        self._replies, self._decisions, self._state, self._events, self._results = (
            t.named(settings.prefix) for t in (topics.AGENT_REPLIES, topics.DECISIONS, topics.AGENT_STATE,
                                               topics.AGENT_EVENTS, topics.TASK_RESULTS))
        names = [self._replies, self._decisions, self._state, self._events, self._results]
        self._tail: Tail[Heard] = Tail(settings, names, _heard, self._deliver, committed=True)
        self._waiting: dict[str, asyncio.Future[AgentReply]] = {}
        """By id of the event that waits for its reply."""
        self._watchers: set[Watcher] = set()

    async def start(self) -> None:
        """Raises: Unavailable: Kafka does not answer, or has no such topics."""
        await self._tail.start()
        await self._tail.follow(self._replies)
        await self._tail.follow(self._decisions)
        self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        self._sweeper.cancel()
        await asyncio.gather(self._sweeper, return_exceptions=True)
        await self._tail.close()

    @property
    def alive(self) -> bool:
        return self._tail.alive

    def expect(self, event: str) -> asyncio.Future[AgentReply]:
        """The engine's reply to an event that is about to be produced. `forget` must follow."""
        waiting = self._waiting.get(event)
        if waiting is None:
            waiting = self._waiting[event] = asyncio.get_running_loop().create_future()
        return waiting

    def forget(self, event: str) -> None:
        self._waiting.pop(event, None)

    # -- watching -------------------------------------------------------------------------------------------------

    def watcher(self, person: Person, admin: bool, send: Send) -> Watcher:
        """Somebody who may watch; `leave` must follow."""
        watcher = Watcher(person, admin, send)
        self._watchers.add(watcher)
        return watcher

    async def watch_task(self, watcher: Watcher, task: str) -> None:
        """Tells how the task stands now, with the proposals that it waits for, and each change from then on. What
        happens in this very moment may be told twice.

        Raises:
            NotFound: there is no such task for this person.
            Unavailable: Kafka or the views do not answer.
        """
        found = await self._views.wait(task)
        if found is None or not (watcher.admin or found.owner.subject == watcher.person.subject):
            raise NotFound("you have no such task; one that was asked for a moment ago appears within a second")
        if task not in watcher.tasks and watcher in self._watchers:
            watcher.tasks.add(task)
            for topic in (self._state, self._events, self._results):
                await self._tail.listen(topic, task)
                watcher.listening.append((topic, task))
        watcher.send({"type": "watching", "task": task})
        now = (await self._views.get(task)) or found
        watcher.send(task_message(now))
        for approval in waits_for(now):
            if (decision := await self._proposals.wait(approval)) is not None:
                watcher.send(decision_message(decision, watcher.person))

    def unwatch_task(self, watcher: Watcher, task: str) -> None:
        watcher.tasks.discard(task)
        for listened in [part for part in watcher.listening if part[1] == task]:
            watcher.listening.remove(listened)
            self._tail.leave(*listened)

    def watch_approvals(self, watcher: Watcher) -> None:
        """Tells of each proposal that this person may see, from now on."""
        watcher.approvals = True
        watcher.send({"type": "watching", "task": None})

    def leave(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        for task in list(watcher.tasks):
            self.unwatch_task(watcher, task)

    # -- what comes -----------------------------------------------------------------------------------------------

    def _deliver(self, came: list[Heard]) -> None:
        for heard in came:
            match heard.event:
                case AgentReply() as reply:
                    waiting = self._waiting.get(reply.event)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(reply)
                case Decision() as decision:
                    self._tell_decision(decision)
                case AgentState() as state:
                    self._tell(state.task, lambda state=state: task_message(live_task(state)))  # type: ignore[misc]  # bound now
                case TaskResult() as result:
                    self._tell(result.task, lambda result=result: task_message(Task(None, None, result)))  # type: ignore[misc]  # bound now
                case AgentEvent() as event:
                    self._tell(event.task, lambda heard=heard, event=event: event_message(heard.offset, event))  # type: ignore[misc]  # bound now

    def _tell(self, task: str, message: Callable[[], Message]) -> None:
        watching = [w for w in self._watchers if task in w.tasks]
        if watching:
            made = message()
            for watcher in watching:
                watcher.send(made)

    def _tell_decision(self, decision: Decision) -> None:
        for watcher in self._watchers:
            watches = watcher.approvals and may_see(watcher.person, decision, admin=watcher.admin)
            if watches or decision.task in watcher.tasks:
                watcher.send(decision_message(decision, watcher.person))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            with suppress(Exception):  # the next round tries again
                await self._tail.sweep()


def _heard(raw: Raw) -> Heard | None:
    if raw.value is None or (raw.key or b"").startswith(b"!"):
        return None
    try:
        event: Any = codec.decode(raw.value)
    except codec.CodecError as e:
        log.warning("a record cannot be decoded", topic=raw.topic, reason=str(e))
        return None
    # A claim check's record is told by the views a moment later.
    known = isinstance(event, AgentReply | Decision | AgentState | AgentEvent | TaskResult)
    return Heard(raw.offset, event) if known else None
