"""http_get and http_request: HTTP to hosts that are on the list, and nowhere else.

http_get        {"url": str, "headers": {name: str} = {}}                                                 reads
http_request    {"method": "POST"|"PUT"|"PATCH"|"DELETE", "url": str, "headers": {name: str} = {},
                 "body": str?, "json": any?}                                                       irreversible
Content:        JSON {"status": int, "media_type", "location": str?, "body": str}

A host's name is resolved once, each of its addresses is checked, and the connection goes to one of those: no second
answer of a name server counts. Redirects are not followed. http_request sends the idempotency key.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from consumers.tools.tool import Call, Returned, Tool, ToolFailed, arguments
from schemas.events import Risk
from weir.agents.canonical import canonical
from weir.errors import Unavailable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Allowed = Callable[[Address], bool]

MOST_BYTES = 1 << 20
CONNECT_SECONDS = 10.0
OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect",
                  "idempotency-key", "proxy-authorization", "proxy-connection"})
"""Headers that a call may not set."""
_URL = {"type": "string", "maxLength": 4000, "pattern": "^https?://", "description": "Its host must be on the list."}
_HEADERS = {"type": "object", "maxProperties": 30, "default": {}, "propertyNames": {"pattern": "^[A-Za-z0-9-]{1,60}$"},
            "additionalProperties": {"type": "string", "maxLength": 2000, "pattern": r"^[^\r\n\x00]*$"}}


def is_public(address: Address) -> bool:
    """Whether an address belongs to the open internet; those that carry another address inside are judged by it."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


class Hosts:
    """The list of hosts: `api.example.com`, `*.example.com`, `host:port`. Without a port the scheme's own one."""

    def __init__(self, text: str) -> None:
        self._hosts = [host.strip().lower() for host in text.split(",") if host.strip()]

    def check(self, text: str) -> URL:
        """
        Raises:
            ToolFailed: the address is not on the list, or is none.
        """
        try:
            url = URL(text)
            host, port = (url.host or "").rstrip(".").lower(), url.port
        except ValueError as e:
            raise ToolFailed(f"{text!r} is no address: {e}.") from e
        if url.scheme not in ("http", "https") or not host or url.user is not None or url.password is not None:
            raise ToolFailed(f"{text!r} cannot be called: give http or https, a host, and no user in it.")
        if not any(self._fits(entry, host, port, url.is_default_port()) for entry in self._hosts):
            raise ToolFailed(f"{host}:{port} may not be called; these may: {', '.join(self._hosts)}.")
        return url

    @staticmethod
    def _fits(entry: str, host: str, port: int | None, default: bool) -> bool:
        name, colon, number = entry.rpartition(":") if not entry.endswith("]") else (entry, "", "")
        if not colon or not number.isdigit():
            name, number = entry, ""
        if (number != str(port)) if number else not default:
            return False
        name = name.strip("[]")
        return host.endswith(name[1:]) and len(host) > len(name[1:]) if name.startswith("*.") else host == name


