"""`weir erase`: takes a document or a person out of everything, and proves it. For operators: reads and writes Kafka,
the stores and the blobs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from elasticsearch import AsyncElasticsearch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.terminal import AsJson, operator, show_json
from weir import settings as settings_module
from weir.blobs import Blobs
from weir.clock import system_clock
from weir.erasing import receipt as receipts
from weir.erasing.erase import Eraser
from weir.erasing.target import Target
from weir.erasing.verify import Proof, Standing, Verifier
from weir.index.indexes import Indexes
from weir.kafka.producer import Producer
from weir.settings import Settings
from weir.stores import Milvus, elasticsearch, milvus
from weir.views.documents import DocumentViews

erase = typer.Typer(invoke_without_command=True, help="Take a document or a person out of everything; prove it later.")

COLOURS = {Standing.FORGOTTEN: "green", Standing.KEPT: "default", Standing.WAITING: "yellow"}


@erase.callback()
def erase_(
    context: typer.Context,
    document: Annotated[str | None, typer.Option(help="Document to erase, `workspace/document`.")] = None,
    person: Annotated[str | None, typer.Option(help="Person to erase: the subject of their tokens.")] = None,
    keep: Annotated[Path | None, typer.Option("--receipt", help="File to write the receipt into as well.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a document or a person out of the stores, views, turns, tasks, blobs and, with time, the topics.

    Prints a receipt with the date by which each topic has forgotten it. Ends with status 1 where something has to be
    decided first; the same command goes on from there, also after a crash.
    """
    if context.invoked_subcommand is not None:
        return
    target = Target.chosen(document, person)
    if not yes:
        typer.confirm(f"Erase the {target}? Nobody can take that back.", abort=True, err=True)
    tell = Console(stderr=True, highlight=False)
    made = asyncio.run(_erased(settings_module.load(), target, tell))
    if keep is not None:
        keep.write_text(json.dumps(made.to_json(), ensure_ascii=False, indent=2))
    if as_json:
        show_json(made.to_json())
    else:
        out = Console(highlight=False, soft_wrap=True)
        for line in receipts.lines(made):
            out.print(escape(line))
        out.print(f"`weir erase verify {made.receipt}` looks whether that is so.")
    if made.pending:
        raise typer.Exit(1)


@erase.command()
def verify(
    receipt: Annotated[str, typer.Argument(help="Id of a receipt, or its file.")],
    as_json: AsJson = False,
) -> None:
    """Look for what was erased in the files of the log, the blobs, the stores and the views. Ends with status 1 where
    something is there that the receipt says is gone."""
    proof = asyncio.run(_verified(settings_module.load(), receipt))
    if as_json:
        show_json({"receipt": proof.receipt.receipt, "target": str(proof.receipt.target), "at": proof.at,
                   "forgotten": proof.forgotten, "broken": proof.broken, "blobs": proof.blobs, "stores": proof.stores,
                   "pending": proof.receipt.pending, "published_again": proof.published_again,
                   "topics": [asdict(t) for t in proof.topics]})
    else:
        _show(Console(highlight=False, soft_wrap=True), proof)
    if proof.broken:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Servers:
    producer: Producer
    es: AsyncElasticsearch
    milvus: Milvus
    indexes: Indexes
    views: DocumentViews


@asynccontextmanager
async def _servers(settings: Settings) -> AsyncIterator[_Servers]:
    es, client, indexes = elasticsearch(settings), milvus(settings), Indexes(settings)
    views = DocumentViews(es, settings)
    await indexes.start()
    try:
        async with Producer(settings) as producer:
            yield _Servers(producer, es, client, indexes, views)
    finally:
        await views.close()
        await indexes.close()
        await client.close()
        await es.close()


async def _erased(settings: Settings, target: Target, tell: Console) -> receipts.Receipt:
    async with _servers(settings) as s:
        eraser = Eraser(settings, s.producer, s.es, s.milvus, s.indexes, s.views, system_clock,
                        lambda line: tell.print(escape(line)))
        return await eraser.erase(target, operator())


async def _verified(settings: Settings, named: str) -> Proof:
    found = await receipts.read(settings, named)
    async with _servers(settings) as s:
        return await Verifier(settings, s.es, s.milvus, s.indexes, Blobs(settings), system_clock()).verify(found)


def _show(out: Console, proof: Proof) -> None:
    receipt = proof.receipt
    out.print(f"{escape(str(receipt.target))}, erased {receipts.day(receipt.finished_at)}, looked for "
              f"{receipts.day(proof.at)}")
    table = Table("topic", "standing", "records", "by", "read")
    for t in proof.topics:
        colour = COLOURS.get(t.standing, "red")
        table.add_row(t.name, f"[{colour}]{t.standing.value}[/{colour}]", f"{t.records or ''}",
                      receipts.day(t.gone_by) if t.records else "", f"{t.looked_at:,} records, {t.read}")
    out.print(table)
    if proof.published_again:
        out.print("The document was published anew since: only what is older was looked for, and not in the stores.")
    for what, found in (("blob", proof.blobs), ("store", proof.stores), ("not erased", receipt.pending)):
        for each in found:
            out.print(f"[red]{what}[/red] {escape(each)}")
    if proof.forgotten:
        out.print("[green]It is forgotten[/green], as far as Weir reaches. Outside its reach:")
    elif proof.broken:
        out.print("[red]It is not forgotten[/red]: run the same erasure again. Outside its reach:")
    else:
        out.print(f"Not forgotten yet: the last of it is due to go by {receipts.day(receipt.last)}. Outside its reach:")
    for line in receipt.outside:
        out.print(f"  {escape(line)}")
