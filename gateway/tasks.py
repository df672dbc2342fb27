"""Tasks: asking for one, looking at it, steering it. A task is its owner's; administrators see all."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from aiohttp import web

from gateway.conversations import number
from gateway.http import SERVICES, Services, json_response, person_of
from gateway.requests import read_json
from gateway.task_requests import (
    BudgetBody,
    CancelTaskBody,
    ForkBody,
    LimitsBody,
    MessageBody,
    RouteBody,
    TaskBody,
)
from gateway.task_wire import shown_decision, shown_steps, shown_task
from gateway.workspaces import audit
from schemas.events import AgentReply, BudgetAdded, CancelRequested, MessageSent, ModelReplied, Place, VerdictGiven
from weir.agents.draft import HISTORY
from weir.agents.planning.router import route as routed
from weir.errors import BadRequest, Conflict, NotFound
from weir.views.steps import Transcript, fold
from weir.views.tasks import Task
from weir.views.usage import By

PAGE = 50
FORK_DAYS = 30
"""A fork may live 60 days, and what it goes on from is kept 90."""
DAY = 24 * 3600 * 1000
SHOWN_INLINE = ("text/plain", "text/markdown", "text/csv", "application/json")


async def begin(request: web.Request) -> web.Response:
    services, person = request.app[SERVICES], person_of(request)
    body = await read_json(request, TaskBody)
    workspace = request.match_info["workspace"]
    if not body.goal.strip():
        raise BadRequest("say what is to be done: `goal`")
    tasking = services.tasking
    limits = (body.limits or LimitsBody()).within(tasking.limits())
    task, begun = await tasking.begin(person, workspace, body.goal, body.request_id, limits)
    return json_response({"task": task, "begun": begun}, status=202, headers={"Location": f"/v1/tasks/{task}"})


async def list_tasks(request: web.Request) -> web.Response:
    services, person = request.app[SERVICES], person_of(request)
    everybody = request.query.get("all") == "1" and services.workspaces.admin(person)
    status = [s for s in request.query.get("status", "").split(",") if s]
    found = await services.tasks.list(None if everybody else person.subject, number(request, "limit", PAGE, 200),
                                      number(request, "before", None), status)
    return json_response({"tasks": [shown_task(t) for t in found]})


async def get_task(request: web.Request) -> web.Response:
    services, person = request.app[SERVICES], person_of(request)
    task = await services.tasking.own(person, request.match_info["task"])
    transcript = await _transcript(services, task)
    waits = [d for d in await services.decisions.many(shown_task(task)["waits_for"]) if d is not None]
    approvals = task.request.approvals if task.request else None
    budget = (approvals is not None and approvals.approvers in person.groups
              and (approvals.by_owner or task.owner.subject != person.subject))
    return json_response({
        **shown_task(task), **shown_steps(transcript), "may_add_budget": budget,
        "proposals": [shown_decision(d, person) for d in waits]})


async def get_event(request: web.Request) -> web.Response:
    """One event whole: what was sent to the language model and what it said."""
    services, person = request.app[SERVICES], person_of(request)
    task = await services.tasking.own(person, request.match_info["task"])
    offset = request.match_info["offset"]
    found = await services.tasks.event(task.task, int(offset)) if offset.isdecimal() and len(offset) < 16 else None
    if found is None or not isinstance(found.event.body, ModelReplied):
        raise NotFound("this task has no reply of the planner there; `steps` names each one's `offset`")
    body = found.event.body
    return json_response({"offset": found.offset, "at": found.event.at, "prompt": body.prompt, "reply": body.reply})


async def get_artefact(request: web.Request) -> web.Response:
    """A file that the task made: always as a download, whatever it says it is."""
    services, person = request.app[SERVICES], person_of(request)
    task = await services.tasking.own(person, request.match_info["task"])
    name = request.match_info["name"]
    made = next((a for a in reversed(task.artefacts) if a.name == name), None)
    if made is None:
        raise NotFound(f"the task has made no {name[:200]!r}")
    data = await services.producer.blobs.get(made.blob)
    kind = made.media_type if made.media_type in SHOWN_INLINE else "application/octet-stream"
    return web.Response(body=data, content_type=kind, charset="utf-8" if kind in SHOWN_INLINE else None, headers={
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(made.name, safe='')}",
        "Content-Security-Policy": "default-src 'none'; sandbox", "Cache-Control": "private, no-store"})


async def cancel(request: web.Request) -> web.Response:
    services, person, task = await _own(request)
    body = await read_json(request, CancelTaskBody)
    reply = await services.tasking.ask(task.task, person, CancelRequested(person=person, reason=body.reason),
                                       body.request_id)
    await audit(services.producer, services.settings, services.clock, person, "cancel_task", task.task)
    return _replied(reply)


async def message(request: web.Request) -> web.Response:
    services, person, task = await _own(request)
    body = await read_json(request, MessageBody)
    reply = await services.tasking.ask(task.task, person, MessageSent(person=person, text=body.text), body.request_id)
    return _replied(reply)


async def budget(request: web.Request) -> web.Response:
    """More budget: by somebody of the group that decides about the task. The engine checks that."""
    services, person = request.app[SERVICES], person_of(request)
    body = await read_json(request, BudgetBody)
    added, name = body.amounts(), request.match_info["task"]
    task = await services.tasks.get(name)
    if task is None or task.request is None or task.request.approvals.approvers not in person.groups:
        await services.tasking.own(person, name)
    reply = await services.tasking.ask(name, person, BudgetAdded(person=person, added=added), body.request_id)
    await audit(services.producer, services.settings, services.clock, person, "add_budget", name)
    return _replied(reply)


async def fork(request: web.Request) -> web.Response:
    """A new task that goes on after a step of this one, with today's policy and tools."""
    services, person, task = await _own(request)
    body = await read_json(request, ForkBody)
    transcript = await _transcript(services, task)
    history = _history(transcript, body.step)
    if task.requested_at < services.clock() - FORK_DAYS * DAY:
        raise Conflict(f"the task is older than {FORK_DAYS} days: what it went through may be gone before a fork of it "
                       "ends. Ask for a new one")
    limits = (body.limits or LimitsBody()).within(services.tasking.limits())
    made, begun = await services.tasking.begin(person, task.workspace, body.goal or task.goal, body.request_id, limits,
                                               forked_from=task.task, history=history)
    return json_response({"task": made, "begun": begun}, status=202, headers={"Location": f"/v1/tasks/{made}"})


