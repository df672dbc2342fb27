"""A gateway inside a test, on a port of its own, and a worker that writes the answers a test wants.

The worker is a real one to the gateway: it reads `questions` and writes `answers` on the real broker. What it says and
when is the test's choice, which is what a test of the streaming protocol needs.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web
from confluent_kafka import Consumer, TopicPartition

from gateway.app import application, services
from gateway.http import Services
from schemas import codec, topics
from schemas.events import (
    Accepted,
    AnswerFrame,
    CancelAnswer,
    Citation,
    Cited,
    Delta,
    Done,
    Failed,
    Outcome,
    QuestionAsked,
    Source,
    Sources,
)
from tests.kit.system import free_ports
from weir import identity
from weir.clock import system_clock
from weir.kafka.config import consumer_config
from weir.kafka.producer import Producer
from weir.settings import Settings

PATIENCE = 30.0


def gateway_settings(settings: Settings, home: Path, **options: Any) -> Settings:
    """The same servers and prefix, with a port and a home of the gateway's own."""
    return Settings(**{**settings.model_dump(), "kafka": settings.kafka_address,
                       "elasticsearch": ",".join(settings.elasticsearch_urls), "milvus": settings.milvus_uri,
                       "triton": settings.triton_address, "port_base": free_ports(), "home": home, **options})


@dataclass
class Gateway:
    """A running gateway and a client for it."""

    settings: Settings
    services: Services
    client: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.settings.gateway_url

    def token(self, user: str = "reader", groups: tuple[str, ...] = (), clearance: int = 0, ttl: float = 600) -> str:
        return identity.issue(self.settings, user, groups, clearance, ttl)

    def headers(self, user: str = "reader", groups: tuple[str, ...] = (), clearance: int = 0) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(user, groups, clearance)}"}

    async def call(self, method: str, path: str, *, user: str = "reader", groups: tuple[str, ...] = (),
                   clearance: int = 0, **options: Any) -> tuple[int, Any]:
        headers = {**self.headers(user, groups, clearance), **options.pop("headers", {})}
        async with self.client.request(method, self.url + path, headers=headers, **options) as r:
            return r.status, await r.json() if r.content_type == "application/json" else await r.text()

    @asynccontextmanager
    async def chat(self, user: str = "reader", groups: tuple[str, ...] = (), clearance: int = 0,
                   ttl: float = 600, client: aiohttp.ClientSession | None = None) -> AsyncIterator[Chat]:
        """A WebSocket that has said hello and was welcomed."""
        async with (client or self.client).ws_connect(self.url + "/v1/chat", protocols=("weir.v1",)) as ws:
            chat = Chat(ws)
            await chat.send(type="hello", token=self.token(user, groups, clearance, ttl))
            ready = await chat.next()
            assert ready["type"] == "ready", ready
            yield chat


