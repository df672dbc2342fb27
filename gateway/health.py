"""Whether the process lives, and whether it can serve."""

from __future__ import annotations

from aiohttp import web

from gateway.http import SERVICES, json_response


async def healthz(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    alive = services.open_answers.frames.alive and services.live.alive
    return json_response({"alive": alive, "sessions": services.sessions.count,
                          "open_answers": services.limits.open_answers}, status=200 if alive else 503)


async def readyz(request: web.Request) -> web.Response:
    """Ready while Kafka gives frames: without it nothing can be asked. Searches degrade elsewhere, and say so."""
    services = request.app[SERVICES]
    frames = services.open_answers.frames
    problem = frames.failure if frames.alive else "the listener on `answers` has stopped"
    return json_response({"ready": problem is None, "problem": problem}, status=200 if problem is None else 503)
