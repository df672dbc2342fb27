"""Golden sets over REST: who may publish into a workspace looks after its golden questions.

A question is asked with the access that stands in it. Whoever has less does not see it: a run's answers are made of
what that access may read.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.conversations import number
from gateway.http import SERVICES, Services, json_response, person_of
from gateway.requests import GoldenBody, read_json
from gateway.workspaces import audit
from schemas.events import GoldenQuestion, Person
from weir.access import covers
from weir.errors import Forbidden, NotFound
from weir.evaluation.marking import marked
from weir.evaluation.sets import GoldenSet


def may_curate(services: Services, person: Person, workspace: str) -> bool:
    return services.workspaces.may_publish(person, services.workspaces.get(workspace))


async def list_sets(request: web.Request) -> web.Response:
    services, person = request.app[SERVICES], person_of(request)
    found = [s for name in services.golden.names() if (s := services.golden.find(name)) is not None]
    return json_response({"sets": [_head(s) for s in found if may_curate(services, person, s.workspace)]})


async def get_set(request: web.Request) -> web.Response:
    services, person = request.app[SERVICES], person_of(request)
    name = request.match_info["set"]
    newest = services.golden.find(name)
    if newest is None or not may_curate(services, person, newest.workspace):
        raise NotFound("there is no such golden set for you")
    found = services.golden.get(name, number(request, "version", None))
    return json_response(_head(found) | {"versions": newest.version,
                                         "questions": [_shown(person, q) for q in found.questions]})


async def add(request: web.Request) -> web.Response:
    """One's own turn becomes a question: the set's next version."""
    services, person = request.app[SERVICES], person_of(request)
    body = await read_json(request, GoldenBody)
    await services.turns.wait(request.match_info["turn"])  # it may have ended a moment ago
    turn = await services.asking.turn(person, request.match_info["turn"])
    if not may_curate(services, person, turn.workspace):
        raise Forbidden(f"only those who may publish into {turn.workspace!r} add to its golden sets; your feedback "
                        "reaches them without that")
    question = marked(turn, person, body.good, documents=body.documents, answer=body.answer.strip(),
                      unanswerable=body.unanswerable)
    made = await services.golden.change(body.set or turn.workspace, turn.workspace, person.subject, put=[question],
                                        reason=body.reason or f"marked as {'good' if body.good else 'bad'}")
    await audit(services.producer, services.settings, services.clock, person, "golden", made.name, {
        "version": made.version, "question": question.id, "good": body.good})
    return json_response({"set": made.name, "version": made.version, "question": question.id}, status=201)


def _head(found: GoldenSet) -> dict[str, Any]:
    return {"set": found.name, "version": found.version, "workspace": found.workspace,
            "count": len(found.questions), "by": found.by, "at": found.at, "reason": found.reason}


def _shown(person: Person, question: GoldenQuestion) -> GoldenQuestion | dict[str, Any]:
    return question if covers(person, question.groups, question.clearance) else {"withheld": True}
