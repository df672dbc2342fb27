"""The `weir` command: every command in one table, and every error in one line."""

from __future__ import annotations

import importlib
import sys

import typer
from rich.console import Console
from rich.markup import escape

from weir.errors import WeirError

COMMANDS = {
    "up": "cli.operate:up",
    "down": "cli.operate:down",
    "status": "cli.status:status",
    "logs": "cli.logs:logs",
    "ask": "cli.ask:ask",
    "search": "cli.ask:search",
    "ingest": "cli.ingest:ingest",
    "task": "cli.task:task",
    "turn": "cli.turn:turn",
    "approvals": "cli.approvals:approvals",
    "golden": "cli.golden:golden",
    "eval": "cli.evaluate:evaluation",
    "token": "cli.token:token",
    "setup": "cli.setup:setup",
    "backup": "cli.archive:backup",
    "restore": "cli.archive:restore",
    "index": "cli.index:index",
    "rebuild": "cli.rebuild:rebuild_command",
    "dead-letters": "cli.dead_letters:dead_letters",
    "erase": "cli.erase:erase",
    "insights": "cli.insights:insights",
}


def application(command: str = "") -> typer.Typer:
    """The command that is named, alone: a question should not wait for what only `weir rebuild` imports. All of them
    where none is named."""
    app = typer.Typer(name="weir", no_args_is_help=True, add_completion=False)

    @app.callback()
    def weir() -> None:
        """Documents in, cited answers out."""

    for name in [command] if command in COMMANDS else COMMANDS:
        module, _, attribute = COMMANDS[name].partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def main() -> None:
    """Runs the command that the arguments name; an error of ours is told to the person, without a traceback."""
    try:
        application(sys.argv[1] if len(sys.argv) > 1 else "")()
    except WeirError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print("[red]error:[/red]", escape(error.message))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
