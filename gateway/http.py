"""What every HTTP handler shares: the services, the person, JSON out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web
from elasticsearch import AsyncElasticsearch

from gateway.wire import dumps, error_body
from schemas.events import Person
from weir.caches.totals import Totals
from weir.clock import Clock
from weir.errors import WeirError
from weir.evaluation.sets import GoldenSets
from weir.identity import Identity, Verifier
from weir.index.indexes import Indexes
from weir.kafka.producer import Producer
from weir.settings import Settings
from weir.views.decisions import DecisionViews
from weir.views.documents import DocumentViews
from weir.views.evaluations import EvaluationViews
from weir.views.tasks import TaskViews
from weir.views.turns import TurnViews
from weir.views.usage import UsageViews

if TYPE_CHECKING:
    from gateway.asking import Asking
    from gateway.insights import Insights
    from gateway.limits import Limits
    from gateway.live import Live
    from gateway.open_answers import OpenAnswers
    from gateway.origins import Origins
    from gateway.sessions import Sessions
    from gateway.tasking import Tasking
    from gateway.withhold import SourceAccess
    from gateway.workspaces import Workspaces


@dataclass(frozen=True, slots=True)
class Services:
    """What the handlers work with, built once at the start."""

    settings: Settings
    clock: Clock
    producer: Producer
    verifier: Verifier
    origins: Origins
    limits: Limits
    es: AsyncElasticsearch
    indexes: Indexes
    documents: DocumentViews
    turns: TurnViews
    sources: SourceAccess
    workspaces: Workspaces
    open_answers: OpenAnswers
    asking: Asking
    sessions: Sessions
    tasks: TaskViews
    decisions: DecisionViews
    usage: UsageViews
    live: Live
    tasking: Tasking
    golden: GoldenSets
    evaluations: EvaluationViews
    insights: Insights
    caches: Totals


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
IDENTITY: web.RequestKey[Identity] = web.RequestKey("identity", Identity)


def identity_of(request: web.Request) -> Identity:
    """Who makes this request; the middleware has checked it."""
    return request[IDENTITY]


def person_of(request: web.Request) -> Person:
    return identity_of(request).person


def json_response(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=dumps(body), status=status, content_type="application/json", headers=headers)


def error_response(error: WeirError) -> web.Response:
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="weir"' + (
            ', error="invalid_token"' if error.code == "token_expired" else "")
    return json_response({"error": error_body(error)}, status=error.status, headers=headers)
