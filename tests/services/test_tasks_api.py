"""Tasks and approvals over REST and WebSocket: real Kafka, Elasticsearch and engine; planner and tools are scripted."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio

from schemas import codec, keys, topics
from schemas.events import Artefact, Audit, CallOutcome, CallTool
from tests.kit.engines import read
from tests.kit.hands import MAIL_PLAN, answer, ask, call, calls
from tests.kit.tasks import APPROVERS, Office, office
from weir.agents.canonical import canonical

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def weir(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    async with office(tmp_path_factory.mktemp("home")) as made:
        yield made


async def test_a_task_runs_waits_for_its_approval_and_goes_on(weir: Office) -> None:
    task = await weir.begin()
    waiting = await weir.standing(task, "deciding")
    proposal = await weir.proposal(task)
    assert waiting["waits_for"] == [proposal["approval"]]
    assert (proposal["tool"], proposal["risk"], proposal["may_decide"]) == ("send_email", "irreversible", True)
    assert proposal["arguments"] == canonical({"subject": "Contracts", "to": ["purchasing@quillmere.example"]})
    assert proposal["args_hash"] == keys.args_hash(proposal["arguments"])
    assert not [c for c in weir.hands.done if c.tool == "send_email"]

    status, reply = await weir.verdict(proposal, reason="looks right")
    assert (status, reply["accepted"]) == (200, True)
    done = await weir.task(task, lambda t: t["status"] == "succeeded" and len(t["steps"]) == 3 and t["notes"])
    assert done["text"] == "The contracts were sent."
    assert len([c for c in weir.hands.done if c.tool == "send_email"]) == 1
    first, second, third = done["steps"]
    assert (first["text"], first["calls"][0]["tool"], first["calls"][0]["content"]) == (
        "First I look for the contracts.", "search_documents", "search_documents did it")
    assert first["calls"][0]["reason"] == "to find the contracts"
    assert [c["status"] for c in second["calls"]] == ["succeeded"]
    assert second["calls"][0]["approvals"] == [proposal["approval"]]
    assert (second["micros"], second["tokens_in"], third["end"]) == (1500, 100, "answer")
    assert {"verdict"} == {n["kind"] for n in done["notes"]}

    status, plan = await weir.call("GET", f"/v1/tasks/{task}/plans/{second['offset']}")
    assert (status, plan["prompt"]) == (200, '{"messages": ["the prompt"]}')
    status, decided = await weir.call("GET", f"/v1/approvals/{proposal['approval']}", "pia", APPROVERS)
    assert (decided["status"], decided["decided_by"]["subject"], decided["why"]) == ("approved", "pia", "looks right")


async def test_what_a_task_cost_adds_up_by_step_tool_and_person(weir: Office) -> None:
    person = f"spender-{uuid.uuid4().hex[:6]}"
    task = await weir.begin(user=person)
    await weir.verdict(await weir.proposal(task))
    await weir.standing(task, "succeeded", person)

    async def totals(by: str) -> Any:
        status, reply = await weir.call("GET", f"/v1/usage?by={by}&task={task}", person)
        return {u[by]: u["micros"] for u in reply["usage"]} if status == 200 else None

    await weir.until(lambda: totals("step"), lambda t: t == {1: 200, 2: 1700, 3: 0})
    assert await totals("tool") == {"": 1500, "search_documents": 200, "send_email": 200}
    assert await totals("person") == {person: 1900}
    _, spent = await weir.call("GET", f"/v1/tasks/{task}", person)
    assert spent["spent"]["micros"] == 1900
    _, mine = await weir.call("GET", "/v1/usage?by=task", person)
    assert [u["task"] for u in mine["usage"]] == [task]
    assert (await weir.call("GET", f"/v1/usage?by=task&task={task}", "stranger"))[0] == 404


async def test_the_same_request_asks_once(weir: Office) -> None:
    request = uuid.uuid4().hex
    assert await weir.begin([answer()], request_id=request) == await weir.begin(request_id=request)


async def test_nobody_else_sees_a_task_its_steps_or_its_files(weir: Office) -> None:
    blob = await weir.producer.blobs.put(b"a;b\n1;2\n")
    table = Artefact(name='t"able é.csv', media_type="text/csv", blob=blob, size=8)
    page = Artefact(name="page.html", media_type="text/html", blob=blob, size=8)
    before = weir.hands.run
    weir.hands.run = lambda body: before(body) | ({"artefacts": [table, page]} if body.tool == "make_table" else {})
    try:
        task = await weir.begin([calls(call("make_table")), calls(call("send_email", to=["x"])), answer()])
        await weir.task(task, lambda t: len(t["artefacts"]) == 2)
    finally:
        weir.hands.run = before
    proposal = await weir.proposal(task)
    # Listed is what the view's last refresh has; before that nobody would see it.
    everybodys = "/v1/tasks?all=1"
    await weir.until(lambda: weir.call("GET", everybodys, "root", ("weir-admins",)), lambda told: task in str(told))
    for user, groups in (("stranger", ()), ("pia", APPROVERS)):
        for path in ("", "/artefacts/page.html", "/plans/0"):
            assert (await weir.call("GET", f"/v1/tasks/{task}{path}", user, groups))[0] == 404
        for act, body in (("cancel", {"reason": "no"}), ("messages", {"text": "x"}), ("fork", {"step": 0})):
            assert (await weir.call("POST", f"/v1/tasks/{task}/{act}", user, groups, **body))[0] == 404
        assert task not in str(await weir.call("GET", "/v1/tasks", user, groups))
        assert task not in str(await weir.call("GET", everybodys, user, groups))
    assert (await weir.call("GET", f"/v1/approvals/{proposal['approval']}", "stranger"))[0] == 404
    assert (await weir.verdict(proposal, user="stranger", groups=()))[0] == 404
    assert (await weir.call("GET", f"/v1/tasks/{task}", "root", ("weir-admins",)))[0] == 200

    url = f"{weir.gateway.url}/v1/tasks/{task}/artefacts/"
    for name, kind in (("t%22able%20%C3%A9.csv", "text/csv"), ("page.html", "application/octet-stream")):
        async with weir.gateway.client.get(url + name, headers=weir.gateway.headers("ann")) as r:
            assert (r.status, r.content_type, await r.read()) == (200, kind, b"a;b\n1;2\n")
            assert r.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{name}"
            assert "sandbox" in r.headers["Content-Security-Policy"]
            assert r.headers["X-Content-Type-Options"] == "nosniff"
    await weir.call("POST", f"/v1/tasks/{task}/cancel", reason="enough")


async def test_verdicts_without_the_right_late_twice_or_about_other_arguments_change_nothing(weir: Office) -> None:
    task = await weir.begin([calls(call("send_email", to=["denied"])), calls(call("send_email", to=["y"])), answer()])
    proposal = await weir.proposal(task)

    async def refused(status: int, code: str, **verdict: Any) -> None:
        got, reply = await weir.verdict(verdict.pop("about", proposal), **verdict)
        assert (got, reply["error"]["code"]) == (status, code), reply
        assert reply["error"]["message"]

    await refused(409, "stale", about=proposal | {"args_hash": "0" * 64})
    await refused(403, "forbidden", user="ann", groups=APPROVERS)  # who asked
    await refused(403, "forbidden", user="ann", groups=())
    await refused(403, "forbidden", user="root", groups=("weir-admins",))  # sees it, and is not of the group
    await refused(400, "choice", choice="done")
    await refused(400, "bad_request", choice="perhaps")
    assert (await weir.standing(task, "deciding"))["waits_for"] == [proposal["approval"]]

    assert (await weir.verdict(proposal, "deny", reason="not like this"))[0] == 200
    await refused(409, "closed")
    going_on = await weir.task(task, lambda t: t["status"] == "deciding" and len(t["steps"]) == 2)
    assert [s["calls"][0]["status"] for s in going_on["steps"]] == ["denied", "proposed"]
    assert not [c for c in weir.hands.done if c.arguments == canonical({"to": ["denied"]})]
    await weir.call("POST", f"/v1/tasks/{task}/cancel", reason="enough")
    await refused(409, "finished")
    await weir.until(lambda: weir.get("/v1/approvals?status=decided", "pia", APPROVERS),
                     lambda h: proposal["approval"] in [d["approval"] for d in h["approvals"]])


async def test_each_verdict_is_in_the_audit_with_what_became_of_it(weir: Office) -> None:
    task = await weir.begin()
    proposal = await weir.proposal(task)
    await weir.verdict(proposal, user="ann", groups=APPROVERS)
    await weir.verdict(proposal, reason="fine")
    messages = await asyncio.to_thread(read, weir.settings, topics.AUDIT.name)
    found: list[Audit] = [codec.decode(m.value() or b"") for m in messages]
    told = {(a.subject, orjson.loads(a.detail)["outcome"], orjson.loads(a.detail)["reason"])
            for a in found if a.action == "verdict" and a.target == proposal["approval"]}
    assert told == {("ann", "forbidden", ""), ("pia", "accepted", "fine")}


async def test_changed_arguments_are_a_new_proposal_that_its_editor_may_not_approve(weir: Office) -> None:
    task = await weir.begin()
    first = await weir.proposal(task)
    changed = {"to": ["legal@example.com"], "amount": 3}
    status, reply = await weir.verdict(first, arguments={"to": 7})
    assert (status, "to: 7" in reply["error"]["message"]) == (400, True), reply
    assert (await weir.verdict(first, arguments=orjson.loads(first["arguments"])))[0] == 400
    assert (await weir.verdict(first, arguments=changed))[0] == 200
    second = (await weir.until(
        lambda: weir.get("/v1/approvals", "otto", APPROVERS),
        lambda r: [d for d in r["approvals"] if d["task"] == task and d["approval"] != first["approval"]]))["approvals"]
    proposal = next(d for d in second if d["task"] == task)
    assert (proposal["arguments"], proposal["editor"]) == (canonical(changed), "pia")
    status, reply = await weir.verdict(proposal)
    assert (status, reply["error"]["code"]) == (403, "forbidden")
    assert (await weir.verdict(proposal, user="otto"))[0] == 200
    done = await weir.task(task, lambda t: t["status"] == "succeeded" and len(t["steps"]) == 3)
    sent = [c for c in weir.hands.done if c.tool == "send_email"][-1]
    assert (sent.arguments, done["steps"][1]["calls"][0]["arguments"]) == (canonical(changed), canonical(changed))


async def test_many_proposals_are_decided_together_only_for_one_tool(weir: Office) -> None:
    tasks = [await weir.begin() for _ in range(3)]
    letter = await weir.begin([calls(call("send_letter", to=["x"])), answer()])
    mails, other = [await weir.proposal(t) for t in tasks], await weir.proposal(letter)

    async def decide(*proposals: Any, user: str = "pia") -> tuple[int, Any]:
        return await weir.call("POST", "/v1/approvals/verdicts", user, APPROVERS, choice="approve", verdicts=[
            {"approval": p["approval"], "args_hash": p["args_hash"]} for p in proposals])

    status, reply = await decide(*mails, other)
    assert (status, reply["error"]["code"]) == (409, "conflict")
    assert "send_email" in reply["error"]["message"] and "send_letter" in reply["error"]["message"]
    assert (await decide(mails[0], mails[0]))[0] == 400
    status, reply = await decide(mails[0], mails[1], mails[2] | {"args_hash": "0" * 64})
    assert status == 200
    assert [v["accepted"] for v in reply["verdicts"]] == [True, True, False]
    assert reply["verdicts"][2]["error"]["code"] == "stale"
    for task in tasks[:2]:
        await weir.standing(task, "succeeded")
    assert (await weir.standing(tasks[2], "deciding"))["waits_for"] == [mails[2]["approval"]]


async def test_a_question_waits_for_a_message_and_cancelling_stops(weir: Office) -> None:
    task = await weir.begin([ask("Which quarter?"), calls(call("send_email", to=["x"])), answer()])
    assert (await weir.standing(task, "asking"))["text"] == "Which quarter?"
    request = uuid.uuid4().hex
    assert (await weir.call("POST", f"/v1/tasks/{task}/messages", text="The third", request_id=request))[0] == 200
    shown = await weir.task(task, lambda t: t["status"] == "deciding" and t["notes"])
    assert [(n["kind"], n["text"]) for n in shown["notes"]] == [("message", "The third")]
    status, reply = await weir.call("POST", f"/v1/tasks/{task}/messages", text="The third", request_id=request)
    assert (status, reply["error"]["code"]) == (409, "twice")
    proposal = await weir.proposal(task)
    assert (await weir.call("POST", f"/v1/tasks/{task}/cancel", reason="not needed"))[0] == 200
    assert (await weir.standing(task, "cancelled"))["text"] == "not needed"
    status, reply = await weir.verdict(proposal)
    assert (status, reply["error"]["code"]) == (409, "finished")
    status, reply = await weir.call("POST", f"/v1/tasks/{task}/messages", text="Hello?")
    assert (status, reply["error"]["code"]) == (409, "finished")


async def test_a_task_at_its_limit_goes_on_when_somebody_adds_to_its_budget(weir: Office) -> None:
    plan = [calls(call("search_documents", query="a")), calls(call("search_documents", query="b")), answer("Both.")]
    task = await weir.begin(plan, limits={"steps": 1})
    paused = await weir.standing(task, "paused")
    assert "1 steps" in paused["text"]
    assert (await weir.call("POST", f"/v1/tasks/{task}/budget", steps=5))[0] == 403  # who asked
    assert (await weir.call("POST", f"/v1/tasks/{task}/budget", "stranger", steps=5))[0] == 404
    assert (await weir.call("POST", f"/v1/tasks/{task}/budget", "pia", APPROVERS, note="x"))[0] == 400
    proposal = await weir.proposal(task)
    assert (proposal["kind"], proposal["choices"]) == ("budget", ["stop"])
    assert (await weir.call("POST", f"/v1/tasks/{task}/budget", "pia", APPROVERS, steps=5))[0] == 200
    assert (await weir.standing(task, "succeeded"))["text"] == "Both."
    status, reply = await weir.call("POST", "/v1/workspaces/library/tasks", goal="x", limits={"steps": 31})
    assert (status, "30 steps" in reply["error"]["message"]) == (400, True)


async def test_an_unknown_outcome_is_a_question_to_a_person(weir: Office) -> None:
    task = await weir.begin()
    before = weir.hands.run

    def lost(body: CallTool) -> dict[str, Any]:
        unknown = {"outcome": CallOutcome.UNKNOWN, "error": "the connection broke"}
        return unknown if body.tool == "send_email" else before(body)

    weir.hands.run = lost
    try:
        await weir.verdict(await weir.proposal(task))
        proposal = await weir.until(
            lambda: weir.proposal(task), lambda p: p["kind"] == "unknown")
    finally:
        weir.hands.run = before
    assert proposal["choices"] == ["done", "again", "stop"]
    assert "twice" in proposal["warning"]
    assert (await weir.call("POST", "/v1/approvals/verdicts", "pia", APPROVERS, choice="approve", verdicts=[
        {"approval": proposal["approval"], "args_hash": proposal["args_hash"]}]))[0] == 409
    assert (await weir.verdict(proposal, "done", reason="it is in the outbox"))[0] == 200
    done = await weir.task(task, lambda t: t["status"] == "succeeded" and len(t["steps"]) == 3)
    assert done["steps"][1]["calls"][0]["status"] == "succeeded"


async def test_a_fork_goes_on_after_a_step(weir: Office) -> None:
    task = await weir.begin()
    await weir.proposal(task)
    await weir.task(task, lambda t: len(t["steps"]) == 2)
    status, reply = await weir.call("POST", f"/v1/tasks/{task}/fork", step=2)
    assert (status, reply["error"]["code"]) == (409, "conflict")  # it has not ended
    assert (await weir.call("POST", f"/v1/tasks/{task}/fork", step=9))[0] == 400
    request = uuid.uuid4().hex
    weir.hands.plans[keys.task_id("library", "ann", request)] = [answer("Without a mail.")]
    status, made = await weir.call("POST", f"/v1/tasks/{task}/fork", step=1, goal="Only look", request_id=request)
    assert status == 202
    fork = await weir.standing(made["task"], "succeeded")
    assert (fork["forked_from"], fork["goal"], fork["text"]) == (task, "Only look", "Without a mail.")
    await weir.call("POST", f"/v1/tasks/{task}/cancel", reason="enough")


async def test_a_watcher_is_told_of_each_change_and_of_nothing_else(weir: Office) -> None:
    other = await weir.begin()
    async with weir.gateway.chat("ann") as owner, weir.gateway.chat("pia", APPROVERS) as approver, \
            weir.gateway.chat("stranger") as stranger:
        await approver.send(type="watch", approvals=True)
        await stranger.send(type="watch", approvals=True)
        assert [(await c.next())["type"] for c in (approver, stranger)] == ["watching", "watching"]
        task = await weir.begin()
        await owner.send(type="watch", task=task)
        told = await owner.until("approval")
        assert {m["task"] for m in told} == {task}
        assert told[0]["type"] == "watching"
        seen = (await approver.until("approval"))[-1]
        while seen["task"] != task:  # the other task's
            seen = await approver.next()
        assert seen["may_decide"] and seen["arguments"] == told[-1]["arguments"]
        assert (await weir.verdict(seen))[0] == 200
        rest = []
        while not rest or rest[-1].get("live", True):
            rest.append(await owner.next())
        assert rest[-1]["status"] == "succeeded" and rest[-1]["text"] == "The contracts were sent."
        decided = await approver.next()
        assert (decided["approval"], decided["status"]) == (seen["approval"], "approved")
        await stranger.quiet()
        await stranger.send(type="watch", task=task)
        refused = await stranger.next()
        assert (refused["type"], refused["code"], refused["task"]) == ("error", "not_found", task)
        await stranger.send(type="watch")
        assert (await stranger.next())["code"] == "bad_request"
    await weir.call("POST", f"/v1/tasks/{other}/cancel", reason="enough")


async def test_what_is_wrong_with_a_request_is_said(weir: Office) -> None:
    for body in ({"goal": "  "}, {}, {"goal": "x", "who": "me"}, {"goal": "x", "limits": {"steps": 0}}):
        status, reply = await weir.call("POST", "/v1/workspaces/library/tasks", **body)
        assert (status, reply["error"]["code"]) == (400, "bad_request"), body
    assert (await weir.call("GET", "/v1/tasks/none"))[0] == 404
    assert (await weir.call("POST", "/v1/tasks/none/cancel"))[0] == 404
    assert (await weir.call("GET", "/v1/approvals?status=other"))[0] == 400
    assert (await weir.call("GET", "/v1/usage?by=colour"))[0] == 400
    status, found = await weir.call("GET", "/v1/tools")
    assert [t["name"] for t in found["tools"]] == ["make_table", "search_documents", "send_email", "send_letter"]
    assert MAIL_PLAN[1]["calls"][0].tool == "send_email"
