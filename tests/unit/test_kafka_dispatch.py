"""What becomes of records whose partition leaves while they are being worked on."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from weir.kafka.dispatch import Dispatcher
from weir.kafka.handlers import Each
from weir.kafka.item import Assignment, Item
from weir.kafka.records import Raw, Record

TOPIC = "commands"


def item(assignment: Assignment, offset: int, key: str = "one") -> Item:
    raw = Raw(TOPIC, 0, offset, key.encode(), b"", {}, 0)
    assignment.offsets.read(offset)
    return Item(assignment, offset, raw.size, raw, record=Record(TOPIC, 0, offset, key, None, b"", {}, 0))


async def test_a_try_that_is_cancelled_before_its_first_step_holds_neither_its_key_nor_its_place() -> None:
    handled, left, crashed = list[int](), list[int](), list[BaseException]()

    async def handle(record: Record) -> None:
        handled.append(record.offset)

    dispatcher = Dispatcher("test", Each(handle, concurrency=1), cast("Any", None), cast("Any", None),
                            lambda i: left.append(i.offset), crashed.append)
    before, after = Assignment((TOPIC, 0)), Assignment((TOPIC, 0))
    dispatcher.enter(item(before, 1))
    dispatcher.enter(item(before, 2))
    # Both in one turn of the loop: the record is read, and the partition is lost.
    await dispatcher.release([before], 0.0)
    assert handled == [] and left == [1, 2]
    # It comes back.
    dispatcher.enter(item(after, 1))
    dispatcher.enter(item(after, 2))
    for _ in range(10):
        await asyncio.sleep(0)
    assert handled == [1, 2] and crashed == [] and after.offsets.position == 3


async def test_a_try_that_is_cancelled_in_its_middle_does_not_either() -> None:
    handled, started, go = list[int](), asyncio.Event(), asyncio.Event()

    async def handle(record: Record) -> None:
        started.set()
        await go.wait()
        handled.append(record.offset)

    dispatcher = Dispatcher("test", Each(handle, concurrency=1), cast("Any", None), cast("Any", None),
                            lambda i: None, lambda e: None)
    before, after = Assignment((TOPIC, 0)), Assignment((TOPIC, 0))
    dispatcher.enter(item(before, 1))
    await started.wait()
    await dispatcher.release([before], 0.0)
    go.set()
    dispatcher.enter(item(after, 1))
    for _ in range(10):
        await asyncio.sleep(0)
    assert handled == [1] and after.offsets.position == 2
