"""An index changes its model while every process that has a part in it is killed, the operator's commands too."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from schemas import keys, topics
from schemas.events import DocumentPublished, Done, Failed, Index
from tests.kit.answers import Asker
from tests.kit.system import NAMES, ROOT, System, system, until
from weir.errors import Unavailable
from weir.index import names
from weir.index.record import current
from weir.kafka.dead_letters import letters
from weir.kafka.producer import Producer
from weir.settings import environment
from weir.stores import elasticsearch, milvus
from weir.views.manifests import Manifest, Manifests
from weir.views.status import keywords_store, vectors_store

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

NEEDED = tuple(name for name in NAMES if name != "gateway")
FILLING = ("streams.documents", "streams.embeddings", "consumers.vectors", "consumers.keywords", "consumers.views")
DOCUMENTS, SEED = 60, 11
SETTLED = 300.0


class Operator:
    """`weir index ...` as a process of its own, which may be killed in the middle."""

    def __init__(self, made: System, chance: random.Random) -> None:
        self._settings, self._chance = made.settings, chance

    async def insist(self, *arguments: str) -> None:
        """Gives the command until it ends well: a server may be away."""

        async def well() -> bool:
            process = await self._start(*arguments)
            said, _ = await process.communicate()
            print(said.decode() if process.returncode else "", end="")
            return process.returncode == 0

        await until(well, within=SETTLED, what=f"weir index {' '.join(arguments)}; it said what stands above")

    async def broken_off(self, *arguments: str) -> None:
        """Begins and is killed somewhere on the way, or ends before that."""
        process = await self._start(*arguments)
        try:
            await asyncio.wait_for(process.wait(), self._chance.uniform(1.0, 5.0))
        except TimeoutError:
            process.kill()
            await process.wait()

    async def until_live(self, version: str, *command: str) -> None:
        """Gives the command again unless it did what it should before it was killed."""
        if (await self.record()).live != version:
            await self.insist(*command)

    async def until_gone(self, version: str) -> None:
        index = await self.record()
        if version in {v.name for v in (*index.versions, *index.dropping)}:
            await self.insist("drop", version)

    async def record(self) -> Index:
        async def read() -> Index | None:
            try:
                return await current(self._settings, "main")
            except Unavailable:
                return None

        found: Index = await until(read, within=SETTLED, what="Kafka")
        return found

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli.main", "index", *arguments, cwd=ROOT, env=environment(self._settings),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)


async def publish(made: System, producer: Producer, stop: asyncio.Event) -> dict[str, tuple[int, bool]]:
    """Documents come, change and go until `stop`; the newest version of each and whether that deletes it."""
    topic, chance = topics.DOCUMENTS.named(made.settings.prefix), random.Random(1)
    newest, edition = dict[str, tuple[int, bool]](), 0
    while edition < DOCUMENTS or not stop.is_set():
        name = f"d{edition if edition < DOCUMENTS else chance.randrange(DOCUMENTS)}"
        gone = edition > DOCUMENTS and chance.random() < 0.2
        text = f"Leaflet {name}, edition {edition}: the heron stands in the weir. " * chance.randint(1, 30)
        event = None if gone else DocumentPublished(
            workspace="library", document=name, media_type="text/plain", content=text.encode(), publisher="test")
        try:
            sent = await producer.send(topic, keys.document_key("library", name), event)
        except Unavailable:
            continue  # it may have been written; what is sent next is newer
        newest[name] = sent.offset, gone
        edition += 1
        await asyncio.sleep(0.05 if edition > DOCUMENTS else 0)
    return newest


async def ask(asker: Asker, stop: asyncio.Event) -> list[str]:
    """Questions one after the other, asked again where they are told to; the versions that answered."""
    used = []
    while not stop.is_set():
        try:
            answer = await asker.ask("Where does the heron stand?", search_only=True)
        except Unavailable:
            continue
        ended = (await asker.ended(answer, SETTLED)).terminal
        if isinstance(ended, Failed):
            assert ended.retriable, ended
            await asyncio.sleep(ended.retry_after or 0.5)
            continue
        assert isinstance(ended, Done)
        used.append(ended.index_version)
    return used


Strike = Callable[[str], Awaitable[None]]
"""Kills what a test is about, in the phase that is named."""


async def changes_its_model(made: System, operator: Operator, strike: Strike) -> None:
    """Build, cutover, rollback, cutover and drop, each struck; in the end all is there exactly once."""
    over = asyncio.Event()
    async with Producer(made.settings) as producer, Asker(made.settings, producer) as asker:
        publishing = asyncio.create_task(publish(made, producer, over))
        asking = asyncio.create_task(ask(asker, over))
        try:
            await operator.broken_off("build", "--model", "minilm-fp32")
            await operator.insist("build", "--model", "minilm-fp32", "--no-wait")
            await strike("build")
            await operator.insist("build", "--model", "minilm-fp32")
            assert [v.name for v in (await operator.record()).versions] == ["v1", "v2"]

            for live, command in (("v2", ("cutover", "v2")), ("v1", ("rollback",)), ("v2", ("cutover", "v2"))):
                await asyncio.gather(operator.broken_off(*command), strike(command[0]))
                await operator.until_live(live, *command)
            over.set()
            newest, used = await publishing, await asking
        finally:
            over.set()
            await asyncio.gather(publishing, asking, return_exceptions=True)
        assert set(used) >= {"v1", "v2"}

        await operator.broken_off("drop", "v1")
        await operator.until_gone("v1")
        await both_stores_hold(made, newest)
        done = (await asker.ended(await asker.ask("Where does the heron stand?", search_only=True))).terminal
        assert isinstance(done, Done) and done.index_version == "v2" and done.sources
    assert await letters(made.settings) == []


async def test_an_index_changes_its_model_whichever_process_is_killed(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    async with system(tmp_path, start=False, answer_timeout=30.0) as made:
        await made.start(*NEEDED)

        async def strike(phase: str) -> None:
            victims = [*chance.sample(FILLING, len(FILLING)), "streams.answers"] if phase == "build" else [
                "consumers.vectors", "streams.answers"]
            for name in victims:
                made.kill(name)
                await made.start(name)
                await asyncio.sleep(chance.uniform(0.5, 1.5))

        await changes_its_model(made, Operator(made, chance), strike)


async def both_stores_hold(made: System, newest: dict[str, tuple[int, bool]]) -> None:
    """What is left is exactly the newest version of each document, in the collection of v2 and the shared index."""
    settings = made.settings
    index = await current(settings, "main")
    live, = index.versions
    assert (index.live, index.dropping, names.collection_label(settings, live.collection)) == ("v2", [], "v2")
    es, client = elasticsearch(settings), milvus(settings)
    try:
        held: list[dict[tuple[str, str], Manifest]] = []

        async def settled() -> bool:
            wanted = [("library", d) for d in newest]
            held[:] = [await Manifests(es, settings, store).get(wanted)
                       for store in (vectors_store("v2"), keywords_store("v1"))]
            return all((m.version, m.deleted) == newest[d] and not m.pending and not m.stale
                       for manifests in held for (_, d), m in manifests.items())

        await until(settled, within=SETTLED, what="both stores to hold the newest versions")
        rows = {keys.row_id("library", d, m.version, n) for (_, d), m in held[0].items() for n in range(m.count)}
        found = await client.run("reading rows", lambda c: c.query(
            live.collection, filter='id != ""', output_fields=["id"], limit=16_000, consistency_level="Strong"))
        assert sorted(row["id"] for row in found) == sorted(rows)
        assert [n for n in await client.run("listing", lambda c: c.list_collections())
                if n.startswith(names.collection(settings, ""))] == [live.collection]
    finally:
        await es.close()
        await client.close()
