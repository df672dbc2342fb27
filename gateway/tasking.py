"""What people do to tasks: each act is an event on `agent-events` whose reply by the engine is waited for.

    act     1 who may                     a task is its owner's; administrators see all
            2 expect the reply            before the event is produced, so that it cannot come too early
            3 produce, and wait for both
            4 accepted, or the engine's reason as an error
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from typing import Any

from gateway.limits import Limits
from gateway.live import Live
from gateway.workspaces import Workspaces
from schemas import keys, topics
from schemas.events import (
    AgentEvent,
    AgentReply,
    Amounts,
    Approvals,
    Person,
    Place,
    TaskRequested,
    Tool,
    ToolPolicy,
)
from weir import telemetry
from weir.agents.planning.prompts import PLAN
from weir.clock import Clock
from weir.errors import Conflict, NotFound, Unavailable
from weir.kafka.producer import Producer
from weir.kafka.table import Table
from weir.settings import Settings
from weir.views.tasks import Task, TaskViews

log = telemetry.logger(__name__)

REPLY_WITHIN = 10.0
"""Seconds that the engine gets to reply. It takes a fraction of one, unless it is being restarted."""
STATUSES = {"forbidden": 403, "bad_request": 400, "arguments": 400, "choice": 400}
"""HTTP statuses of the engine's refusals by their codes; all others say that the task's state does not allow it."""
KNOWN = "known"
"""Code of the engine's reply to a request for a task that it has seen before."""


class NotKnownYet(Unavailable):
    """The event is on the log, and the engine has not said what became of it (504)."""

    code = "not_known_yet"
    status = 504


class Refused(Conflict):
    """The engine refused; its code and message say why."""

    def __init__(self, reply: AgentReply) -> None:
        super().__init__(reply.message)
        self.code = reply.code or self.code
        self.status = STATUSES.get(reply.code, self.status)


class Twice(Conflict):
    """A request that was received before."""

    code = "twice"


class Tasking:
    def __init__(self, settings: Settings, producer: Producer, live: Live, views: TaskViews, workspaces: Workspaces,
                 limits: Limits, clock: Clock) -> None:
        self._settings = settings
        self._producer = producer
        self._live = live
        self._views = views
        self._workspaces = workspaces
        self._limits = limits
        self._clock = clock
        self._topic = topics.AGENT_EVENTS.named(settings.prefix)
        self._tools = Table(settings, topics.TOOLS.named(settings.prefix))

    async def start(self) -> None:
        """Raises: Unavailable: Kafka does not answer."""
        await self._tools.start()

    async def close(self) -> None:
        await self._tools.close()

    # -- tasks ----------------------------------------------------------------------------------------------------

    async def begin(self, person: Person, workspace: str, goal: str, request: str | None = None,
                    limits: Amounts | None = None, *, forked_from: str = "",
                    history: list[Place] | None = None) -> tuple[str, bool]:
        """Asks for a task; its id, and whether the engine has taken it up already.

        Raises:
            NotFound: the workspace is not open to this person.
            Overloaded: a limit is reached.
            Unavailable: Kafka does not answer, or no tool is offered.
        """
        self._workspaces.for_reader(person, workspace)
        self._limits.task(person.subject)
        tools = self.offered()
        if not tools:
            raise Unavailable("no tools are offered yet: start the tool workers (`consumers.tools`)", retry_after=2)
        request = request or secrets.token_hex(16)
        task = keys.task_id(workspace, person.subject, request)
        plans, prompt = planner(self._settings)
        body = TaskRequested(
            workspace=workspace, person=person, goal=goal, request=request, planner=plans, prompt=prompt,
            tools=[_policy(t) for t in tools], limits=limits or self.limits(),
            approvals=Approvals(approvers=self._settings.approver_group, expires=self._settings.approval_expires,
                                by_owner=self._settings.approve_own),
            forked_from=forked_from, history=history or [])
        try:
            await self.act(task, body, event=f"{task}-requested")
        except NotKnownYet:
            return task, False  # it is on the log, and begins when the engine reads it
        except Refused as refused:
            if refused.code != KNOWN:
                raise
        log.info("task", task=task, workspace=workspace)
        return task, True

    def limits(self) -> Amounts:
        s = self._settings
        return Amounts(steps=s.task_steps, tokens=s.task_tokens, micros=s.task_micros, seconds=s.task_seconds)

    def offered(self) -> list[Tool]:
        """The newest version of each tool that may be used, by name."""
        offered: list[Tool] = sorted((t for _, t in self._tools.items() if t.offered), key=lambda t: t.at)
        newest = {tool.name: tool for tool in offered}
        return [newest[name] for name in sorted(newest)]

    def tool(self, name: str, schema_hash: str) -> Tool | None:
        found = self._tools.get(keys.tool_key(name, schema_hash))
        return found if isinstance(found, Tool) else None

    # -- anything that a person does ------------------------------------------------------------------------------

    async def own(self, person: Person, task: str) -> Task:
        """
        Raises:
            NotFound: there is no such task for this person.
            Unavailable: the views do not answer.
        """
        found = await self._views.get(task)
        if found is None or not (found.owner.subject == person.subject or self._workspaces.admin(person)):
            raise NotFound("you have no such task; one that was asked for a moment ago appears within a second")
        return found

    async def ask(self, task: str, person: Person, body: Any, request: str | None = None) -> AgentReply:
        """As `act`; with the id of a request, the same request twice counts once.

        Raises:
            Refused: the engine refuses; nothing has changed.
            Twice: this request was received before.
            Overloaded: the person does too much.
        """
        self._limits.act(person.subject)
        if request is None:
            return await self.act(task, body)
        event = hashlib.sha256("\0".join(("act", task, person.subject, request)).encode()).hexdigest()[:32]
        if await self._views.happened(task, event):
            raise Twice(f"this request was received before and counts once; GET /v1/tasks/{task} says where the task "
                        "stands")
        return await self.act(task, body, event=event)

    async def act(self, task: str, body: Any, *, event: str | None = None) -> AgentReply:
        """Puts an event on the task's log and waits for the engine's reply.

        Args:
            event: its id; the engine takes no notice of one that it has had.

        Raises:
            Refused: the engine refuses; nothing has changed.
            NotKnownYet: no reply came in time; it may come still.
            Unavailable: Kafka does not answer.
        """
        event = event or secrets.token_hex(16)
        waiting = self._live.expect(event)
        try:
            with telemetry.span("act", task=task, event=type(body).__name__), telemetry.bound(task=task):
                await self._producer.send(self._topic, task, AgentEvent(
                    task=task, event=event, at=self._clock(), body=body))
                async with asyncio.timeout(REPLY_WITHIN):
                    reply = await asyncio.shield(waiting)
        except TimeoutError:
            raise NotKnownYet("it is written down, and what becomes of it is not known yet: the engine does not "
                              f"answer. Look at GET /v1/tasks/{task} in a moment", retry_after=5) from None
        finally:
            self._live.forget(event)
        if not reply.accepted:
            raise Refused(reply)
        return reply


def planner(settings: Settings) -> tuple[str, str]:
    """Name of the planner that tasks get, and name and version of its prompt."""
    return ("rules", "") if settings.model == "extractive" else (settings.model, PLAN)


def _policy(tool: Tool) -> ToolPolicy:
    return ToolPolicy(name=tool.name, risk=tool.risk, timeout=tool.timeout, tries=tool.tries, backoff=tool.backoff,
                      schema=tool.schema_hash, approvers=tool.approvers)
