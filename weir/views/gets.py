"""Realtime GETs that share their way: one that may wait goes along with the next that may not.

A request costs the process and Elasticsearch two milliseconds of work, however little it asks for. Whether a question
was answered before is asked for every question and is hardly ever so; the access check of its sources asks the same
server, and comes before any word of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from elasticsearch import AsyncElasticsearch

from weir.errors import Unavailable
from weir.views.elastic import mget_each

Hits = list[dict[str, Any] | None]


@dataclass(slots=True, eq=False)
class _Ask:
    index: str
    ids: list[str]
    found: asyncio.Future[Hits]
    timer: asyncio.TimerHandle | None = None


class Gets:
    """For the views of one process that read the same Elasticsearch."""

    def __init__(self, es: AsyncElasticsearch) -> None:
        self._es = es
        self._waiting: list[_Ask] = []
        self._under_way: set[asyncio.Task[None]] = set()

    async def get(self, index: str, ids: Sequence[str], patience: float = 0.0) -> Hits:
        """As `elastic.mget`.

        Args:
            patience: seconds for which this may wait for another to go along with.

        Raises:
            Unavailable: the server does not answer, or the index is not there.
        """
        if not ids:
            return []
        loop = asyncio.get_running_loop()
        ask = _Ask(index, list(ids), loop.create_future())
        self._waiting.append(ask)
        if patience > 0:
            ask.timer = loop.call_later(patience, self.go)
        else:
            self.go()
        return await ask.found

    def go(self) -> None:
        """Sends all that waits: in a task of its own: whoever sends it may be cancelled, and the others still wait."""
        asks, self._waiting = self._waiting, []
        for ask in asks:
            if ask.timer is not None:
                ask.timer.cancel()
        if wanted := [ask for ask in asks if not ask.found.done()]:
            task = asyncio.create_task(self._ask(wanted))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _ask(self, asks: Sequence[_Ask]) -> None:
        try:
            found = await mget_each(self._es, [(ask.index, ask.ids) for ask in asks])
        except Exception as e:
            for ask in asks:
                _fail(ask, e)
            return
        for ask, hits in zip(asks, found, strict=True):
            if isinstance(hits, Unavailable):
                _fail(ask, hits)
            elif not ask.found.done():
                ask.found.set_result(hits)


def _fail(ask: _Ask, error: Exception) -> None:
    if not ask.found.done():
        ask.found.set_exception(error)