@dataclass
class Chat:
    ws: aiohttp.ClientWebSocketResponse

    async def send(self, **message: Any) -> None:
        await self.ws.send_json(message)

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            return dict(await self.ws.receive_json())

    async def ask(self, question: str = "Why?", request_id: str | None = None, **more: Any) -> None:
        await self.send(type="ask", request_id=request_id or uuid.uuid4().hex, workspace="library", question=question,
                        **more)

    async def until(self, *kinds: str) -> list[dict[str, Any]]:
        """The messages up to and including the first of one of these kinds."""
        got = []
        while True:
            got.append(await self.next())
            if got[-1]["type"] in kinds:
                return got

    async def rest(self) -> list[dict[str, Any]]:
        return await self.until("done", "error")

    async def quiet(self, seconds: float = 0.3) -> None:
        """Nothing more comes."""
        try:
            async with asyncio.timeout(seconds):
                message = await self.ws.receive()
        except TimeoutError:
            return
        raise AssertionError(f"more came: {message}")


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Serves until the block ends; `settings` as from `gateway_settings`."""
    async with AsyncExitStack() as stack:
        producer = await stack.enter_async_context(Producer(settings))
        built = await stack.enter_async_context(services(settings, producer, system_clock))
        runner = web.AppRunner(application(built), access_log=None, shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        stack.push_async_callback(built.sessions.close)
        await web.TCPSite(runner, settings.host, settings.port_base).start()
        client = await stack.enter_async_context(aiohttp.ClientSession())
        yield Gateway(settings, built, client)


@dataclass
class Attempt:
    """One attempt at an answer, written frame by frame."""

    worker: ScriptedWorker
    question: QuestionAsked
    attempt: str = field(default_factory=lambda: uuid.uuid4().hex)
    seq: int = 0
    text: str = ""
    sources: list[Source] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)

    async def send(self, body: Any) -> None:
        frame = AnswerFrame(answer=self.question.answer, conversation=self.question.conversation,
                            attempt=self.attempt, seq=self.seq, at=system_clock(), body=body)
        self.seq += 1
        await self.worker.producer.send(self.worker.answers, self.question.conversation, frame)

    async def accept(self) -> Self:
        q = self.question
        await self.send(Accepted(question=q.question, workspace=q.workspace, person=q.person, asked_at=q.asked_at,
                                 follows=q.follows, search_only=q.search_only))
        return self

    async def cite(self, *sources: Source) -> None:
        self.sources = list(sources)
        await self.send(Sources(sources=self.sources))

    async def say(self, *texts: str) -> None:
        for text in texts:
            await self.send(Delta(text=text, position=len(self.text)))
            self.text += text

    async def support(self, citation: Citation) -> None:
        self.citations.append(citation)
        await self.send(Cited(citation=citation))

    async def done(self, outcome: Outcome = Outcome.ANSWERED, **more: Any) -> None:
        await self.send(Done(outcome=outcome, text=self.text, sources=self.sources, citations=self.citations,
                             model="scripted", **more))

    async def fail(self, code: str = "model_error", message: str = "it broke off") -> None:
        await self.send(Failed(code=code, message=message, retriable=True, retry_after=1.0))


class ScriptedWorker:
    """Reads `questions`, writes `answers`."""

    def __init__(self, settings: Settings, producer: Producer) -> None:
        self.producer = producer
        self.answers = topics.ANSWERS.named(settings.prefix)
        self._questions = topics.QUESTIONS.named(settings.prefix)
        self._consumer = Consumer(consumer_config(settings, f"{settings.prefix}scripted", fetch_wait_max_ms=10))
        places = [TopicPartition(self._questions, p) for p in range(settings.kafka_partitions)]
        for place in places:  # what was asked before is none of this worker's business
            place.offset = self._consumer.get_watermark_offsets(place, timeout=PATIENCE)[1]
        self._consumer.assign(places)
        self._read: list[QuestionAsked | CancelAnswer] = []
        self._next = 0

    async def event(self) -> QuestionAsked | CancelAnswer:
        """The next record of `questions`."""
        async with asyncio.timeout(PATIENCE):
            while self._next >= len(self._read):
                await self._poll(0.2)
        self._next += 1
        return self._read[self._next - 1]

    async def question(self) -> QuestionAsked:
        event = await self.event()
        assert isinstance(event, QuestionAsked), event
        return event

    async def take(self) -> Attempt:
        """Accepts the next question."""
        return await Attempt(self, await self.question()).accept()

    async def silent(self, seconds: float = 0.5) -> None:
        """No further record comes."""
        await self._poll(seconds)
        assert self._next == len(self._read), self._read[self._next:]

    async def _poll(self, seconds: float) -> None:
        message = await asyncio.to_thread(self._consumer.poll, seconds)
        if message is not None and message.error() is None:
            self._read.append(codec.decode(message.value() or b""))

    async def close(self) -> None:
        await asyncio.to_thread(self._consumer.close)


def source(number: int = 1, document: str = "handbook", text: str = "Leave is 27 days. It starts in April.",
           **more: Any) -> Source:
    return Source(**{"number": number, "chunk": f"c{number}", "document": document, "version": 0, "title": "Handbook",
                     "heading_path": ["Leave"], "text": text, "section": 0, "start": 0, "end": len(text),
                     "score": 1.0, **more})
