"""`weir turn show` and `replay`: what somebody was answered, from which passages, and what it would be now."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from schemas import topics
from schemas.events import Audit, Person
from tests.kit.answers import Asker, turn_of
from tests.kit.pipeline import ANSWERING, INGEST, Pipeline, pipeline
from weir.answers.past import content_hash
from weir.blobs import Blobs
from weir.kafka.follow import read_all
from weir.kafka.records import Decoder
from weir.settings import environment
from weir.stores import elasticsearch_errors
from weir.views.turns import TurnViews, turns_index

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]

ROOT = Path(__file__).parents[2]
QUESTION = "How many days of notice end the Thornlea agreement?"
NOTICE = "Either party may end the Thornlea agreement with {} days' written notice."
PERSON = Person(subject="reader", groups=["everyone"])


def contract(days: str) -> str:
    return f"# Thornlea enclosures\n\n## Notice\n\n{NOTICE.format(days)}\n\n## Price\n\nEach enclosure costs 41 euros."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def library() -> AsyncIterator[Pipeline]:
    async with pipeline() as made:
        made.start(*INGEST, *ANSWERING, "streams.watchdog")
        sent = await made.publish("thornlea.md", contract("ninety"), media_type="text/markdown", groups=["everyone"])
        await made.searchable("thornlea.md", sent.offset)
        yield made
        await made.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def answered(library: Pipeline) -> str:
    async with Asker(library.settings, library.producer) as asker:
        first = await asker.ask(QUESTION, conversation="talk")
        await asker.ended(first)
        await asker.ended(await asker.ask("And the price?", conversation="talk", follows=first))
    await turn_of(TurnViews(library.es, library.settings), first)
    return first


async def typed(made: Pipeline, *words: str, code: int = 0) -> str:
    """What a command prints, or says where it fails."""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "cli.main", *words], cwd=ROOT, capture_output=True, text=True,
        env=environment(made.settings) | {"COLUMNS": "200"}, timeout=120, check=False)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stderr if code else done.stdout


async def plain(made: Pipeline, *words: str) -> Any:
    return json.loads(await typed(made, *words, "--json"))


async def test_a_turn_is_shown_as_it_was_with_its_passages(library: Pipeline, answered: str) -> None:
    shown = await plain(library, "turn", "show", answered)
    assert (shown["question"], shown["person"], shown["outcome"]) == (QUESTION, "reader", "answered")
    cited = next(s for s in shown["sources"] if s["cited"])
    assert NOTICE.format("ninety") in cited["text"]
    assert cited["sha256"] == content_hash(cited["text"]) and len(cited["sha256"]) == 64
    assert cited["today"] == "as it is today"
    told = await typed(library, "turn", "show", answered)
    assert QUESTION in told and "ninety" in told and cited["sha256"][:12] in told
    assert "no turn 'nothing'" in await typed(library, "turn", "show", "nothing", code=1)


async def test_the_same_passages_give_the_same_answer(library: Pipeline, answered: str) -> None:
    again = await plain(library, "turn", "replay", answered)
    assert again["differs"] is False, again["differences"]
    assert again["now"]["text"] == again["then"]["text"]
    assert again["now"]["citations"] == again["then"]["citations"]
    assert "nothing differs" in await typed(library, "turn", "replay", answered)


async def test_today_says_what_has_changed_and_the_turn_does_not(library: Pipeline, answered: str) -> None:
    sent = await library.publish("thornlea.md", contract("sixty"), media_type="text/markdown", groups=["everyone"])
    await library.searchable("thornlea.md", sent.offset)
    again = await plain(library, "turn", "replay", answered, "--today")
    assert again["differs"] and "sixty" in again["now"]["text"] and "ninety" in again["then"]["text"]
    assert again["differences"]["gone"] and again["differences"]["new"]
    assert any(line.startswith("+ ") and "sixty" in line for line in again["differences"]["text"])
    assert (await plain(library, "turn", "replay", answered))["differs"] is False
    shown = await plain(library, "turn", "show", answered)
    assert {s["today"] for s in shown["sources"]} == {"replaced since"}
    told = await typed(library, "turn", "replay", answered, "--today")
    assert "+ passage" in told and "- passage" in told

    gone = await library.publish("thornlea.md", contract("sixty"), media_type="text/markdown", groups=["board"])
    await library.searchable("thornlea.md", gone.offset)
    hidden = await plain(library, "turn", "replay", answered, "--today")
    assert hidden["now"]["sources"] == [] and hidden["now"]["outcome"] == "not_in_sources"


async def test_the_log_gives_a_turn_back_that_the_view_has_lost(library: Pipeline, answered: str) -> None:
    with elasticsearch_errors("removing a turn"):
        await library.es.delete(index=turns_index(library.settings), id=answered, refresh=True)
    assert (await plain(library, "turn", "show", answered))["question"] == QUESTION


async def test_looking_is_written_down(library: Pipeline, answered: str) -> None:
    await typed(library, "turn", "show", answered)
    decoder = Decoder(library.settings, Blobs(library.settings))
    raws = await asyncio.to_thread(read_all, library.settings, library.topic(topics.AUDIT))
    events = [record.event for raw in raws if (record := decoder.now(raw))]
    assert ("turn.show", answered) in {(e.action, e.target) for e in events if isinstance(e, Audit)}
