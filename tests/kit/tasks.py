"""Tasks inside a test: the real engine, the real views and a gateway, with planner and tools that the test scripts."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from consumers import views
from schemas import keys
from streams import agents
from tests.kit.gateway import Gateway, gateway, gateway_settings
from tests.kit.hands import Hands, Plan, hands
from tests.kit.kafka import clean_up, own_settings
from weir.clock import system_clock
from weir.kafka.admin import ensure_topics
from weir.kafka.process import Context
from weir.kafka.producer import Producer
from weir.settings import Settings
from weir.stores import elasticsearch
from weir.views.decisions import decisions_index

PATIENCE = 60.0
APPROVERS = ("approvers",)


class Office:
    """Everything there is to tasks, and people who use it."""

    def __init__(self, here: Gateway, made: Hands, producer: Producer) -> None:
        self.gateway, self.hands, self.producer = here, made, producer
        self.settings = here.settings

    async def call(self, method: str, path: str, user: str = "ann", groups: tuple[str, ...] = (), **body: Any,
                   ) -> tuple[int, Any]:
        return await self.gateway.call(method, path, user=user, groups=groups, **({"json": body} if body else {}))

    async def begin(self, plan: Plan | None = None, user: str = "ann", **body: Any) -> str:
        """A task that was asked for and is in the views; its id."""
        request = body.pop("request_id", uuid.uuid4().hex)
        if plan is not None:
            self.hands.plans[keys.task_id("library", user, request)] = plan
        status, reply = await self.call("POST", "/v1/workspaces/library/tasks", user,
                                        **{"goal": "Send the contracts to purchasing", "request_id": request, **body})
        assert status == 202, reply
        assert reply["begun"], reply
        return str(reply["task"])

    async def task(self, task: str, holds: Callable[[Any], Any], user: str = "ann") -> Any:
        """The task once `holds` says so of it."""
        return await self.until(lambda: self.get(f"/v1/tasks/{task}", user), holds)

    async def standing(self, task: str, status: str, user: str = "ann") -> Any:
        return await self.task(task, lambda t: t["status"] == status, user)

    async def proposal(self, task: str, user: str = "pia") -> Any:
        """The task's open proposal, as somebody of the approvers sees it."""
        found = await self.until(lambda: self.get("/v1/approvals", user, APPROVERS),
                                 lambda r: [d for d in r["approvals"] if d["task"] == task])
        return next(d for d in found["approvals"] if d["task"] == task)

    async def verdict(self, proposal: Any, choice: str = "approve", user: str = "pia",
                      groups: tuple[str, ...] = APPROVERS, **more: Any) -> tuple[int, Any]:
        return await self.call("POST", f"/v1/approvals/{proposal['approval']}/verdict", user, groups,
                               **{"choice": choice, "args_hash": proposal["args_hash"], **more})

    async def get(self, path: str, user: str, groups: tuple[str, ...] = ()) -> Any:
        status, reply = await self.call("GET", path, user, groups)
        return reply if status == 200 else None

    async def until(self, get: Callable[[], Awaitable[Any]], holds: Callable[[Any], Any]) -> Any:
        end = time.monotonic() + PATIENCE
        last = None
        while time.monotonic() < end:
            last = await get()
            if last is not None and holds(last):
                return last
            await asyncio.sleep(0.05)
        raise AssertionError(f"it did not get there: {last}")


@asynccontextmanager
async def office(folder: Path, **options: Any) -> AsyncIterator[Office]:
    """Engine, views, hands and a gateway; all that they make on the servers is removed at the end."""
    settings = own_settings(folder, kafka_partitions=3, tasks_per_minute=1000, sign_ins_per_minute=1000,
                            engine_interval=0.02, **options)
    await ensure_topics(settings)
    es = elasticsearch(settings)
    try:
        async with AsyncExitStack() as stack:
            producer = await stack.enter_async_context(Producer(settings))
            for main in (agents.main, views.main):
                await stack.enter_async_context(_process(main, settings, producer))
            made = await stack.enter_async_context(hands(settings, producer))
            await _views_there(settings, es)
            here = await stack.enter_async_context(gateway(gateway_settings(settings, folder)))
            yield Office(here, made, producer)
    finally:
        for index in await es.indices.get(index=f"{settings.prefix}*"):
            await es.indices.delete(index=index)
        await es.close()
        await asyncio.to_thread(clean_up, settings)


@asynccontextmanager
async def _process(main: Callable[[Context], Awaitable[None]], settings: Settings,
                   producer: Producer) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.ensure_future(main(Context(settings, producer, stop, system_clock)))
    try:
        yield
    finally:
        stop.set()
        await task


async def _views_there(settings: Settings, es: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not await es.indices.exists(index=decisions_index(settings)):
        assert time.monotonic() < end, "the views were not made"
        await asyncio.sleep(0.1)
