"""`weir task` and `weir approvals` as a person types them, and a foreign program that decides."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.kit.tasks import APPROVERS, Office, office
from weir.settings import environment

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]
ROOT = Path(__file__).parents[2]
GOAL = "Find the contracts and email them to purchasing"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def weir(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    async with office(tmp_path_factory.mktemp("home")) as made:
        yield made


async def typed(weir: Office, *words: str, user: str = "ann", groups: tuple[str, ...] = (), code: int = 0) -> str:
    """What a command prints, or says where it fails."""
    variables = environment(weir.settings) | {"WEIR_TOKEN": weir.gateway.token(user, groups), "COLUMNS": "200"}
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-m", "cli.main", *words], cwd=ROOT, env=variables,
                                   capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


async def test_a_task_from_the_terminal(weir: Office) -> None:
    made = json.loads(await typed(weir, "task", "run", GOAL, "-w", "library", "-d", "--json"))
    task = made["task"]
    proposal = await weir.proposal(task)
    assert "send_email" in await typed(weir, "approvals", "list", user="pia", groups=APPROVERS)
    shown = await typed(weir, "approvals", "show", proposal["approval"][:8], user="pia", groups=APPROVERS)
    assert proposal["arguments"] in shown
    assert proposal["args_hash"] in shown
    refused = await typed(weir, "approvals", "approve", proposal["approval"], user="ann", groups=APPROVERS, code=1)
    assert "who asked for the task" in refused
    refused = await typed(weir, "approvals", "approve", proposal["approval"], "--hash", "0" * 64, user="pia",
                          groups=APPROVERS, code=1)
    assert "other arguments" in refused
    watching = asyncio.create_task(typed(weir, "task", "watch", task[:8]))
    await typed(weir, "approvals", "approve", proposal["approval"], "-r", "fine", user="pia", groups=APPROVERS)
    told = await watching
    assert "The contracts were sent." in told
    assert "send_email" in told
    whole = json.loads(await typed(weir, "task", "show", task, "--json"))
    assert (whole["status"], len(whole["steps"])) == ("succeeded", 3)
    await weir.until(lambda: weir.get("/v1/tasks", "ann"), lambda r: r["tasks"][0]["status"] == "succeeded")
    assert task[:8] in await typed(weir, "task", "list")
    assert "fine" in await typed(weir, "approvals", "show", proposal["approval"], user="pia", groups=APPROVERS)
    assert "has ended" in await typed(weir, "task", "message", task, "hello", code=1)
    forked = await typed(weir, "task", "fork", task, "--step", "1")
    await typed(weir, "task", "cancel", forked.split()[-1], "--reason", "enough")


async def test_a_foreign_program_reads_the_queue_and_decides(weir: Office) -> None:
    task = await weir.begin()
    variables = environment(weir.settings) | {
        "WEIR_TOKEN": weir.gateway.token("robot", APPROVERS), "WEIR_URL": weir.gateway.url,
        "WEIR_KAFKA": weir.settings.kafka_address}
    program = await asyncio.create_subprocess_exec(sys.executable, "examples/approve.py", cwd=ROOT, env={
        **os.environ, **variables}, stdout=subprocess.PIPE)
    try:
        done = await weir.task(task, lambda t: t["status"] == "succeeded" and t["notes"])
    finally:
        program.terminate()
        await program.wait()
    assert done["notes"][0]["text"] == "approve: mail within @quillmere.example"
