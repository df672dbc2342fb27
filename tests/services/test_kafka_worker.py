"""What the worker loop promises, on a real broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient
from opentelemetry import trace

from tests.kit.kafka import document, kafka, own_settings, publish, working
from tests.kit.waiting import until
from weir import telemetry
from weir.errors import BadDocument, Unavailable
from weir.kafka.config import client_config
from weir.kafka.producer import Producer
from weir.kafka.records import Record
from weir.kafka.worker import Batch, Each, Partition, Worker

pytestmark = pytest.mark.services


@pytest.fixture
async def producer(tmp_path: Path) -> AsyncIterator[Producer]:
    async with kafka(own_settings(tmp_path, drain_timeout=2.0)) as made:
        yield made


def committed(producer: Producer, name: str = "worker") -> dict[int, int]:
    """A group's committed offsets on `documents`, by partition."""
    group = producer.settings.prefix + name
    client = AdminClient(client_config(producer.settings))
    future = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group]
    return {p.partition: p.offset for p in future.result(10).topic_partitions
            if p.topic == f"{producer.settings.prefix}documents" and p.offset >= 0}


async def until_committed(producer: Producer, total: int, name: str = "worker") -> None:
    while True:
        if sum((await asyncio.to_thread(committed, producer, name)).values()) == total:
            return
        await asyncio.sleep(0.05)


async def test_records_of_a_key_come_in_order_and_one_at_a_time(producer: Producer) -> None:
    seen: dict[str, list[bytes]] = {}
    busy: set[str] = set()

    async def handle(record: Record) -> None:
        assert record.key not in busy
        busy.add(record.key)
        await asyncio.sleep(0.001)
        busy.remove(record.key)
        seen.setdefault(record.key, []).append(record.event.content)  # type: ignore[union-attr]  # no tombstones here

    async with working(producer, Each(handle, concurrency=16)):
        for i in range(300):
            producer.post(f"{producer.settings.prefix}documents", f"w/{i % 7}", document(str(i % 7), str(i).encode()))
        await until(lambda: sum(map(len, seen.values())) == 300)
        await asyncio.wait_for(until_committed(producer, 300), 10)
    assert seen == {f"w/{k}": [str(i).encode() for i in range(300) if i % 7 == k] for k in range(7)}


async def test_a_record_that_waits_for_a_server_holds_only_its_own_key(producer: Producer) -> None:
    server = asyncio.Event()
    done: list[tuple[str, bytes]] = []

    async def handle(record: Record) -> None:
        assert record.event is not None
        if record.key == "w/stuck" and not server.is_set():
            raise Unavailable("the store is down")
        done.append((record.key, record.event.content))

    async with working(producer, Each(handle, concurrency=1)):
        place = await producer.send(f"{producer.settings.prefix}documents", "w/stuck", document("stuck", b"1"))
        await publish(producer, "stuck", b"2")
        for i in range(50):
            await publish(producer, f"free-{i}")
        await until(lambda: len(done) == 50)
        await asyncio.sleep(0.3)
        assert (await asyncio.to_thread(committed, producer)).get(place.partition, 0) <= place.offset
        server.set()
        await asyncio.wait_for(until_committed(producer, 52), 10)
    assert done[50:] == [("w/stuck", b"1"), ("w/stuck", b"2")]


async def test_a_tombstone_is_handled_as_one(producer: Producer) -> None:
    seen: list[Record] = []

    async def handle(record: Record) -> None:
        seen.append(record)

    async with working(producer, Each(handle)):
        await producer.send(f"{producer.settings.prefix}documents", "w/gone", None)
        await until(lambda: seen)
    assert (seen[0].event, seen[0].value, seen[0].key) == (None, None, "w/gone")


async def test_a_large_record_arrives_whole(producer: Producer) -> None:
    seen: list[Record] = []
    content = bytes(range(256)) * 20_000

    async def handle(record: Record) -> None:
        seen.append(record)

    async with working(producer, Batch(_each(handle))):
        await publish(producer, "large", content)
        await publish(producer, "large", b"after")
        await until(lambda: len(seen) == 2)
    assert [r.event.content for r in seen if r.event] == [content, b"after"]


def _each(handle: Callable[[Record], Awaitable[None]]) -> Callable[[list[Record]], Awaitable[None]]:
    async def batch(records: list[Record]) -> None:
        for record in records:
            await handle(record)
    return batch


