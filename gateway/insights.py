"""Live figures: what `streams.insights` has counted of the last day. Who may publish into a workspace sees its own."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from typing import Any

from aiohttp import web

from gateway.conversations import number
from gateway.golden import may_curate
from gateway.http import SERVICES, json_response, person_of
from schemas import topics
from schemas.events import Insight
from weir import telemetry
from weir.blobs import Blobs
from weir.clock import Clock
from weir.errors import BadRequest, InputError, Unavailable
from weir.insights.figures import MILLIS, MINUTE, SCORES, Figures, quantile
from weir.kafka.follow import Follower
from weir.kafka.records import Decoder, Raw
from weir.settings import Settings

KEPT = 24 * 60
"""Minutes that are kept in memory."""
MOST_PARTS = 50_000
"""Records that are kept, some 2 KB each; beyond it the oldest minutes go."""
MOST_POINTS = 180
"""Points of a chart; more minutes share one."""
AGAIN_SECONDS = 5.0

log = telemetry.logger(__name__)

Part = tuple[str, str]
"""Workspace, and whose count it is."""


class Insights:
    """Follows `insights` on a thread of its own; a gateway that cannot read it answers as before."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._decoder = Decoder(settings, Blobs(settings))
        self._lock = threading.Lock()
        self._minutes: dict[int, dict[Part, Insight]] = {}
        self._parts = 0
        self._follower = self._made()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="insights", daemon=True)

    def _made(self) -> Follower:
        return Follower(self._settings, topics.INSIGHTS.named(self._settings.prefix), self.take, lambda: None,
                        self._oldest())

    def _oldest(self) -> int:
        return self._clock() - KEPT * MINUTE

    async def start(self) -> None:
        self._thread.start()

    async def close(self) -> None:
        self._stopping.set()
        self._follower.stop()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follower.run()
            except Unavailable as e:
                log.warning("no figures", reason=e.message)
            if not self._stopping.wait(AGAIN_SECONDS):
                self._follower = self._made()

    def take(self, raws: list[Raw]) -> None:
        """Keeps the latest record of each key."""
        for raw in raws:
            try:
                record = self._decoder.now(raw)
            except InputError:
                continue
            if record is not None and isinstance(record.event, Insight):
                self._keep(record.event)
        with self._lock:
            while self._minutes and (self._parts > MOST_PARTS or min(self._minutes) < self._oldest()):
                self._parts -= len(self._minutes.pop(min(self._minutes)))

    def _keep(self, insight: Insight) -> None:
        if insight.minute < self._oldest():
            return
        with self._lock:
            parts = self._minutes.setdefault(insight.minute, {})
            self._parts += (insight.workspace, insight.part) not in parts
            parts[insight.workspace, insight.part] = insight

    def shown(self, count: int, may_see: Callable[[str], bool], workspace: str | None = None) -> dict[str, Any]:
        """The last minutes, the current one last, as the page shows them.

        Args:
            count: how many minutes.
            may_see: whether the reader sees a workspace.
            workspace: only this one.
        """
        with self._lock:
            minutes = {minute: list(parts.values()) for minute, parts in self._minutes.items()}
        names = {p.workspace for parts in minutes.values() for p in parts}
        seen = {name for name in names if may_see(name)}
        step = math.ceil(count / MOST_POINTS)
        last = self._clock() // MINUTE * MINUTE
        every, points = Figures(), []
        for first in range(last - (math.ceil(count / step) * step - 1) * MINUTE, last + 1, step * MINUTE):
            figures = Figures()
            for minute in range(first, first + step * MINUTE, MINUTE):
                for part in minutes.get(minute, ()):
                    if part.workspace in seen and workspace in (None, part.workspace):
                        figures += part
            every += figures
            points.append({"minute": first, "counts": figures.counts, "stages": _stages(figures)})
        return {"step": step, "points": points, "total": every.counts, "stages": _stages(every),
                "scores": {"ends": SCORES, "counts": every.scores}, "workspaces": sorted(seen - {""})}


def _stages(figures: Figures) -> dict[str, dict[str, float | None]]:
    """Median and 95th percentile of each stage in milliseconds; None beyond the last bucket."""
    found = {}
    for stage, buckets in sorted(figures.stages.items()):
        p50, p95 = quantile(buckets, 0.5), quantile(buckets, 0.95)
        found[stage] = {"p50": p50 if p50 <= MILLIS[-1] else None, "p95": p95 if p95 <= MILLIS[-1] else None}
    return found


async def insights(request: web.Request) -> web.Response:
    services, person = request.app[SERVICES], person_of(request)
    count = number(request, "minutes", 60, KEPT)
    if count < 1:
        raise BadRequest("minutes must be 1 or more")
    workspace = request.query.get("workspace")
    if workspace is not None:
        services.workspaces.for_publisher(person, workspace)
    admin = services.workspaces.admin(person)
    return json_response(await asyncio.to_thread(
        services.insights.shown, count, lambda name: admin or (name != "" and may_curate(services, person, name)),
        workspace))
