"""The `weir` command: every command in one table, and every error in one line."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from cli import archive, ask, dead_letters, ingest, logs, operate, rebuild, status, token
from weir.errors import WeirError

app = typer.Typer(name="weir", help="Documents in, cited answers out.", no_args_is_help=True, add_completion=False)

app.command()(operate.up)
app.command()(operate.down)
app.command()(status.status)
app.command()(logs.logs)
app.command()(ask.ask)
app.command()(ask.search)
app.command()(ingest.ingest)
app.command()(token.token)
app.command()(archive.backup)
app.command()(archive.restore)
app.command("rebuild")(rebuild.rebuild_command)
app.add_typer(dead_letters.dead_letters, name="dead-letters")


def main() -> None:
    """Runs the command that the arguments name; an error of ours is told to the person, without a traceback."""
    try:
        app()
    except WeirError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]{type(error).__name__}[/red]", error.message)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
