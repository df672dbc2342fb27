"""The tools that this worker offers, by its settings, and their records on topic `tools`.

A record stands for one version of a tool's arguments. One that nobody offers any more is kept and marked so: tasks that
began with it can still say what it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import cast

from consumers.tools.calculate import Calculate
from consumers.tools.extract_fields import ExtractFields
from consumers.tools.http import HttpGet, HttpRequest
from consumers.tools.library import library
from consumers.tools.list_documents import ListDocuments
from consumers.tools.mailboxes import mailbox
from consumers.tools.make_table import MakeTable
from consumers.tools.mcp_tools import McpServers
from consumers.tools.query_database import QueryDatabase
from consumers.tools.read_section import ReadSection
from consumers.tools.search_documents import SearchDocuments
from consumers.tools.send_email import SendEmail
from consumers.tools.tool import Tool
from schemas import codec, keys, topics
from schemas.events import Tool as Offer
from weir import telemetry
from weir.blobs import Blobs
from weir.clock import Clock
from weir.errors import SettingsError
from weir.kafka.follow import read_all
from weir.kafka.producer import Producer
from weir.settings import Settings

log = telemetry.logger(__name__)


@asynccontextmanager
async def built_in(settings: Settings, blobs: Blobs, clock: Clock) -> AsyncIterator[list[Tool]]:
    """The tools of this package that the settings configure, ready to be called.

    Raises:
        SettingsError: a setting of one of them is wrong.
        Unavailable: Kafka does not answer.
    """
    async with AsyncExitStack() as stack:
        documents = await stack.enter_async_context(library(settings))
        tools: list[Tool] = [
            SearchDocuments(documents), ReadSection(documents), ListDocuments(documents), ExtractFields(documents),
            MakeTable(blobs), Calculate(), SendEmail(settings, blobs, mailbox(settings), clock)]
        if settings.http_hosts:
            tools += [HttpGet(settings.http_hosts), HttpRequest(settings.http_hosts)]
        if settings.database:
            tools.append(QueryDatabase(settings))
        for tool in tools:
            await tool.start()
            stack.push_async_callback(tool.close)
        yield tools


class Catalogue:
    """What is offered now; `tools` is what `Calls` looks into."""

    def __init__(self, settings: Settings, producer: Producer, servers: McpServers) -> None:
        self._settings, self._producer, self._servers = settings, producer, servers
        self._wanted = {name.strip() for name in settings.tools.split(",") if name.strip()}
        self.tools: dict[str, Tool] = {}

    async def offer(self, found: Iterable[Tool]) -> None:
        """Offers these and no others, and publishes what has changed.

        Raises:
            SettingsError: WEIR_TOOLS names one that there is not.
            Unavailable: Kafka does not answer.
        """
        tools = {tool.name: tool for tool in found}
        if self._servers.complete and (unknown := self._wanted - tools.keys()):
            raise SettingsError(f"WEIR_TOOLS names {', '.join(sorted(unknown))}; there are {', '.join(sorted(tools))}.")
        # In place: calls look into it.
        self.tools.clear()
        self.tools.update({name: tool for name, tool in tools.items() if not self._wanted or name in self._wanted})
        await self._publish()

    async def _publish(self) -> None:
        topic = topics.TOOLS.named(self._settings.prefix)
        there: dict[str, Offer] = {}
        for raw in await asyncio.to_thread(read_all, self._settings, topic):
            if raw.key and raw.value is not None:
                there[raw.key.decode()] = cast("Offer", codec.decode(raw.value))
        now = self._producer.clock()
        offers = {keys.tool_key(tool.name, tool.schema_hash): offer_of(tool, now) for tool in self.tools.values()}
        for key, offer in changed(there, offers, self._servers.unreachable, now).items():
            await self._producer.send(topic, key, offer)
            log.info("tool", tool=offer.name, offered=offer.offered, risk=offer.risk.value, source=offer.source)


def changed(there: Mapping[str, Offer], offers: Mapping[str, Offer], unreachable: set[str], now: int
            ) -> dict[str, Offer]:
    """The records to write, by key: new ones, changed ones, and those that are not offered any more.

    Args:
        unreachable: sources of which nobody knows what they offer now; theirs stay as they are.
    """
    new = {key: offer for key, offer in offers.items()
           if key not in there or replace(there[key], at=offer.at) != offer}
    gone = {key: replace(offer, offered=False, at=now) for key, offer in there.items()
            if key not in offers and offer.offered and offer.source not in unreachable}
    return {**new, **gone}


def offer_of(tool: Tool, at: int) -> Offer:
    return Offer(
        name=tool.name, description=tool.description, schema=tool.schema_text, schema_hash=tool.schema_hash,
        risk=tool.risk, timeout=tool.timeout, tries=tool.tries, backoff=tool.backoff, deduplicates=tool.deduplicates,
        reconciles=tool.reconciles, undoable=tool.undoable, at=at, approvers=tool.approvers, source=tool.source)
