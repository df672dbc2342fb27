"""`weir insights`: live figures, and the same counted again from the log. For operators: reads Kafka."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.terminal import AsJson, show_json
from weir import settings as settings_module
from weir.clock import system_clock
from weir.errors import BadRequest
from weir.insights.exact import Difference, compared, exact, live, summed, window
from weir.insights.figures import MILLIS, MINUTE, Figures, Where, quantile
from weir.settings import Settings

FORMATS = ["%Y-%m-%dT%H:%M", "%Y-%m-%d"]
HOUR = 60 * MINUTE


def insights(
    since: Annotated[datetime | None, typer.Option(formats=FORMATS, help="First minute (UTC); an hour ago.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=FORMATS, help="End (UTC); now.")] = None,
    workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="Only of this one.")] = None,
    recount: Annotated[bool, typer.Option("--exact", help="Count again from the topics; show what differs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show questions, latency, citations, feedback, cost, approvals and tasks of a window."""
    end = _millis(until) if until else system_clock()
    start = _millis(since) if since else (end - HOUR) // MINUTE * MINUTE
    if start >= end:
        raise BadRequest("the window is empty: --since must come before --until")
    counted, true = asyncio.run(_both(settings_module.load(), start, end, workspace, recount))
    differences = compared(counted, true) if recount else []
    shown = summed(true if recount else counted)
    if as_json:
        show_json({"since": start, "until": end, "exact": recount, "counts": shown.counts,
                   "stages": {s: {"p50": _finite(quantile(b, 0.5)), "p95": _finite(quantile(b, 0.95))}
                              for s, b in sorted(shown.stages.items())},
                   "differences": [asdict(d) for d in differences]})
        return
    _show(Console(highlight=False), shown, differences, recount)


async def _both(settings: Settings, start: int, end: int, workspace: str | None, recount: bool
                ) -> tuple[dict[Where, Figures], dict[Where, Figures]]:
    counted = window(await live(settings, start), start, end, workspace)
    return counted, window(await exact(settings, start), start, end, workspace) if recount else {}


def _millis(moment: datetime) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp() * 1000)


def _finite(millis: float) -> float | None:
    return millis if math.isfinite(millis) else None


def _most(buckets: Sequence[int], share: float) -> str:
    millis = quantile(buckets, share)
    return f"<= {millis:g}" if math.isfinite(millis) else f"> {MILLIS[-1]}"


def _show(out: Console, shown: Figures, differences: list[Difference], recount: bool) -> None:
    table = Table("figure", "exact" if recount else "live")
    for name, much in sorted(shown.counts.items()):
        table.add_row(name.replace("_", " "), f"{much:,}")
    for stage, buckets in sorted(shown.stages.items()):
        table.add_row(f"{stage}, p50 / p95", f"{_most(buckets, 0.5)} / {_most(buckets, 0.95)} ms")
    out.print(table)
    if recount and not differences:
        out.print("the live figures are the same")
    for d in differences:
        when = datetime.fromtimestamp(d.minute / 1000, UTC)
        out.print(f"{d.workspace or '(none)'}  {when:%Y-%m-%d %H:%M}  {d.figure.replace('_', ' ')}: live {d.live:,}, "
                  f"exact {d.exact:,}")
