"""What the caches save and why not more, over REST: for those who look after a workspace."""

from __future__ import annotations

from aiohttp import web

from gateway.conversations import number
from gateway.golden import may_curate
from gateway.http import SERVICES, json_response, person_of
from weir.caches import EVERYWHERE
from weir.caches.totals import KEPT


async def get_figures(request: web.Request) -> web.Response:
    """The totals of the last `hours`, 24 where nothing is said, of the workspaces that the person looks after; under
    the name "" those of what belongs to no workspace."""
    services, person = request.app[SERVICES], person_of(request)
    hours = number(request, "hours", 24, KEPT)
    mine = {w for w in services.caches.workspaces() if w != EVERYWHERE and may_curate(services, person, w)}
    reuse = {w: services.workspaces.get(w).reuse for w in mine}
    shown = services.caches.of(hours, {*mine, EVERYWHERE} if mine else ())
    return json_response({
        "hours": hours, "until": services.clock(),
        "caches": [{"cache": t.cache, "workspace": t.workspace, "lookups": dict(t.lookups),
                    "evictions": dict(t.evictions), "saved": t.saved, "hours": sorted(t.hours.items()),
                    "reuse": reuse.get(t.workspace)} for t in shown]})
