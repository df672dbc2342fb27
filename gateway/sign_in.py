"""Signing in on the page: by name and access code with the local issuer, or at an OpenID Connect provider.

    GET  /v1/session            how people sign in here, and who is signed in
    POST /v1/session            {user, code} or {token} -> cookie
    GET  /v1/sign-in            -> the provider, with PKCE; state, nonce and verifier wait in a cookie
    GET  /v1/sign-in/callback   <- the provider, with a code -> cookie
"""

from __future__ import annotations

import asyncio
import hmac
import secrets

import orjson
from aiohttp import web

from gateway.auth import COOKIE, drop_cookie, identify, set_cookie
from gateway.http import SERVICES, json_response
from gateway.requests import SessionBody, read_json
from weir import identity
from weir.errors import BadRequest, Forbidden, NotSignedIn, Unavailable, WeirError
from weir.identity import Identity
from weir.oidc import Provider
from weir.settings import Settings

PENDING = "weir_sign_in"
PENDING_AGE = 600
"""Seconds that a person may take at the provider."""
PROVIDER: web.AppKey[Provider] = web.AppKey("provider", Provider)


async def get_session(request: web.Request) -> web.Response:
    settings = request.app[SERVICES].settings
    try:
        known: Identity | None = await identify(request)
    except WeirError:
        known = None
    return json_response({**_how(settings), "person": _shown(known) if known else None})


async def post_session(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    if request.headers.get("Origin") is not None:
        services.origins.check(request)
    services.limits.sign_in(request.remote or "")
    body = await read_json(request, SessionBody)
    if body.token:
        token = body.token.strip()
    elif body.user and body.code:
        token = await asyncio.to_thread(identity.sign_in, services.settings, body.user, body.code,
                                        clock=services.clock)
    else:
        raise BadRequest("send {user, code} or {token}")
    known = await services.verifier.verify(token)
    response = json_response({**_how(services.settings), "person": _shown(known)})
    set_cookie(request, response, token)
    return response


async def delete_session(request: web.Request) -> web.Response:
    if request.cookies.get(COOKIE):
        request.app[SERVICES].origins.check(request)
    response = web.Response(status=204)
    drop_cookie(response)
    return response


async def begin(request: web.Request) -> web.Response:
    """Sends the browser to the provider."""
    provider = _provider(request)
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    url = await provider.authorize_url(redirect=_redirect(request), state=state, nonce=nonce, verifier=verifier)
    response = web.Response(status=302, headers={"Location": url})
    # Lax, not Strict: the browser comes back from the provider's site.
    response.set_cookie(PENDING, orjson.dumps([state, nonce, verifier]).hex(), max_age=PENDING_AGE, httponly=True,
                        samesite="Lax", path="/v1/sign-in", secure=request.app[SERVICES].origins.secure)
    return response


async def finish(request: web.Request) -> web.Response:
    """The browser comes back with a code."""
    provider = _provider(request)
    try:
        state, nonce, verifier = orjson.loads(bytes.fromhex(request.cookies.get(PENDING, "")))
    except ValueError:
        raise NotSignedIn("this sign-in has expired or was begun in another browser: begin again") from None
    if not hmac.compare_digest(str(state), request.query.get("state", "")):
        raise Forbidden("this sign-in was not begun here: begin again")
    if "code" not in request.query:
        raise NotSignedIn(f"the provider says: {request.query.get('error', 'no code')[:200]}; begin again")
    token = await provider.exchange(code=request.query["code"], redirect=_redirect(request), verifier=verifier)
    known = await request.app[SERVICES].verifier.verify(token)
    if not hmac.compare_digest(str(known.claims.get("nonce", "")), str(nonce)):
        raise NotSignedIn("the token belongs to another sign-in: begin again")
    response = web.Response(status=302, headers={"Location": "/"})
    set_cookie(request, response, token)
    response.del_cookie(PENDING, path="/v1/sign-in")
    return response


def _provider(request: web.Request) -> Provider:
    if request.app[SERVICES].settings.issuer == "local":
        raise BadRequest("people of this Weir sign in by name on the page")
    return request.app[PROVIDER]


def _redirect(request: web.Request) -> str:
    return request.app[SERVICES].settings.gateway_url.rstrip("/") + "/v1/sign-in/callback"


def _how(settings: Settings) -> dict[str, object]:
    if settings.issuer != "local":
        return {"mode": "oidc", "people": []}
    try:
        people = [{"user": p.user, "name": p.name} for p in identity.people(settings).values()]
    except Unavailable:
        people = []
    return {"mode": "local", "people": people}


def _shown(known: Identity) -> dict[str, object]:
    person = known.person
    return {"subject": person.subject, "name": person.name or person.subject, "groups": person.groups,
            "clearance": person.clearance, "expires_at": int(known.expires_at * 1000)}


async def me(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    known = await identify(request)
    return json_response({**_shown(known), "admin": services.workspaces.admin(known.person)})
