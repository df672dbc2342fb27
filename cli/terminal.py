"""What the commands share of the terminal: who works at it, and how a thing is printed."""

from __future__ import annotations

import getpass
import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def operator() -> str:
    """Who works at this terminal, as it stands in what they change. The system's word: nobody signed in."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return "cli:operator"


def json_text(found: Any) -> str:
    return json.dumps(found, ensure_ascii=False, indent=2, default=str)


def show_json(found: Any) -> None:
    print(json_text(found))


def when(milliseconds: int | None) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}" if milliseconds else ""


def listing(*columns: str, wrapping: Collection[str], lines: bool = False) -> Table:
    """A table in which only these columns may break their lines.

    Args:
        lines: a line between rows.
    """
    table = Table(show_lines=lines)
    for name in columns:
        # Nothing is cut off: what is shown can be copied.
        table.add_column(name, no_wrap=name not in wrapping, overflow="fold")
    return table
