"""The state of a whole Weir, as `weir status` shows it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from infra.local import state
from infra.local.server import listens
from infra.local.state import Kind, Phase, UnitState
from weir import stores
from weir.errors import Unavailable, WeirError
from weir.index import names
from weir.kafka import admin
from weir.kafka.dead_letters import letters
from weir.settings import Port, Settings

if TYPE_CHECKING:
    from pymilvus import MilvusClient


@dataclass(frozen=True)
class Unit:
    """A server or process. Memory in bytes, of it and all it started; uptime in seconds."""

    name: str
    kind: Kind
    phase: Phase
    port: int
    pid: int | None
    memory: int
    uptime: float | None
    restarts: int
    last_exit: str


@dataclass(frozen=True)
class Report:
    """Everything `weir status` tells. What could not be asked is absent and named, with the reason, in `unknown`."""

    address: str
    supervisor: int | None
    setup: str
    units: list[Unit]
    lag: dict[str, dict[str, int]] = field(default_factory=dict)
    """Records between each consumer group and the end, by group and topic."""
    keyword_indexes: dict[str, int] = field(default_factory=dict)
    """Documents in each index of Elasticsearch."""
    collections: dict[str, int] = field(default_factory=dict)
    """Rows in each collection of Milvus."""
    dead_letters: int | None = None
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        return self.supervisor is not None and all(unit.phase is Phase.READY for unit in self.units)


async def report(settings: Settings) -> Report:
    """Asks all servers at once; a server that does not answer costs its own part of the report only."""
    home = settings.home.absolute()
    supervisor = state.running(home)
    last = state.read(home)
    asked: dict[str, Awaitable[Any]] = {
        "lag": _lag(settings),
        "keyword_indexes": _keyword_indexes(settings),
        "collections": _collections(settings),
        "dead_letters": _dead_letters(settings),
    }
    answers = await asyncio.gather(*asked.values(), return_exceptions=True)
    known, unknown = {}, {}
    for part, answer in zip(asked, answers, strict=True):
        if isinstance(answer, WeirError):
            unknown[part] = answer.message
        elif isinstance(answer, BaseException):
            raise answer
        else:
            known[part] = answer
    return Report(
        address=settings.gateway_url,
        supervisor=supervisor,
        setup=last.setup if last and supervisor else "",
        units=[_unit(unit, alive=supervisor is not None) for unit in last.units] if last else [],
        unknown=unknown,
        **known,
    )


def _unit(unit: UnitState, *, alive: bool) -> Unit:
    """Without a living supervisor the last state is a memory: nothing in it runs for sure."""
    pid = unit.pid if alive else None
    return Unit(
        name=unit.name,
        kind=unit.kind,
        phase=unit.phase if alive else Phase.STOPPED,
        port=unit.port,
        pid=pid,
        memory=memory(pid) if pid else 0,
        uptime=round(time.time() - unit.started, 1) if alive and unit.started else None,
        restarts=unit.restarts,
        last_exit=unit.last_exit,
    )


def memory(pid: int) -> int:
    """Resident bytes of a process and all its descendants."""
    total = 0
    try:
        leader = psutil.Process(pid)
        for process in [leader, *leader.children(recursive=True)]:
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


async def _lag(settings: Settings) -> dict[str, dict[str, int]]:
    if not settings.kafka and not listens(settings.host, settings.port(Port.KAFKA)):
        raise Unavailable(f"Kafka does not listen on {settings.kafka_address}")
    return await admin.lag(settings)


async def _keyword_indexes(settings: Settings) -> dict[str, int]:
    """Counted by asking: the figures of the index listing include hidden documents, such as nested metadata."""
    client = stores.elasticsearch(settings)
    try:
        with stores.elasticsearch_errors("counting documents"):
            found = await client.indices.get_alias(index=f"{settings.prefix}weir-*")
            indexes = sorted(found.body)
            counts = await asyncio.gather(*(client.count(index=name) for name in indexes))
    finally:
        await client.close()
    return {name: int(count["count"]) for name, count in zip(indexes, counts, strict=True)}


async def _collections(settings: Settings) -> dict[str, int]:
    if not settings.milvus and not listens(settings.host, settings.port(Port.MILVUS)):
        raise Unavailable(f"Milvus does not listen on {settings.milvus_uri}")
    prefix = names.collection(settings, "")

    def count(client: MilvusClient) -> dict[str, int]:
        found = [name for name in client.list_collections() if name.startswith(prefix)]
        return {name: _rows(client, name) for name in sorted(found)}

    milvus = stores.milvus(settings)
    try:
        return await milvus.run("counting rows", count)
    finally:
        await milvus.close()


def _rows(client: MilvusClient, collection: str) -> int:
    """Living rows; the collection's statistics would count deleted ones too."""
    (row,) = client.query(collection, filter="", output_fields=["count(*)"], consistency_level="Bounded")
    return int(row["count(*)"])


async def _dead_letters(settings: Settings) -> int:
    """Those that wait: a letter whose replay went well is settled."""
    if not settings.kafka and not listens(settings.host, settings.port(Port.KAFKA)):
        raise Unavailable(f"Kafka does not listen on {settings.kafka_address}")
    return len(await letters(settings))