async def test_a_batch_holds_all_that_is_there(producer: Producer) -> None:
    sizes: list[int] = []
    go = asyncio.Event()

    async def handle(records: list[Record]) -> None:
        sizes.append(len(records))
        await go.wait()

    async with working(producer, Batch(handle, max_records=200)):
        for i in range(500):
            producer.post(f"{producer.settings.prefix}documents", f"w/{i}", document(str(i)))
        await producer.flush()
        await until(lambda: sizes)
        await asyncio.sleep(0.5)
        go.set()
        await asyncio.wait_for(until_committed(producer, 500), 10)
    assert sum(sizes) == 500
    assert max(sizes) == 200


async def test_a_batch_that_fails_for_a_while_is_called_again(producer: Producer) -> None:
    calls = 0

    async def handle(records: list[Record]) -> None:
        nonlocal calls
        calls += 1
        if calls < 4:
            raise Unavailable("the store is down")

    async with working(producer, Batch(handle)):
        await publish(producer, "a")
        await asyncio.wait_for(until_committed(producer, 1), 10)
    assert calls == 4


async def test_a_handler_may_hold_records_open_while_others_finish(producer: Producer) -> None:
    held: dict[str, asyncio.Future[None]] = {}
    started: list[str] = []

    async def handle(record: Record) -> None:
        started.append(record.event.content.decode())  # type: ignore[union-attr]  # no tombstones here
        if record.event.content == b"0":  # type: ignore[union-attr]  # no tombstones here
            held[record.key] = asyncio.get_running_loop().create_future()
            await held[record.key]

    async with working(producer, Each(handle, concurrency=None, ordered=False)):
        for i in range(20):
            await publish(producer, "same key", str(i).encode())
        await until(lambda: len(started) == 20)
        assert started == [str(i) for i in range(20)]
        await asyncio.sleep(0.3)
        assert sum((await asyncio.to_thread(committed, producer)).values()) == 0
        held["w/same key"].set_result(None)
        await asyncio.wait_for(until_committed(producer, 20), 10)


async def test_held_records_do_not_hold_a_hand_over(producer: Producer) -> None:
    cancelled: list[str] = []

    async def handle(record: Record) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(record.key)
            raise

    async with working(producer, Each(handle, concurrency=None, ordered=False, drain=False)) as worker:
        await publish(producer, "open")
        await until(lambda: worker.in_flight == 1)
        since = time.monotonic()
    assert time.monotonic() - since < 1.5
    assert cancelled == ["w/open"]


async def test_too_much_in_flight_stops_the_reading_and_not_the_session(producer: Producer) -> None:
    go = asyncio.Event()
    handled = 0

    async def handle(record: Record) -> None:
        nonlocal handled
        await go.wait()
        handled += 1

    async with working(producer, Each(handle, concurrency=None, ordered=False), max_in_flight=100) as worker:
        for i in range(3000):
            producer.post(f"{producer.settings.prefix}documents", f"w/{i}", document(str(i)))
        await producer.flush()
        await until(lambda: worker.in_flight >= 100)
        await asyncio.sleep(8)  # longer than the session's time-out of 6 s
        # A batch beyond the limit, and one record of each partition of which nothing had come yet.
        assert worker.in_flight <= 100 + 500 + 4
        go.set()
        await asyncio.wait_for(until_committed(producer, 3000), 20)
    assert handled == 3000


async def test_a_partition_that_left_while_reading_had_stopped_is_read_when_it_comes_back(producer: Producer) -> None:
    go = asyncio.Event()
    first: set[str] = set()
    second: set[str] = set()

    async def hold(record: Record) -> None:
        await go.wait()
        first.add(record.key)

    async def handle(record: Record) -> None:
        second.add(record.key)

    async def send(*names: str) -> set[str]:
        for name in names:
            producer.post(f"{producer.settings.prefix}documents", f"w/{name}", document(name))
        await producer.flush()
        return {f"w/{name}" for name in names}

    limited = Each(hold, concurrency=None, ordered=False, drain=False)
    async with working(producer, limited, max_in_flight=100) as worker:
        sent = await send(*map(str, range(2000)))
        await until(lambda: worker.in_flight >= 100)
        async with working(producer, Each(handle)):
            await until(lambda: len(second) > 100)
        go.set()
        sent |= await send(*map(str, range(2000, 2200)))
        await until(lambda: first | second >= sent)
        await asyncio.wait_for(until_committed(producer, 2200), 10)


