"""What the way over WebSocket and Kafka adds to the first text of an answer: `python -m bench.answers`.

The same questions go to the running system over WebSocket, and to the same pipeline called in this process: history,
retrieval on the same servers, model, release. Both run in turns, the one that goes first changing each time, so that
neither finds warmer caches. The figure is the difference of the two distributions at p50 and p99. Another row says what
two hops through Kafka take by themselves.

A hop wakes half a dozen threads one after the other, and the cores of an idle virtual machine sleep so deeply that each
may take a third of a millisecond to come back. `--awake` keeps them from sleeping with loops of the lowest priority
(Linux, SCHED_IDLE), as the work of others does on a machine that is in use.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import uvloop

from bench.common import ASKS_EACH, finish, percentile, show, target
from bench.hops import hops
from schemas.events import Delta, Person, QuestionAsked
from streams.answers import Parts, parts
from weir import identity
from weir import settings as settings_module
from weir.access import EVERYONE
from weir.clock import system_clock
from weir.errors import SettingsError, WeirError
from weir.settings import Settings

P50_LIMIT, P99_LIMIT = 5.0, 25.0
"""Milliseconds."""


class Socket:
    """A session over WebSocket, open before it is asked."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def first_text(self, workspace: str, question: str) -> float:
        """Milliseconds from asking to the first frame with text of an answer that is made anew."""
        return (await self.answer(workspace, question, anew=True))[0]

    async def answer(self, workspace: str, question: str, *, anew: bool = False) -> tuple[float, dict[str, Any]]:
        """Milliseconds from asking to the first frame with text, and the last frame.

        Args:
            anew: whether nothing that was found or answered before may be used again.

        Raises:
            WeirError: the answer failed.
        """
        began, first = time.perf_counter(), 0.0
        await self._socket.send_json({"type": "ask", "request_id": uuid.uuid4().hex, "workspace": workspace,
                                      "question": question, "anew": anew})
        async for message in self._socket:
            kind = (frame := message.json())["type"]
            if kind == "delta" and not first:
                first = (time.perf_counter() - began) * 1000
            elif kind == "done":
                return first, frame
            elif kind == "error":
                raise WeirError(f"{question!r} failed: {frame['message']}")
        raise WeirError("the gateway closed the session in the middle of an answer")


async def connect(settings: Settings, stack: AsyncExitStack, subject: str) -> Socket:
    session = await stack.enter_async_context(aiohttp.ClientSession())
    socket = await stack.enter_async_context(
        session.ws_connect(settings.gateway_url.rstrip("/") + "/v1/chat", protocols=("weir.v1",)))
    await socket.send_json({"type": "hello", "token": identity.issue(settings, subject)})
    greeting = await socket.receive_json()
    if greeting["type"] != "ready":
        raise WeirError(f"the gateway does not let the bench in: {greeting}")
    return Socket(socket)


async def in_process(made: Parts, workspace: str, question: str) -> float:
    """Milliseconds from asking to the first text of the same pipeline, called."""
    asked = QuestionAsked(
        answer=uuid.uuid4().hex, conversation=uuid.uuid4().hex, workspace=workspace, question=question,
        person=Person(subject="bench", groups=[EVERYONE]), asked_at=system_clock())
    began, first = time.perf_counter(), 0.0
    async with aclosing(made.answering.answer(asked)) as bodies:
        async for body in bodies:
            if isinstance(body, Delta) and not first:
                first = (time.perf_counter() - began) * 1000
    return first


async def measure(settings: Settings, workspace: str, questions: list[str], warm_up: int
                  ) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds to the first text, over WebSocket and in process, and of two bare hops. The first `warm_up` are not
    counted: each of the two remembers vectors, and a worker that has run for a while knows some that this process does
    not."""
    over, inside, bare = [], [], []
    run = uuid.uuid4().hex[:8]
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(parts(settings))
        kafka = stack.enter_context(hops(settings))
        socket: Socket | None = None
        for n, question in enumerate(questions):
            if socket is None or n % ASKS_EACH == 0:
                # Another person: nobody may ask more than so many a minute.
                socket = await connect(settings, stack, f"bench-{run}-{n}")
            if n % 2:
                called = await in_process(made, workspace, question)
                asked = await socket.first_text(workspace, question)
            else:
                asked = await socket.first_text(workspace, question)
                called = await in_process(made, workspace, question)
            hop = await asyncio.to_thread(kafka.once)
            if n >= warm_up:
                over.append(asked)
                inside.append(called)
                bare.append(2 * hop)
    return over, inside, bare


def questions_from(path: Path) -> list[str]:
    """Questions of a file: JSON lines with `text` (BEIR), or the sample's list.

    Raises:
        SettingsError: the file holds none.
    """
    content = path.read_text()
    items: list[Any]
    if path.suffix == ".jsonl":
        items = [json.loads(line) for line in content.splitlines() if line.strip()]
    else:
        loaded = json.loads(content)
        items = loaded if isinstance(loaded, list) else loaded.get("questions", [])
    found = [item if isinstance(item, str) else item.get("text") or item.get("question") for item in items]
    found = [text for text in found if text]
    if not found:
        raise SettingsError(f"{path} holds no questions")
    return found


@contextmanager
def awake() -> Iterator[None]:
    """Loops that keep every core from sleeping and give way to everything else."""
    loops = [subprocess.Popen([sys.executable, "-c", "import os\nos.sched_setscheduler(0, os.SCHED_IDLE, "
                               "os.sched_param(0))\nwhile True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


async def run(settings: Settings, workspace: str, questions: list[str], count: int) -> int:
    different = questions[:count]
    asked = [*different, *(different[n % len(different)] for n in range(count))]
    over, inside, bare = await measure(settings, workspace, asked, len(different))
    rows = [[name, *(percentile(values, p) for p in (50, 90, 99)), float(np.max(values))]
            for name, values in (("over WebSocket and Kafka", over), ("the same pipeline, called", inside))]
    added = {p: percentile(over, p) - percentile(inside, p) for p in (50, 90, 99)}
    rows.append(["added", *added.values(), float(np.max(over) - np.max(inside))])
    rows.append(["added, question by question", *(percentile(list(np.subtract(over, inside)), p) for p in (50, 90, 99)),
                 float(np.max(np.subtract(over, inside)))])
    rows.append(["two hops through Kafka alone", *(percentile(bare, p) for p in (50, 90, 99)), float(np.max(bare))])
    show(f"First text of {len(over)} answers in {workspace}, milliseconds", ["", "p50", "p90", "p99", "max"], rows)
    return finish({"added_p50_ms": target(added[50], P50_LIMIT, at_most=True),
                   "added_p99_ms": target(added[99], P99_LIMIT, at_most=True)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", default="sample")
    parser.add_argument("--questions", type=Path, default=Path("sample/questions.json"),
                        help="JSON lines with `text`, or the sample's questions")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--awake", action="store_true", help="keep the cores from sleeping meanwhile")
    arguments = parser.parse_args()
    try:
        settings = settings_module.load()
        questions = questions_from(arguments.questions)
        with awake() if arguments.awake else nullcontext():
            code = uvloop.run(run(settings, arguments.workspace, questions, arguments.count))
        sys.exit(code)
    except WeirError as e:
        sys.exit(f"bench.answers: {e.message}")


if __name__ == "__main__":
    main()
