"""Nobody gets anything of a document that they may not read, by whichever way of the product they ask.

Each document has a bait, which questions name, and a secret beside it, which no question ever holds: whatever a person
receives, byte by byte, must be free of the secrets of all documents that they may not read.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from tests.kit.listener import Heard, Listener
from tests.kit.system import System, system
from tests.kit.waiting import until

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

WORKSPACE = "library"
GROUPS = ("red", "green", "blue", "black")
QUESTIONS = 2000
ANSWERS = 60
"""Of the questions, those that are answered rather than only searched."""
DOCUMENTS = 100
PEOPLE = 24
AT_ONCE = 12
SINKS = ("streams.documents", "streams.embeddings", "consumers.keywords", "consumers.vectors")
LIMITS: dict[str, Any] = {"questions_per_minute": 1_000_000, "questions_in_flight": 1000, "answer_concurrency": 24}


@dataclass
class Secret:
    """A document and what may not leave it. In its name, title, heading and source there is a secret too."""

    name: str
    bait: str
    secret: str
    groups: list[str]
    clearance: int

    def body(self) -> dict[str, Any]:
        text = (f"# About {self.secret}title\n\nThe code word of {self.bait} is {self.secret}text. "
                f"Keep {self.bait} dry.")
        return {"document": self.name, "title": f"Notes {self.secret}name", "media_type": "text/markdown",
                "content": text, "groups": self.groups, "clearance": self.clearance,
                "source": f"shelf/{self.secret}source", "metadata": {"mark": f"{self.secret}meta"}}


@dataclass
class Reader:
    """A person, and all that they ever received."""

    name: str
    groups: list[str]
    clearance: int
    received: list[str] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)

    def may(self, document: Secret) -> bool:
        """The rule of access: any of the groups, and the clearance."""
        return self.clearance >= document.clearance and bool(
            set(document.groups) & {*self.groups, "everyone"})


class Product:
    """The gateway, as its clients use it."""

    def __init__(self, made: System, session: aiohttp.ClientSession) -> None:
        self.made, self.session = made, session
        self._publisher = made.token("publisher", ["publishers"])

    async def call(self, method: str, path: str, token: str, **options: Any) -> tuple[int, str]:
        async with self.session.request(method, self.made.settings.gateway_url + path,
                                        headers={"Authorization": f"Bearer {token}"}, **options) as reply:
            return reply.status, await reply.text()

    async def publish(self, *documents: Secret) -> None:
        for document in documents:
            status, said = await self.call("POST", f"/v1/workspaces/{WORKSPACE}/documents", self._publisher,
                                           json=document.body())
            assert status == 202, said

    async def delete(self, document: Secret) -> None:
        status, said = await self.call("DELETE", self.path(document.name), self._publisher)
        assert status in (202, 204), said

    async def searchable(self, *documents: Secret) -> None:
        for document in documents:
            async def there(name: str = document.name) -> bool:
                status, said = await self.call("GET", self.path(name), self._publisher)
                return status == 200 and '"searchable":true' in said
            await until(there, what=f"{document.name} to be searchable")

    @staticmethod
    def path(document: str) -> str:
        return f"/v1/workspaces/{WORKSPACE}/documents/{quote(document, safe='')}"

    def listener(self, reader: Reader) -> Listener:
        token = self.made.token(reader.name, reader.groups, reader.clearance)
        return Listener(self.made.settings.gateway_url, lambda: token, self.session)

    async def read(self, reader: Reader, path: str) -> int:
        """One request of a person; what comes back counts as received."""
        status, said = await self.call("GET", path, self.made.token(reader.name, reader.groups, reader.clearance))
        reader.received.append(said)
        return status


def keep(reader: Reader, heard: Heard) -> None:
    reader.received += [str(frame) for frame in heard.frames]
    assert heard.end is not None and heard.end["type"] == "done", heard.end


def leaks(reader: Reader, documents: Iterable[Secret]) -> list[str]:
    """What a person received of documents that they may not read."""
    received = "\n".join(reader.received)
    return [f"{reader.name} ({reader.groups}, {reader.clearance}) got {d.name} ({d.groups}, {d.clearance})"
            for d in documents if not reader.may(d) and d.secret in received]


def some(chance: random.Random, number: int) -> Secret:
    groups = chance.choice([["everyone"], [], *([chance.sample(GROUPS, chance.randint(1, 2))] * 5)])
    mark = f"{chance.getrandbits(40):010x}"
    return Secret(f"d{number}", f"bait{mark}", f"secret{mark[::-1]}", groups, chance.choice([0, 0, 0, 1, 2]))


@asynccontextmanager
async def product(home: Path) -> AsyncIterator[Product]:
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(system(home, **LIMITS))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2 * AT_ONCE)))
        yield Product(made, session)


async def test_of_two_thousand_questions_none_shows_anything_of_anothers(tmp_path: Path) -> None:
    chance = random.Random(11)
    documents = [some(chance, n) for n in range(DOCUMENTS)]
    readers = [Reader(f"p{n}", chance.sample(GROUPS, chance.randint(0, 2)), chance.choice([0, 0, 1, 2]))
               for n in range(PEOPLE)]
    places = asyncio.Semaphore(AT_ONCE)
    wanted = found = 0

    async with product(tmp_path) as weir:
        await weir.publish(*documents)
        await weir.searchable(*documents)

        async def ask(number: int) -> None:
            nonlocal wanted, found
            reader, document = chance.choice(readers), chance.choice(documents)
            async with places:
                heard = await weir.listener(reader).ask(
                    f"What is the code word of {document.bait}?", workspace=WORKSPACE, conversation="mine",
                    search_only=number >= ANSWERS, explain=number % 10 == 0, limit=5)
            keep(reader, heard)
            if number < ANSWERS:
                reader.turns.append(heard.answer)
            if reader.may(document):
                wanted += 1
                found += document.secret in str(heard.sources)

        async with asyncio.TaskGroup() as group:
            for number in range(QUESTIONS):
                group.create_task(ask(number))

        for reader in readers:
            for document in documents[::10]:
                section = await weir.read(reader, f"{weir.path(document.name)}/sections/0")
                status = await weir.read(reader, weir.path(document.name))
                assert (section, status) == ((200, 200) if reader.may(document) else (404, 404))
            for path in (f"/v1/workspaces/{WORKSPACE}/documents?limit=200", "/v1/conversations",
                         *(f"/v1/turns/{turn}" for turn in reader.turns)):
                assert await weir.read(reader, path) == 200
            for turn in (t for other in readers if other is not reader for t in other.turns[:2]):
                assert await weir.read(reader, f"/v1/turns/{turn}") == 404

    assert not [leak for reader in readers for leak in leaks(reader, documents)]
    # It was no silence: nearly every question about a document that may be read found it.
    assert wanted > QUESTIONS / 10 and found >= 0.98 * wanted, f"{found} of {wanted}"


async def test_access_and_deletion_take_effect_at_once_while_the_sinks_stand_still(tmp_path: Path) -> None:
    red, blue = Reader("rita", ["red"], 0), Reader("bert", ["blue"], 0)
    moved = Secret("moved", "baitmoved", "secretmoved", ["red"], 0)
    deleted = Secret("deleted", "baitdeleted", "secretdeleted", ["red"], 0)
    async with product(tmp_path) as weir:
        await weir.publish(moved, deleted)
        await weir.searchable(moved, deleted)

        async def ask(reader: Reader, document: Secret, **body: Any) -> Heard:
            return await weir.listener(reader).ask(f"What is the code word of {document.bait}?", workspace=WORKSPACE,
                                                   **body)

        before = [await ask(red, document) for document in (moved, deleted)]
        for heard, document in zip(before, (moved, deleted), strict=True):
            assert document.secret in heard.text and document.secret in str(heard.sources)
            await until(lambda heard=heard: _is_turn(weir, red, heard.answer), what="the turn")  # type: ignore[misc]  # bound now

        weir.made.freeze(*SINKS)
        moved.groups = ["blue"]
        await weir.publish(moved)
        await weir.delete(deleted)
        red.received.clear()

        async def known() -> bool:
            statuses = [await weir.read(red, weir.path(d.name)) for d in (moved, deleted)]
            return statuses == [404, 404]

        # The view of access follows the log by itself; the sinks stand.
        await until(known, within=10, what="the view to follow")
        red.received.clear()
        for document in (moved, deleted):
            for search_only in (False, True):
                keep(red, await ask(red, document, search_only=search_only, explain=True))
            assert await weir.read(red, f"{weir.path(document.name)}/sections/0") == 404
        for heard in before:
            assert await weir.read(red, f"/v1/turns/{heard.answer}") == 200
            assert await weir.read(red, f"/v1/conversations/{heard.conversation}") == 200
            keep(red, await weir.listener(red).ask("And how is it kept?", workspace=WORKSPACE,
                                                   conversation=heard.conversation, follows=heard.answer))
        assert not [r for r in red.received if moved.secret in r or deleted.secret in r]

        weir.made.thaw(*SINKS)
        await weir.searchable(moved)
        assert moved.secret in (await ask(blue, moved)).text


async def _is_turn(weir: Product, reader: Reader, turn: str) -> bool:
    status, _ = await weir.call("GET", f"/v1/turns/{turn}", weir.made.token(reader.name, reader.groups))
    return status == 200
