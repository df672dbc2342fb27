"""`weir status`: servers, processes, how far every group is, how large the indexes are, dead letters."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.terminal import AsJson, show_json
from infra.local.report import Report, Unit, report
from infra.local.state import Kind, Phase
from weir import settings as settings_module

COLOURS = {Phase.READY: "green", Phase.WAITING: "yellow", Phase.STARTING: "yellow"}


def status(
    as_json: AsJson = False,
) -> None:
    """Show what runs. Ends with status 1 where something is not ready."""
    # The clients would say again, line by line, what the report says in one.
    logging.disable(logging.CRITICAL)
    found = asyncio.run(report(settings_module.load()))
    if as_json:
        show_json(asdict(found) | {"healthy": found.healthy})
    else:
        show(found, Console(highlight=False))
    if not found.healthy:
        raise typer.Exit(1)


def show(found: Report, out: Console) -> None:
    if found.supervisor is None:
        out.print("[yellow]Weir is not running[/yellow]: start it with `make run` or `weir up`.")
    else:
        out.print(f"Weir at [bold]{found.address}[/bold], supervisor {found.supervisor}")
        if found.setup not in ("", "done"):
            out.print(f"[yellow]not set up yet[/yellow]: {escape(found.setup)}")
    for kind, title in ((Kind.SERVER, "Servers"), (Kind.PROCESS, "Processes")):
        rows = [unit for unit in found.units if unit.kind is kind]
        if rows:
            out.print(_units(title, rows))
        for unit in rows:
            if unit.last_exit:
                out.print(f"[yellow]{unit.name}[/yellow] {escape(unit.last_exit)}, the last time")
    if found.lag:
        out.print(_lag(found))
    sizes = _sizes(found)
    if sizes.row_count:
        out.print(sizes)
    for part, reason in found.unknown.items():
        out.print(f"[yellow]{part.replace('_', ' ')}[/yellow]: not known, {escape(reason)}")


def _units(title: str, rows: list[Unit]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("name", "state", "port", "pid"):
        table.add_column(name, no_wrap=True)
    for name in ("memory", "up", "restarts"):
        table.add_column(name, justify="right", no_wrap=True)
    for unit in rows:
        colour = COLOURS.get(unit.phase, "red")
        table.add_row(
            unit.name,
            f"[{colour}]{unit.phase}[/{colour}]",
            str(unit.port),
            str(unit.pid or ""),
            f"{unit.memory / 2**20:.0f} MB" if unit.memory else "",
            duration(unit.uptime),
            str(unit.restarts or ""),
        )
    return table


def _lag(found: Report) -> Table:
    table = Table("group", "topic", title="Consumer lag", title_justify="left")
    table.add_column("records behind", justify="right")
    for group, topics in sorted(found.lag.items()):
        for topic, behind in sorted(topics.items()):
            if behind:
                table.add_row(group, topic, f"{behind:,}")
    if not table.row_count:
        table.add_row(f"all {len(found.lag)} groups", "", "0")
    return table


def _sizes(found: Report) -> Table:
    table = Table("what", "where", title="Sizes", title_justify="left")
    table.add_column("count", justify="right")
    for name, documents in sorted(found.keyword_indexes.items()):
        table.add_row("documents in Elasticsearch", name, f"{documents:,}")
    for name, rows in sorted(found.collections.items()):
        table.add_row("rows in Milvus", name, f"{rows:,}")
    if found.dead_letters is not None:
        table.add_row("dead letters", "", f"{found.dead_letters:,}")
    return table


def duration(seconds: float | None) -> str:
    """`40 s`, `12 min`, `3.5 h`, `6.1 d`."""
    if seconds is None:
        return ""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}" if unit != "h" else f"{seconds / size:.1f} h"
    return f"{seconds / 86400:.1f} d"
