"""`weir turn show|replay`: what somebody was answered and from which passages, and what the answer would be now.

For operators: reads the log and the views. Each use is written down in `audit`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.markup import escape

from cli.terminal import AsJson, operator, show_json
from schemas import topics
from schemas.events import Audit, Citation, Done, Source, Turn
from weir import settings as settings_module
from weir.answers.past import Differences, again, content_hash, differences
from weir.blobs import Blobs
from weir.clock import system_clock
from weir.errors import InputError, NotFound, Unavailable
from weir.kafka.follow import read_all
from weir.kafka.producer import Producer
from weir.kafka.records import Decoder
from weir.settings import Settings
from weir.stores import elasticsearch
from weir.views.documents import DocumentView, DocumentViews
from weir.views.turns import TurnViews

turn = typer.Typer(no_args_is_help=True, help="What somebody was answered, from which passages, and what it would be "
                   "now.")

Id = Annotated[str, typer.Argument(help="Id of the turn; of its answer, which is the same.")]
HASH_SHOWN = 12
"""Hexadecimal digits of a passage's hash that the terminal shows; `--json` has all 64."""


@turn.command()
def show(name: Id, as_json: AsJson = False) -> None:
    """Show a turn as it was: question, answer, passages with their content hashes, model, prompt and index version."""
    settings = settings_module.load()
    found, views = asyncio.run(_shown(settings, name))
    if as_json:
        show_json(_plain(found, found.sources, found.citations, views))
        return
    out = Console(highlight=False, soft_wrap=True)
    _show(out, found)
    _show_sources(out, found.sources, {c.source for c in found.citations}, views)


