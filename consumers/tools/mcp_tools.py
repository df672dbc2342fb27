"""Tools of MCP servers, over the official SDK. WEIR_MCP_SERVERS names a TOML file:

    [notes]
    command = "notes-server"                    # or: url = "https://host/mcp"
    args = ["--folder", "/srv/notes"]
    env = {NOTES_USER = "weir"}

    [notes.tools.list_notes]
    risk = "read"
    [notes.tools.add_note]
    risk = "write"                              # without a word: irreversible
    deduplicates = true                         # does a call once for each `weir/idempotency-key` in its _meta
    undo = {tool = "delete_note", arguments = {id = "id"}}       # argument = field of the result

A tool is called `<server>__<tool>`. What a server says of its own tools' harmlessness counts for nothing.
Arguments:  as the server declares them.
Content:    the structured result as JSON where there is one, else the texts; pictures and sound are artefacts.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

from mcp import Client, MCPError, StdioServerParameters
from mcp import Tool as Declared
from mcp.types import AudioContent, CallToolResult, ImageContent, RequestParamsMeta, TextContent
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from consumers.tools.artefacts import stored
from consumers.tools.tool import Call, Returned, Tool, ToolFailed
from schemas.events import Artefact, Risk, Undo
from weir import telemetry
from weir.agents.canonical import canonical
from weir.blobs import Blobs
from weir.errors import SettingsError, Unavailable, WeirError

log = telemetry.logger(__name__)

KEY = "weir/idempotency-key"
AGAIN_SECONDS = (1.0, 30.0)
"""Shortest and longest wait before a server is connected to again."""
FIRST_SECONDS = 10.0
"""How long the start waits for the servers; those that come later are offered then."""
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
REFUSED = {-32700, -32600, -32601, -32602}
"""Codes of JSON-RPC that say that a request was not carried out."""


class UndoConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    tool: str
    arguments: dict[str, str]


class ToolConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    risk: Risk = Risk.IRREVERSIBLE
    timeout: float = Field(60.0, gt=0)
    deduplicates: bool = False
    undo: UndoConfig | None = None
    approvers: str = ""
    offered: bool = True


class ServerConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    command: str = ""
    args: list[str] = []
    env: dict[str, str] = {}
    url: str = ""
    tools: dict[str, ToolConfig] = {}


class McpTool(Tool):
    """One tool of a server."""

    tries = 1

    def __init__(self, server: McpServer, declared: Declared, config: ToolConfig, blobs: Blobs) -> None:
        self._server, self._declared, self._blobs, self._undo = server, declared.name, blobs, config.undo
        self.name = f"{server.name}__{declared.name}"
        self.description = declared.description or declared.title or declared.name
        self.schema = declared.input_schema
        self.risk, self.timeout, self.approvers = config.risk, config.timeout, config.approvers
        self.deduplicates, self.undoable, self.source = config.deduplicates, config.undo is not None, server.name
        if config.deduplicates or config.risk is Risk.READ:
            self.tries = 3

    async def run(self, call: Call) -> Returned:
        result = await self._server.call(self._declared, dict(call.arguments), call.key)
        content, artefacts = await self._content(result)
        if result.is_error:
            raise ToolFailed(content or f"{self.name} says that it failed.")
        return Returned(content, artefacts, self._undone_by(result.structured_content, call.arguments))

    async def _content(self, result: CallToolResult) -> tuple[str, list[Artefact]]:
        texts, artefacts = [], []
        for number, block in enumerate(result.content, 1):
            if isinstance(block, TextContent):
                texts.append(block.text)
            elif isinstance(block, ImageContent | AudioContent):
                ending = re.sub(r"\W.*", "", block.mime_type.partition("/")[2]) or "bin"
                artefacts.append(await stored(self._blobs, f"{self._declared}-{number}.{ending}", block.mime_type,
                                              base64.b64decode(block.data)))
            else:
                texts.append(block.model_dump_json(by_alias=True, exclude_none=True))
        if result.structured_content is not None and not result.is_error:
            return canonical(result.structured_content), artefacts
        return "\n".join(texts), artefacts

    def _undone_by(self, result: Any, arguments: Mapping[str, Any]) -> Undo | None:
        if self._undo is None:
            return None
        known = {**arguments, **(result if isinstance(result, Mapping) else {})}
        values = {name: known.get(place) for name, place in self._undo.arguments.items()}
        if None in values.values():
            log.warning("a call cannot be taken back: its result lacks what its undo needs", tool=self.name)
            return None
        return Undo(tool=f"{self._server.name}__{self._undo.tool}", arguments=canonical(values))


class McpServer:
    """One server: connected to by a task of its own, again whenever it went away."""

    def __init__(self, name: str, config: ServerConfig, blobs: Blobs, changed: Callable[[], Awaitable[None]]) -> None:
        self.name, self._config, self._blobs, self._changed = name, config, blobs, changed
        self._client: Client | None = None
        self._broken = asyncio.Event()
        self.tools: list[Tool] = []
        self.listed = asyncio.Event()
        """Set once its tools are known."""

    async def run(self) -> None:
        wait = AGAIN_SECONDS[0]
        while True:
            self._broken.clear()
            try:
                async with Client(self._target()) as client:
                    self.tools = self._offered(await _all_tools(client))
                    self._client, wait = client, AGAIN_SECONDS[0]
                    first = not self.listed.is_set()
                    self.listed.set()
                    log.info("connected to an MCP server", server=self.name, tools=[tool.name for tool in self.tools])
                    if not first:
                        await self._changed()
                    await self._broken.wait()
            except Exception as e:
                log.warning("an MCP server does not answer", server=self.name, reason=_reason(e))
            self._client = None
            await asyncio.sleep(wait)
            wait = min(2 * wait, AGAIN_SECONDS[1])

    async def call(self, tool: str, arguments: dict[str, Any], key: str) -> CallToolResult:
        """
        Raises:
            ToolFailed: the call was not carried out.
            Unavailable: it may have been.
        """
        client = self._client
        if client is None:
            raise ToolFailed(f"the MCP server {self.name} does not answer: try again later.", retriable=True)
        try:
            return await client.call_tool(tool, arguments, meta=cast("RequestParamsMeta", {KEY: key}))
        except MCPError as e:
            if e.error.code in REFUSED:
                raise ToolFailed(f"{self.name} refuses the call: {e.error.message}") from e
            self._broken.set()
            raise Unavailable(f"the MCP server {self.name} broke off: {e.error.message}") from e
        except WeirError:
            raise
        except Exception as e:
            self._broken.set()
            raise Unavailable(f"the MCP server {self.name} broke off: {_reason(e)}") from e

    def _target(self) -> StdioServerParameters | str:
        config = self._config
        return config.url or StdioServerParameters(command=config.command, args=config.args, env=config.env)

    def _offered(self, declared: list[Declared]) -> list[Tool]:
        offered: list[Tool] = []
        for one in declared:
            config = self._config.tools.get(one.name, ToolConfig())
            if not config.offered:
                continue
            if not NAME.fullmatch(f"{self.name}__{one.name}"):
                log.error("a tool's name cannot be used", server=self.name, tool=one.name)
                continue
            offered.append(McpTool(self, one, config, self._blobs))
        if missing := self._config.tools.keys() - {one.name for one in declared}:
            log.warning("an MCP server lacks tools that are configured", server=self.name, tools=sorted(missing))
        return offered


class McpServers:
    """All servers of a file. `async with`: they are connected to meanwhile.

    Args:
        path: WEIR_MCP_SERVERS; None: there are none.

    Raises:
        SettingsError: the file cannot be read, or says what cannot be.
    """

    def __init__(self, path: Path | None, blobs: Blobs) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self.on_change: Callable[[], Awaitable[None]] | None = None
        """Awaited when a server has come after the start, or has come back."""
        self._started = False
        self.servers = [McpServer(name, config, blobs, self._changed) for name, config in configured(path).items()]

    @property
    def tools(self) -> list[Tool]:
        return [tool for server in self.servers for tool in server.tools]

    @property
    def unreachable(self) -> set[str]:
        """Servers of which nobody knows what they offer."""
        return {server.name for server in self.servers if not server.listed.is_set()}

    @property
    def complete(self) -> bool:
        return not self.unreachable

    async def __aenter__(self) -> McpServers:
        self._tasks = [asyncio.create_task(server.run()) for server in self.servers]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                for server in self.servers:
                    await server.listed.wait()
        self._started = True
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _changed(self) -> None:
        if self._started and self.on_change is not None:
            await self.on_change()


def configured(path: Path | None) -> dict[str, ServerConfig]:
    """The servers of a file.

    Raises:
        SettingsError: the file cannot be read, or says what cannot be.
    """
    if path is None:
        return {}
    try:
        found = {name: ServerConfig.model_validate(value) for name, value in tomllib.loads(path.read_text()).items()}
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as e:
        raise SettingsError(f"WEIR_MCP_SERVERS: {path}: {e}") from e
    for name, config in found.items():
        if bool(config.command) == bool(config.url) or not re.fullmatch(r"[a-z0-9-]{1,30}", name):
            raise SettingsError(f"WEIR_MCP_SERVERS: [{name}] needs `command` or `url`, and a name of a-z, 0-9 and "
                                "hyphens.")
    return found


async def _all_tools(client: Client) -> list[Declared]:
    found: list[Declared] = []
    cursor = None
    while True:
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if cursor is None:
            return found


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
