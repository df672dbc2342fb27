"""`weir dead-letters list|show|replay`: what was given up, why, and its way back. For operators: reads Kafka."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from cli.terminal import AsJson, listing, show_json
from weir import settings as settings_module
from weir.errors import BadRequest
from weir.kafka.dead_letters import Letter, letter, letters, replay
from weir.kafka.producer import Producer

dead_letters = typer.Typer(no_args_is_help=True, help="What could not be worked on, why, and its way back.")

PREVIEW = 400
"""Characters of a record's content that `show` prints."""


def _when(milliseconds: int | None) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else ""


def _state(found: Letter) -> str:
    if found.settled:
        return "settled"
    return "replayed" if found.replayed_at else "waiting"


def _text(data: bytes | None) -> str:
    return (data or b"").decode(errors="replace")


@dead_letters.command("list")
def list_(
    group: Annotated[str | None, typer.Option(help="Only those of this consumer group.")] = None,
    settled: Annotated[bool, typer.Option(help="Also those whose replay went well.")] = False,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first."""
    settings = settings_module.load()
    found = asyncio.run(letters(settings, group=settings.prefix + group if group else None, settled=settled))
    if as_json:
        show_json([_plain(x) for x in found])
        return
    if not found:
        print("no dead letters")
        return
    # One column for all that is long: side by side each would be a few letters wide in a terminal of 80.
    table = listing("key, what it was about, why it was given up", "tries", "when (UTC)", "state", lines=True,
                    wrapping={"key, what it was about, why it was given up"})
    for x in found:
        table.add_row(f"{x.key}\n{_text(x.letter.key)}\n{x.letter.code}: {x.letter.reason}", str(x.letter.attempts),
                      _when(x.letter.at), _state(x))
    Console(highlight=False).print(table)


@dead_letters.command()
def show(
    key: Annotated[str, typer.Argument(help="Key of the letter, as `list` prints it.")],
    raw: Annotated[bool, typer.Option(help="Write the original record's bytes to standard output.")] = False,
) -> None:
    """Show one dead letter: where from, why, and the beginning of its content."""
    found = asyncio.run(letter(settings_module.load(), key))
    if raw:
        typer.get_binary_stream("stdout").write(found.letter.value or b"")
        return
    Console(highlight=False).print_json(json.dumps(_plain(found), ensure_ascii=False))


@dead_letters.command("replay")
def replay_(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys of the letters.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,
) -> None:
    """Give records to their workers once more. What fails again is a dead letter again."""
    if bool(keys) == everything:
        raise BadRequest("name the letters to replay, or say --all")
    settings = settings_module.load()

    async def run() -> int:
        chosen = [await letter(settings, k) for k in keys] if keys else await letters(settings)
        async with Producer(settings) as producer:
            for x in chosen:
                await replay(producer, x)
        return len(chosen)

    print(f"{asyncio.run(run())} replayed; `weir dead-letters list` shows those that fail again")


def _plain(found: Letter) -> dict[str, object]:
    body = asdict(found.letter)
    value = found.letter.value
    return {"letter": found.key, "state": _state(found), "replayed_at": _when(found.replayed_at),
            **body, "at": _when(found.letter.at), "key": _text(found.letter.key),
            "headers": {name: _text(v) for name, v in found.letter.headers.items()},
            "value": _text(value)[:PREVIEW], "bytes": len(value or b"")}
