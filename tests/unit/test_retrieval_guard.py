"""Going on without a store."""

from __future__ import annotations

import asyncio

import pytest

from weir.errors import BadRequest, ModelError, Unavailable
from weir.retrieval.guard import Guard, Stopwatch


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_store_that_failed_is_left_alone_for_a_moment_and_then_asked_again() -> None:
    time, calls = Time(), 0

    async def down() -> str:
        nonlocal calls
        calls += 1
        raise Unavailable("down")

    async def up() -> str:
        return "found"

    guard = Guard(time, away=1.0)
    assert isinstance(await guard.tried("milvus", down), Unavailable)
    time.now = 0.9
    assert isinstance(await guard.tried("milvus", up), Unavailable)
    assert calls == 1
    assert await guard.tried("elasticsearch", up) == "found"
    time.now = 1.1
    assert await guard.tried("milvus", up) == "found"


async def test_a_store_that_hangs_costs_the_time_limit_and_no_more() -> None:
    error = await Guard(timeout=0.05).tried("milvus", lambda: asyncio.sleep(60))
    assert isinstance(error, Unavailable) and "0.05 s" in error.message


async def test_a_wrong_model_leaves_its_store_out_and_a_wrong_question_is_raised() -> None:
    async def wrong_model() -> None:
        raise ModelError("other weights")

    async def wrong_question() -> None:
        raise BadRequest("no such field")

    guard = Guard()
    assert isinstance(await guard.tried("milvus", wrong_model), ModelError)
    with pytest.raises(BadRequest):
        await Guard().tried("milvus", wrong_question)


def test_stages_add_up_and_the_total_is_the_whole() -> None:
    time = Time()
    watch = Stopwatch(time)
    for millis in (10, 5):
        with watch.stage("fetch"):
            time.now += millis / 1000
    assert watch.stop() == pytest.approx({"fetch": 15.0, "total": 15.0})
