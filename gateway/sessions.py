"""A WebSocket session, `/v1/chat`: a small state machine between a socket and the answers its person follows.

    NEW ──hello (token or cookie)──▶ READY ──the token ends──▶ EXPIRED ──token──▶ READY
     │ anything else: 4401             │ ask, resume, cancel,     │ anything else: `token_expired`, the socket lives
     └────────────────▶ CLOSED ◀───────┴── watch ─────────────────┘

Answers that are already streaming go on while the token is over. Nothing waits for a slow client: once more messages
wait than it may leave waiting, it is dropped with a close code that says it may resume.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum, IntEnum
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from gateway.asking import Asking, Following
from gateway.auth import COOKIE
from gateway.http import SERVICES, Services
from gateway.live import Live, Watcher
from gateway.metrics import REFUSED, SESSIONS, SLOW_CLIENTS
from gateway.outbox import Outbox, SlowClient
from gateway.requests import MESSAGES, Ask, Body, Cancel, Hello, Resume, Token, Unwatch, Watch, parse
from gateway.wire import SUBPROTOCOL, Cursor, dumps, error_message
from weir import telemetry
from weir.errors import BadRequest, Forbidden, NotSignedIn, Overloaded, TokenExpired, WeirError
from weir.identity import LEEWAY, Identity, Verifier

log = telemetry.logger(__name__)

HELLO_WITHIN = 10.0
HEARTBEAT = 20.0
MAX_MESSAGE = 256 * 1024
MAX_FOLLOWED = 64
"""Answers that one socket follows at a time, and tasks that it watches."""
CLOSE_WITHIN = 2.0


class State(Enum):
    NEW = "new"
    READY = "ready"
    EXPIRED = "expired"
    CLOSED = "closed"


class Close(IntEnum):
    GOING_AWAY = 1001
    """This gateway ends; resume at another."""
    NOT_SIGNED_IN = 4401
    SLOW_CLIENT = 4408
    """The client did not keep up; resume with the last cursor."""


class Session:
    """One socket. `receive` is fed its messages; what it says goes into the outbox."""

    def __init__(self, verifier: Verifier, asking: Asking, live: Live, outbox: Outbox, now: Callable[[], float],
                 admin_group: str, cookie: str = "") -> None:
        self.state = State.NEW
        self.identity: Identity | None = None
        self.close: Close | None = None
        self._verifier = verifier
        self._asking = asking
        self._live = live
        self._admin_group = admin_group
        self._watcher: Watcher | None = None
        self._outbox = outbox
        self._now = now
        self._cookie = cookie
        self._followed: dict[str, Following] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def receive(self, text: str) -> None:
        """Takes the client's next message. What is wrong with it is said to the client and ends nothing, save before
        the client is known."""
        request_id = None
        try:
            plain = _object(text)
            request_id = plain.get("request_id") if isinstance(plain.get("request_id"), str) else None
            await self._take(_message(plain), request_id)
        except WeirError as e:
            REFUSED.labels(e.code).inc()
            self._outbox.put(error_message(e, request_id=request_id))
            if self.state is State.NEW:
                self._end(Close.NOT_SIGNED_IN)

    async def _take(self, message: Body, request_id: str | None) -> None:
        if self.state is State.READY and self.identity and self._now() >= self.identity.expires_at + LEEWAY:
            self.state = State.EXPIRED
        match self.state, message:
            case State.NEW, Hello(token=token):
                self._welcome(await self._verifier.verify(token or self._cookie))
            case State.NEW, _:
                raise NotSignedIn('the first message must be {"type": "hello", "token": ...}')
            case State.READY | State.EXPIRED, Token(token=token):
                self._renew(await self._verifier.verify(token))
            case State.EXPIRED, _:
                raise TokenExpired('the token has expired: send {"type": "token", "token": ...} with a fresh one; what '
                                   "is streaming goes on")
            case State.READY, Ask() as ask:
                await self._ask(ask)
            case State.READY, Resume() as resume:
                self._spawn(self._resume(resume), answer=resume.answer, conversation=resume.conversation)
            case State.READY, Cancel() as cancel:
                await self._asking.cancel(self._person, cancel.answer, cancel.conversation)
            case State.READY, Watch(task=task, approvals=approvals):
                if (task is None) == (not approvals):
                    raise BadRequest("watch either a `task` or, with `approvals`, the approval queue")
                self._spawn(self._watch(task), task=task)
            case State.READY, Unwatch(task=task):
                if self._watcher is not None:
                    self._live.unwatch_task(self._watcher, task)
            case State.READY, Hello():
                raise BadRequest("you have been welcomed already; send `token` to renew the token")
            case State.CLOSED, _:
                return
            case state, other:
                raise BadRequest(f"{type(other).__name__.lower()} is not expected while the session is {state.value}")

    @property
    def _person(self) -> Any:
        if self.identity is None:
            raise NotSignedIn("nobody is signed in")
        return self.identity.person

    def _welcome(self, identity: Identity) -> None:
        self.identity, self.state = identity, State.READY
        self._ready(identity)

    def _renew(self, identity: Identity) -> None:
        if identity.person.subject != self._person.subject:
            raise Forbidden("the token is somebody else's: open another connection for them")
        self.identity, self.state = identity, State.READY
        self._ready(identity)

    def _ready(self, identity: Identity) -> None:
        self._outbox.put({"type": "ready", "subject": identity.person.subject, "name": identity.person.name,
                          "expires_at": int(identity.expires_at * 1000), "protocol": SUBPROTOCOL})

    async def _ask(self, ask: Ask) -> None:
        self._room()
        self._follow(await self._asking.ask(self._person, ask, self._outbox.put))

    async def _resume(self, resume: Resume) -> None:
        self._room()
        cursor = Cursor.parse(resume.cursor) if resume.cursor else None
        self._follow(await self._asking.resume(self._person, resume.answer, resume.conversation, cursor,
                                               self._outbox.put))

    async def _watch(self, task: str | None) -> None:
        watcher = self._watcher
        if watcher is None:
            admin = self._admin_group in self._person.groups
            watcher = self._watcher = self._live.watcher(self._person, admin, self._outbox.put)
        if task is None:
            self._live.watch_approvals(watcher)
        elif len(watcher.tasks) >= MAX_FOLLOWED:
            raise Overloaded(f"this connection watches {MAX_FOLLOWED} tasks already: open another", retry_after=5)
        else:
            await self._live.watch_task(watcher, task)

    def _room(self) -> None:
        self._followed = {a: f for a, f in self._followed.items() if f.opened is not None and not f.opened.finished}
        if len(self._followed) >= MAX_FOLLOWED:
            raise Overloaded(f"this connection follows {MAX_FOLLOWED} answers already: open another", retry_after=5)

    def _follow(self, following: Following) -> None:
        if (before := self._followed.get(following.answer)) is not None:
            before.stop()  # the same socket asked twice: one of each frame is enough
        self._followed[following.answer] = following
        if self.state is State.CLOSED:
            following.stop()

    def _spawn(self, work: Coroutine[Any, Any, None], **about: str | None) -> None:
        async def run() -> None:
            try:
                await work
            except WeirError as e:
                self._outbox.put(error_message(e, **about))

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _end(self, code: Close) -> None:
        self.close, self.state = code, State.CLOSED

    async def closed(self) -> None:
        """The socket is gone: nobody listens here any more, and nothing is cancelled."""
        self.state = State.CLOSED
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for following in self._followed.values():
            following.stop()
        if self._watcher is not None:
            self._live.leave(self._watcher)


class Sessions:
    """All sockets of this gateway, so that its end can be told to each."""

    def __init__(self) -> None:
        self._sockets: set[web.WebSocketResponse] = set()

    @property
    def count(self) -> int:
        return len(self._sockets)

    async def close(self) -> None:
        """Tells every client to resume at another gateway."""
        await asyncio.gather(*(_close(s, Close.GOING_AWAY, b"resume elsewhere") for s in list(self._sockets)))

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        services = request.app[SERVICES]
        services.origins.check_socket(request)
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,), heartbeat=HEARTBEAT, max_msg_size=MAX_MESSAGE,
                                       compress=False, timeout=CLOSE_WITHIN)
        await socket.prepare(request)
        outbox = Outbox(services.settings.session_buffer)
        # A cookie counts only with an Origin, which `check_socket` has found to be ours.
        cookie = request.cookies.get(COOKIE, "") if request.headers.get("Origin") else ""
        session = Session(services.verifier, services.asking, services.live, outbox,
                          lambda: services.clock() / 1000, services.settings.admin_group, cookie)
        self._sockets.add(socket)
        SESSIONS.inc()
        writer = asyncio.create_task(_write(socket, outbox))
        try:
            await self._run(socket, session, writer, outbox)
        finally:
            self._sockets.discard(socket)
            SESSIONS.dec()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            await session.closed()
        return socket

    async def _run(self, socket: web.WebSocketResponse, session: Session, writer: asyncio.Task[None],
                   outbox: Outbox) -> None:
        reader = asyncio.create_task(_read(socket, session))
        overflow = asyncio.create_task(outbox.overflow())
        try:
            await asyncio.wait([reader, writer, overflow], return_when=asyncio.FIRST_COMPLETED)
            if outbox.overflown:
                writer.cancel()
                SLOW_CLIENTS.inc()
                await _close(socket, Close.SLOW_CLIENT, b"too slow: resume with your last cursor")
            elif session.close is not None:
                await outbox.emptied()
                await _close(socket, session.close, b"not signed in")
            if reader.done() and not reader.cancelled() and reader.exception():
                log.error("a session ended by an error nobody expected", error=repr(reader.exception()))
                await _close(socket, Close.GOING_AWAY, b"resume")
        finally:
            for task in (reader, overflow):
                task.cancel()
            await asyncio.gather(reader, overflow, return_exceptions=True)


async def _read(socket: web.WebSocketResponse, session: Session) -> None:
    while session.state is not State.CLOSED:
        try:
            async with asyncio.timeout(HELLO_WITHIN if session.state is State.NEW else None):
                message = await socket.receive()
        except TimeoutError:
            session.close = Close.NOT_SIGNED_IN
            return
        if message.type is aiohttp.WSMsgType.TEXT:
            await session.receive(message.data)
        elif message.type is not aiohttp.WSMsgType.BINARY:
            return  # closed, by either side


async def _write(socket: web.WebSocketResponse, outbox: Outbox) -> None:
    try:
        while True:
            await socket.send_frame(dumps(await outbox.get()), aiohttp.WSMsgType.TEXT)
            outbox.sent()
    except (ConnectionError, SlowClient, RuntimeError):
        return  # the reader, or the overflow, says what becomes of the socket


async def _close(socket: web.WebSocketResponse, code: Close, why: bytes) -> None:
    try:
        async with asyncio.timeout(CLOSE_WITHIN):
            await socket.close(code=code, message=why)
    except (TimeoutError, ConnectionError, RuntimeError):
        pass  # it does not read: the connection ends when the handler returns


def _object(text: str) -> dict[str, Any]:
    try:
        plain = orjson.loads(text)
    except orjson.JSONDecodeError as e:
        raise BadRequest(f"the message is not JSON: {e}") from e
    if not isinstance(plain, dict):
        raise BadRequest('a message is an object such as {"type": "ask", ...}')
    return plain


def _message(plain: dict[str, Any]) -> Body:
    kind = MESSAGES.get(str(plain.get("type")))
    if kind is None:
        raise BadRequest(f"{str(plain.get('type'))[:40]!r} is no type of message; there are {', '.join(MESSAGES)}")
    return parse(kind, plain)


async def chat(request: web.Request) -> web.StreamResponse:
    services: Services = request.app[SERVICES]
    return await services.sessions.serve(request)