@turn.command()
def replay(
    name: Id,
    today: Annotated[bool, typer.Option("--today", help="Look for passages in today's index.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask once more with the same passages, or with today's index, and show what differs. Nothing is kept of it."""
    settings = settings_module.load()
    found, now = asyncio.run(_replayed(settings, name, today))
    told = differences(found, now)
    if as_json:
        show_json({"turn": found.turn, "today": today, "differs": told.any,
                     "then": _plain(found, found.sources, found.citations),
                     "now": _plain(now, now.sources, now.citations),
                     "differences": {
                         "facts": {fact: {"then": a, "now": b} for fact, (a, b) in told.facts.items()},
                         "gone": [content_hash(s.text) for s in told.gone],
                         "new": [content_hash(s.text) for s in told.new], "text": told.text}})
        return
    _show_differences(Console(highlight=False, soft_wrap=True), found, now, told)


async def _shown(settings: Settings, name: str) -> tuple[Turn, Mapping[str, DocumentView] | None]:
    es = elasticsearch(settings)
    views = DocumentViews(es, settings)
    try:
        found = await find(settings, TurnViews(es, settings), name)
        await _audit(settings, "turn.show", name)
        documents = sorted({s.document for s in found.sources})
        try:
            return found, await views.check(found.workspace, documents) if documents else {}
        except Unavailable:
            return found, None
    finally:
        await views.close()
        await es.close()


async def _replayed(settings: Settings, name: str, today: bool) -> tuple[Turn, Done]:
    from streams.answers import parts  # its clients take half a second to import

    async with parts(settings) as made:
        found = await find(settings, made.turns, name)
        await _audit(settings, "turn.replay", name)
        return found, await again(made.answering, found, today=today)


async def find(settings: Settings, views: TurnViews, name: str) -> Turn:
    """A turn from its view or, where that does not have it, from the log itself.

    Raises:
        NotFound: neither has it.
        Unavailable: Kafka does not answer.
    """
    with suppress(Unavailable):
        if (found := await views.get(name)) is not None:
            return found
    decoder, last = Decoder(settings, Blobs(settings)), None
    for raw in await asyncio.to_thread(read_all, settings, topics.TURNS.named(settings.prefix)):
        if (raw.key or b"").decode(errors="replace").rpartition("/")[2] == name:
            with suppress(InputError):
                last = (await decoder.decode(raw)).event
    if last is None:
        raise NotFound(f"there is no turn {name!r}: give the whole id, as `weir ask --json` prints it under `answer`")
    return cast("Turn", last)


async def _audit(settings: Settings, action: str, target: str) -> None:
    who = operator()
    async with Producer(settings) as producer:
        await producer.send(topics.AUDIT.named(settings.prefix), who, Audit(
            subject=who, action=action, target=target, at=system_clock()))


# -- for machines -------------------------------------------------------------------------------------------------


def _plain(said: Turn | Done, sources: Sequence[Source], citations: Sequence[Citation],
           views: Mapping[str, DocumentView] | None = None) -> dict[str, Any]:
    body: dict[str, Any] = {
        name: getattr(said, name) for name in (
            "text", "notices", "model", "prompt", "index", "index_version", "tokens_in", "tokens_out", "cost",
            "timings")}
    if isinstance(said, Turn):
        body = {name: getattr(said, name) for name in (
            "turn", "conversation", "workspace", "question", "follows", "asked_at", "finished_at", "attempts", "code",
            "message")} | {"person": said.person.subject, "groups": said.person.groups} | body
    cited = {c.source for c in citations}
    return body | {
        "outcome": said.outcome.value,
        "citations": [{n: getattr(c, n) for n in ("source", "start", "end", "quote_start", "quote_end")}
                      for c in citations],
        "sources": [{"number": s.number, "sha256": content_hash(s.text), "document": s.document, "version": s.version,
                     "chunk": s.chunk, "title": s.title, "heading_path": s.heading_path, "score": s.score,
                     "cited": s.number in cited, "text": s.text}
                    | ({} if views is None else {"today": _today(s, views)}) for s in sources]}


# -- for people ---------------------------------------------------------------------------------------------------


def _show(out: Console, t: Turn) -> None:
    asked = datetime.fromtimestamp(t.asked_at / 1000, UTC)
    out.print(f"[bold]{escape(t.question)}[/bold]")
    out.print(f"asked by {escape(t.person.name or t.person.subject)} ({escape(t.person.subject)}) in "
              f"{escape(t.workspace)}, {asked:%Y-%m-%d %H:%M:%S} UTC, conversation {escape(t.conversation)}"
              + (f", after {escape(t.follows)}" if t.follows else ""))
    out.print(f"\n{escape(t.text or t.message or '')}\n")
    made = [t.outcome.value.replace("_", " "), t.model, t.prompt, f"{t.index} {t.index_version}".strip(),
            f"{t.tokens_in:,} + {t.tokens_out:,} tokens" if t.tokens_in or t.tokens_out else "",
            f"{t.timings['total']:.0f} ms" if "total" in t.timings else ""]
    out.print(escape("  ".join(filter(None, made))))
    for notice in t.notices:
        out.print(f"note: {escape(notice)}")


def _show_sources(out: Console, sources: Sequence[Source], cited: set[int],
                  views: Mapping[str, DocumentView] | None) -> None:
    for s in sources:
        place = " > ".join(dict.fromkeys(filter(None, [s.title or s.document, *s.heading_path])))
        out.print(f"\n[bold]\\[{s.number}][/bold] {escape(place)}  ({escape(s.document)}, version {s.version}, "
                  f"{'cited' if s.number in cited else 'not cited'}, {_today(s, views)})")
        out.print(f"    sha256 {content_hash(s.text)[:HASH_SHOWN]}")
        out.print(escape(s.text))


def _today(source: Source, views: Mapping[str, DocumentView] | None) -> str:
    if views is None:
        return "not known what it says today"
    view = views.get(source.document)
    if view is None or view.deleted:
        return "deleted since"
    return "as it is today" if view.version == source.version else "replaced since"


def _show_differences(out: Console, t: Turn, now: Done, told: Differences) -> None:
    out.print(f"[bold]{escape(t.question)}[/bold]")
    for notice in now.notices:
        out.print(f"note: {escape(notice)}")
    if not told.any:
        out.print("nothing differs")
        return
    for fact, (a, b) in told.facts.items():
        out.print(f"{fact}: {escape(a or '(none)')} -> {escape(b or '(none)')}")
    for mark, colour, sources in (("-", "red", told.gone), ("+", "green", told.new)):
        for s in sources:
            out.print(f"[{colour}]{mark} passage {content_hash(s.text)[:HASH_SHOWN]}  {escape(s.title or s.document)} "
                      f"({escape(s.document)}, version {s.version})[/{colour}]")
    if not told.text:
        out.print("the answer's text is the same")
    for line in told.text:
        colour = {"-": "red", "+": "green"}.get(line[0], "default")
        out.print(f"[{colour}]{escape(line)}[/{colour}]")
