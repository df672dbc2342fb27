"""One answer over plain HTTP: as server-sent events, and the same frames gathered for those who want them at once.

    POST /v1/answers                                ask
    GET  /v1/answers/A?conversation=C&cursor=...    take up again (`Last-Event-ID` is a cursor too)
    POST /v1/answers/A/cancel
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.asking import Following
from gateway.http import SERVICES, json_response, person_of
from gateway.open_answers import Send
from gateway.outbox import Outbox, SlowClient
from gateway.requests import AskBody, CancelBody, read_json
from gateway.wire import TERMINAL, Cursor, Message, dumps
from weir.errors import BadRequest, NotFound, Overloaded, Unavailable, WeirError

HEARTBEAT = 15.0
"""Seconds after which a comment keeps a quiet stream open."""

_BY_CODE: dict[str, type[WeirError]] = {e.code: e for e in (BadRequest, NotFound, Overloaded, Unavailable)}


async def ask(request: web.Request) -> web.StreamResponse:
    body = await read_json(request, AskBody)
    key = request.headers.get("Idempotency-Key")
    if body.request_id is None and key:
        body = body.model_copy(update={"request_id": key[:200]})
    asking = request.app[SERVICES].asking
    return await stream(request, lambda send: asking.ask(person_of(request), body, send))


async def resume(request: web.Request) -> web.StreamResponse:
    answer, conversation = request.match_info["answer"], request.query.get("conversation", "")
    if not conversation:
        raise BadRequest("name the conversation: /v1/answers/A?conversation=C&cursor=P:O:S")
    text = request.query.get("cursor") or request.headers.get("Last-Event-ID")
    cursor = Cursor.parse(text) if text else None
    asking = request.app[SERVICES].asking
    return await stream(request, lambda send: asking.resume(person_of(request), answer, conversation, cursor, send))


async def cancel(request: web.Request) -> web.Response:
    body = await read_json(request, CancelBody)
    answer = request.match_info["answer"]
    await request.app[SERVICES].asking.cancel(person_of(request), answer, body.conversation)
    return json_response({"answer": answer, "conversation": body.conversation}, status=202)


async def stream(request: web.Request, begin: Callable[[Send], Awaitable[Following]],
                 encode: Callable[[Message], bytes] | None = None, ending: bytes = b"") -> web.StreamResponse:
    """Sends an answer's frames as server-sent events until its last one.

    A client that does not keep up is cut off; what it has read of ids is its cursor. Closing the connection cancels
    nothing.
    """
    outbox = Outbox(request.app[SERVICES].settings.session_buffer)
    following = await begin(outbox.put)
    response = web.StreamResponse(headers={
        "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no",
        "Weir-Answer": following.answer, "Weir-Conversation": following.conversation})
    write = asyncio.create_task(_write(request, response, outbox, encode or event, ending))
    overflow = asyncio.create_task(outbox.overflow())
    try:
        await asyncio.wait([write, overflow], return_when=asyncio.FIRST_COMPLETED)
        if not write.done() and request.transport is not None:
            request.transport.abort()
    finally:
        following.stop()
        for task in (write, overflow):
            task.cancel()
        await asyncio.gather(write, overflow, return_exceptions=True)
    return response


async def _write(request: web.Request, response: web.StreamResponse, outbox: Outbox,
                 encode: Callable[[Message], bytes], ending: bytes) -> None:
    await response.prepare(request)
    try:
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT):
                    message = await outbox.get()
            except TimeoutError:
                await response.write(b": still here\n\n")
                continue
            if data := encode(message):
                await response.write(data)
            outbox.sent()
            if message["type"] in TERMINAL:
                await response.write_eof(ending)
                return
    except (ConnectionError, SlowClient):
        return


def event(message: Message) -> bytes:
    return b"event: %b\nid: %b\ndata: %b\n\n" % (
        message["type"].encode(), str(message.get("cursor", "")).encode(), dumps(message))


async def gather(begin: Callable[[Send], Awaitable[Following]], seconds: float) -> tuple[Following, Message]:
    """The answer's last frame, `done`, which carries all of it.

    Raises:
        WeirError: the answer ended with an error, which is raised as what it says.
        Unavailable: it did not end in time.
    """
    ended: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

    def take(message: Message) -> None:
        if message["type"] in TERMINAL and not ended.done():
            ended.set_result(message)

    following = await begin(take)
    try:
        async with asyncio.timeout(seconds):
            message = await ended
    except TimeoutError:
        raise Unavailable("the answer did not come in time: ask again", retry_after=5) from None
    finally:
        following.stop()
    if message["type"] == "error":
        error = _BY_CODE.get(message["code"], Unavailable)(message["message"], retry_after=message["retry_after"])
        error.code, error.retriable = message["code"], message["retriable"]
        raise error
    return following, message
