"""`weir logs`: what a server or process wrote."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from infra.local.logs import tail
from weir import settings as settings_module
from weir.errors import NotFound


def logs(
    name: Annotated[str, typer.Argument(help="A server or process, as `weir status` names it; `supervisor` too.")],
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 40,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now.")] = False,
) -> None:
    """Print the end of a log."""
    folder = settings_module.load().home.absolute() / "logs"
    log = folder / f"{name}.log"
    if not log.exists():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.log")))
        raise NotFound(f"there is no log of {name!r}; there are: {known or 'none yet'}.")
    if follow:
        os.execvp("tail", ["tail", "-n", str(lines), "-F", str(log)])
    print("\n".join(tail(log, lines)))
