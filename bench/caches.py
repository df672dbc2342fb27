"""What a hit of each cache takes against a miss: `python -m bench.caches`.

Documents of made-up words go into a workspace of its own where answers may be given again, and each question is about
one of them:

    search, miss      a search that nobody made before
    search, hit       the same search again, while nothing in the workspace changes
    answer, miss      to the first text of an answer that is made: retrieval, then the model
    answer, hit       to the first text of the answer that was kept: a search made before, and the check of its sources

The times are those of the whole way, as the person sees them. Without a language model a miss is as fast as an answer
can be; with one it takes as long as the model does, and a hit does not.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import numpy as np

from bench.answers import Socket, connect
from bench.common import (
    ASKS_EACH,
    Passage,
    People,
    console,
    finish,
    passages_json,
    percentile,
    publish,
    show,
    target,
)
from bench.scale import passages, vocabulary
from weir import settings as settings_module
from weir.errors import Unavailable, WeirError
from weir.settings import Settings

PASSAGES, QUESTIONS = 5000, 100
SEED = 11
REUSE = {"kinds": ["what"], "semantic": True}
SEARCH_LIMIT, ANSWER_LIMIT = 0.6, 0.75
"""A hit's median over a miss's: without a language model, the least that a hit can save."""
PATIENCE = 30.0
"""Seconds until what was asked is kept."""


def things(count: int) -> tuple[list[Passage], list[str]]:
    """So many passages that each say what mends one thing, and a question for each."""
    rng = np.random.default_rng(SEED)
    words = rng.permutation(vocabulary(rng)[2000:])
    made, questions = [], []
    for n in range(count):
        thing, tool, place = (str(w) for w in words[3 * n:3 * n + 3])
        made.append(Passage(f"t{n}", f"thing-{n}", n, "", f"The {tool} mends the {thing}. It is kept in the {place}."))
        questions.append(f"What mends the {thing}?")
    return made, questions


class Asking:
    """Answers over WebSocket; a new person after every `ASKS_EACH`."""

    def __init__(self, settings: Settings, stack: AsyncExitStack, workspace: str) -> None:
        self._settings, self._stack, self._workspace = settings, stack, workspace
        self._run, self._asked = uuid.uuid4().hex[:8], 0
        self._socket: Socket | None = None

    async def answer(self, question: str, *, anew: bool = False) -> tuple[float, dict[str, Any]]:
        if self._socket is None or self._asked % ASKS_EACH == 0:
            self._socket = await connect(self._settings, self._stack, f"bench-{self._run}-{self._asked}")
        self._asked += 1
        return await self._socket.answer(self._workspace, question, anew=anew)


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    for _ in range(int(PATIENCE / 0.5)):
        if await holds():
            return
        await asyncio.sleep(0.5)
    raise Unavailable(f"{what} is not used again after {PATIENCE:g} s: see `weir logs streams.answers`")


async def searches(people: People, workspace: str, questions: list[str]) -> tuple[list[float], list[float]]:
    """Milliseconds of searches: misses, hits."""
    numbers = iter(range(10**6))

    async def search(question: str, cached: bool = True) -> tuple[bool, float]:
        reply, millis = await people.search(next(numbers), {"workspace": workspace, "question": question},
                                            cached=cached)
        return "cache" in reply["timings"] and "keyword" not in reply["timings"], millis

    async def warm() -> bool:
        return (await search(questions[0]))[0]

    await until(warm, "a search")
    misses, hits = list[float](), list[float]()
    for question in questions:
        misses.append((await search(question, cached=False))[1])
        await search(question)
        hit, millis = await search(question)
        if hit:
            hits.append(millis)
    return misses, hits


async def answers(settings: Settings, workspace: str, questions: list[str]) -> tuple[list[float], list[float]]:
    """Milliseconds to the first text: misses, hits."""
    misses, hits = list[float](), list[float]()
    async with AsyncExitStack() as stack:
        people = Asking(settings, stack, workspace)
        for question in questions:
            millis, done = await people.answer(question, anew=True)
            if done["outcome"] != "answered":
                raise WeirError(f"{question!r} ended as {done['outcome']}")
            misses.append(millis)

        async def kept() -> bool:
            return (await people.answer(questions[-1]))[1]["earlier"] is not None

        await until(kept, "an answer")
        for question in questions:
            await people.answer(question)
            millis, done = await people.answer(question)
            if done["earlier"] is not None:
                hits.append(millis)
    return misses, hits


async def run(settings: Settings, count: int, asked: int) -> int:
    workspace = f"bench-caches-{count}"
    made, questions = things(asked)
    documents = {p.document: passages_json([p]) for p in made}
    documents |= {d: passages_json(p) for d, p in passages(count)[0].items()}
    async with People(settings) as people:
        operator = await people.operator()
        await operator.call("PUT", f"/v1/workspaces/{workspace}", json={
            "title": "Bench of the caches", "readers": ["everyone"], "reuse": REUSE})
        took = await publish(settings, workspace, documents, operator)
        console.print(f"{count + asked:,} passages in {workspace}, searchable after {took:.0f} s")
        try:
            search_misses, search_hits = await searches(people, workspace, questions)
            answer_misses, answer_hits = await answers(settings, workspace, questions)
        finally:
            # The next run publishes them anew: what was answered from these is not given again.
            for passage in made:
                await operator.call("DELETE", f"/v1/workspaces/{workspace}/documents/{passage.document}")
    rows = [(name, values) for name, values in (
        ("search, miss", search_misses), ("search, hit", search_hits), ("answer, miss", answer_misses),
        ("answer, hit", answer_hits))]
    show("As the person sees it, milliseconds", ["", "asked", "p50", "p95", "p99"],
         [[name, len(of), *(percentile(of, p) for p in (50, 95, 99))] for name, of in rows])
    if min(len(of) for _, of in rows) < asked // 2:
        raise WeirError("too few hits or misses to compare: did something change in the workspace?")
    return finish({
        "search: p50 of a hit over a miss": target(
            percentile(search_hits, 50) / percentile(search_misses, 50), SEARCH_LIMIT, at_most=True),
        "answer: p50 of a hit over a miss": target(
            percentile(answer_hits, 50) / percentile(answer_misses, 50), ANSWER_LIMIT, at_most=True)})


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.caches", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=PASSAGES, help="of made-up words, around those that are asked")
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    arguments = parser.parse_args()
    try:
        sys.exit(asyncio.run(run(settings_module.load(), arguments.passages, arguments.questions)))
    except WeirError as e:
        sys.exit(f"{e.code}: {e.message}")


if __name__ == "__main__":
    main()
