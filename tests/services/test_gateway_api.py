"""The REST part over the whole pipeline: documents, search, history and who may see what of them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio

from tests.kit.gateway import Gateway, gateway, gateway_settings
from tests.kit.oidc import ALGORITHM, Identities
from tests.kit.pipeline import ANSWERING, INGEST, Pipeline, pipeline
from weir import identity
from weir.clock import system_clock

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]

PUBLISHER: dict[str, Any] = {"user": "pat", "groups": ("publishers",)}
ADMIN: dict[str, Any] = {"user": "adam", "groups": ("weir-admins",)}
LEGAL: dict[str, Any] = {"user": "lea", "groups": ("legal",)}
DOCS = "/v1/workspaces/library/documents"
HANDBOOK = ("# Leave\n\nEmployees have 27 days of annual leave a year.\n\n"
            "# Travel\n\nTrains are booked in second class.\n")
SECRET = "# Settlement\n\nThe settlement with Marlow Freight is 41,000 euros.\n"
QUESTION = "How many days of annual leave do employees have?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def weir() -> AsyncIterator[Pipeline]:
    async with pipeline() as made:
        made.start(*INGEST, *ANSWERING)
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(weir: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    people = [{"user": "reader", "name": "Robin Reader", "groups": [], "clearance": 0},
              {"user": "lea", "name": "Lea Legal", "groups": ["legal"], "clearance": 1}]
    (home / "people.json").write_text(json.dumps(people))
    async with gateway(gateway_settings(weir.settings, home)) as made:
        for name, text, groups in (("handbook", HANDBOOK, ["everyone"]), ("settlement", SECRET, ["legal"])):
            body = {"document": name, "title": name.title(), "content": text, "media_type": "text/markdown",
                    "groups": groups, "metadata": {"kind": name, "since": "2026-01-31"}}
            status, reply = await made.call("POST", DOCS, json=body, **PUBLISHER)
            assert status == 202, reply
            await searchable(made, name, reply["version"])
        yield made


async def searchable(here: Gateway, document: str, version: int) -> dict[str, Any]:
    for _ in range(1200):
        status, body = await here.call("GET", f"{DOCS}/{document}", **ADMIN)
        if status == 200 and body["version"] >= version and body["searchable"]:
            return dict(body)
        await asyncio.sleep(0.1)
    raise AssertionError(f"{document} did not become searchable: {body}")


async def answered(here: Gateway, question: str = QUESTION, **who: Any) -> dict[str, Any]:
    """The `done` of a question, once its turn is in the view."""
    async with here.chat(**who) as chat:
        await chat.ask(question)
        done = (await chat.rest())[-1]
    assert done["type"] == "done", done
    assert await here.services.turns.wait(done["answer"], 30)
    return done


async def test_a_question_is_answered_with_its_passage(here: Gateway) -> None:
    done = await answered(here)
    assert "27 days" in done["text"] and done["outcome"] == "answered"
    cited = {c["source"] for c in done["citations"]}
    assert {s["document"] for s in done["sources"] if s["number"] in cited} == {"handbook"}


async def test_a_raw_file_is_published_under_its_name(here: Gateway) -> None:
    status, body = await here.call("POST", f"{DOCS}?filename=notes/pumps.txt&groups=everyone,legal&title=Pumps",
                                   data=b"The reserve pump stands in hall seven.", **PUBLISHER,
                                   headers={"Content-Type": "application/octet-stream"})
    assert (status, body["document"]) == (202, "notes/pumps.txt"), body
    assert (await searchable(here, "notes%2Fpumps.txt", body["version"]))["title"] == "Pumps"
    status, found = await here.call("POST", "/v1/search", json={
        "workspace": "library", "question": "Where is the reserve pump?", "explain": True})
    assert status == 200 and found["sources"][0]["document"] == "notes/pumps.txt"
    assert isinstance(found["explain"], dict) and found["index_version"] and found["timings"]
    status, body = await here.call("DELETE", f"{DOCS}/notes%2Fpumps.txt", **PUBLISHER)
    assert status == 202
    for _ in range(100):
        _, found = await here.call("POST", "/v1/search", json={"workspace": "library", "question": "reserve pump"})
        if all(s["document"] != "notes/pumps.txt" for s in found["sources"]):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("a deleted document is still found")


async def test_what_is_forbidden_does_not_exist(here: Gateway) -> None:
    forbidden = await here.call("GET", f"{DOCS}/settlement")
    missing = await here.call("GET", f"{DOCS}/nothing")
    assert forbidden[0] == missing[0] == 404
    assert forbidden[1]["error"]["message"].replace("settlement", "nothing") == missing[1]["error"]["message"]
    assert (await here.call("GET", f"{DOCS}/settlement/sections/0"))[0] == 404
    assert (await here.call("GET", f"{DOCS}/settlement/sections/0", **ADMIN))[0] == 404
    for _ in range(100):  # the list is a search, about a second behind what was deleted before
        _, listed = await here.call("GET", f"{DOCS}?status=1")
        if [d["document"] for d in listed["documents"]] == ["handbook"]:
            break
        await asyncio.sleep(0.1)
    assert [d["document"] for d in listed["documents"]] == ["handbook"]
    _, found = await here.call("POST", "/v1/search", json={"workspace": "library", "question": "Marlow settlement"})
    assert all(s["document"] != "settlement" for s in found["sources"])
    status, section = await here.call("GET", f"{DOCS}/settlement/sections/0", **LEGAL)
    assert status == 200 and "41,000" in section["text"]
    status, seen = await here.call("GET", f"{DOCS}/settlement", **PUBLISHER)
    assert (status, seen["searchable"], seen["title"]) == (200, True, ""), "stages, not what it is called"


async def test_only_publishers_publish_and_only_administrators_set_up(here: Gateway) -> None:
    body = {"content": "x", "media_type": "text/plain"}
    assert (await here.call("POST", DOCS, json=body))[0] == 403
    assert (await here.call("DELETE", f"{DOCS}/handbook"))[0] == 403
    settings = {"title": "Closed", "readers": ["legal"], "publishers": ["legal"]}
    assert (await here.call("PUT", "/v1/workspaces/closed", json=settings))[0] == 403
    assert (await here.call("PUT", "/v1/workspaces/closed", json=settings, **ADMIN))[0] == 200
    asked = {"json": {"workspace": "closed", "question": "?"}}
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/v1/workspaces/closed", {}), ("GET", "/v1/workspaces/closed/documents", {}),
        ("POST", "/v1/workspaces/closed/documents", {"json": body}), ("POST", "/v1/search", asked),
        ("POST", "/v1/answers", asked)]
    for method, path, more in requests:
        assert (await here.call(method, path, **more))[0] == 404, path
    _, mine = await here.call("GET", "/v1/workspaces", **LEGAL)
    assert {"workspace": "closed", "title": "Closed", "index": "main", "may_publish": True} in mine["workspaces"]
    assert (await here.call("GET", "/v1/workspaces"))[1]["workspaces"] == []


@pytest.mark.parametrize(("body", "status"), [
    ({"content": "x"}, 400), ({"media_type": "text/plain"}, 400), ({"content": "x", "colour": "red"}, 400),
    ({"content_base64": "?", "media_type": "text/plain"}, 400),
])
async def test_wrong_documents_are_refused_at_the_edge(here: Gateway, body: dict[str, Any], status: int) -> None:
    found = await here.call("POST", DOCS, json=body, **PUBLISHER)
    assert found[0] == status and found[1]["error"]["code"] == "bad_request", found


async def test_too_large_a_document_is_refused_before_it_is_read(here: Gateway) -> None:
    most = here.settings.max_document_bytes
    status, body = await here.call("POST", f"{DOCS}?filename=a.txt", data=io.BytesIO(b"x" * (most + 1)),
                                   **PUBLISHER)
    assert (status, body["error"]["code"]) == (413, "too_large")


async def test_history_is_one_s_own_and_loses_what_one_may_no_longer_read(here: Gateway) -> None:
    _, reply = await here.call("POST", DOCS, **PUBLISHER, json={
        "document": "merger", "title": "Merger", "content": "The merger with Oakfield closes on 3 May.",
        "media_type": "text/plain", "groups": ["legal"]})
    await searchable(here, "merger", reply["version"])
    done = await answered(here, "When does the merger with Oakfield close?", **LEGAL)
    assert "3 May" in done["text"]
    turn = f"/v1/turns/{done['answer']}"
    assert (await here.call("GET", turn))[0] == 404
    await asyncio.sleep(1.2)  # lists are a second behind
    _, listed = await here.call("GET", "/v1/conversations", **LEGAL)
    assert [c["title"] for c in listed["conversations"]] == ["When does the merger with Oakfield close?"]
    assert (await here.call("GET", f"/v1/conversations/{done['conversation']}"))[0] == 404
    assert (await here.call("POST", f"{turn}/feedback", json={"good": True}, **LEGAL))[0] == 202
    assert (await here.call("POST", f"{turn}/feedback", json={"good": True}))[0] == 404
    # The document goes to another group: what was said of it goes out of the history at once.
    await here.call("POST", DOCS, **PUBLISHER, json={
        "document": "merger", "title": "Merger", "content": "The merger with Oakfield closes on 3 May.",
        "media_type": "text/plain", "groups": ["board"]})
    for path in (turn, f"/v1/conversations/{done['conversation']}"):
        for _ in range(60):
            _, shown = await here.call("GET", path, **LEGAL)
            shown = shown["turns"][0] if "turns" in shown else shown
            if any("withheld" in n for n in shown["notices"]):
                break
            await asyncio.sleep(0.1)
        assert "3 May" not in json.dumps(shown) and "Merger" not in json.dumps(shown["sources"])
        assert "[withheld]" in shown["text"]


async def test_openai_s_client_gets_an_answer_with_its_sources(here: Gateway) -> None:
    async with openai.AsyncOpenAI(base_url=here.url + "/v1", api_key=here.token()) as client:
        messages: Any = [{"role": "user", "content": QUESTION}]
        whole = await client.chat.completions.create(model="weir/library", messages=messages)
        text = whole.choices[0].message.content or ""
        assert "27 days" in text and "[1] " in text.partition("Sources:")[2]
        stream = await client.chat.completions.create(model="weir/library", messages=messages, stream=True,
                                                      stream_options={"include_usage": True})
        chunks = [c async for c in stream]
        said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert said == text and chunks[-1].usage is not None
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
        with pytest.raises(openai.AuthenticationError):
            await client.with_options(api_key="nonsense").chat.completions.create(model="weir", messages=messages)


async def test_the_page_s_cookie_works_on_its_own_page_only(here: Gateway) -> None:
    origin = here.url
    _, how = await here.call("GET", "/v1/session")
    assert how["mode"] == "local" and {"user": "reader", "name": "Robin Reader"} in how["people"]
    body = {"user": "reader", "code": identity.access_code(here.settings)}
    async with here.client.post(here.url + "/v1/session", json={**body, "code": "wrong"},
                               headers={"Origin": origin}) as r:
        assert r.status == 401
    async with here.client.post(here.url + "/v1/session", json=body, headers={"Origin": "https://evil.example"}) as r:
        assert r.status == 403
    async with here.client.post(here.url + "/v1/session", json=body, headers={"Origin": origin}) as r:
        assert r.status == 200
        cookie = r.cookies["weir_session"]
        assert cookie["httponly"] and cookie["samesite"] == "Strict" and cookie["path"] == "/"
    headers = {"Cookie": f"weir_session={cookie.value}"}
    search = {"workspace": "library", "question": "leave"}
    async with here.client.get(here.url + "/v1/me", headers=headers) as r:
        assert (await r.json())["subject"] == "reader"
    for foreign in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        async with here.client.post(here.url + "/v1/search", json=search, headers={**headers, **foreign}) as r:
            assert r.status == 403
    async with here.client.post(here.url + "/v1/search", json=search, headers={**headers, "Origin": origin}) as r:
        assert r.status == 200
    async with here.client.delete(here.url + "/v1/session", headers={**headers, "Origin": origin}) as r:
        assert r.status == 204 and r.cookies["weir_session"].value == ""


async def test_people_of_a_provider_sign_in_by_code(here: Gateway) -> None:
    provider = Identities(system_clock())
    async with provider.server:
        settings = gateway_settings(here.settings, here.settings.home, issuer=provider.issuer,
                                    token_algorithm=ALGORITHM, oidc_client_id="page", groups_claim="roles")
        async with gateway(settings) as there, aiohttp.ClientSession(
                cookie_jar=aiohttp.CookieJar(unsafe=True)) as visitor:
            async with visitor.get(there.url + "/v1/session") as r:
                assert (await r.json())["mode"] == "oidc"
            async with visitor.get(there.url + "/v1/sign-in", allow_redirects=False) as r:
                leave = r.headers["Location"]
            async with visitor.get(leave, allow_redirects=False) as r:
                back = r.headers["Location"]
            async with visitor.get(back.replace("state=", "state=x"), allow_redirects=False) as r:
                assert r.status == 403, "a sign-in that somebody else began"
            async with visitor.get(back, allow_redirects=False) as r:
                assert (r.status, r.headers["Location"]) == (302, "/")
            async with visitor.get(there.url + "/v1/me") as r:
                assert (await r.json())["groups"] == ["legal"]
            async with visitor.get(back, allow_redirects=False) as r:
                assert r.status == 401, "a code is used once"


async def test_every_answer_carries_the_headers_that_bind_a_browser(here: Gateway) -> None:
    for path in ("/", "/app.js", "/healthz", "/v1/me", "/v1/nothing"):
        async with here.client.get(here.url + path) as r:
            assert "default-src 'none'" in r.headers["Content-Security-Policy"]
            assert "unsafe" not in r.headers["Content-Security-Policy"]
            assert r.headers["X-Content-Type-Options"] == "nosniff"
            assert r.headers["Referrer-Policy"] == "no-referrer"
            if path.startswith("/v1/"):
                assert r.headers["Cache-Control"] == "no-store"
    async with here.client.get(here.url + "/") as r:
        etag = r.headers["ETag"]
    async with here.client.get(here.url + "/", headers={"If-None-Match": etag}) as r:
        assert r.status == 304


async def test_errors_say_what_to_do(here: Gateway) -> None:
    async with here.client.get(here.url + "/v1/me") as r:
        body = await r.json()
        assert r.status == 401 and body["error"]["code"] == "not_signed_in" and "weir token" in body["error"]["message"]
        assert r.headers["WWW-Authenticate"].startswith("Bearer")
    expired = {"Authorization": f"Bearer {here.token(ttl=-60)}"}
    async with here.client.get(here.url + "/v1/me", headers=expired) as r:
        assert (await r.json())["error"]["code"] == "token_expired"
    assert (await here.call("GET", "/v1/nothing"))[1]["error"]["code"] == "not_found"
    assert (await here.call("PATCH", "/v1/search"))[0] == 405
    assert (await here.call("POST", "/v1/search", data=b"{"))[1]["error"]["code"] == "bad_request"
    assert (await here.call("GET", "/v1/openapi.json"))[0] == 200
    assert (await here.call("GET", "/readyz"))[1]["ready"] is True


async def test_the_content_of_a_document_may_be_base64(here: Gateway) -> None:
    encoded = base64.b64encode("Grüße aus Köln.".encode()).decode()
    status, reply = await here.call("POST", DOCS, **PUBLISHER, json={
        "document": "https://wiki.example/köln", "content_base64": encoded, "media_type": "text/plain"})
    assert status == 202
    await searchable(here, "https%3A%2F%2Fwiki.example%2Fk%C3%B6ln", reply["version"])
