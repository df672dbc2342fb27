"""Who makes a request: a bearer token, or the page's cookie with a check of where the request comes from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.http import IDENTITY, SERVICES
from weir.errors import NotSignedIn
from weir.identity import Identity

COOKIE = "weir_session"
COOKIE_AGE = 12 * 3600
"""Seconds; the token in it has its own end."""
OPEN = frozenset({"/healthz", "/readyz", "/v1/session", "/v1/openapi.json", "/v1/sign-in", "/v1/sign-in/callback",
                  "/v1/chat"})
"""Under these somebody unknown is answered too; `/v1/chat` checks inside."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Puts the identity of whoever asks into the request, where the path needs one."""
    if request.path.startswith("/v1/") and request.path not in OPEN:
        request[IDENTITY] = await identify(request)
    return await handler(request)


async def identify(request: web.Request) -> Identity:
    """
    Raises:
        NotSignedIn: there is no token, or a wrong one.
        TokenExpired: it is over.
        Forbidden: the cookie came with a request of a foreign page.
    """
    services = request.app[SERVICES]
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if token:
        if scheme.lower() != "bearer":
            raise NotSignedIn("send `Authorization: Bearer <token>`")
        return await services.verifier.verify(token.strip())
    if token := request.cookies.get(COOKIE, ""):
        services.origins.check(request)
        return await services.verifier.verify(token)
    raise NotSignedIn("sign in on the page, or send `Authorization: Bearer <token>` (`weir token --user NAME`)")


def set_cookie(request: web.Request, response: web.StreamResponse, token: str) -> None:
    response.set_cookie(COOKIE, token, max_age=COOKIE_AGE, httponly=True, samesite="Strict", path="/",
                        secure=request.app[SERVICES].origins.secure)


def drop_cookie(response: web.StreamResponse) -> None:
    response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
