"""A client of the streaming protocol that believes nothing: it checks each frame and comes back after each break."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

PATIENCE = 300.0
"""Seconds in which an answer must end, whatever is killed meanwhile."""
RETRIES = 900.0
"""Seconds in which one of the answers to a question that is asked again must be a good one."""
AGAIN, AGAIN_MOST = 3.0, 20.0
"""Seconds until a question that could not be answered is asked again, at first and after many times."""
PAUSE = 0.2
QUIET = 0.3
"""Seconds in which nothing may follow an answer's end."""


@dataclass
class Heard:
    """One answer as its client put it together."""

    answer: str = ""
    conversation: str = ""
    cursor: str = ""
    text: str = ""
    frames: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None
    resumes: int = 0
    resets: int = 0

    def take(self, frame: dict[str, Any]) -> None:
        """
        Raises:
            AssertionError: characters are missing or doubled, or something follows the end.
        """
        assert self.end is None, f"{frame['type']} after the end of {self.answer}"
        self.frames.append(frame)
        if "cursor" in frame:
            self.answer, self.conversation, self.cursor = (frame[k] for k in ("answer", "conversation", "cursor"))
        match frame["type"]:
            case "delta":
                assert frame["position"] == len(self.text), f"{frame} does not follow {self.text!r}"
                self.text += frame["text"]
            case "reset":
                self.text = ""
                self.resets += 1
            case "snapshot":
                self.text = frame["text"]
            case "done":
                assert frame["text"] == self.text, f"the whole is {frame['text']!r}, its parts were {self.text!r}"
                self.end = frame
            case "error":
                self.end = frame

    @property
    def streaming(self) -> bool:
        """Whether it is in the middle."""
        return bool(self.text) and self.end is None

    @property
    def sources(self) -> list[dict[str, Any]]:
        return list(self.end["sources"]) if self.end and self.end["type"] == "done" else []


class Listener:
    """One person at one gateway.

    Args:
        url: the gateway's.
        token: gives a token whenever a socket is opened.
    """

    def __init__(self, url: str, token: Callable[[], str], session: aiohttp.ClientSession) -> None:
        self._url, self._token, self._session = url, token, session
        self.now = Heard()
        """The answer that is being listened to, or was last."""
        self.resumes = self.resets = 0
        """Of all answers, those that ended in an error included."""

    async def ask(self, question: str, **body: Any) -> Heard:
        """Asks, and listens to the end.

        Raises:
            AssertionError: the stream is not what the protocol promises.
            TimeoutError: no end came.
        """
        heard = self.now = Heard()
        message = {"type": "ask", "request_id": uuid.uuid4().hex, "question": question, **body}
        async with asyncio.timeout(PATIENCE):
            while heard.end is None:
                with suppress(aiohttp.ClientError, OSError):
                    await self._listen(message, heard)
                if heard.end is None:
                    await asyncio.sleep(PAUSE)
                    if heard.cursor:
                        message = {"type": "resume", "answer": heard.answer, "conversation": heard.conversation,
                                   "cursor": heard.cursor}
                        heard.resumes += 1
                        self.resumes += 1
        self.resets += heard.resets
        return heard

    async def answered(self, question: str, **body: Any) -> tuple[Heard, list[dict[str, Any]]]:
        """Asks again as long as the answer says that asking again may help; the errors on the way."""
        errors: list[dict[str, Any]] = []
        try:
            async with asyncio.timeout(RETRIES):
                while True:
                    heard = await self.ask(question, **body)
                    assert heard.end is not None
                    if heard.end["type"] == "done":
                        return heard, errors
                    assert heard.end["retriable"], heard.end
                    errors.append(heard.end)
                    # As patient as a person: fifty that ask again at once keep a small machine from recovering.
                    pause = min(AGAIN_MOST, AGAIN * 1.5 ** (len(errors) - 1)) * random.uniform(0.7, 1.3)
                    await asyncio.sleep(max(heard.end["retry_after"] or 0.0, pause))
        except TimeoutError as e:
            counted = Counter(f"{error['code']}: {error['message'][:200]}" for error in errors)
            raise TimeoutError(f"no good answer in {RETRIES:.0f} s: {counted.most_common(6)}; now: "
                               f"{self.now.frames[-3:]}, resumed {self.now.resumes} times") from e

    async def _listen(self, message: dict[str, Any], heard: Heard) -> None:
        async with self._session.ws_connect(self._url + "/v1/chat", protocols=("weir.v1",), heartbeat=20) as socket:
            await socket.send_json({"type": "hello", "token": self._token()})
            if (await socket.receive()).type is not aiohttp.WSMsgType.TEXT:
                return
            await socket.send_json(message)
            async for text in socket:
                if text.type is not aiohttp.WSMsgType.TEXT:
                    return
                frame = text.json()
                if frame["type"] == "error" and "answer" not in frame and frame["retriable"]:
                    await asyncio.sleep(frame["retry_after"] or PAUSE)  # of the session: nothing was asked yet
                    return
                heard.take(frame)
                if heard.end is not None:
                    break
            if heard.end is not None:
                try:
                    async with asyncio.timeout(QUIET):
                        after = await socket.receive()
                except TimeoutError:
                    return
                assert after.type is not aiohttp.WSMsgType.TEXT, f"after the end of {heard.answer}: {after.data}"
