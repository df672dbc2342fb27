"""The gateway's public API as the commands use it: requests, and an answer's frames that survive a broken connection.

Nothing here knows Kafka: any program may do the same with the same API (`docs/reference/api.md`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import aiohttp

from weir import identity
from weir.errors import Conflict, Forbidden, NotFound, NotSignedIn, Overloaded, SettingsError, Unavailable, WeirError
from weir.settings import Settings

RECONNECT = 60.0
"""Seconds for which a broken stream is taken up again before the command gives up."""

TERMINAL = ("done", "error")
_STATUSES = {"not_signed_in": 401, "token_expired": 401, "forbidden": 403, "not_found": 404, "unavailable": 503}
_BY_STATUS: dict[int, type[WeirError]] = {401: NotSignedIn, 403: Forbidden, 404: NotFound, 409: Conflict,
                                          429: Overloaded, 503: Unavailable, 504: Unavailable}


def token_for(settings: Settings, user: str) -> str:
    """The token in `WEIR_TOKEN`, or one that the local issuer makes for `user`.

    Raises:
        SettingsError: there is no token and the issuer is elsewhere.
    """
    token = os.environ.get("WEIR_TOKEN", "")
    if token:
        return token
    if settings.issuer != "local":
        raise SettingsError(f"set WEIR_TOKEN to a token of {settings.issuer}; only a local issuer makes tokens here")
    return identity.issue_for(settings, user)


class Client:
    """A connection to a gateway on behalf of one person."""

    def __init__(self, settings: Settings, token: str) -> None:
        self._url = settings.gateway_url.rstrip("/")
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self._token}"},
                                              timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=120))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use the client as an async context manager")
        return self._session

    async def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """One request; the reply's JSON.

        Raises:
            WeirError: what the gateway answered, as the error of the same status.
            Unavailable: no gateway answers at the address.
        """
        try:
            async with self.session.request(method, self._url + path, **kwargs) as reply:
                body = await reply.json(content_type=None) if reply.content_length != 0 else None
                if reply.status < 400:
                    return body
                raise _error(reply.status, body)
        except aiohttp.ClientConnectionError as e:
            raise Unavailable(f"no gateway answers at {self._url} ({e}); start it with `make run`") from e

    async def data(self, path: str) -> bytes:
        """A file.

        Raises:
            WeirError: what the gateway answered, as the error of the same status.
            Unavailable: no gateway answers at the address.
        """
        try:
            async with self.session.get(self._url + path) as reply:
                if reply.status < 400:
                    return await reply.read()
                raise _error(reply.status, await reply.json(content_type=None))
        except aiohttp.ClientConnectionError as e:
            raise Unavailable(f"no gateway answers at {self._url} ({e}); start it with `make run`") from e

    async def watch(self, task: str) -> AsyncIterator[dict[str, Any]]:
        """How a task stands and what happens to it, for ever. A broken connection is opened again.

        Raises:
            NotFound: there is no such task for this person.
            Unavailable: no gateway answers for too long.
        """
        deadline: float | None = None
        while True:
            try:
                async for frame in self._frames({"type": "watch", "task": task}):
                    deadline = None
                    if frame["type"] == "error":
                        raise _error(_STATUSES.get(frame["code"], 500), {"error": frame})
                    yield frame
                problem: Exception = ConnectionResetError("the connection was closed")
            except (aiohttp.ClientError, OSError) as e:
                problem = e
            now = asyncio.get_running_loop().time()
            deadline = deadline or now + RECONNECT
            if now > deadline:
                raise Unavailable(f"the gateway at {self._url} does not answer: {problem}") from problem
            await asyncio.sleep(0.3)

    async def ask(self, question: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The frames of one answer, ending with `done` or `error`. A broken connection is taken up where it broke.

        Args:
            question: body of an `ask` message: request_id, workspace, question and what else it may have.
        """
        message = {"type": "ask", **question}
        deadline: float | None = None
        while True:
            try:
                async for frame in self._frames(message):
                    deadline = None
                    yield frame
                    if frame["type"] in TERMINAL:
                        return
                    if "cursor" in frame:
                        message = {"type": "resume", **{k: frame[k] for k in ("answer", "conversation", "cursor")}}
                problem: Exception = ConnectionResetError("the connection was closed")
            except (aiohttp.ClientError, OSError) as e:
                problem = e
            now = asyncio.get_running_loop().time()
            deadline = deadline or now + RECONNECT
            if now > deadline:
                raise Unavailable(f"the gateway at {self._url} does not answer: {problem}") from problem
            await asyncio.sleep(0.3)

    async def _frames(self, message: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        async with self.session.ws_connect(self._url + "/v1/chat", protocols=("weir.v1",), heartbeat=20) as socket:
            await socket.send_json({"type": "hello", "token": self._token})
            ready = await socket.receive()
            if ready.type is not aiohttp.WSMsgType.TEXT:
                return
            greeting = ready.json()
            if greeting["type"] == "error":
                yield greeting
                return
            await socket.send_json(message)
            async for text in socket:
                if text.type is aiohttp.WSMsgType.TEXT:
                    yield text.json()


def _error(status: int, body: Any) -> WeirError:
    said = body.get("error", {}) if isinstance(body, dict) else {}
    error = _BY_STATUS.get(status, WeirError)(said.get("message", f"the gateway answered {status}"),
                                          retry_after=said.get("retry_after"))
    error.code = said.get("code", error.code)
    return error
