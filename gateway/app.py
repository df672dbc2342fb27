"""The gateway as an aiohttp application: its services, its middlewares, its routes."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from gateway import (
    answers,
    approvals,
    auth,
    caches,
    chat_completions,
    conversations,
    documents,
    evaluations,
    golden,
    health,
    insights,
    openapi,
    pages,
    search,
    sessions,
    sign_in,
    tasks,
    workspaces,
)
from gateway.asking import Asking
from gateway.catch_up import CatchUp
from gateway.http import SERVICES, Services, error_response
from gateway.limits import Limits
from gateway.live import Live
from gateway.metrics import REFUSED
from gateway.open_answers import OpenAnswers
from gateway.origins import Origins
from gateway.tasking import Tasking
from gateway.withhold import SourceAccess
from weir import stores, telemetry
from weir.caches.totals import Totals
from weir.clock import Clock
from weir.errors import BadRequest, NotFound, WeirError
from weir.evaluation.sets import GoldenSets
from weir.identity import Verifier
from weir.index.indexes import Indexes
from weir.kafka.producer import Producer
from weir.oidc import Provider
from weir.settings import Settings
from weir.views.decisions import DecisionViews
from weir.views.documents import DocumentViews
from weir.views.evaluations import EvaluationViews
from weir.views.tasks import TaskViews
from weir.views.turns import TurnViews
from weir.views.usage import UsageViews

log = telemetry.logger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def services(settings: Settings, producer: Producer, clock: Clock) -> AsyncIterator[Services]:
    """Everything a gateway works with, started; closed in the other order.

    Raises:
        Unavailable: Kafka does not answer.
        SettingsError: the settings name no usable issuer.
    """
    verifier = Verifier(settings, clock=clock)
    limits = Limits(settings)
    es = stores.elasticsearch(settings)
    documents_view, turns = DocumentViews(es, settings), TurnViews(es, settings)
    sources = SourceAccess(documents_view)
    indexes, open_workspaces = Indexes(settings), workspaces.Workspaces(settings, producer, clock)
    open_answers = OpenAnswers(settings, limits, CatchUp(settings, clock))
    asking = Asking(settings, producer, open_answers, turns, sources, open_workspaces, clock)
    task_views = TaskViews(es, settings)
    decisions = DecisionViews(es, settings)
    live = Live(settings, task_views, decisions)
    figures = insights.Insights(settings, clock)
    tasking = Tasking(settings, producer, live, task_views, open_workspaces, limits, clock)
    golden_sets, totals = GoldenSets(settings, producer, clock), Totals(settings, clock)
    started: list[Callable[[], Awaitable[None]]] = [es.close, verifier.close]
    try:
        for part in (open_answers, indexes, open_workspaces, documents_view, live, tasking, golden_sets, figures,
                     totals):
            await part.start()
            started.append(part.close)
        yield Services(
            settings=settings, clock=clock, producer=producer, verifier=verifier, origins=Origins(settings),
            limits=limits, es=es, indexes=indexes, documents=documents_view, turns=turns, sources=sources,
            workspaces=open_workspaces, open_answers=open_answers, asking=asking, sessions=sessions.Sessions(),
            tasks=task_views, decisions=decisions, usage=UsageViews(es, settings), live=live,
            tasking=tasking, golden=golden_sets, evaluations=EvaluationViews(es, settings), insights=figures,
            caches=totals)
    finally:
        for close in reversed(started):
            await close()


def application(built: Services) -> web.Application:
    app = web.Application(middlewares=[_errors, auth.authenticate])
    app[SERVICES] = built
    provider = Provider(built.settings, clock=built.clock)
    app[sign_in.PROVIDER] = provider
    app.on_response_prepare.append(_headers)

    async def close_provider(_: web.Application) -> None:
        await provider.close()

    app.on_cleanup.append(close_provider)
    app.add_routes(ROUTES)
    app.add_routes(pages.routes(pages.load()))
    return app


_W = "/v1/workspaces/{workspace}"
ROUTES = [
    web.get("/healthz", health.healthz),
    web.get("/readyz", health.readyz),
    web.get("/v1/openapi.json", openapi.document),
    web.get("/v1/session", sign_in.get_session),
    web.post("/v1/session", sign_in.post_session),
    web.delete("/v1/session", sign_in.delete_session),
    web.get("/v1/sign-in", sign_in.begin),
    web.get("/v1/sign-in/callback", sign_in.finish),
    web.get("/v1/me", sign_in.me),
    web.get("/v1/chat", sessions.chat),
    web.post("/v1/answers", answers.ask),
    web.get("/v1/answers/{answer}", answers.resume),
    web.post("/v1/answers/{answer}/cancel", answers.cancel),
    web.post("/v1/search", search.search),
    web.post("/v1/chat/completions", chat_completions.chat_completions),
    web.get("/v1/models", chat_completions.models),
    web.get("/v1/conversations", conversations.list_conversations),
    web.get("/v1/conversations/{conversation}", conversations.get_conversation),
    web.get("/v1/turns/{turn}", conversations.get_turn),
    web.post("/v1/turns/{turn}/feedback", conversations.give_feedback),
    web.post("/v1/turns/{turn}/golden", golden.add),
    web.get("/v1/golden", golden.list_sets),
    web.get("/v1/golden/{set}", golden.get_set),
    web.get("/v1/evaluations", evaluations.list_runs),
    web.get("/v1/evaluations/{run}", evaluations.get_run),
    web.get("/v1/evaluations/{run}/picture.svg", evaluations.get_picture),
    web.get("/v1/caches", caches.get_figures),
    web.get("/v1/workspaces", workspaces.list_workspaces),
    web.get(_W, workspaces.get_workspace),
    web.put(_W, workspaces.put_workspace),
    web.post(f"{_W}/tasks", tasks.begin),
    web.get("/v1/tasks", tasks.list_tasks),
    web.get("/v1/tasks/{task}", tasks.get_task),
    web.get("/v1/tasks/{task}/plans/{offset}", tasks.get_event),
    web.get("/v1/tasks/{task}/artefacts/{name}", tasks.get_artefact),
    web.post("/v1/tasks/{task}/cancel", tasks.cancel),
    web.post("/v1/tasks/{task}/messages", tasks.message),
    web.post("/v1/tasks/{task}/budget", tasks.budget),
    web.post("/v1/tasks/{task}/fork", tasks.fork),
    web.get("/v1/approvals", approvals.list_approvals),
    web.post("/v1/approvals/verdicts", approvals.give_verdicts),
    web.get("/v1/approvals/{approval}", approvals.get_approval),
    web.post("/v1/approvals/{approval}/verdict", approvals.give_verdict),
    web.get("/v1/tools", tasks.tools),
    web.get("/v1/usage", tasks.usage),
    web.get("/v1/insights", insights.insights),
    web.post("/v1/route", tasks.route),
    web.get(f"{_W}/documents", documents.list_documents),
    web.post(f"{_W}/documents", documents.publish),
    web.get(f"{_W}/documents/{{document}}", documents.status),
    web.delete(f"{_W}/documents/{{document}}", documents.delete),
    web.get(f"{_W}/documents/{{document}}/sections/{{section}}", documents.section),
]


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as JSON that says what to do; the id of the request in every line logged for it."""
    request_id = uuid.uuid4().hex[:16]
    with structlog.contextvars.bound_contextvars(request=request_id):
        try:
            response = await handler(request)
        except WeirError as e:
            if e.status >= 500:
                log.warning("refused", path=request.path, code=e.code, reason=e.message)
            REFUSED.labels(e.code).inc()
            response = error_response(e)
        except web.HTTPException as e:
            response = error_response(_as_ours(request, e))
        except ConnectionError:
            raise
        except Exception:
            log.exception("an error nobody expected", path=request.path)
            response = error_response(WeirError(f"something went wrong here; the log has it under {request_id}"))
        if not response.prepared:
            response.headers["Weir-Request"] = request_id
        return response


def _as_ours(request: web.Request, e: web.HTTPException) -> WeirError:
    if e.status == 404:
        return NotFound(f"there is nothing at {request.path[:200]}; docs/reference/api.md lists what there is")
    error = BadRequest(f"{request.method} {request.path[:200]}: {e.reason}")
    error.status = e.status
    return error


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in pages.HEADERS.items():
        response.headers.setdefault(name, value)
    if request.path.startswith("/v1/"):
        response.headers.setdefault("Cache-Control", "no-store")
    if request.app[SERVICES].origins.secure:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
