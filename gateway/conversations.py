"""A person's past: conversations, turns, and what they thought of them. Nobody sees anybody else's."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.asking import own_conversation
from gateway.http import SERVICES, json_response, person_of
from gateway.requests import FeedbackBody, read_json
from schemas import topics
from schemas.events import Feedback, Turn, TurnOutcome
from weir.errors import BadRequest, NotFound

PAGE = 50


async def list_conversations(request: web.Request) -> web.Response:
    services, person = request.app[SERVICES], person_of(request)
    found = await services.turns.conversations(person.subject, number(request, "limit", PAGE, 200),
                                               number(request, "before", None))
    return json_response({"conversations": found})


async def get_conversation(request: web.Request) -> web.Response:
    services, person = request.app[SERVICES], person_of(request)
    conversation = request.match_info["conversation"]
    if own_conversation(person.subject, conversation, "") != conversation:
        raise NotFound("you have no such conversation")
    turns = await services.turns.conversation(conversation, person.subject)
    if not turns:
        raise NotFound("you have no such conversation")
    shown = await services.sources.turns(person, turns)
    return json_response({"conversation": conversation, "turns": [_shown(t) for t in shown]})


async def get_turn(request: web.Request) -> web.Response:
    turn = await request.app[SERVICES].asking.turn(person_of(request), request.match_info["turn"])
    return json_response(_shown(turn))


async def give_feedback(request: web.Request) -> web.Response:
    services, person = request.app[SERVICES], person_of(request)
    body = await read_json(request, FeedbackBody)
    turn = await services.turns.wait(request.match_info["turn"])
    if turn is None or turn.person.subject != person.subject:
        raise NotFound("you have no such turn")
    event = Feedback(subject=person.subject, turn=turn.turn, workspace=turn.workspace, good=body.good,
                     at=services.clock(), comment=body.comment)
    await services.producer.send(topics.FEEDBACK.named(services.settings.prefix), person.subject, event)
    return json_response({"turn": turn.turn}, status=202)


def _shown(turn: Turn) -> dict[str, Any]:
    shown = {name: getattr(turn, name) for name in (
        "turn", "conversation", "workspace", "question", "outcome", "text", "sources", "citations", "asked_at",
        "finished_at", "follows", "notices", "model", "index", "index_version", "tokens_in", "tokens_out", "cost",
        "timings", "earlier")}
    failed = turn.outcome is TurnOutcome.FAILED
    return shown | {"failed": {"code": turn.code, "message": turn.message} if failed else None}


def number(request: web.Request, name: str, default: Any, most: int | None = None) -> Any:
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isdecimal() or len(text) > 15:
        raise BadRequest(f"{name} must be a whole number")
    return min(int(text), most) if most else int(text)
