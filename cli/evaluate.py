"""`weir eval`: how good an index version is, beside the one that answers. For operators: asks the servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.golden import open_sets
from cli.recipes import parsed
from cli.terminal import AsJson, listing, operator, show_json, when
from schemas.events import Evaluation, Figure, QuestionResult
from weir import settings as settings_module
from weir.clock import system_clock
from weir.errors import NotFound
from weir.evaluation.compare import evaluate
from weir.evaluation.gate import worst_first
from weir.evaluation.picture import picture
from weir.index.indexes import MAIN, Indexes
from weir.settings import Settings
from weir.stores import elasticsearch
from weir.views.evaluations import EvaluationViews

evaluation = typer.Typer(no_args_is_help=True, help="Measure index versions with golden sets.")

Run = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, as `list` prints it; its beginning is enough.")]
Picture = Annotated[Path | None, typer.Option("--picture", "-o", help="Also write it as an SVG picture.")]
WORST = 8
T = TypeVar("T")


@evaluation.command()
def run(
    name: Annotated[str, typer.Option("--set", "-s", help="Golden set.")] = "sample",
    version: Annotated[str | None, typer.Option(help="Index version to measure beside the live one.")] = None,
    index: Annotated[str, typer.Option("--index", help="Index.")] = MAIN,
    set_version: Annotated[int | None, typer.Option(min=1, help="Version of the set; the newest otherwise.")] = None,
    recipe: Annotated[list[str] | None, typer.Option(
        "--recipe", "-r", help="NAME=NUMBER of a parameter of retrieval: measures that version with it, beside the "
        "live one without; may be repeated.")] = None,
    judge: Annotated[bool, typer.Option(help="Let a configured language model judge the answers.")] = True,
    out: Picture = None,
    as_json: AsJson = False,
) -> None:
    """Ask every question of a set and keep what came out. Ends with status 1 where the gate refuses."""
    made = asyncio.run(measure(settings_module.load(), name, index, version, set_version, judge=judge,
                               recipe=parsed(recipe)))
    tell(made[-1], made[0] if len(made) > 1 else None, out, as_json)
    if (verdict := made[-1].verdict) is not None and not verdict.passed:
        raise typer.Exit(1)


async def measure(settings: Settings, name: str, index: str = MAIN, version: str | None = None,
                  set_version: int | None = None, *, judge: bool = True, recipe: Mapping[str, float] | None = None
                  ) -> list[Evaluation]:
    """The live version's run and, where another version or a recipe is named, that one's with the gate's verdict; both
    are kept.

    Raises:
        NotFound: there is no such set, index or version.
        Unavailable: a server does not answer.
    """
    indexes = Indexes(settings)
    await indexes.start()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        async with open_sets(settings) as (sets, producer):
            golden = sets.get(name, set_version)
            with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
                task = progress.add_task("asked", total=len(golden.questions))
                return await evaluate(
                    settings, producer, golden, indexes.index(index), version, by=operator(), clock=system_clock,
                    judged=judge, recipe=recipe, told=lambda done: progress.update(task, completed=done))
    finally:
        await indexes.close()


@evaluation.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="How many.")] = 30,
    as_json: AsJson = False,
) -> None:
    """List the runs, the newest first."""
    found = _with_views(lambda views: views.latest(limit=limit))
    if as_json:
        show_json([asdict(e) for e in found])
        return
    table = listing("run", "set", "index version", "recall@10", "ndcg@10", "gate", "when (UTC), by",
                    wrapping={"set", "index version", "when (UTC), by"})
    for e in found:
        figures = {f.name: f for f in e.figures}
        table.add_row(e.run[:8], f"{e.set} v{e.set_version}", f"{e.index}/{e.index_version}{' (live)' * e.live}",
                      _value(figures.get("recall@10")), _value(figures.get("ndcg@10")), _gate(e),
                      f"{when(e.ended_at)}\n{escape(e.by)}")
    Console(highlight=False).print(table if found else "no runs; `weir eval run` makes one")


@evaluation.command()
def show(name: Run, out: Picture = None, as_json: AsJson = False) -> None:
    """Show a run, beside the one that it was compared with."""
    async def found(views: EvaluationViews) -> tuple[Evaluation, Evaluation | None]:
        made = await _get(views, name)
        return made, await views.get(made.against) if made.against else None

    made, live = _with_views(found)
    tell(made, live, out, as_json)


async def _get(views: EvaluationViews, name: str) -> Evaluation:
    """Raises: NotFound: no run's id begins so, or several do."""
    found = [e.run for e in await views.latest(limit=500) if e.run.startswith(name)] if len(name) < 32 else [name]
    made = await views.get(found[0]) if len(found) == 1 else None
    if made is None:
        raise NotFound(f"{len(found) if len(name) < 32 else 'none'} of the latest runs begin with {name!r}; "
                       "`weir eval list` shows them")
    return made


