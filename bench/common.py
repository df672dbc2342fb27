"""What the benches share: collections, publishing and waiting, asking as many people, tables and targets.

Every bench runs against the system that `make run` started, prints tables for people, and on its last line one JSON
object: {"targets": {name: {"value": ..., "limit": ..., "ok": ...}}}.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.client import Client
from schemas import keys, topics
from schemas.events import DocumentPublished
from weir import identity
from weir.clock import system_clock
from weir.errors import NotFound, Overloaded, SettingsError
from weir.kafka.producer import Producer
from weir.settings import Settings

MEDIA_TYPE = "application/x-passages+json"
ASKS_EACH = 40
"""Questions one person asks; more people ask the rest, since each may ask so many a minute only."""
WAIT = 3600.0
"""Seconds to wait until everything published is searchable."""

console = Console(stderr=False, highlight=False, width=140)


# -- collections --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Passage:
    id: str
    document: str
    position: float
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Collection:
    """Passages, questions and which passages answer them, read from a folder in BEIR layout."""

    name: str
    passages: list[Passage]
    questions: list[tuple[str, str]]
    """(id, text)."""
    relevant: dict[str, set[str]]
    """Question id to the ids of the passages that answer it."""

    @property
    def documents(self) -> dict[str, list[Passage]]:
        """Passages of each document in their order."""
        found: dict[str, list[Passage]] = defaultdict(list)
        for passage in sorted(self.passages, key=lambda p: p.position):
            found[passage.document].append(passage)
        return dict(found)


def collections(folder: Path) -> list[Collection]:
    """The collection in a folder, or those in the folders inside it.

    Raises:
        SettingsError: there is none.
    """
    folders = [folder] if (folder / "corpus.jsonl").exists() else sorted(
        path.parent for path in folder.glob("*/corpus.jsonl"))
    if not folders:
        raise SettingsError(f"{folder} holds no corpus.jsonl, nor does a folder in it: name a collection in BEIR "
                            "layout.")
    return [_collection(path) for path in folders]


def _collection(folder: Path) -> Collection:
    passages = [Passage(p["_id"], str(p["metadata"]["doc"]), p["metadata"]["pos"], p.get("title") or "", p["text"])
                for p in _lines(folder / "corpus.jsonl")]
    known = {p.id for p in passages}
    relevant: dict[str, set[str]] = defaultdict(set)
    for line in (folder / "qrels.tsv").read_text().splitlines()[1:]:
        question, passage, score = line.split("\t")
        if int(score) > 0 and passage in known:
            relevant[question].add(passage)
    questions = [(q["_id"], q["text"]) for q in _lines(folder / "queries.jsonl") if relevant.get(q["_id"])]
    return Collection(folder.name, passages, questions, dict(relevant))


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open() as file:
        return [json.loads(line) for line in file if line.strip()]


def sample(questions: Sequence[tuple[str, str]], limit: int) -> list[tuple[str, str]]:
    """At most `limit` questions, the same ones each time."""
    if len(questions) <= limit:
        return list(questions)
    keep = np.sort(np.random.RandomState(0).choice(len(questions), limit, replace=False))
    return [questions[i] for i in keep]


def passages_json(passages: Sequence[Passage]) -> bytes:
    """A document that comes already cut, as it is published."""
    return json.dumps({"passages": [{"id": p.id, "title": p.title, "text": p.text} for p in passages]}).encode()


# -- publishing ---------------------------------------------------------------------------------------------------


async def publish(settings: Settings, workspace: str, documents: Mapping[str, bytes], client: Client) -> float:
    """Publishes documents through Kafka and waits until each is searchable; what is there already is left.

    Args:
        documents: id to content in `MEDIA_TYPE`.
        client: of a person who may see them.

    Returns:
        Seconds from the first one sent to the last one searchable; 0 where all were there.
    """
    there = await _status(client, workspace)
    missing = {d: content for d, content in documents.items()
               if d not in there or not there[d]["searchable"] or there[d]["bytes"] != len(content)}
    if not missing:
        return 0.0
    begun = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        sent = progress.add_task(f"{workspace}: published", total=len(missing))
        versions: dict[str, int] = {}
        async with Producer(settings) as producer:
            for document, content in missing.items():
                delivery = await producer.send(
                    topics.DOCUMENTS.named(settings.prefix), keys.document_key(workspace, document),
                    DocumentPublished(workspace=workspace, document=document, content=content, media_type=MEDIA_TYPE,
                                      publisher="bench", published_at=system_clock()))
                versions[document] = delivery.offset
                progress.advance(sent)
        searchable = progress.add_task(f"{workspace}: searchable", total=len(missing))
        while time.perf_counter() - begun < WAIT:
            status = await _status(client, workspace)
            reached = {d: status[d] for d, version in versions.items()
                       if d in status and status[d]["version"] >= version}
            failed = [f"{d}: {s['failed']['reason']}" for d, s in reached.items() if s["failed"]]
            if failed:
                raise SettingsError(f"{len(failed)} documents cannot be read; the first is {failed[0]}")
            done = sum(bool(s["searchable"]) for s in reached.values())
            progress.update(searchable, completed=done)
            if done == len(missing):
                return time.perf_counter() - begun
            await asyncio.sleep(0.5)
    raise SettingsError(f"{workspace} is not searchable after {WAIT:g} s: see `weir status` and "
                        "`weir dead-letters list`.")


async def _status(client: Client, workspace: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    path, after = f"/v1/workspaces/{quote(workspace, safe='')}/documents?status=1&limit=200", ""
    while True:
        try:
            page = await client.call("GET", path + after)
        except NotFound:
            return {}
        found.update((d["document"], d) for d in page["documents"])
        if not page["after"]:
            return found
        after = f"&after={quote(page['after'], safe='')}"


# -- asking -------------------------------------------------------------------------------------------------------


class People:
    """Clients of the gateway, each for another person of the local issuer, so that none asks too much."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._run = f"{time.time_ns():x}"
        self._clients: list[Client] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self._stack.aclose()

    async def operator(self) -> Client:
        return await self._stack.enter_async_context(
            Client(self._settings, identity.issue_for(self._settings, "operator")))

    async def client(self, question: int) -> Client:
        """Who asks the n-th question."""
        while len(self._clients) <= question // ASKS_EACH:
            token = identity.issue(self._settings, f"bench-{self._run}-{len(self._clients)}")
            self._clients.append(await self._stack.enter_async_context(Client(self._settings, token)))
        return self._clients[question // ASKS_EACH]

    async def search(self, question: int, body: Mapping[str, Any], *, cached: bool = False
                     ) -> tuple[dict[str, Any], float]:
        """The gateway's reply to a search and the milliseconds it took, as the client saw them.

        Args:
            cached: whether a search that was made before may be used.
        """
        client = await self.client(question)
        body = dict(body) if cached else {**body, "anew": True}
        while True:
            begun = time.perf_counter()
            try:
                reply = await client.call("POST", "/v1/search", json=body)
            except Overloaded as e:
                await asyncio.sleep(e.retry_after or 1.0)
                continue
            return reply, (time.perf_counter() - begun) * 1000


async def at_a_time(calls: Sequence[Callable[[], Awaitable[None]]], width: int) -> None:
    """Runs the calls, `width` of them at a time."""
    waiting = iter(calls)

    async def one() -> None:
        for call in waiting:
            await call()

    await asyncio.gather(*(one() for _ in range(width)))


# -- results ------------------------------------------------------------------------------------------------------


def percentile(values: Sequence[float], p: float) -> float:
    return float(np.percentile(values, p)) if len(values) else float("nan")


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table; numbers with one decimal, on the right."""
    table = Table(title=title, title_justify="left")
    for n, name in enumerate(columns):
        table.add_column(name, justify="left" if n == 0 else "right")
    for row in rows:
        table.add_row(*(f"{cell:,.1f}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)


def target(value: float, limit: float, *, at_most: bool) -> dict[str, Any]:
    return {"value": round(value, 3), "limit": limit, "ok": bool(value <= limit if at_most else value >= limit)}


def finish(targets: Mapping[str, Mapping[str, Any]]) -> int:
    """Prints the last line; the exit code, 1 where a target was missed."""
    print(json.dumps({"targets": targets}), flush=True)
    return 0 if all(t["ok"] for t in targets.values()) else 1
