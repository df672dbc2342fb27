"""A whole Weir whose every process is killed and whose every server is restarted under load, and what is left of it.

Documents are published and questions are open all the time. The supervisor starts again what dies, as on any machine.
`WEIR_CHAOS=long` kills one by one, several rounds of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from infra.local.processes import PROCESSES
from schemas import keys, topics
from schemas.events import DocumentPublished
from tests.kit.listener import Heard, Listener
from tests.kit.servers import LocalWeir
from tests.kit.system import free_ports
from tests.kit.waiting import until
from weir import identity
from weir.access import token
from weir.errors import Unavailable
from weir.index.indexes import Indexes
from weir.kafka import dead_letters
from weir.kafka.follow import read_all
from weir.kafka.producer import Producer
from weir.settings import Settings
from weir.stores import elasticsearch, milvus
from weir.views.manifests import Manifest, Manifests
from weir.views.status import keywords_store, vectors_store
from weir.views.turns import TurnViews

LONG = os.environ.get("WEIR_CHAOS") == "long"

pytestmark = pytest.mark.timeout(7200 if LONG else 1500)
"""Not marked `chaos`: it needs no servers but its own."""

WORKSPACE = "library"
DOCUMENTS = 300
OPEN = 50
"""Answers that are open at any time."""
STREAMING = 10
"""Answers that are in the middle of their text when something is killed."""
PIECES = 30
PACE = 0.12
"""Seconds between two pieces of the language model: an answer takes about four seconds."""
SETTLED = 300.0
SERVERS = ("kafka", "elasticsearch", "milvus", "triton")
SHORT_ROUNDS: tuple[tuple[str, ...], ...] = (
    ("streams.answers", "consumers.keywords"), ("gateway", "consumers.vectors"),
    ("consumers.views", "streams.documents", "streams.embeddings"), ("streams.turns", "streams.watchdog"),
    ("kafka",), ("elasticsearch",), ("milvus", "triton", "streams.answers"))
LONG_ROUNDS = 3


@dataclass
class Load:
    """What was asked of Weir, and what it answered."""

    settings: Settings
    chance: random.Random
    answered: list[tuple[str, Heard]] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, producer: Producer) -> None:
        """Publishes documents, some again and some deleted, spread over the whole time."""
        topic = topics.DOCUMENTS.named(self.settings.prefix)
        for number in range(DOCUMENTS):
            name = f"d{number}"
            await self._send(producer, topic, name, self._text(number, 0))
            if number % 5 == 0:
                await self._send(producer, topic, name, self._text(number, 1))
            if number % 15 == 7:
                await self._send(producer, topic, name, None)
            await asyncio.sleep(0.1)

    async def _send(self, producer: Producer, topic: str, name: str, text: str | None) -> None:
        event = None if text is None else DocumentPublished(
            workspace=WORKSPACE, document=name, media_type="text/markdown", content=text.encode(), groups=["everyone"])
        while True:
            try:
                await producer.send(topic, keys.document_key(WORKSPACE, name), event)
                return
            except Unavailable:
                await asyncio.sleep(1)  # sent again, it is one version more of the same

    def _text(self, number: int, edition: int) -> str:
        return "\n\n".join(f"# Part {part}\n\nEdition {edition} of topic{number} says that heron {part} eats fish. "
                           + "Some more words about it. " * 15 for part in range(self.chance.randint(1, 4)))

    async def ask(self, listener: Listener) -> None:
        """One question after the other until it is over; at least one."""
        while True:
            question = f"What does topic{self.chance.randrange(DOCUMENTS)} say about herons? {self.chance.random()}"
            heard, errors = await listener.answered(question, workspace=WORKSPACE)
            self.answered.append((question, heard))
            self.errors.update(error["code"] for error in errors)
            if self.over.is_set():
                return


def told(question: str) -> list[str]:
    """What the language model says to a question: every piece has its number, so that none can hide."""
    mark = keys.murmur2(question.encode()) & 0xFFFF
    return [f"m{mark}p{n} " for n in range(PIECES)]


@asynccontextmanager
async def language_model() -> AsyncIterator[str]:
    """A server that speaks the OpenAI wire format, slowly; its base URL."""

    async def complete(request: web.Request) -> web.StreamResponse:
        asked = (await request.json())["messages"][-1]["content"]
        question = asked[asked.rindex("What does topic"):].strip().splitlines()[0]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        with suppress(ConnectionError):  # who asked was killed
            for piece in told(question):
                await response.write(_event({"content": piece}))
                await asyncio.sleep(PACE)
            await response.write(_event({}, "stop"))
            await response.write(b"data: [DONE]\n\n")
        return response

    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", complete)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"


def _event(delta: dict[str, str], reason: str | None = None) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "slow",
             "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


async def kill(weir: LocalWeir, names: Sequence[str]) -> None:
    """SIGKILL to all of them, and back when others have taken their place."""
    pids = {name: weir.kill(name) for name in names}
    for name, pid in pids.items():
        await asyncio.to_thread(weir.until_replaced, name, pid)


def rounds(chance: random.Random) -> Iterable[Sequence[str]]:
    if not LONG:
        yield from SHORT_ROUNDS
        return
    for _ in range(LONG_ROUNDS):
        names = [*(p.name for p in PROCESSES), *SERVERS]
        for name in chance.sample(names, len(names)):
            yield (name,)


async def test_nothing_is_lost_or_doubled_whatever_is_killed(tmp_path: Path) -> None:
    chance = random.Random(int(os.environ.get("WEIR_CHAOS_SEED", "5")))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(language_model())
        weir = LocalWeir(tmp_path / "weir", free_ports())
        weir.settings = weir.settings.model_copy(update={
            "model": "openai:slow", "model_url": url, "kafka_partitions": 4, "triton_threads": 1, "prefix": "",
            "questions_per_minute": 100_000, "questions_in_flight": 1000, "answer_concurrency": 2 * OPEN,
            "kafka": "", "elasticsearch": "", "milvus": "", "triton": "", "milvus_password_file": None})
        stack.callback(weir.stop)
        await asyncio.to_thread(weir.start)
        load = Load(weir.settings, chance)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        producer = await stack.enter_async_context(Producer(weir.settings))
        listeners = [Listener(weir.settings.gateway_url, _token(weir.settings, f"p{n}"), session) for n in range(OPEN)]
        try:
            async with asyncio.TaskGroup() as group:
                asking = [group.create_task(load.ask(listener)) for listener in listeners]
                publishing = group.create_task(load.publish(producer))
                for names in rounds(chance):
                    # Only what is under way can be hit, and each round begins with a Weir that has recovered.
                    await until(lambda: sum(x.now.streaming for x in listeners) >= STREAMING, within=SETTLED,
                                what="answers to stream")
                    await kill(weir, names)
                await publishing
                load.over.set()
                await asyncio.wait(asking)
        except* (TimeoutError, AssertionError) as e:
            raise AssertionError(f"{e.exceptions[0]!r}\n{standing(weir)}") from e
        print(f"{len(load.answered)} answers, {sum(h.resumes for _, h in load.answered)} resumed, "
              f"{sum(h.resets for _, h in load.answered)} begun again, asked again after {dict(load.errors)}")
        assert any(listener.resets for listener in listeners), "no answer was hit in the middle"
        assert any(listener.resumes for listener in listeners), "no connection was hit in the middle"
        await answers_are_complete(load)
        await documents_are_there_once(load, listeners[0])


def standing(weir: LocalWeir) -> str:
    """Every process, and what its log complained of last."""
    lines = []
    for unit in weir.state.units:
        lines.append(f"{unit.name}: {unit.phase.value}, {unit.restarts} restarts")
        log = weir.settings.home / "logs" / f"{unit.name}.log"
        said = log.read_text(errors="replace").splitlines() if log.exists() and unit.name not in SERVERS else []
        lines += [f"    {line[:300]}" for line in said if '"warning"' in line or '"error"' in line][-2:]
    return "\n".join(lines)


def _token(settings: Settings, user: str) -> Any:
    issued = identity.issue(settings, user, ["everyone"], 0)
    return lambda: issued


async def answers_are_complete(load: Load) -> None:
    """Every piece once and in order, and the same text in the turn as in the stream."""
    assert len(load.answered) >= OPEN
    assert load.errors.keys() <= {"unavailable", "overloaded", "model_error", "model_unavailable"}, load.errors
    es = elasticsearch(load.settings)
    try:
        turns = TurnViews(es, load.settings)
        for question, heard in load.answered:
            assert heard.text.split() == [piece.strip() for piece in told(question)], heard.frames
            turn = await turns.wait(heard.answer, SETTLED)
            assert turn is not None and turn.text == heard.text, f"the turn of {heard.answer} is {turn}"
    finally:
        await es.close()


async def documents_are_there_once(load: Load, listener: Listener) -> None:
    """Both stores hold exactly the newest version of each document, as the log has it, and nothing else."""
    settings = load.settings
    newest = {}
    for raw in sorted(await asyncio.to_thread(read_all, settings, topics.DOCUMENTS.named(settings.prefix)),
                      key=lambda r: (r.partition, r.offset)):
        newest[(raw.key or b"").decode()] = (raw.offset, raw.value is None)
    truth = {keys.document_key(WORKSPACE, f"d{n}"): f"d{n}" for n in range(DOCUMENTS)}
    expected = {truth[key]: state for key, state in newest.items()}
    assert len(expected) == DOCUMENTS

    es, client, indexes = elasticsearch(settings), milvus(settings), Indexes(settings)
    await indexes.start()
    try:
        live = indexes.live()
        stores = [vectors_store(live.name), keywords_store(live.name)]
        held: list[dict[tuple[str, str], Manifest]] = []

        async def settled() -> bool:
            held[:] = [await Manifests(es, settings, store).get([(WORKSPACE, d) for d in expected])
                       for store in stores]
            return all(m.version == expected[d][0] and m.deleted == expected[d][1] and not m.pending and not m.stale
                       for manifests in held for (_, d), m in manifests.items())

        await until(settled, within=SETTLED, what="both stores to hold the newest versions")
        rows = {keys.row_id(WORKSPACE, d, m.version, n) for (_, d), m in held[0].items() for n in range(m.count)}
        chunks = {keys.chunk_id(WORKSPACE, d, m.version, n) for (_, d), m in held[1].items() for n in range(m.count)}
        found = []
        for document in expected:
            found += await client.run("reading rows", lambda c, document=document: c.query(  # type: ignore[misc]  # bound now
                live.collection, filter=f'document == "{token(document)}"', output_fields=["id"],
                consistency_level="Strong"))
        assert sorted(row["id"] for row in found) == sorted(rows)
        await es.indices.refresh(index=live.keyword_index)
        hits = (await es.search(index=live.keyword_index, query={"exists": {"field": "document"}}, size=10_000,
                                source=False))["hits"]["hits"]
        assert sorted(hit["_id"] for hit in hits) == sorted(chunks)
        for document, (version, deleted) in list(expected.items())[::10]:
            heard = await listener.ask(f"topic{document[1:]}", workspace=WORKSPACE, search_only=True, limit=5)
            shown = {s["version"] for s in heard.sources if s["document"] == document}
            assert shown == (set() if deleted else {version}), f"{document}: {heard.sources}"
        assert await dead_letters.letters(settings) == []
    finally:
        await indexes.close()
        await client.close()
        await es.close()
