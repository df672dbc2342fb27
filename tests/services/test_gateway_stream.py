"""What a client meets on `/v1/chat`, with answers written to the real log by the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from schemas.events import CancelAnswer, Citation, Outcome
from streams import turns
from tests.kit.gateway import PATIENCE, Gateway, ScriptedWorker, gateway, gateway_settings, source
from tests.kit.pipeline import Pipeline, pipeline

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def weir() -> AsyncIterator[Pipeline]:
    async with pipeline(questions_in_flight=3, session_buffer=64) as made:
        made.start("consumers.views", turns.NAME)
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def first(weir: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with gateway(gateway_settings(weir.settings, tmp_path_factory.mktemp("home"))) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def second(first: Gateway) -> AsyncIterator[Gateway]:
    """Another gateway with the same secrets."""
    async with gateway(gateway_settings(first.settings, first.settings.home)) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def worker(weir: Pipeline, first: Gateway) -> AsyncIterator[ScriptedWorker]:
    made = ScriptedWorker(weir.settings, weir.producer)
    yield made
    await made.close()


def text_of(messages: list[dict[str, Any]], text: str = "") -> str:
    """What a client shows after these messages."""
    for m in messages:
        match m["type"]:
            case "reset":
                text = ""
            case "snapshot":
                text = m["text"]
            case "delta":
                assert m["position"] == len(text)
                text += m["text"]
            case "done":
                assert m["text"] == text
    return text


async def test_an_answer_streams_in_order_to_one_end(first: Gateway, worker: ScriptedWorker) -> None:
    async with first.chat() as chat:
        await chat.ask("How long is leave?")
        attempt = await worker.take()
        await attempt.cite(source())
        await attempt.say("Leave ", "is 27 days.")
        await attempt.support(Citation(source=1, start=0, end=17, quote_start=0, quote_end=17))
        await attempt.done()
        got = await chat.rest()
        assert [m["type"] for m in got] == ["accepted", "sources", "delta", "delta", "citation", "done"]
        assert text_of(got) == "Leave is 27 days."
        assert got[0]["question"] == "How long is leave?"
        assert got[1]["sources"][0]["text"].startswith("Leave is 27 days")
        assert got[4]["citation"] == {"source": 1, "start": 0, "end": 17, "quote_start": 0, "quote_end": 17}
        assert {m["answer"] for m in got} == {attempt.question.answer}
        cursors = [tuple(map(int, m["cursor"].split(":"))) for m in got]
        assert cursors == sorted(cursors) and [c[2] for c in cursors] == list(range(6))
        await chat.quiet()


async def test_from_every_cursor_another_gateway_sends_exactly_the_rest(
        first: Gateway, second: Gateway, worker: ScriptedWorker) -> None:
    async with first.chat() as chat:
        await chat.ask()
        attempt = await worker.take()
        await attempt.cite(source())
        await attempt.say("Ä", "b\N{GRINNING FACE}c", "def", "g")
        got = await chat.until("sources") + [await chat.next() for _ in range(4)]
        async with second.chat() as other:
            for i, seen in enumerate(got):
                await other.send(type="resume", answer=seen["answer"], conversation=seen["conversation"],
                                 cursor=seen["cursor"])
                rest = [await other.next() for _ in got[i + 1:]]
                assert rest == got[i + 1:]
            await attempt.say("h")
            await attempt.done()
            assert text_of(await other.rest(), text_of(got)) == "Äb\N{GRINNING FACE}cdefgh"
        await chat.rest()


async def test_a_new_attempt_takes_back_what_was_said(first: Gateway, worker: ScriptedWorker) -> None:
    async with first.chat() as chat:
        await chat.ask()
        lost = await worker.take()
        await lost.say("half an ans")
        attempt = await type(lost)(worker, lost.question).accept()
        await lost.say("wer, from a frozen worker")
        await lost.done()
        await attempt.say("A whole answer.")
        await attempt.done()
        await lost.fail()
        got = await chat.rest()
        assert [m["type"] for m in got] == ["accepted", "delta", "reset", "delta", "done"]
        assert text_of(got) == "A whole answer."
        await chat.quiet()


async def test_the_same_request_asks_once(first: Gateway, second: Gateway, worker: ScriptedWorker) -> None:
    async with first.chat() as chat, first.chat() as again, second.chat() as elsewhere:
        await chat.ask(request_id="once")
        attempt = await worker.take()
        await attempt.say("one ")
        await chat.until("delta")
        await again.ask(request_id="once")
        assert text_of(await again.until("delta")) == "one "
        await worker.silent()
        # Another gateway cannot know; the worker drops the second question, and the gateway looks back in the log.
        await elsewhere.ask(request_id="once")
        assert (await worker.question()).answer == attempt.question.answer
        await attempt.say("two")
        await attempt.done()
        assert text_of(await elsewhere.rest()) == "one two"
        assert text_of(await again.rest(), "one ") == "one two"
        assert text_of(await chat.rest(), "one ") == "one two"


async def test_an_answer_that_ends_while_its_beginning_is_read_back_is_told_whole(
        first: Gateway, second: Gateway, worker: ScriptedWorker) -> None:
    async with first.chat() as chat, second.chat() as elsewhere:
        for n in range(5):
            await chat.ask(request_id=f"race-{n}")
            attempt = await worker.take()
            await attempt.say("one ")
            await chat.until("delta")
            await elsewhere.ask(request_id=f"race-{n}")
            await worker.question()
            await asyncio.gather(attempt.say("two"), asyncio.sleep(0.001 * n))
            await attempt.done()
            got = await elsewhere.rest()
            assert [m["type"] for m in got] == ["accepted", "delta", "delta", "done"]
            assert text_of(got) == "one two"
            await chat.rest()


async def test_a_finished_answer_is_served_from_its_turn(
        first: Gateway, second: Gateway, worker: ScriptedWorker) -> None:
    async with first.chat() as chat:
        await chat.ask(request_id="finished")
        attempt = await worker.take()
        await attempt.say("The end.")
        await attempt.done()
        done = (await chat.rest())[-1]
    await first.services.turns.wait(done["answer"], 20)
    async with second.chat() as other:
        await other.ask(request_id="finished")
        got = await other.rest()
        assert [m["type"] for m in got] == ["snapshot", "done"] and text_of(got) == "The end."
        await other.send(type="resume", answer=done["answer"], conversation=done["conversation"])
        got = await other.rest()
        assert [m["type"] for m in got] == ["snapshot", "done"] and text_of(got) == "The end."


async def test_closing_does_not_cancel_and_cancel_does(first: Gateway, worker: ScriptedWorker) -> None:
    async with first.chat() as chat:
        await chat.ask()
        attempt = await worker.take()
        await attempt.say("so far")
        seen = (await chat.until("delta"))[-1]
    await worker.silent()
    async with first.chat() as chat:
        await chat.send(type="resume", answer=seen["answer"], conversation=seen["conversation"], cursor=seen["cursor"])
        await chat.send(type="cancel", answer=seen["answer"], conversation=seen["conversation"])
        cancel = await worker.event()
        assert isinstance(cancel, CancelAnswer)
        assert (cancel.answer, cancel.subject) == (seen["answer"], "reader")
        await attempt.done(Outcome.CANCELLED)
        got = await chat.rest()
        assert [m["type"] for m in got] == ["done"] and got[0]["outcome"] == "cancelled"


def narrow_socket(where: Any) -> socket.socket:
    """A socket that takes little at a time."""
    made = socket.socket(family=where[0], type=where[1], proto=where[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return made


async def test_a_slow_client_is_dropped_and_may_resume(first: Gateway, worker: ScriptedWorker) -> None:
    connector = aiohttp.TCPConnector(socket_factory=narrow_socket)
    async with aiohttp.ClientSession(connector=connector) as client, first.chat("slow", client=client) as chat:
        await chat.ask()
        attempt = await worker.take()
        seen = await chat.next()
        transport = chat.ws._response.connection.transport  # type: ignore[union-attr]  # it is connected
        assert transport is not None
        transport.pause_reading()
        opened = first.services.open_answers.get(seen["answer"])
        for i in range(2000):
            await attempt.say(f"{i:04d}" * 4000)
            if opened is None or not opened.followers:
                break
        text = ""
        transport.resume_reading()
        while (message := await chat.ws.receive(PATIENCE)).type is aiohttp.WSMsgType.TEXT:
            seen = message.json()
            assert seen["type"] == "delta"
            text += seen["text"]
        assert chat.ws.close_code == 4408
    async with first.chat("slow") as chat:
        await chat.send(type="resume", answer=seen["answer"], conversation=seen["conversation"], cursor=seen["cursor"])
        assert text_of([await chat.next() for _ in range(10)], text) == attempt.text[:len(text) + 160_000]


async def test_an_expired_token_is_said_and_a_fresh_one_goes_on(first: Gateway, worker: ScriptedWorker) -> None:
    async with first.chat(ttl=-9) as chat:
        await chat.ask(request_id="r1")
        attempt = await worker.take()
        await chat.until("accepted")
        await asyncio.sleep(1.2)
        await chat.ask(request_id="r2")
        error = await chat.next()
        assert (error["type"], error["code"], error["request_id"]) == ("error", "token_expired", "r2")
        await attempt.say("still here")  # what was asked before goes on
        assert (await chat.next())["text"] == "still here"
        await chat.send(type="token", token=first.token("somebody-else"))
        assert (await chat.next())["code"] == "forbidden"
        await chat.send(type="token", token=first.token())
        assert (await chat.next())["type"] == "ready"
        await attempt.done()
        await chat.rest()
        await chat.ask(request_id="r2")
        await (await worker.take()).done()
        assert (await chat.rest())[-1]["type"] == "done"


@pytest.mark.parametrize("hello", [{"type": "hello", "token": "nonsense"}, {"type": "hello"}, {"type": "ask"}])
async def test_nobody_unknown_gets_past_hello(first: Gateway, hello: dict[str, str]) -> None:
    async with first.client.ws_connect(first.url + "/v1/chat") as ws:
        await ws.send_json(hello)
        error = await ws.receive_json()
        assert error["type"] == "error" and error["code"] in ("not_signed_in", "bad_request")
        await ws.receive()
        assert ws.close_code == 4401


async def test_a_foreign_page_gets_no_socket(first: Gateway) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await first.client.ws_connect(first.url + "/v1/chat", headers={"Origin": "https://evil.example"})
    assert refused.value.status == 403


async def test_what_is_wrong_is_said_and_ends_nothing(first: Gateway) -> None:
    async with first.chat() as chat:
        for text, code in [("{", "bad_request"), ("[]", "bad_request"), ('{"type":"dance"}', "bad_request"),
                           ('{"type":"resume","answer":"a","conversation":"b","cursor":"x"}', "bad_request"),
                           ('{"type":"ask","request_id":"r","workspace":"no/slash","question":"?"}', "bad_request"),
                           ('{"type":"ask","request_id":"r","workspace":"library","question":"  "}', "bad_request")]:
            await chat.ws.send_str(text)
            error = await chat.next()
            assert (error["type"], error["code"]) == ("error", code), error


async def test_nobody_meets_anothers_answer(first: Gateway, second: Gateway, worker: ScriptedWorker) -> None:
    async with first.chat("ann") as chat:
        await chat.ask("Am I ill?")
        attempt = await worker.take()
        await attempt.say("a secret")
        seen = (await chat.until("delta"))[-1]
        names = {"answer": seen["answer"], "conversation": seen["conversation"]}
        for there in (first, second):
            async with there.chat("bob") as other:
                await other.send(type="resume", **names, cursor=seen["cursor"])
                assert (await other.next())["code"] == "not_found"
                await other.send(type="cancel", **names)
                assert (await other.next())["code"] == "not_found"
        # Naming Ann's conversation gives Bob one of his own.
        async with first.chat("bob") as other:
            await other.ask("Mine?", conversation=seen["conversation"])
            his = await worker.take()
            assert his.question.conversation != seen["conversation"]
            await his.done()
            await other.rest()
        await attempt.done()
        await chat.rest()
    await first.services.turns.wait(seen["answer"], 20)
    assert (await first.call("GET", f"/v1/turns/{seen['answer']}", user="bob"))[0] == 404
    assert (await first.call("GET", f"/v1/turns/{seen['answer']}", user="ann"))[0] == 200


async def test_too_many_open_questions_are_refused_at_once(first: Gateway, worker: ScriptedWorker) -> None:
    async with first.chat("busy") as chat:
        attempts = []
        for _ in range(3):
            await chat.ask()
            attempts.append(await worker.take())
            await chat.until("accepted")
        await chat.ask(request_id="one-too-many")
        error = await chat.next()
        assert (error["code"], error["request_id"], error["retriable"]) == ("overloaded", "one-too-many", True)
        assert error["retry_after"] > 0
        status, body = await first.call("POST", "/v1/search", user="busy",
                                        json={"workspace": "library", "question": "?"})
        assert (status, body["error"]["code"]) == (429, "overloaded")
        for attempt in attempts:
            await attempt.done()
            await chat.rest()
        await chat.ask()
        await (await worker.take()).done()
        assert (await chat.rest())[-1]["type"] == "done"


async def test_server_sent_events_stream_and_resume(first: Gateway, second: Gateway, worker: ScriptedWorker) -> None:
    body = {"workspace": "library", "question": "How?", "request_id": "sse"}
    async with first.client.post(first.url + "/v1/answers", json=body, headers=first.headers()) as response:
        assert response.content_type == "text/event-stream"
        attempt = await worker.take()
        await attempt.say("one ", "two ")
        await response.content.readuntil(b"\n\n")
        event = (await response.content.readuntil(b"\n\n")).decode()
        fields = dict(line.split(": ", 1) for line in event.strip().splitlines())
        assert fields["event"] == "delta" and '"one "' in fields["data"]
        answer, conversation = response.headers["Weir-Answer"], response.headers["Weir-Conversation"]
    headers = {**second.headers(), "Last-Event-ID": fields["id"]}
    path = f"{second.url}/v1/answers/{answer}?conversation={conversation}"
    async with second.client.get(path, headers=headers) as response:
        await attempt.say("three")
        await attempt.done()
        events = [e for e in (await response.text()).split("\n\n") if e]
    assert [e.splitlines()[0] for e in events] == ["event: delta", "event: delta", "event: done"]
    assert '"two "' in events[0] and '"three"' in events[1]


async def test_a_gateway_that_ends_says_so(first: Gateway) -> None:
    async with gateway(gateway_settings(first.settings, first.settings.home)) as third, third.chat() as chat:
        await third.services.sessions.close()
        await chat.ws.receive()
        assert chat.ws.close_code == 1001


async def test_the_partition_is_listened_to_before_the_question_is_there(
        first: Gateway, worker: ScriptedWorker, tmp_path: Path) -> None:
    """A worker that answers at once, on partitions nobody listened to: no first frame is missed."""
    async with gateway(gateway_settings(first.settings, first.settings.home)) as fresh, fresh.chat("quick") as chat:
        for _ in range(12):
            await chat.ask()
            await (await worker.take()).done()
            assert [m["type"] for m in await chat.rest()] == ["accepted", "done"]
