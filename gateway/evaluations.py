"""Runs of golden sets over REST, and as pictures. What was asked with more access than the reader has is withheld."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from aiohttp import web

from gateway.conversations import number
from gateway.golden import may_curate
from gateway.http import SERVICES, Services, json_response, person_of
from schemas.events import Evaluation, Person, QuestionResult
from weir.access import covers
from weir.errors import NotFound
from weir.evaluation.gate import worst_first
from weir.evaluation.picture import picture

PAGE, MOST = 50, 200
WITHHELD = "(withheld)"


async def list_runs(request: web.Request) -> web.Response:
    services, person = request.app[SERVICES], person_of(request)
    limit = number(request, "limit", PAGE, MOST)
    found = [e for e in await services.evaluations.latest(limit=MOST) if may_curate(services, person, e.workspace)]
    return json_response({"evaluations": [_head(e) for e in found[:limit]]})


async def get_run(request: web.Request) -> web.Response:
    """The run, its questions worst first, each with how it went in the run that this one was compared with."""
    run, live = await _pair(request)
    before = {q.id: q for q in live.questions} if live else {}
    questions = [asdict(q) | {"live": before.get(q.id)}
                 for q in worst_first(run.questions, live.questions if live else [])]
    shown = asdict(replace(run, questions=[])) | {"questions": questions}
    return json_response(shown | {"live_run": replace(live, questions=[]) if live else None})


async def get_picture(request: web.Request) -> web.Response:
    run, live = await _pair(request)
    return web.Response(text=picture(run, live), content_type="image/svg+xml", headers={
        "Content-Disposition": f'inline; filename="evaluation-{run.run[:8]}.svg"'})


async def _pair(request: web.Request) -> tuple[Evaluation, Evaluation | None]:
    """The run and the one that it was compared with, as the person may see them."""
    services, person = request.app[SERVICES], person_of(request)
    run = await _seen(services, person, request.match_info["run"])
    live = await services.evaluations.get(run.against) if run.against else None
    return withheld(run, person), withheld(live, person) if live else None


async def _seen(services: Services, person: Person, name: str) -> Evaluation:
    """Raises: NotFound: there is no such run for this person."""
    found = await services.evaluations.get(name)
    if found is None or not may_curate(services, person, found.workspace):
        raise NotFound("there is no such run for you")
    return found


def withheld(run: Evaluation, person: Person) -> Evaluation:
    """The run without the words of questions that were asked with access which the person does not have."""
    hidden = [q.id for q in run.questions if not covers(person, q.groups, q.clearance)]
    if not hidden:
        return run
    questions = [_blank(q, n) if q.id in hidden else q for n, q in enumerate(run.questions)]
    verdict = run.verdict
    if verdict is not None:
        verdict = replace(verdict, reasons=[_without(r, hidden) for r in verdict.reasons])
    return replace(run, questions=questions, verdict=verdict)


def _blank(question: QuestionResult, place: int) -> QuestionResult:
    """The figures of a question, under the name of its place in the set, which is the same in both runs."""
    return QuestionResult(id=f"withheld-{place}", question=WITHHELD, kind="", groups=[], clearance=0,
                          outcome=question.outcome, figures=question.figures)


def _without(text: str, hidden: list[str]) -> str:
    for name in sorted(hidden, key=len, reverse=True):
        text = text.replace(name, WITHHELD)
    return text


def _head(run: Evaluation) -> dict[str, Any]:
    return {name: getattr(run, name) for name in (
        "run", "set", "set_version", "workspace", "index", "index_version", "live", "embedding", "model", "by",
        "ended_at", "against", "figures")} | {"passed": run.verdict.passed if run.verdict else None}
