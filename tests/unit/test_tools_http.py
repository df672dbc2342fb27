"""HTTP to hosts that are on the list, and to nothing inside."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from consumers.tools.http import Address, Hosts, Http, HttpGet, HttpRequest, is_public
from consumers.tools.tool import Call, ToolFailed
from schemas.events import Person, Risk
from weir.agents.arguments import checked
from weir.errors import BadRequest, Unavailable


def call(tool: Http, **given: Any) -> Call:
    values = checked(tool.schema_text, json.dumps(given))
    return Call("the-key", "t1", "w", Person(subject="ada", groups=[]), values, 10)


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1"])
def test_no_address_inside_is_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", [
    "93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_the_open_internet_is(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("url", [
    "https://api.example.com/x", "http://api.example.com/", "https://API.example.com./x", "https://a.b.example.org/",
    "http://intern:8080/x"])
def test_what_is_on_the_list_may_be_called(url: str) -> None:
    Hosts("api.example.com, *.example.org,intern:8080").check(url)


@pytest.mark.parametrize("url", [
    "https://example.com/", "https://evil-example.org/", "https://example.org/", "https://api.example.com:8443/",
    "http://intern/", "https://intern:8081/", "https://api.example.com@evil.test/", "https://u:p@api.example.com/",
    "https://evil.test/#api.example.com", "https://api.example.com.evil.test/", "ftp://api.example.com/", "https:///x",
    "http://127.0.0.1/", "http://[::1]/", "http://0x7f000001/", "http://2130706433/", "file:///etc/passwd", "//x",
    "https://api.example.com:99999/", "http://[", "https://api。example。com:81/"])
def test_what_is_not_may_not(url: str) -> None:
    with pytest.raises(ToolFailed):
        Hosts("api.example.com, *.example.org,intern:8080").check(url)


@pytest.fixture
async def outside() -> AsyncIterator[tuple[int, list[web.Request]]]:
    """A server on this machine, its port, and what it was asked."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        asked.append(request)
        match request.path:
            case "/redirect":
                raise web.HTTPFound("http://127.0.0.1/secret")
            case "/missing":
                raise web.HTTPNotFound(text="nothing here")
            case "/trouble":
                raise web.HTTPInternalServerError
            case "/break":
                assert request.transport is not None
                request.transport.abort()
            case "/large":
                return web.Response(body=b"x" * (3 << 20))
        return web.json_response({"got": (await request.read()).decode(), "cookie": request.headers.get("Cookie")},
                                 headers={"Set-Cookie": "a=b"})

    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", answer)])
    runner = web.AppRunner(app, handler_cancellation=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1], asked
    await runner.cleanup()


def anywhere(_: Address) -> bool:
    return True


async def ran(tool: Http, **given: Any) -> dict[str, Any]:
    await tool.start()
    try:
        found: dict[str, Any] = json.loads((await tool.run(call(tool, **given))).content)
        return found
    finally:
        await tool.close()


async def test_a_name_that_leads_inside_is_not_connected_to(outside: tuple[int, list[web.Request]]) -> None:
    port, asked = outside
    for host in ("localhost", "127.0.0.1"):
        with pytest.raises(ToolFailed, match="not on the open internet"):
            await ran(HttpGet(f"{host}:{port}"), url=f"http://{host}:{port}/")
    assert asked == []


async def test_the_address_that_was_checked_is_the_one_connected_to(
        outside: tuple[int, list[web.Request]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that answers with something else the second time is not asked a second time."""
    port, asked = outside
    answers: list[str] = []

    async def rebinding(host: str, *_: Any, **__: Any) -> list[Any]:
        answers.append(host)
        address = "127.0.0.1" if len(answers) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    seen: list[Address] = []

    def allowed(address: Address) -> bool:
        seen.append(address)
        return True

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", rebinding)
    await ran(HttpGet(f"api.example.com:{port}", allowed), url=f"http://api.example.com:{port}/")
    assert answers == ["api.example.com"] and [str(a) for a in seen] == ["127.0.0.1"]
    assert asked[0].host == f"api.example.com:{port}"
    answers.clear()
    with pytest.raises(ToolFailed, match="not on the open internet"):
        await ran(HttpGet(f"api.example.com:{port}"), url=f"http://api.example.com:{port}/")
    assert len(asked) == 1


async def test_one_address_inside_among_several_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    async def two(host: str, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 80)) for a in ("93.184.216.34", "169.254.169.254")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two)
    with pytest.raises(ToolFailed, match=r"169\.254\.169\.254"):
        await ran(HttpGet("api.example.com"), url="http://api.example.com/")


async def test_a_redirect_is_told_and_not_followed(outside: tuple[int, list[web.Request]]) -> None:
    port, asked = outside
    found = await ran(HttpGet(f"127.0.0.1:{port}", anywhere), url=f"http://127.0.0.1:{port}/redirect")
    assert (found["status"], found["location"]) == (302, "http://127.0.0.1/secret")
    assert len(asked) == 1


async def test_a_request_carries_the_idempotency_key_and_no_cookie_of_another(
        outside: tuple[int, list[web.Request]]) -> None:
    port, asked = outside
    tool = HttpRequest(f"127.0.0.1:{port}", anywhere)
    assert tool.risk is Risk.IRREVERSIBLE
    for _ in range(2):
        found = await ran(tool, method="POST", url=f"http://127.0.0.1:{port}/", json={"a": 1}, headers={"X-A": "b"})
        assert json.loads(found["body"]) == {"got": '{"a": 1}', "cookie": None}
    assert [r.headers["Idempotency-Key"] for r in asked] == ["the-key"] * 2
    assert {r.headers["X-A"] for r in asked} == {"b"}


async def test_a_refusal_is_a_failure_and_trouble_leaves_doubt(outside: tuple[int, list[web.Request]]) -> None:
    port, _ = outside
    tool = HttpRequest(f"127.0.0.1:{port},127.0.0.1:9", anywhere)
    with pytest.raises(ToolFailed, match=r"404.*nothing here"):
        await ran(tool, method="DELETE", url=f"http://127.0.0.1:{port}/missing")
    for path in ("trouble", "break"):
        with pytest.raises(Unavailable):
            await ran(tool, method="DELETE", url=f"http://127.0.0.1:{port}/{path}")
    with pytest.raises(ToolFailed) as failed:
        await ran(tool, method="DELETE", url="http://127.0.0.1:9/")
    assert failed.value.retriable


async def test_an_endless_answer_is_cut(outside: tuple[int, list[web.Request]]) -> None:
    port, _ = outside
    found = await ran(HttpGet(f"127.0.0.1:{port}", anywhere), url=f"http://127.0.0.1:{port}/large")
    assert len(found["body"]) == 1 << 20


@pytest.mark.parametrize("wrong", [
    {"method": "GET"}, {"method": "CONNECT"}, {"headers": {"X": "a\r\nY: b"}}, {"headers": {"X Y": "a"}},
    {"url": "gopher://127.0.0.1/"}, {"more": 1}])
def test_bad_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        call(HttpRequest("127.0.0.1", anywhere), **{"method": "POST", "url": "http://127.0.0.1/", **wrong})


@pytest.mark.parametrize("name", ["Host", "Idempotency-Key", "Transfer-Encoding", "content-length"])
async def test_headers_of_ours_cannot_be_set(name: str) -> None:
    tool = HttpRequest("127.0.0.1:9", anywhere)
    with pytest.raises(ToolFailed, match="cannot be set"):
        await ran(tool, method="POST", url="http://127.0.0.1:9/", headers={name: "x"})
