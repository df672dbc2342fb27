"""An index changes its model while every process that has a part in it is killed, the operator's commands too."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.kit.model_change import change_the_model
from tests.kit.system import system

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

LONG = os.environ.get("WEIR_CHAOS") == "long"
SEED = int(os.environ.get("WEIR_CHAOS_SEED", "11"))
PROCESSES = ("streams.documents", "streams.embeddings", "consumers.vectors", "consumers.keywords", "consumers.views",
             "streams.answers")
ROUNDS = {"build": (("streams.documents", "consumers.vectors", "streams.answers"),
                    ("streams.embeddings", "consumers.keywords", "consumers.views")),
          "cutover": (PROCESSES,)}
"""Killed together in the short form; the long one kills all one by one each time."""


async def test_an_index_changes_its_model_whichever_process_is_killed(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    async with system(tmp_path, start=False, answer_timeout=30.0) as made:
        await made.start(*PROCESSES)

        async def strike(command: str) -> None:
            one_by_one = [(name,) for name in chance.sample(PROCESSES, len(PROCESSES))]
            for struck in one_by_one if LONG else ROUNDS[command]:
                await asyncio.sleep(chance.uniform(0.0, 1.5))
                for name in struck:
                    made.kill(name)
                await made.start(*struck)

        await change_the_model(made, strike, SEED, back=LONG)
