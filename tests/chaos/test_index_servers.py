"""An index changes its model while every server is killed and comes back under its supervisor."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.kit.model_change import change_the_model
from tests.kit.servers import LocalWeir
from tests.kit.system import free_ports, system

LONG = os.environ.get("WEIR_CHAOS") == "long"
SEED = int(os.environ.get("WEIR_CHAOS_SEED", "11"))

pytestmark = pytest.mark.timeout(7200 if LONG else 900)
"""Not marked `chaos`: it needs no servers but its own."""

PROCESSES = ("streams.documents", "streams.embeddings", "consumers.vectors", "consumers.keywords", "consumers.views",
             "streams.answers")
SERVERS = ("kafka", "elasticsearch", "milvus", "triton")
AT_ONCE = {"build": SERVERS, "cutover": ("kafka", "triton")}
"""Killed together in the short form; the long one kills all one by one each time."""


async def test_an_index_changes_its_model_whichever_server_is_restarted(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    own = LocalWeir(tmp_path / "servers", free_ports(), servers_only=True)
    own.settings = own.settings.model_copy(update={
        "triton_threads": 1, "kafka": "", "elasticsearch": "", "milvus": "", "triton": "",
        "milvus_password_file": None})
    try:
        await asyncio.to_thread(own.start)
        async with system(tmp_path / "weir", own.settings, start=False, answer_timeout=30.0) as made:
            await made.start(*PROCESSES)

            async def strike(command: str) -> None:
                one_by_one = [(name,) for name in chance.sample(SERVERS, len(SERVERS))]
                for struck in one_by_one if LONG else [AT_ONCE[command]]:
                    await asyncio.sleep(chance.uniform(0.0, 1.5))
                    pids = {name: own.kill(name) for name in struck}
                    for name, pid in pids.items():
                        await asyncio.to_thread(own.until_replaced, name, pid)

            over = asyncio.Event()

            async def revive() -> None:
                """A process may end by what it cannot bear: its supervisor would start it again."""
                while not over.is_set():
                    made.revive()
                    await asyncio.sleep(1.0)

            reviving = asyncio.create_task(revive())
            try:
                await change_the_model(made, strike, SEED, back=LONG)
            finally:
                over.set()
                await reviving
    finally:
        await asyncio.to_thread(own.stop)
