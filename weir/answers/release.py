"""When text and citations leave: the first delta at once, then one every 30 ms; a citation behind its text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from schemas.events import Citation, Cited, Delta, Source
from weir.answers.citations import Marked, MarkerParser, by_number, citation
from weir.errors import BadRequest
from weir.models.protocol import NOTHING, Asked, ModelUnavailable, NotInSources, Piece, Quote, Text, Usage

INTERVAL = 0.030
"""Seconds between two deltas: often enough to look like writing, seldom enough for the log."""

Timer = Callable[[], float]
"""Seconds, from any point in the past."""


@dataclass(slots=True)
class Released:
    """What has left so far; the whole answer at the end."""

    text: str = ""
    citations: list[Citation] = field(default_factory=list)
    not_in_sources: bool = False
    usage: Usage = NOTHING
    unsupported: int = 0
    """Citations that the model gave and no source supported."""
    first_text: float | None = None
    """When the first text left, by the timer."""


async def release(pieces: AsyncGenerator[Piece, None], asked: Asked, out: Released, timer: Timer,
                  patience: float) -> AsyncGenerator[Delta | Cited, None]:
    """The frames of a model's pieces as they may leave. `out` is kept up to date before each of them.

    Raises:
        ModelUnavailable: no piece came for `patience` seconds.
        ModelError: from the model.
    """
    parser = _Parser(asked)
    due, done = 0.0, False
    following: asyncio.Future[Piece | None] | None = None
    try:
        while not done:
            if following is None:
                following = asyncio.ensure_future(_next(pieces))
            wait = max(0.0, due - timer()) if parser.ready else patience
            await asyncio.wait([following], timeout=wait)
            if following.done():
                piece, following = following.result(), None
                done = piece is None
                parser.take(piece, out)
            elif not parser.ready:
                raise ModelUnavailable(f"the model said nothing for {patience:.0f} s; ask again.", retry_after=5)
            if parser.ready and (done or timer() >= due):
                due = timer() + INTERVAL
                async for body in parser.leave(out, timer):
                    yield body
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await pieces.aclose()


async def _next(pieces: AsyncGenerator[Piece, None]) -> Piece | None:
    return await anext(pieces, None)


class _Parser:
    """Text and citations that may leave and have not."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._sources: dict[int, Source] = by_number(asked.sources)
        self._markers = MarkerParser()
        self._quoted = False
        self._waiting = ""
        self._marked: list[Marked | Citation] = []

    @property
    def ready(self) -> bool:
        return bool(self._waiting or self._marked)

    def take(self, piece: Piece | None, out: Released) -> None:
        match piece:
            case Text(text=text) if self._quoted:
                self._plain(text)
            case Text(text=text):
                self._parsed(*self._markers.feed(text))
            case Quote(source=number, start=start, end=end):
                self._quote(number, start, end)
            case NotInSources():
                out.not_in_sources = True
            case Usage() as usage:
                out.usage = usage
            case None:
                self._parsed(*self._markers.finish())
        out.not_in_sources |= self._markers.not_in_sources

    def _parsed(self, text: str, marked: list[Marked]) -> None:
        self._waiting += text
        self._marked += marked

    def _plain(self, text: str) -> None:
        self._markers.text += text
        self._waiting += text

    def _quote(self, number: int, start: int, end: int) -> None:
        if not self._quoted:
            # What a model quotes is taken as it is: a `[1]` in it is the source's own.
            self._quoted = True
            self._parsed(*self._markers.finish_keeping())
        source = self._sources.get(number)
        if source is None or not 0 <= start < end <= len(source.text):
            raise BadRequest(f"the model quoted {start}-{end} of source {number}, which is not there")
        at = len(self._markers.text)
        self._plain(source.text[start:end])
        self._marked.append(Citation(source=number, start=at, end=at + end - start, quote_start=start, quote_end=end))

    async def leave(self, out: Released, timer: Timer) -> AsyncGenerator[Delta | Cited, None]:
        text, self._waiting = self._waiting, ""
        marked, self._marked = self._marked, []
        if text:
            position = len(out.text)
            out.text += text
            if out.first_text is None:
                out.first_text = timer()
            yield Delta(text=text, position=position)
        for each in marked:
            for cited in await self._supported(each, out):
                out.citations.append(cited)
                yield Cited(citation=cited)

    async def _supported(self, marked: Marked | Citation, out: Released) -> list[Citation]:
        if isinstance(marked, Citation):
            return [marked]
        found = []
        for number in dict.fromkeys(marked.sources):
            source = self._sources.get(number)
            cited = await citation(self._markers.text, marked, source, self._asked.embed) if source else None
            if cited is None:
                out.unsupported += 1
            else:
                found.append(cited)
        return found
