"""Which pages may use a person's cookie: those that this gateway serves, under the addresses it is known by.

A browser sends the cookie along whatever page makes it; programs with a token in hand send no `Origin` and are not
asked for one.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from weir.errors import Forbidden
from weir.settings import Port, Settings

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Origins:
    def __init__(self, settings: Settings) -> None:
        port = settings.port(Port.GATEWAY)
        own = {_origin(settings.gateway_url)}
        if not settings.public_url:
            own |= {f"http://{host}:{port}" for host in (settings.host, *LOOPBACK)}
        self.allowed = frozenset(own)
        self.secure = settings.gateway_url.startswith("https:")
        """Whether people reach the gateway over TLS, so that cookies may insist on it."""

    def check(self, request: web.Request) -> None:
        """For a request that changes something, or opens a socket, on the strength of a cookie.

        Raises:
            Forbidden: it does not come from a page of this gateway.
        """
        origin = request.headers.get("Origin")
        if origin is None and request.method in SAFE and not _upgrades(request):
            return
        if origin not in self.allowed:
            raise Forbidden(f"the page {origin or 'that sent this'} may not act for you here; pages are served at "
                            f"{', '.join(sorted(self.allowed))} (WEIR_PUBLIC_URL)")

    def check_socket(self, request: web.Request) -> None:
        """Raises: Forbidden: a foreign page opens a socket, with a token of its own or without."""
        if request.headers.get("Origin") is not None:
            self.check(request)


def _upgrades(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