async def test_partitions_move_to_a_second_worker_with_nothing_lost_or_doubled(producer: Producer) -> None:
    seen: dict[str, list[str]] = {"first": [], "second": []}

    def handler(name: str) -> Each:
        async def handle(record: Record) -> None:
            await asyncio.sleep(0.002)
            seen[name].append(record.key)
        return Each(handle, concurrency=4)

    async def feed() -> None:
        for i in range(1500):
            await publish(producer, str(i))
            if i % 20 == 0:
                await asyncio.sleep(0.02)

    async with working(producer, handler("first")):
        feeding = asyncio.create_task(feed())
        await until(lambda: len(seen["first"]) > 100)
        async with working(producer, handler("second")):
            await until(lambda: len(seen["second"]) > 100)
            await feeding
            await until(lambda: len(seen["first"]) + len(seen["second"]) >= 1500)
        await asyncio.wait_for(until_committed(producer, 1500), 10)
    assert sorted(seen["first"] + seen["second"]) == sorted(f"w/{i}" for i in range(1500))


async def test_hooks_frame_the_stay_of_a_partition(producer: Producer) -> None:
    events: list[str] = []
    await publish(producer, "early")

    async def assigned(partitions: list[Partition]) -> None:
        await asyncio.sleep(0.2)
        assert all(topic.endswith("documents") for topic, _ in partitions)
        events.append(f"assigned {len(partitions)}")

    async def revoked(partitions: list[Partition]) -> None:
        events.append(f"revoked {len(partitions)}")

    async def handle(record: Record) -> None:
        events.append("handled")
        await asyncio.sleep(0.3)
        events.append("finished")

    async with working(producer, Each(handle), on_assigned=assigned, on_revoked=revoked):
        await until(lambda: "handled" in events)
    assert events == ["assigned 4", "handled", "finished", "revoked 4"]


async def test_a_worker_stops_at_once_although_records_wait_for_their_next_try(producer: Producer) -> None:
    async def each(record: Record) -> None:
        raise Unavailable("down", retry_after=60)

    async def batch(records: list[Record]) -> None:
        raise Unavailable("down", retry_after=60)

    await publish(producer, "a")
    for handler in (Each(each), Batch(batch)):
        async with working(producer, handler) as worker:
            await until(partial(_reads_one, worker))
            await asyncio.sleep(0.2)
            since = time.monotonic()
        assert time.monotonic() - since < 3
    assert sum((await asyncio.to_thread(committed, producer)).values()) == 0


def _reads_one(worker: Worker) -> bool:
    return worker.in_flight == 1


async def test_an_error_in_a_hook_ends_the_worker_with_that_error(producer: Producer) -> None:
    async def assigned(_: list[Partition]) -> None:
        raise Unavailable("the state cannot be read")

    async def handle(_: Record) -> None: ...

    with pytest.raises(Unavailable, match="the state cannot be read"):
        async with working(producer, Each(handle), on_assigned=assigned) as worker:
            await until(lambda: hasattr(worker, "_crash") and worker._crash.done())


async def test_a_trace_goes_on_through_the_headers(producer: Producer) -> None:
    seen: list[int] = []

    async def handle(record: Record) -> None:
        seen.append(trace.get_current_span().get_span_context().trace_id)
        if record.key == "w/first":
            await publish(producer, "second")

    async with working(producer, Each(handle)):
        with telemetry.span("question") as span:
            await publish(producer, "first")
        await until(lambda: len(seen) == 2)
    assert seen == [span.get_span_context().trace_id] * 2


async def test_a_slow_document_is_given_its_time_before_a_hand_over(producer: Producer) -> None:
    handled: list[str] = []

    async def handle(record: Record) -> None:
        if record.key == "w/too slow":
            await asyncio.sleep(60)
        await asyncio.sleep(0.5)
        handled.append(record.key)

    async with working(producer, Each(handle, concurrency=None)) as worker:
        await publish(producer, "slow")
        await publish(producer, "too slow")
        await until(lambda: worker.in_flight == 2)
    assert handled == ["w/slow"]
    assert sum((await asyncio.to_thread(committed, producer)).values()) == 1


async def test_poison_is_put_aside_and_the_rest_goes_on(producer: Producer) -> None:
    handled: list[str] = []

    async def handle(record: Record) -> None:
        if record.key == "w/poison":
            raise BadDocument("hostile", "it bites")
        handled.append(record.key)

    async with working(producer, Each(handle, concurrency=1)):
        for name in ("a", "poison", "b", "poison", "c"):
            await publish(producer, name)
        await asyncio.wait_for(until_committed(producer, 5), 10)
    assert sorted(handled) == ["w/a", "w/b", "w/c"]