class Checked(AbstractResolver):
    """Resolves a name and returns addresses only if every one of them is allowed."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
                      ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        addresses = [(kind, str(place[0])) for kind, _, _, _, place in found]
        for _, address in addresses:
            check_address(host, address, self._allowed)
        return [ResolveResult(hostname=host, host=address, port=port, family=kind, proto=socket.IPPROTO_TCP,
                              flags=socket.AI_NUMERICHOST) for kind, address in addresses]

    async def close(self) -> None:
        """There is nothing to give back."""


def check_address(host: str, address: str, allowed: Allowed) -> None:
    """
    Raises:
        ToolFailed: the address is inside, not on the open internet.
    """
    if not allowed(ipaddress.ip_address(address.partition("%")[0])):
        raise ToolFailed(f"{host} has the address {address}, which is not on the open internet: it is not called.")


class Http(Tool):
    """What the two have in common.

    Args:
        hosts: WEIR_HTTP_HOSTS.
        allowed: which addresses may be connected to.
    """

    timeout = 30.0

    def __init__(self, hosts: str, allowed: Allowed = is_public) -> None:
        self._hosts, self._allowed = Hosts(hosts), allowed

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(resolver=Checked(self._allowed), use_dns_cache=False, force_close=True)
        self._session = aiohttp.ClientSession(
            connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), max_line_size=16_384,
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS), headers={"User-Agent": "weir"})

    async def close(self) -> None:
        await self._session.close()

    async def _ask(self, method: str, call: Call, **more: Any) -> Returned:
        """
        Raises:
            ToolFailed: the request was certainly not accepted.
            Unavailable: it may have been.
        """
        url = self._hosts.check(call.arguments["url"])
        headers = _headers(call.arguments["headers"]) | more.pop("headers", {})
        with contextlib.suppress(ValueError):
            # A host that is an address is not resolved at all.
            check_address(str(url.host), str(url.host), self._allowed)
        try:
            async with self._session.request(method, url, headers=headers, allow_redirects=False, **more) as answer:
                return await _answered(answer)
        except ToolFailed:
            raise
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL, ValueError) as e:
            if isinstance(cause := e.__cause__ or e.__context__, ToolFailed):
                raise cause from e
            raise ToolFailed(f"cannot connect to {url.host}: {e or type(e).__name__}.",
                             retriable=not isinstance(e, ValueError)) from e
        except (aiohttp.ClientError, OSError) as e:
            raise Unavailable(f"{url.host} broke off: {e or type(e).__name__}.") from e


class HttpGet(Http):
    name = "http_get"
    description = ("Reads an address by HTTP GET. Redirects are not followed. Returns JSON {status, media_type, "
                   "location, body}.")
    schema = arguments(["url"], url=_URL, headers=_HEADERS)

    async def run(self, call: Call) -> Returned:
        return await self._ask("GET", call)


class HttpRequest(Http):
    name = "http_request"
    description = ("Sends an HTTP request that may change something, so that a person approves it first. `json` or "
                   "`body`, not both. Redirects are not followed. Returns JSON {status, media_type, location, body}.")
    schema = arguments(
        ["method", "url"], method={"enum": ["POST", "PUT", "PATCH", "DELETE"]}, url=_URL, headers=_HEADERS,
        body={"type": "string", "maxLength": 200_000}, json={"description": "Sent as application/json."})
    risk = Risk.IRREVERSIBLE
    tries = 1

    async def run(self, call: Call) -> Returned:
        given = {name: call.arguments[name] for name in ("body", "json") if name in call.arguments}
        if len(given) > 1:
            raise ToolFailed("give `json` or `body`, not both.")
        more: dict[str, Any] = {"json": given["json"]} if "json" in given else {"data": given.get("body", "").encode()}
        return await self._ask(call.arguments["method"], call, headers={"Idempotency-Key": call.key}, **more)


async def _answered(answer: aiohttp.ClientResponse) -> Returned:
    """The answer as content. A refusal (4xx) is a failure; the server's own trouble (5xx) says nothing of a write."""
    data = b""
    async for part in answer.content.iter_chunked(65_536):
        data += part
        if len(data) > MOST_BYTES:
            break
    text = data[:MOST_BYTES].decode(answer.get_encoding() if answer.charset else "utf-8", errors="replace")
    if 400 <= answer.status < 500:
        raise ToolFailed(f"{answer.host} answered {answer.status} {answer.reason}: {text[:1000]}",
                         retriable=answer.status in (408, 425, 429))
    if answer.status >= 500:
        raise Unavailable(f"{answer.host} answered {answer.status} {answer.reason}: {text[:1000]}")
    return Returned(canonical({"status": answer.status, "media_type": answer.content_type,
                               "location": answer.headers.get("Location"), "body": text}))


def _headers(given: Mapping[str, str]) -> dict[str, str]:
    if refused := [name for name in given if name.lower() in OURS]:
        raise ToolFailed(f"the headers {', '.join(refused)} cannot be set.")
    return dict(given)