def _with_views(work: Callable[[EvaluationViews], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        settings = settings_module.load()
        es = elasticsearch(settings)
        try:
            return await work(EvaluationViews(es, settings))
        finally:
            await es.close()

    return asyncio.run(run())


# -- what is told -------------------------------------------------------------------------------------------------


def tell(made: Evaluation, live: Evaluation | None, out: Path | None = None, as_json: bool = False) -> None:
    """Shows a run to the operator, beside that of the live version where there is one; `out` gets its picture."""
    if out is not None:
        out.write_text(picture(made, live), "utf-8")
    if as_json:
        show_json(asdict(made))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(made.set)} version {made.set_version}[/bold] on {made.index}/{made.index_version}, "
                  f"{escape(made.embedding)}, {escape(made.model)}; run {made.run[:8]}"
                  + (f", beside {live.index_version}, run {live.run[:8]}" if live else ""))
    console.print(Group(_figures(made, live), _stages(made, live), _worst(made, live)))
    if made.agreement is not None:
        a = made.agreement
        console.print(f"The judge agrees with people on {a.agreed:.0%} of {a.marks} marked answers: Cohen's kappa "
                      f"{a.kappa:.2f} ({a.low:.2f} to {a.high:.2f}).")
    if made.verdict is not None:
        console.print(f"gate: {_gate(made)}")
        for line in (*made.verdict.reasons, *made.verdict.remarks):
            console.print(f"  {line}", markup=False)


def _figures(made: Evaluation, live: Evaluation | None) -> Table:
    before = {f.name: f for f in live.figures} if live else {}
    differences = {d.name: d for d in made.differences}
    table = listing("figure", *(["live"] if live else []), made.index_version, "95 %", "asked",
                    *(["differs", "95 %", "p worse"] if live else []), wrapping={"95 %", "p worse"})
    for f in made.figures:
        row = [f.name, *([_value(before.get(f.name))] if live else []), f"{f.value:.3f}",
               f"{f.low:.3f} to {f.high:.3f}", str(f.count)]
        if live:
            d = differences.get(f.name)
            mark = "red" if d and d.value < 0 and d.p_worse < 0.05 else "default"
            row += [f"[{mark}]{d.value:+.3f}[/{mark}]", f"{d.low:+.3f} to {d.high:+.3f}", f"{d.p_worse:.3g}"
                    ] if d else ["", "", ""]
        table.add_row(*row)
    return table


def _stages(made: Evaluation, live: Evaluation | None) -> Table:
    before = {s.name: s for s in live.stages} if live else {}
    table = Table("stage (ms)", *(["live p50"] if live else []), "p50", "95 %", "p95")
    for s in made.stages:
        was = before.get(s.name)
        table.add_row(s.name, *([f"{was.p50:.1f}" if was else ""] if live else []), f"{s.p50:.1f}",
                      f"{s.low:.1f} to {s.high:.1f}", f"{s.p95:.1f}")
    return table


def _worst(made: Evaluation, live: Evaluation | None) -> Table:
    before = {q.id: q for q in live.questions} if live else {}
    columns = ["worst questions", *(["live"] if live else []), made.index_version, "expected"]
    table = listing(*columns, wrapping=columns, lines=True)
    for q in worst_first(made.questions, live.questions if live else [])[:WORST]:
        was = before.get(q.id)
        expected = "(the sources do not hold it)" if q.unanswerable else "\n".join(q.expected or q.answers)
        beside = [_went(was) if was else ""] if live else []
        table.add_row(f"{escape(q.question)}\n[dim]{escape(q.id)}[/dim]", *beside, _went(q), escape(expected))
    return table


def _went(q: QuestionResult) -> str:
    quality = q.figures.get("quality")
    rank = f"rank {q.rank}" if q.rank else "not found" if q.expected else ""
    said = q.failed or " ".join(q.answer.split())
    told = [q.outcome, rank, "" if quality is None else f"quality {quality:.2f}"]
    return f"{', '.join(filter(None, told))}\n[dim]{escape(said[:160])}[/dim]"


def _value(figure: Figure | None) -> str:
    return f"{figure.value:.3f}" if figure else ""


def _gate(made: Evaluation) -> str:
    return "" if made.verdict is None else "[green]passed[/green]" if made.verdict.passed else "[red]refused[/red]"
