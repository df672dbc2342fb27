"""`weir index`: the versions of an index. For operators: over Kafka and the stores.

A version that is built is filled by the workers that run anyway; the command only adds it and shows how far they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.evaluate import Picture, tell
from cli.index_gate import SET, by_golden_set, compared
from cli.recipes import parsed
from cli.status import duration
from cli.terminal import AsJson, operator, show_json
from infra.local.models.add import add
from infra.local.models.reranker import add_reranker
from schemas.events import Cut, Evaluation, Index, IndexVersion
from weir import settings as environment
from weir.clock import system_clock
from weir.errors import Conflict
from weir.index import changes, names
from weir.index.cost import estimate
from weir.index.indexes import MAIN
from weir.index.progress import Progress, progress
from weir.index.versions import Versions
from weir.retrieval.embedders import PAID, described
from weir.stores import elasticsearch, milvus

index = typer.Typer(no_args_is_help=True, help="The versions of an index: build, compare, go over, go back, drop.")

Name = Annotated[str, typer.Argument(help="Name of the version, such as v2.")]
Of = Annotated[str, typer.Option("--index", help="Name of the index.")]
By = Annotated[str, typer.Option("--by", help="Who the audit names; the user of this machine otherwise.")]
Golden = Annotated[str, typer.Option("--set", "-s", help="Golden set that it is measured with.")]
Wait = Annotated[float, typer.Option(help="Seconds that documents get which the new version has not yet.")]

LOOK_SECONDS = 2.0
RATE_LOOKS = 15
"""Looks that the rate is taken over."""

T = TypeVar("T")


@index.command("list")
def list_(of: Of = MAIN, as_json: AsJson = False) -> None:
    """List the versions: which one answers, what each is made of, and what it holds."""

    async def run(versions: Versions) -> list[dict[str, Any]]:
        record = await versions.record()
        return [await _described(versions, record, v) for v in (*record.versions, *record.dropping)]

    found = _with(of, "", run)
    if as_json:
        show_json(found)
        return
    table = Table("version", "state", "made with", "stores", show_lines=True)
    table.add_column("documents", justify="right")
    table.add_column("vectors", justify="right")
    for v in found:
        made = [v["model"], v["revision"], v["cut"], *(f"{name}={value:g}" for name, value in v["recipe"].items())]
        # Lines of a cell: the table fits a terminal of 80 columns.
        table.add_row(v["version"], v["state"].replace(" ", "\n"), "\n".join(made),
                      f"{v['collection']}\n{v['keyword_index']}", f"{v['documents']:,}", f"{v['vectors']:,}")
    Console(highlight=False).print(table)


@index.command()
def build(
    model: Annotated[str, typer.Option("--model", "-m", help="Embedding model: one of Triton's, such as minilm-fp32, "
                                       "or openai:NAME.")],
    recipe: Annotated[list[str] | None, typer.Option("--recipe", "-r", help="A parameter of retrieval that is not the "
                                                     "default, such as dense_weight=0.6. Repeat it.")] = None,
    chunk_chars: Annotated[int | None, typer.Option(help="Longest chunk, in characters; cuts all anew.")] = None,
    windows: Annotated[bool | None, typer.Option(help="Whether chunks have windows; cuts all anew.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a paid model is used.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Show the progress until it is complete.")] = True,
    of: Of = MAIN, by: By = "",
) -> None:
    """Build a version beside the live one. Broken off, it goes on: the workers fill it, not this command."""
    console = Console(highlight=False, soft_wrap=True)

    async def run(versions: Versions) -> None:
        live = changes.live_of(await versions.record())
        cut = _cut(live.cut, chunk_chars, windows)
        version = await versions.plan(model, cut, parsed(recipe))
        known = version.name in {v.name for v in (await versions.record()).versions}
        if model.startswith(PAID) and not known:
            await _tell_cost(versions, console, live, model, cut, yes)
        await versions.build(version)
        console.print(f"[bold]{version.name}[/bold] {'is being built already' if known else 'is being built'}: "
                      f"{version.model} {version.revision}, {version.cut.name}, {version.collection}, "
                      f"{version.keyword_index}")
        if wait:
            await _follow(versions, console, version)

    _with(of, by, run)


@index.command()
def status(
    name: Annotated[str | None, typer.Argument(help="Name of the version; otherwise all that do not answer.")] = None,
    of: Of = MAIN, as_json: AsJson = False,
) -> None:
    """Show how far versions have been built: what is done, what is left, how fast and for how long."""

    async def run(versions: Versions) -> list[tuple[Progress, Progress]]:
        record = await versions.record()
        chosen = ([changes.version_of(record, name)] if name else
                  [v for v in record.versions if v.name != record.live])
        first = [await progress(versions.settings, versions.es, record, v) for v in chosen]
        if any(not p.complete for p in first):
            await asyncio.sleep(LOOK_SECONDS)
        return [(before, await progress(versions.settings, versions.es, record, v))
                for before, v in zip(first, chosen, strict=True)]

    found = _with(of, "", run)
    if as_json:
        show_json([_plain(now, before) for before, now in found])
        return
    console = Console(highlight=False, soft_wrap=True)
    for before, now in found:
        console.print(_line(now, before))
        for place in now.places:
            if place.behind:
                console.print(f"    {escape(place.group)} has {place.behind:,} records of {escape(place.topic)} to go")
    if not found:
        console.print("no version is being built")


@index.command()
def gate(name: Name, golden: Golden = SET, out: Picture = None, of: Of = MAIN, as_json: AsJson = False) -> None:
    """Measure a version beside the live one. Ends with status 1 where it would not be let through."""

    async def run(versions: Versions) -> tuple[Evaluation, Evaluation]:
        record = await versions.record()
        live, version = changes.live_of(record), changes.version_of(record, name)
        if live == version:
            raise Conflict(f"{name} answers: name a version that shall take its place (`weir index list`).")
        now = await progress(versions.settings, versions.es, record, version)
        if not now.complete:
            Console(stderr=True).print(f"{name} is at {now.share:.1%}: what it does not hold yet it cannot find")
        return await compared(versions.settings, golden, of, live, version)

    before, made = _with(of, "", run)
    tell(made, before, out, as_json)
    if made.verdict is None or not made.verdict.passed:
        raise typer.Exit(1)


@index.command()
def cutover(
    name: Name,
    golden: Golden = SET,
    force: Annotated[bool, typer.Option("--force", help="Go over though the gate refuses; the audit says so.")] = False,
    wait: Wait = 60.0, of: Of = MAIN, by: By = "",
) -> None:
    """Let another version answer: one record, which every answers worker follows between two questions.

    Before that the versions are compared document by document, and measured with a golden set.
    """
    after = _with(of, by, lambda versions: versions.cutover(
        name, by_golden_set(versions.settings, golden, of, versions.tell), force, wait))
    print(f"{after.live} answers now; `weir index rollback` goes back to {after.previous}")


@index.command()
def rollback(of: Of = MAIN, by: By = "") -> None:
    """Let the version answer that answered before."""
    after = _with(of, by, lambda versions: versions.rollback())
    print(f"{after.live} answers again; {after.previous} is kept up to date until it is dropped")


@index.command()
def drop(name: Name, of: Of = MAIN, by: By = "") -> None:
    """Delete a version that does not answer, with every store of it that no other version shares."""
    _with(of, by, lambda versions: versions.drop(name))


@index.command("add-model")
def add_model(
    name: Annotated[str, typer.Argument(help="Name that the model shall have, such as bge-small.")],
    source: Annotated[str, typer.Argument(help="Folder with model.onnx and tokenizer.json, or the address of one.")],
    pooling: Annotated[str, typer.Option(help="cls or mean, where the model gives a vector a token.")] = "",
    max_tokens: Annotated[int, typer.Option(min=8, help="Longer texts are cut.")] = 512,
    question_prefix: Annotated[str, typer.Option(help="What the model wants in front of a question.")] = "",
    document_prefix: Annotated[str, typer.Option(help="What the model wants in front of a document.")] = "",
) -> None:
    """Add an embedding model to the local Triton. `weir index build --model NAME` then builds with it."""
    settings = environment.load()
    add(settings, name, source, pooling=pooling, max_tokens=max_tokens, prefixes=(question_prefix, document_prefix))
    found = asyncio.run(described(settings, name))
    print(f"{name} is there: revision {found.revision}, {found.dimension} dimensions")


@index.command("add-reranker")
def add_cross_encoder(
    name: Annotated[str, typer.Argument(help="Name that the model shall have, such as ms-marco.")],
    source: Annotated[str, typer.Argument(help="Folder with model.onnx and tokenizer.json, or the address of one.")],
    max_tokens: Annotated[int, typer.Option(min=16, help="Question and passage together; the passage is cut.")] = 512,
) -> None:
    """Add a cross-encoder to the local Triton. WEIR_RERANK_MODEL=NAME and `rerank` of a recipe have it used."""
    add_reranker(environment.load(), name, source, max_tokens=max_tokens)
    print(f"{name} is there; set WEIR_RERANK_MODEL={name} for all processes")


# -- parts --------------------------------------------------------------------------------------------------------


def _with(of: str, by: str, run: Callable[[Versions], Awaitable[T]]) -> T:
    """What `run` returns, with clients of all servers that it may need."""
    settings = environment.load()

    async def connected() -> T:
        es, client = elasticsearch(settings), milvus(settings)
        try:
            return await run(Versions(settings, es, client, system_clock, by or operator(),
                                      Console(highlight=False, soft_wrap=True).print, of))
        finally:
            await es.close()
            await client.close()

    return asyncio.run(connected())


def _cut(live: Cut, chunk_chars: int | None, windows: bool | None) -> Cut:
    if chunk_chars is None and windows is None:
        return live
    return changes.cut_with(live.chunk_chars if chunk_chars is None else chunk_chars,
                            live.windows if windows is None else windows, live.window_chars, live.window_stride)


async def _tell_cost(versions: Versions, console: Console, live: IndexVersion, model: str, cut: Cut, yes: bool) -> None:
    found = await estimate(versions.settings, versions.es, live, model, cut)
    cost = (f"about {found.cost:,.2f} at WEIR_EMBED_PRICE" if found.priced else
            "a sum that nobody can tell: set WEIR_EMBED_PRICE, the cost of a million tokens")
    console.print(f"{model} will read {found.texts:,} texts, about {found.tokens:,} tokens, for {cost}")
    if not yes and not typer.confirm("Build it?"):
        raise typer.Abort


async def _follow(versions: Versions, console: Console, version: IndexVersion) -> None:
    """Shows the progress until the version holds what the live one holds."""
    looks: list[Progress] = []
    with console.status(version.name) as shown:
        while True:
            record = await versions.record()
            changes.version_of(record, version.name)
            looks = [*looks[-RATE_LOOKS:], await progress(versions.settings, versions.es, record, version)]
            if looks[-1].complete:
                break
            if len(looks) > RATE_LOOKS and looks[-1].behind == 0 and looks[0].documents == looks[-1].documents:
                break  # all was read, and something is missing all the same
            shown.update(_line(looks[-1], looks[0]))
            await asyncio.sleep(LOOK_SECONDS)
    console.print(_line(looks[-1], looks[0]))
    console.print(f"`weir index cutover {version.name}` lets it answer" if looks[-1].complete else
                  f"nothing is left to read, and documents are missing: `weir index cutover {version.name}` says which")


def _line(now: Progress, before: Progress) -> str:
    whole = "" if now.of_rows is None else f" of {now.of_rows:,}"
    line = f"[bold]{now.version}[/bold] {now.share:.1%}: {now.rows:,}{whole} vectors, {now.documents:,} of " \
           f"{now.of_documents:,} documents"
    if now.complete:
        return f"{line}, complete"
    left = now.seconds_left(before)
    return f"{line}, {now.rate(before):,.0f} a second, " + (
        f"{duration(left)} to go" if left is not None else f"{now.behind:,} records to go")


def _plain(now: Progress, before: Progress) -> dict[str, Any]:
    return {"version": now.version, "complete": now.complete, "share": now.share, "vectors": now.rows,
            "of_vectors": now.of_rows, "documents": now.documents, "of_documents": now.of_documents,
            "records_to_go": now.behind, "vectors_a_second": now.rate(before),
            "seconds_left": 0.0 if now.complete else now.seconds_left(before)}


async def _described(versions: Versions, record: Index, version: IndexVersion) -> dict[str, Any]:
    going = version in record.dropping
    now = await progress(versions.settings, versions.es, record, version)
    state = ("being dropped" if going else "live" if version.name == record.live else
             "built" if now.complete else f"building {now.share:.0%}")
    return {"version": version.name, "state": state, "previous": version.name == record.previous,
            "model": version.model, "revision": version.revision, "dimension": version.dimension,
            "cut": version.cut.name, "recipe": version.recipe, "collection": version.collection,
            "keyword_index": version.keyword_index, "created_at": version.created_at, "documents": now.documents,
            "vectors": now.rows, "made_for": names.owner(names.collection_label(versions.settings, version.collection))}
