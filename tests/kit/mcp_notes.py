"""A small MCP server over standard input and output, on the official SDK: notes in a folder, one file each."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context

FOLDER = Path(sys.argv[1])
server = MCPServer("notes")


@server.tool()
def list_notes() -> dict[str, Any]:
    """Lists the notes."""
    return {"notes": sorted(p.name for p in FOLDER.glob("*.txt"))}


@server.tool()
def add_note(text: str, ctx: Context[Any]) -> dict[str, Any]:
    """Adds a note."""
    name = f"{len(list(FOLDER.glob('*.txt'))) + 1}.txt"
    (FOLDER / name).write_text(text)
    meta = ctx.request_context.meta or {}
    (FOLDER / "key").write_text(str(dict(meta).get("weir/idempotency-key")))
    return {"id": name}


@server.tool()
def delete_note(id: str) -> dict[str, Any]:
    """Deletes a note."""
    (FOLDER / id).unlink()
    return {"deleted": id}


@server.tool()
def refuse() -> str:
    """Says that it failed."""
    raise ValueError("not today")


@server.tool()
def die() -> str:
    """Ends the server while it works."""
    os._exit(1)


if __name__ == "__main__":
    server.run("stdio")
