"""Tools of a real MCP server, over the official SDK."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumers.tools.mcp_tools import McpServers, configured
from consumers.tools.tool import Call, Tool, ToolFailed
from schemas.events import Person, Risk
from weir.blobs import Blobs
from weir.errors import SettingsError, Unavailable
from weir.settings import Settings

CONFIG = """
[notes]
command = {python}
args = ["-m", "tests.kit.mcp_notes", {folder}]

[notes.tools.list_notes]
risk = "read"
[notes.tools.add_note]
risk = "write"
undo = {{tool = "delete_note", arguments = {{id = "id"}}}}
"""


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[McpServers]:
    (tmp_path / "notes").mkdir()
    file = tmp_path / "mcp.toml"
    file.write_text(CONFIG.format(python=json.dumps(sys.executable), folder=json.dumps(str(tmp_path / "notes"))))
    made = McpServers(file, Blobs(Settings(home=tmp_path)))
    async with made:
        assert made.complete
        yield made


def tool(servers: McpServers, name: str) -> Tool:
    return next(t for t in servers.tools if t.name == f"notes__{name}")


def call(**arguments: object) -> Call:
    return Call("the-key", "t1", "w", Person(subject="ada", groups=[]), arguments, 10.0)


async def test_a_servers_tools_are_irreversible_unless_the_configuration_says_otherwise(servers: McpServers) -> None:
    risks = {t.name: t.risk for t in servers.tools}
    assert risks == {"notes__list_notes": Risk.READ, "notes__add_note": Risk.WRITE, "notes__delete_note":
                     Risk.IRREVERSIBLE, "notes__refuse": Risk.IRREVERSIBLE, "notes__die": Risk.IRREVERSIBLE}
    assert tool(servers, "add_note").schema["properties"].keys() == {"text"}


async def test_a_call_gets_there_with_its_key_and_says_how_to_take_it_back(servers: McpServers, tmp_path: Path) -> None:
    returned = await tool(servers, "add_note").run(call(text="buy milk"))
    assert json.loads(returned.content) == {"id": "1.txt"}
    assert (tmp_path / "notes" / "1.txt").read_text() == "buy milk"
    assert (tmp_path / "notes" / "key").read_text() == "the-key"
    assert returned.undo is not None and returned.undo.tool == "notes__delete_note"
    await tool(servers, "delete_note").run(call(**json.loads(returned.undo.arguments)))
    assert json.loads((await tool(servers, "list_notes").run(call())).content) == {"notes": []}


async def test_an_error_of_the_tool_goes_back_to_the_planner(servers: McpServers) -> None:
    with pytest.raises(ToolFailed, match="refuse"):
        await tool(servers, "refuse").run(call())


async def test_a_server_that_dies_leaves_the_call_unknown_and_is_started_again(servers: McpServers) -> None:
    with pytest.raises(Unavailable):
        async with asyncio.timeout(10):
            await tool(servers, "die").run(call())
    for _ in range(100):
        await asyncio.sleep(0.1)
        try:
            assert json.loads((await tool(servers, "list_notes").run(call())).content) == {"notes": []}
            return
        except ToolFailed as e:
            assert e.retriable
    pytest.fail("the server was not started again")


def test_a_wrong_file_is_said_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "mcp.toml"
    for text in ("[a]\n", '[a]\ncommand="x"\nurl="y"\n', '[a]\ncommand="x"\nwhat=1\n', "[a", '[A b]\ncommand="x"',
                 '["A b"]\ncommand="x"', '[a]\ncommand="x"\n[a.tools.t]\nrisk="none"'):
        file.write_text(text)
        with pytest.raises(SettingsError, match="WEIR_MCP_SERVERS"):
            configured(file)
