"""`weir token`: a token of the local issuer, for programs and for trying things as somebody."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from weir import identity, settings


def token(
    user: Annotated[str, typer.Option("--user", "-u", help="Subject of the token.")],
    groups: Annotated[str | None, typer.Option("--groups", "-g", help="Groups, with commas between; the person's if "
                                               "none are given.")] = None,
    clearance: Annotated[int | None, typer.Option(help="Clearance; that of the person if none is given.")] = None,
    hours: Annotated[float, typer.Option(min=0.001, max=24 * 365, help="How long it is valid.")] = 12,
) -> None:
    """Print a token. Anyone who has it may act as that person, so treat it as a password."""
    names = [g.strip() for g in groups.split(",") if g.strip()] if groups is not None else None
    print(identity.issue_for(settings.load(), user, groups=names, clearance=clearance, ttl=timedelta(hours=hours)))
