"""`weir ask` and `weir search`."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.client import Client, token_for
from cli.explain import show
from cli.recipes import parsed
from cli.terminal import AsJson, show_json
from weir import settings as settings_module
from weir.errors import ModelError, WeirError

Workspace = Annotated[str, typer.Option("--workspace", "-w", help="Workspace to ask in.")]
User = Annotated[str, typer.Option("--user", "-u", help="Person of the local issuer to ask as; WEIR_TOKEN goes first.")]
Recipe = Annotated[list[str] | None, typer.Option(
    "--recipe", help="NAME=NUMBER of a parameter of retrieval, for this question; may be repeated.")]
Without = Annotated[list[str] | None, typer.Option(
    "--without", help="A condition in the question that is not to narrow it, as it was said; may be repeated.")]
Anew = Annotated[bool, typer.Option("--anew", help="Use nothing again that was found or answered before.")]

BEFORE_TEXT = {"accepted": "looking for sources ...", "reset": "the worker was lost; another begins again ..."}


def ask(
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
    workspace: Workspace = "sample",
    user: User = "reader",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow up on your last question.")] = False,
    recipe: Recipe = None,
    without: Without = None,
    anew: Anew = False,
    as_json: AsJson = False,
) -> None:
    """Ask a question and watch the cited answer stream."""
    settings = settings_module.load()
    memory = settings.home / "run" / f"last-turn-{user}.json"
    body = {"request_id": str(uuid.uuid4()), "workspace": workspace, "question": question,
            "recipe": parsed(recipe), "without": without or [], "anew": anew}
    if follow:
        body |= _last_turn(memory)
    done = asyncio.run(_ask(settings, token_for(settings, user), body, quiet=as_json))
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(json.dumps({"conversation": done["conversation"], "follows": done["answer"]}))
    if as_json:
        show_json(done)


def _last_turn(memory: Path) -> dict[str, str]:
    try:
        return dict(json.loads(memory.read_text()))
    except FileNotFoundError:
        raise typer.BadParameter("there is no question to follow yet; ask one without --follow first") from None


async def _ask(settings: settings_module.Settings, token: str, body: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Streams one answer to the terminal; returns its `done` frame."""
    out, status = Console(quiet=quiet, highlight=False), Console(stderr=True, quiet=quiet)
    async with Client(settings, token) as client:
        with status.status("asking ...") as progress:
            async for frame in client.ask(body):
                match frame["type"]:
                    case "accepted" | "reset":
                        progress.update(BEFORE_TEXT[frame["type"]])
                    case "sources":
                        progress.update(f"reading {len(frame['sources'])} sources ...")
                    case "delta":
                        progress.stop()
                        out.print(frame["text"], end="", markup=False, soft_wrap=True)
                    case "snapshot":
                        progress.stop()
                        out.print("\n" + frame["text"], end="", markup=False, soft_wrap=True)
                    case "done":
                        progress.stop()
                        _print_sources(out, frame)
                        return frame
                    case "error":
                        raise _failed(frame)
    raise ModelError("the stream ended without an answer; ask again")


def _print_sources(out: Console, done: dict[str, Any]) -> None:
    out.print("\n")
    cited = sorted({c["source"] for c in done["citations"]})
    for source in done["sources"]:
        if source["number"] in cited:
            late = "  a newer version is on its way" if source["being_replaced"] else ""
            out.print(f"  [{source['number']}] {_place(source)}  ({source['document']}){late}", markup=False,
                      soft_wrap=True)
    _print_notices(out, done)
    for choice in done["choices"]:
        out.print(f"  did you mean: {choice}", markup=False)


def _print_notices(out: Console, done: dict[str, Any]) -> None:
    """What a reader should know, and how to take away what narrowed the question."""
    for notice in done["notices"]:
        said = next((f["said"] for f in done["filters"] if f["shown"] == notice), None)
        out.print(f"  note: {notice}" + (f" Not so: --without {said!r}" if said else ""), markup=False, soft_wrap=True)


def _place(source: dict[str, Any]) -> str:
    """Title and headings of a passage; a first heading that only repeats the title is left out."""
    title, headings = source["title"] or source["document"], source["heading_path"]
    return " > ".join([title, *(headings[1:] if headings[:1] == [title] else headings)])


def _failed(frame: dict[str, Any]) -> WeirError:
    error = WeirError(frame["message"], retry_after=frame.get("retry_after"))
    error.code = frame["code"]
    return error


def search(
    question: Annotated[str, typer.Argument(help="What to look for.")],
    workspace: Workspace = "sample",
    user: User = "reader",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="How many passages.")] = 10,
    explain: Annotated[bool, typer.Option("--explain", help="Show how each passage was found.")] = False,
    recipe: Recipe = None,
    without: Without = None,
    anew: Anew = False,
    as_json: AsJson = False,
) -> None:
    """Find passages without an answer."""
    settings = settings_module.load()
    body = {"workspace": workspace, "question": question, "limit": limit, "explain": explain,
            "recipe": parsed(recipe), "without": without or [], "anew": anew}

    async def call() -> dict[str, Any]:
        async with Client(settings, token_for(settings, user)) as client:
            return dict(await client.call("POST", "/v1/search", json=body))

    found = asyncio.run(call())
    if as_json:
        show_json(found)
        return
    console = Console(highlight=False)
    table = Table("", "score", "document", "passage", show_lines=True)
    for source in found["sources"]:
        table.add_row(str(source["number"]), f"{source['score']:.2f}", _place(source), source["text"][:300])
    console.print(table)
    _print_notices(console, found)
    if explain:
        show(console, found)
    else:
        console.print("  ".join(f"{stage} {ms:.0f} ms" for stage, ms in found["timings"].items()))
