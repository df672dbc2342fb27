"""`weir golden`: the sets of questions that index versions are measured with. For operators: reads and writes Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from cli.terminal import AsJson, listing, operator, show_json, when
from weir import settings as settings_module
from weir.clock import system_clock
from weir.evaluation.files import read, to_csv
from weir.evaluation.sets import GoldenSet, GoldenSets
from weir.kafka.producer import Producer
from weir.settings import Settings

golden = typer.Typer(no_args_is_help=True, help="Golden sets: questions with what is expected of their answers.")

Name = Annotated[str, typer.Argument(metavar="SET", help="Name of the set.")]
Version = Annotated[int | None, typer.Option("--version", min=1, help="A version of the set; the newest otherwise.")]
T = TypeVar("T")


@asynccontextmanager
async def open_sets(settings: Settings) -> AsyncIterator[tuple[GoldenSets, Producer]]:
    """The golden sets as they are on the log. Raises Unavailable where Kafka does not answer."""
    async with Producer(settings) as producer:
        sets = GoldenSets(settings, producer, system_clock)
        await sets.start()
        try:
            yield sets, producer
        finally:
            await sets.close()


def with_sets(work: Callable[[GoldenSets], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        async with open_sets(settings_module.load()) as (sets, _):
            return await work(sets)

    return asyncio.run(run())


async def import_file(settings: Settings, path: Path, name: str, workspace: str, by: str, *, replace: bool = False,
                      once: bool = False, split: str = "test", passages: bool | None = None, reason: str = ""
                      ) -> GoldenSet:
    """The set after an import; unchanged where nothing differs.

    Args:
        replace: whether questions that the file does not have leave the set.
        once: whether a set that is there already is left alone.
    """
    questions = await asyncio.to_thread(read, path, split=split, passages=passages)
    async with open_sets(settings) as (sets, _):
        head = sets.find(name)
        if once and head is not None:
            return head
        gone = {q.id for q in head.questions} - {q.id for q in questions} if head and replace else set()
        return await sets.change(name, workspace, by, put=questions, remove=sorted(gone), reason=reason)


@golden.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the sets."""
    async def found(sets: GoldenSets) -> list[GoldenSet]:
        return [sets.get(name) for name in sets.names() if sets.history(name)]

    have = with_sets(found)
    if as_json:
        show_json([_head(s) for s in have])
        return
    table = listing("set", "version", "workspace", "questions", "changed (UTC), by", "why",
                    wrapping={"changed (UTC), by", "why"})
    for s in have:
        table.add_row(s.name, str(s.version), s.workspace, str(len(s.questions)),
                      f"{when(s.at)}\n{escape(s.by)}", escape(s.reason))
    Console(highlight=False).print(table if have else "no golden sets; `weir golden import` makes one")


@golden.command()
def show(
    name: Name,
    version: Version = None,
    changes: Annotated[bool, typer.Option("--changes", help="The set's versions instead of its questions.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a set's questions, or how it became what it is."""
    async def found(sets: GoldenSets) -> tuple[GoldenSet, list[dict[str, Any]]]:
        history = [{"version": n, "by": c.by, "at": c.at, "reason": c.reason, "put": [q.id for q in c.put],
                    "removed": c.remove} for n, c in enumerate(sets.history(name), 1)]
        return sets.get(name, version), history

    have, history = with_sets(found)
    console = Console(highlight=False)
    if as_json:
        show_json(history if changes else _head(have) | {"questions": [asdict(q) for q in have.questions]})
    elif changes:
        table = listing("version", "by", "when (UTC)", "put", "removed", "why", wrapping={"by", "when (UTC)", "why"})
        for c in history:
            table.add_row(str(c["version"]), escape(c["by"]), when(c["at"]), str(len(c["put"])), str(len(c["removed"])),
                          escape(c["reason"]))
        console.print(table)
    else:
        columns = ["id", "question", "expected", "as"]
        table = listing(*columns, wrapping=columns, lines=True)
        for q in have.questions:
            expected = "\n".join(" / ".join(filter(None, (e.document, e.passage, e.text))) for e in q.expected)
            told = "(the sources do not hold it)" if q.unanswerable else expected or "\n".join(q.answers) or "(open)"
            table.add_row(escape(q.id), escape(q.question), escape(told), f"{', '.join(q.groups)} {q.clearance or ''}")
        console.print(table)
        console.print(f"{have.name} version {have.version}, {len(have.questions)} questions", markup=False)


@golden.command("import")
def import_(
    path: Annotated[Path, typer.Argument(exists=True, help="A CSV file, or a folder in BEIR layout.")],
    name: Annotated[str, typer.Option("--set", "-s", help="Set to put the questions into.")],
    workspace: Annotated[str, typer.Option("--workspace", "-w", help="Workspace that they are asked in.")] = "sample",
    replace: Annotated[bool, typer.Option("--replace", help="Questions that the file lacks leave the set.")] = False,
    split: Annotated[str, typer.Option(help="Which qrels of a BEIR folder.")] = "test",
    passages: Annotated[bool | None, typer.Option(
        "--passages/--documents", help="What a BEIR corpus id names; by its corpus.jsonl otherwise.")] = None,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; the set's versions keep it.")] = "",
) -> None:
    """Put questions into a set: one new version, or none where nothing differs."""
    made = asyncio.run(import_file(settings_module.load(), path, name, workspace, operator(), replace=replace,
                                   split=split, passages=passages, reason=reason or f"imported from {path.name}"))
    print(f"{made.name} version {made.version} has {len(made.questions)} questions")


@golden.command()
def export(
    name: Name,
    version: Version = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; standard output otherwise.")] = None,
) -> None:
    """Write a set as CSV, which `import` reads."""
    async def found(sets: GoldenSets) -> GoldenSet:
        return sets.get(name, version)

    text = to_csv(with_sets(found).questions)
    if out is None:
        print(text, end="")
    else:
        out.write_text(text, "utf-8")


@golden.command()
def remove(
    name: Name,
    questions: Annotated[list[str], typer.Argument(help="Ids of questions.")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; the set's versions keep it.")] = "",
) -> None:
    """Take questions out of a set. Its earlier versions keep them."""
    async def work(sets: GoldenSets) -> GoldenSet:
        return await sets.change(name, sets.get(name).workspace, operator(), remove=questions, reason=reason)

    made = with_sets(work)
    print(f"{made.name} version {made.version} has {len(made.questions)} questions")


def _head(found: GoldenSet) -> dict[str, Any]:
    return {"set": found.name, "version": found.version, "workspace": found.workspace,
            "questions": len(found.questions), "by": found.by, "at": found.at, "reason": found.reason}
