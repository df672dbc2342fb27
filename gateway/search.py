"""Passages without an answer: the same path as a question, with the last steps left out."""

from __future__ import annotations

from aiohttp import web

from gateway.answers import gather
from gateway.http import SERVICES, json_response, person_of
from gateway.requests import AskBody, SearchBody, read_json


async def search(request: web.Request) -> web.Response:
    body = await read_json(request, SearchBody)
    services = request.app[SERVICES]
    ask = AskBody(workspace=body.workspace, question=body.question, limit=body.limit, filters=body.filters,
                  explain=body.explain, recipe=body.recipe, without=body.without, anew=body.anew,
                  search_only=True)
    following, done = await gather(lambda send: services.asking.ask(person_of(request), ask, send),
                                   services.settings.answer_timeout)
    return json_response({
        "answer": following.answer, "sources": done["sources"], "notices": done["notices"],
        "filters": done["filters"], "timings": done["timings"], "explain": done["explain"], "index": done["index"],
        "index_version": done["index_version"]})