async def tools(request: web.Request) -> web.Response:
    """What a new task may use."""
    return json_response({"tools": [
        {"name": t.name, "description": t.description, "risk": t.risk, "source": t.source}
        for t in request.app[SERVICES].tasking.offered()]})


async def usage(request: web.Request) -> web.Response:
    """What was used, by task, person, tool, kind, model or step; one's own, or everybody's for administrators."""
    services, person = request.app[SERVICES], person_of(request)
    by = request.query.get("by", "task")
    names: dict[str, By] = {"task": "task", "person": "subject", "tool": "tool", "kind": "kind", "model": "model",
                            "step": "step"}
    if by not in names:
        raise BadRequest(f"`by` is one of {', '.join(names)}")
    everybody = request.query.get("all") == "1" and services.workspaces.admin(person)
    task = request.query.get("task")
    if task is not None:
        await services.tasking.own(person, task)
        everybody = True
    totals = await services.usage.totals(
        names[by], subject=None if everybody else person.subject, task=task,
        since=number(request, "since", 0), until=number(request, "until", None))
    return json_response({"by": by, "usage": [{by: t.pop(names[by]), **t} for t in totals]})


async def route(request: web.Request) -> web.Response:
    """Whether a text is a question or a task, and why."""
    body = await read_json(request, RouteBody)
    found = routed(body.text)
    return json_response({"kind": found.kind, "why": found.why})


async def _own(request: web.Request) -> tuple[Services, Any, Task]:
    services, person = request.app[SERVICES], person_of(request)
    return services, person, await services.tasking.own(person, request.match_info["task"])


async def _transcript(services: Services, task: Task) -> Transcript:
    transcript = await services.tasks.events(task.task)
    decisions = {d.approval: d for d in await services.decisions.of_task(task.task)}
    named = {h.event.body.approval for h in transcript if isinstance(h.event.body, VerdictGiven)}
    # A list is a second behind; what a verdict was about is read as it stands now.
    decisions |= {d.approval: d for d in await services.decisions.many(sorted(named)) if d is not None}
    calls = task.state.calls if task.state else []
    oldest_first = sorted(decisions.values(), key=lambda d: d.created_at)
    return await asyncio.to_thread(fold, transcript, oldest_first, calls, task.step)


def _history(transcript: Transcript, step: int) -> list[Place]:
    """What the planner of a fork reads: the records up to a step, the latest where there are too many."""
    if step > len(transcript.steps):
        raise BadRequest(f"the task has {len(transcript.steps)} steps so far")
    before = transcript.steps[:step]
    if any(not s.over for s in before):
        raise Conflict(f"step {step} has not ended: wait for it, or fork from an earlier one")
    places = sorted((p for s in before for p in s.places), key=lambda p: p.offset)
    return places[-HISTORY:]


def _replied(reply: AgentReply) -> web.Response:
    return json_response({"accepted": reply.accepted, "message": reply.message, "at": reply.at})
