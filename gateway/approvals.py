"""The approval queue over REST. The engine decides whether a verdict counts; here it is known who speaks.

Whoever may neither decide about a proposal nor asked for its task does not learn that there is one.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from gateway.conversations import number
from gateway.http import SERVICES, Services, json_response, person_of
from gateway.requests import read_json
from gateway.task_requests import ManyVerdict, ManyVerdictsBody, VerdictBody
from gateway.task_wire import shown_decision
from gateway.tasking import NotKnownYet, Refused, Twice
from gateway.wire import error_body
from gateway.workspaces import audit
from schemas.events import Choice, Decision, DecisionKind, Person, VerdictGiven
from weir.agents.arguments import checked
from weir.agents.canonical import canonical
from weir.errors import BadRequest, Conflict, NotFound, WeirError
from weir.views.decisions import may_see
from weir.views.tasks import Task

PAGE = 100


async def list_approvals(request: web.Request) -> web.Response:
    """`status=pending` (what you may decide), `decided` (the history), or `mine` (what your own tasks wait for)."""
    services, person = request.app[SERVICES], person_of(request)
    limit, before = number(request, "limit", PAGE, 200), number(request, "before", None)
    match request.query.get("status", "pending"):
        case "pending":
            found = await services.decisions.to_decide(person, limit, before)
        case "decided":
            found = await services.decisions.history(person, limit, before, admin=services.workspaces.admin(person))
        case "mine":
            found = await services.decisions.of_owner(person.subject, limit)
        case other:
            raise BadRequest(f"status is `pending`, `decided` or `mine`, not {other[:40]!r}")
    return json_response({"approvals": [shown_decision(d, person) for d in found]})


async def get_approval(request: web.Request) -> web.Response:
    services, person = request.app[SERVICES], person_of(request)
    return json_response(shown_decision(await _seen(services, person, request.match_info["approval"]), person))


async def give_verdict(request: web.Request) -> web.Response:
    services, person = request.app[SERVICES], person_of(request)
    body = await read_json(request, VerdictBody)
    decision = await _seen(services, person, request.match_info["approval"])
    arguments = None
    if body.arguments is not None:
        arguments = await _edited(services, decision, body.choice, body.arguments)
    return json_response(await _give(services, person, decision, body.choice, body.args_hash, body.reason, arguments,
                                     body.request_id))


async def give_verdicts(request: web.Request) -> web.Response:
    """One choice for several proposals of one tool; each is decided by itself, and the reply says how each went."""
    services, person = request.app[SERVICES], person_of(request)
    body = await read_json(request, ManyVerdictsBody)
    if len({v.approval for v in body.verdicts}) != len(body.verdicts):
        raise BadRequest("a proposal is named twice")
    decisions = [await _seen(services, person, v.approval) for v in body.verdicts]
    if len({(d.tool, d.kind) for d in decisions}) > 1:
        names = ", ".join(sorted({d.tool or d.kind.value for d in decisions}))
        raise Conflict(f"these are proposals of different tools ({names}): decide about each tool by itself")
    if decisions[0].kind is not DecisionKind.CALL:
        raise Conflict("only calls are decided about together; answer each question about an outcome, an undo or a "
                       "budget by itself")
    results = await asyncio.gather(*(
        _one_of_many(services, person, d, v, body) for d, v in zip(decisions, body.verdicts, strict=True)))
    return json_response({"verdicts": results})


async def _one_of_many(services: Services, person: Person, decision: Decision, verdict: ManyVerdict,
                       body: ManyVerdictsBody) -> dict[str, Any]:
    try:
        given = await _give(services, person, decision, body.choice, verdict.args_hash, body.reason, None, None)
        return {"approval": decision.approval, **given, "error": None}
    except WeirError as e:
        return {"approval": decision.approval, "accepted": False, "error": error_body(e)}


async def _give(services: Services, person: Person, decision: Decision, choice: Choice, args_hash: str, reason: str,
                arguments: str | None, request: str | None) -> dict[str, Any]:
    """Puts the verdict on the task's log and, whatever the engine replies, into the audit."""
    verdict = VerdictGiven(approval=decision.approval, args_hash=args_hash, choice=choice, person=person,
                           reason=reason, arguments=arguments)
    outcome = "accepted"
    try:
        reply = await services.tasking.ask(decision.task, person, verdict, request)
    except (Refused, Twice, NotKnownYet) as e:
        outcome = e.code
        raise
    except WeirError:
        outcome = "not_written"
        raise
    finally:
        await audit(services.producer, services.settings, services.clock, person, "verdict", decision.approval, {
            "task": decision.task, "tool": decision.tool, "choice": choice.value, "args_hash": args_hash,
            "changed": arguments is not None, "reason": reason, "outcome": outcome})
    return {"accepted": reply.accepted, "message": reply.message, "at": reply.at}


async def _seen(services: Services, person: Person, approval: str) -> Decision:
    """Raises: NotFound: there is no such proposal for this person."""
    found = await services.decisions.wait(approval)
    if found is None or not may_see(person, found, admin=services.workspaces.admin(person)):
        raise NotFound("there is no such proposal for you")
    return found


async def _edited(services: Services, decision: Decision, choice: Choice, arguments: dict[str, Any]) -> str:
    """Raises: BadRequest: the arguments do not fit the tool, or these arguments cannot be changed."""
    if decision.kind is not DecisionKind.CALL or choice is not Choice.APPROVE:
        raise BadRequest("arguments can be changed where a call is proposed, with the choice `approve`; the changed "
                         "call is a new proposal, for somebody else to decide")
    task = await services.tasks.get(decision.task)
    schema = _schema(services, task, decision.tool)
    text = canonical(arguments)
    if schema is not None:
        checked(schema, text)
    if text == decision.arguments:
        raise BadRequest("the arguments are the same: approve the proposal as it is")
    return text


def _schema(services: Services, task: Task | None, tool: str) -> str | None:
    policy = next((t for t in task.request.tools if t.name == tool), None) if task and task.request else None
    found = services.tasking.tool(tool, policy.schema) if policy else None
    return found.schema if found else None

