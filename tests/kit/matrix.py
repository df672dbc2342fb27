"""What the kill matrix of tasks is made of: a scripted model, people, processes and whoever disturbs them."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from confluent_kafka import Consumer, TopicPartition

from schemas import codec, keys, topics
from schemas.events import Decision, DecisionKind, DecisionStatus, TaskResult
from tests.kit.broker import Broker
from tests.kit.monkey import Crew
from tests.kit.tool_workers import recorded
from tests.kit.waiting import until
from weir import identity
from weir.kafka.config import consumer_config
from weir.settings import Settings

PLAN = ("look", "look", "act", "look", "look", "act", "look", "look", "sign", "look")
"""Tools of the ten steps of every task."""
EFFECTS = sum(tool != "look" for tool in PLAN)
TOOL_POINTS = ("before intent", "before commit", "after intent", "before effect", "after effect", "after outcome",
               "after report")
ENGINE_POINTS = ("consumed", "before-commit", "offsets-sent", "restoring")
ARMS = {"TOOL_POINT", "TOOL_FLAG", "TOOL_ACTION", "ENGINE_FREEZE", "ENGINE_FLAG"}
BUSY_AGAIN = 120.0
SESSION = 11.0
"""Seconds after which a frozen member has been replaced."""
KILLED = -signal.SIGKILL


@asynccontextmanager
async def scripted_model() -> AsyncIterator[str]:
    """A server that speaks OpenAI's chat format and plans `PLAN`; its base URL."""

    async def complete(request: web.Request) -> web.Response:
        messages = (await request.json())["messages"]
        step = sum(message["role"] == "tool" for message in messages)
        message: dict[str, Any] = {"role": "assistant", "content": f"Step {step + 1}."}
        if step < len(PLAN):
            function = {"name": PLAN[step], "arguments": json.dumps({"what": f"step {step + 1}"})}
            message["tool_calls"] = [{"id": f"c{step}", "type": "function", "function": function}]
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if step < len(PLAN) else "stop"}
        return web.json_response({
            "id": "c", "object": "chat.completion", "created": 0, "model": "scripted", "choices": [choice],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


class Log:
    """What the processes have committed, as it grows. `poll` blocks."""

    def __init__(self, settings: Settings) -> None:
        names = [t.named(settings.prefix) for t in (topics.DECISIONS, topics.TASK_RESULTS)]
        self._consumer = Consumer(consumer_config(settings, f"{settings.prefix}matrix", fetch_wait_max_ms=100))
        self._consumer.assign([TopicPartition(n, p, 0) for n in names for p in range(settings.kafka_partitions)])
        self.decisions: dict[str, Decision] = {}
        self.results: list[TaskResult] = []
        self.unknown: set[str] = set()
        """Proposals about calls of which nobody can tell whether they were done."""

    def poll(self) -> None:
        for message in self._consumer.consume(500, 0.2):
            if message.error() is None and (value := message.value()) is not None:
                event = codec.decode(value)
                if isinstance(event, Decision):
                    self.decisions[event.approval] = event
                    if event.kind is DecisionKind.UNKNOWN:
                        self.unknown.add(event.approval)
                else:
                    self.results.append(event)

    def close(self) -> None:
        self._consumer.close()


@dataclass
class Gatherings:
    """The processes, by what they do, and what was done to them."""

    crews: dict[str, Crew]
    folder: Path
    chance: random.Random
    broker: Broker
    table: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Who, at which point, what: how often."""
    frozen: int = 0
    thawed_at: float = 0.0
    _flags: dict[tuple[str, int], tuple[str, Path]] = field(default_factory=dict)
    _dying: set[tuple[str, int]] = field(default_factory=set)
    points: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"tools": TOOL_POINTS, "engine": ENGINE_POINTS})
    """Where processes of a kind are stopped, in turns."""
    _turns: Counter[str] = field(default_factory=Counter)

    @property
    def awake(self) -> bool:
        """Whether nobody is frozen and who was has come to himself."""
        return (not self.frozen and not any(flag.exists() for _, flag in self._flags.values())
                and time.time() - self.thawed_at > 3)

    def start(self, who: str, number: int, *, armed: bool = False) -> None:
        """Starts a process; an armed one stops by itself at the next of the points, the first time it gets there."""
        crew = self.crews[who]
        crew.extra = {k: v for k, v in crew.extra.items() if k not in ARMS}
        self._flags.pop((who, number), None)
        if armed and who in self.points:
            point = self.points[who][self._turns[who] % len(self.points[who])]
            self._turns[who] += 1
            flag = self.folder / f"flag-{uuid.uuid4().hex}"
            crew.extra |= ({"TOOL_POINT": point, "TOOL_ACTION": "freeze", "TOOL_FLAG": str(flag)} if who == "tools" else
                           {"ENGINE_FREEZE": point, "ENGINE_FLAG": str(flag)})
            self._flags[who, number] = (point, flag)
        crew.start(number)

    def revive(self) -> None:
        """The supervisor's part: who has ended by itself is started again."""
        for who, crew in self.crews.items():
            for number, process in list(crew.running.items()):
                if process.poll() is not None and (who, number) not in self._dying:
                    self.start(who, number)

    async def kill(self, who: str, number: int, point: str = "at random", *, armed: bool) -> None:
        process = self.crews[who].running[number]
        self._dying.add((who, number))
        process.kill()
        await asyncio.to_thread(process.wait, 30)
        self.table[who, point, "killed"] += process.returncode == KILLED
        self._dying.discard((who, number))
        self.start(who, number, armed=armed)

    async def freeze(self, who: str, number: int, point: str = "at random", *, stopped: bool = False) -> None:
        process = self.crews[who].running[number]
        if process.poll() is not None:
            return
        self.frozen += 1
        if not stopped:
            process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(SESSION + self.chance.uniform(0, 2))
        process.send_signal(signal.SIGCONT)
        self.table[who, point, "frozen"] += 1
        self.frozen -= 1
        self.thawed_at = time.time()

    def stopped(self) -> list[tuple[str, int, str]]:
        """Who has just come to the point where it stops."""
        found = []
        for (who, number), (point, flag) in list(self._flags.items()):
            if flag.exists():
                del self._flags[who, number]
                found.append((who, number, point))
        return found

    async def kill_at(self, who: str, point: str, blows: int) -> None:
        """Kills processes of a kind at a point, so many times."""
        self.points = {who: (point,)}
        for number in self.crews[who].running:
            await self.kill(who, number, armed=True)
        while self.table[who, point, "killed"] < blows:
            self.revive()
            for _, number, _ in self.stopped():
                await self.kill(who, number, point, armed=True)
            await asyncio.sleep(0.1)

    async def disturb(self, blows: int, pace: float, busy_enough: Callable[[], bool]) -> None:
        """So many kills and freezes, of any process at any time and of those that stop at points; each while enough
        goes on to be hit."""
        names = [(who, number) for who, crew in self.crews.items() for number in crew.running]
        busy: set[tuple[str, int]] = set()

        async def blow(who: str, number: int, point: str, *, stopped: bool) -> None:
            busy.add((who, number))
            try:
                if self.chance.random() < (0.3 if stopped else 0.12):
                    await self.freeze(who, number, point, stopped=stopped)
                else:
                    await self.kill(who, number, point, armed=self.chance.random() < 0.85)
                    if who == "engine" and self.chance.random() < 0.3:
                        # The other one, while the group makes up its mind about this one.
                        await asyncio.sleep(self.chance.uniform(0.2, 2.0))
                        other = next((n for n in self.crews[who].running if n != number and (who, n) not in busy), None)
                        if other is not None:
                            await blow_again(who, other)
            finally:
                busy.discard((who, number))

        async def blow_again(who: str, number: int) -> None:
            busy.add((who, number))
            try:
                await self.kill(who, number, "during a rebalance", armed=False)
            finally:
                busy.discard((who, number))

        async with asyncio.TaskGroup() as group:
            while sum(self.table.values()) + self.frozen < blows:
                self.revive()
                await until(busy_enough, within=BUSY_AGAIN, what="enough tasks in flight again")
                for who, number, point in self.stopped():
                    group.create_task(blow(who, number, point, stopped=True))
                    busy.add((who, number))
                free = [name for name in names if name not in busy]
                if free and self.chance.random() < 0.6:
                    group.create_task(blow(*self.chance.choice(free), "at random", stopped=False))
                await asyncio.sleep(pace * self.chance.uniform(0.5, 1.5))

    def thaw(self) -> None:
        """Lets go on who has stopped at a point since the last blow."""
        for who, number, _ in self.stopped():
            self.crews[who].signal(number, signal.SIGCONT)
            self.thawed_at = time.time()

    def tabulated(self) -> str:
        rows = sorted({(who, point) for who, point, _ in self.table})
        lines = [f"{'process':<10}{'point':<22}{'killed':>8}{'frozen':>8}"]
        lines += [f"{who:<10}{point:<22}{self.table[who, point, 'killed']:>8}{self.table[who, point, 'frozen']:>8}"
                  for who, point in rows]
        total = {how: sum(n for (*_, h), n in self.table.items() if h == how) for how in ("killed", "frozen")}
        return "\n".join([*lines, f"{'all':<32}{total['killed']:>8}{total['frozen']:>8}"])


class People:
    """Ask for tasks, and decide, over a gateway that comes and goes."""

    def __init__(self, settings: Settings, log: Log, recorder: Path, session: aiohttp.ClientSession,
                 gatherings: Gatherings) -> None:
        self._settings, self._log, self._recorder, self._session = settings, log, recorder, session
        self._gatherings = gatherings
        self._owner = identity.issue(settings, "ann", ["everyone"])
        self._approver = identity.issue(settings, "pia", ["approvers"])
        self.tasks: list[str] = []
        self._decided: set[str] = set()
        self._deciding: set[asyncio.Task[None]] = set()

    async def ask(self) -> None:
        """Asks for one more task; asks again, with the same request, until somebody says that it has begun."""
        request = uuid.uuid4().hex
        task = keys.task_id("library", "ann", request)
        body = {"goal": f"Do the ten steps of {request}", "request_id": request}
        while True:
            status, _ = await self._call("POST", "/v1/workspaces/library/tasks", self._owner, body)
            if status == 202:
                break
            await asyncio.sleep(0.5)
        self.tasks.append(task)

    async def decide(self) -> None:
        """Gives every verdict that can be given now, each by itself."""
        for decision in list(self._log.decisions.values()):
            if decision.status is not DecisionStatus.PENDING or decision.approval in self._decided:
                continue
            if decision.kind is DecisionKind.UNKNOWN:
                # Only then is it certain that nobody frozen will still do it.
                if not self._gatherings.awake:
                    continue
                key = keys.idempotency_key(decision.task, decision.step, decision.index, 0, decision.tool,
                                           decision.arguments)
                choice = "done" if key in set(recorded(self._recorder)) else "again"
            else:
                choice = "approve"
            self._decided.add(decision.approval)
            task = asyncio.create_task(self._give(decision, choice))
            self._deciding.add(task)
            task.add_done_callback(self._deciding.discard)

    async def _give(self, decision: Decision, choice: str) -> None:
        body = {"choice": choice, "args_hash": decision.args_hash, "reason": "as the script says",
                "request_id": uuid.uuid4().hex}
        # However long nobody takes it: what the test waits for in vain is what it says at its end.
        while True:
            status, _ = await self._call("POST", f"/v1/approvals/{decision.approval}/verdict", self._approver, body)
            if status == 200 or self._log.decisions[decision.approval].status is not DecisionStatus.PENDING:
                return
            await asyncio.sleep(0.5)

    async def leave(self) -> None:
        """Gives no more verdicts."""
        for task in self._deciding:
            task.cancel()
        await asyncio.gather(*self._deciding, return_exceptions=True)

    async def _call(self, method: str, path: str, token: str, body: dict[str, Any]) -> tuple[int, Any]:
        try:
            async with self._session.request(method, self._settings.gateway_url + path, json=body, headers={
                    "Authorization": f"Bearer {token}"}, timeout=aiohttp.ClientTimeout(total=20)) as reply:
                return reply.status, await reply.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as e:
            return 0, repr(e)
