"""A gateway is killed while it streams: its clients go on at another and miss nothing."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.kit.gateway import Attempt, ScriptedWorker, gateway_settings
from tests.kit.pipeline import pipeline
from weir import identity
from weir.settings import Settings, environment

pytestmark = [pytest.mark.chaos, pytest.mark.services]

ANSWERS = 12
PIECES = 60
START = 60.0
"""Seconds that a process may take to listen on a busy machine."""


@asynccontextmanager
async def gateway_process(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", env=environment(settings), stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True)
    try:
        async with aiohttp.ClientSession() as client, asyncio.timeout(START):
            while process.returncode is None:
                try:
                    async with client.get(settings.gateway_url + "/readyz") as r:
                        if r.status == 200:
                            break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.1)
        assert process.returncode is None, "the gateway ended by itself"
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 20)


class Client:
    """Follows one answer through whatever happens to its gateways."""

    def __init__(self, number: int, settings: Settings) -> None:
        self.text = ""
        self.ends: list[str] = []
        self.broken = 0
        self.listening = asyncio.Event()
        """Set in the middle of the answer."""
        self._ask: dict[str, Any] = {"type": "ask", "request_id": f"r{number}", "workspace": "library",
                                     "question": f"{number}?"}
        self._token = identity.issue(settings, f"person-{number % 4}")

    async def run(self, urls: list[str]) -> None:
        message = self._ask
        async with aiohttp.ClientSession() as http:
            for attempt in range(1000):
                try:
                    async with http.ws_connect(urls[attempt % len(urls)] + "/v1/chat") as ws:
                        await ws.send_json({"type": "hello", "token": self._token})
                        await ws.receive_json()
                        await ws.send_json(message)
                        async for got in ws:
                            message = self._take(got.json(), message)
                            if self.ends:
                                return
                except (aiohttp.ClientError, TypeError):  # a socket that dies between two messages gives no JSON
                    await asyncio.sleep(0.05)
                self.broken += 1
        raise AssertionError("the answer never ended")

    def _take(self, got: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        match got["type"]:
            case "delta":
                assert got["position"] == len(self.text), "a character was lost or doubled"
                self.text += got["text"]
                if len(self.text) > 40:
                    self.listening.set()
            case "done":
                self.ends.append(got["text"])
            case "accepted":
                pass
            case other:
                raise AssertionError(f"{other}: {got}")
        return {"type": "resume", **{k: got[k] for k in ("answer", "conversation", "cursor")}}


async def write(attempt: Attempt, random_: random.Random) -> None:
    for i in range(PIECES):
        await attempt.say(f"<{i}{'ä€😀'[i % 3] * random_.randint(1, 30)}>")
        await asyncio.sleep(0.03)
    await attempt.done()


async def test_a_killed_gateway_loses_and_doubles_no_character(tmp_path: Path) -> None:
    random_ = random.Random(7)
    async with pipeline(questions_in_flight=ANSWERS) as weir:
        first = gateway_settings(weir.settings, tmp_path)
        worker = ScriptedWorker(weir.settings, weir.producer)
        async with gateway_process(first) as victim:
            second = gateway_settings(weir.settings, tmp_path)
            assert second.port_base != first.port_base
            async with gateway_process(second), asyncio.timeout(120):
                clients = [Client(n, first) for n in range(ANSWERS)]
                running = [asyncio.create_task(c.run([first.gateway_url, second.gateway_url])) for c in clients]
                attempts = [await worker.take() for _ in clients]
                writing = [asyncio.create_task(write(a, random_)) for a in attempts]
                await asyncio.gather(*(c.listening.wait() for c in clients))
                os.kill(victim.pid, signal.SIGKILL)
                await asyncio.gather(*writing, *running)
        await worker.close()
        said = {a.question.question: a.text for a in attempts}
        for number, client in enumerate(clients):
            assert client.broken >= 1
            assert client.text == said[f"{number}?"] == client.ends[0]
            assert len(client.ends) == 1
