"""The sample task from the first word to the mail: found, compared, shown, approved after everything was killed."""

from __future__ import annotations

import asyncio
import shutil
import time
import uuid
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cli.ingest import library
from infra.local.mail import Post
from tests.kit.system import NAMES, ROOT, TASKS, System, system
from weir import identity

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

SAMPLE = ROOT / "sample"
GOAL = ("Compare the three supplier contracts on price, term, notice and liability in a table and email it to "
        "purchasing")
CONTRACTS = (("Brackwater", "€212.50", "36 months", "six months", "€1,500,000"),
             ("Thornlea", "£38.40", "24 months", "90 days", "£500,000"),
             ("Nordhavn", "€1.90", "12 months", "30 days", "twelve months before the claim"))
"""Price, term, notice and liability as the sample's contracts have them."""
PATIENCE = 180.0
MAIL = "infra.local.mail"
ALL = (*NAMES, *sorted(TASKS - {MAIL}))


class Person:
    def __init__(self, made: System, user: str, session: aiohttp.ClientSession) -> None:
        self._made, self._user, self._session = made, user, session

    async def call(self, method: str, path: str, **body: Any) -> Any:
        token = identity.issue_for(self._made.settings, self._user)
        async with self._session.request(method, self._made.settings.gateway_url + path, json=body or None,
                                         headers={"Authorization": f"Bearer {token}"}) as reply:
            return await reply.json() if reply.content_type == "application/json" else await reply.read()

    async def until(self, path: str, holds: Any) -> Any:
        end, last = time.monotonic() + PATIENCE, None
        while time.monotonic() < end:
            try:
                last = await self.call("GET", path)
                if holds(last):
                    return last
            except (aiohttp.ClientError, KeyError):
                pass
            await asyncio.sleep(0.3)
        raise AssertionError(f"{path} did not get there: {last}")


async def test_the_sample_task_sends_exactly_one_mail_though_everything_was_killed(tmp_path: Path) -> None:
    async with system(tmp_path, start=False) as made, aiohttp.ClientSession() as session:
        made.launch(MAIL)
        await made.start(*ALL)
        shutil.copy(SAMPLE / "people.json", made.settings.home)
        assert await asyncio.to_thread(library, made.settings, SAMPLE / "library.json") == 0
        owner, decides = Person(made, "purchasing", session), Person(made, "approver", session)
        await owner.until("/v1/tools", lambda r: {"make_table", "send_email"} <= {t["name"] for t in r["tools"]})
        begun = await owner.call("POST", "/v1/workspaces/sample/tasks", goal=GOAL, request_id=uuid.uuid4().hex)
        task = begun["task"]
        waiting = await owner.until(f"/v1/tasks/{task}", lambda t: t["status"] == "deciding" and t["proposals"] and {
            "make_table", "send_email"} <= {c["tool"] for s in t["steps"] for c in s["calls"]})
        tables = [a["name"] for a in waiting["artefacts"]]
        assert tables, waiting
        shown = (await owner.call("GET", f"/v1/tasks/{task}/artefacts/{tables[0]}")).decode()
        for supplier, *values in CONTRACTS:
            row = next(line for line in shown.splitlines() if supplier in line)
            assert all(value in row for value in values), row
        assert mails(made) == []

        for name in (MAIL, *ALL):
            made.kill(name)
        made.launch(MAIL)
        await made.start(*ALL)
        [proposal] = (await decides.until("/v1/approvals", lambda r: r["approvals"]))["approvals"]
        assert (proposal["task"], proposal["tool"]) == (task, "send_email")
        reply = await decides.call("POST", f"/v1/approvals/{proposal['approval']}/verdict", choice="approve",
                                   args_hash=proposal["args_hash"], reason="the table is right")
        assert reply.get("accepted"), reply
        done = await owner.until(f"/v1/tasks/{task}", lambda t: not t["live"] and t["steps"])
        assert done["status"] == "succeeded", done
        [mail] = mails(made)
        assert "purchasing" in str(mail["To"])
        assert [part.get_filename() for part in mail.iter_attachments()] or "Brackwater" in str(mail)


def mails(made: System) -> list[EmailMessage]:
    """What the local mail server has received."""
    return [mail for _, mail in Post(made.settings.maildir).newest()]
