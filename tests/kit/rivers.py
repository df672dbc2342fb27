"""A small library of rivers with a golden set, for the tests of evaluations."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from schemas.events import Evaluation, GoldenQuestion, Index
from tests.kit.gateway import Gateway, gateway, gateway_settings
from tests.kit.golden import expects, question
from tests.kit.pipeline import ANSWERING, INGEST, WORKSPACE, Pipeline, pipeline
from tests.kit.waiting import until
from weir.clock import system_clock
from weir.evaluation.sets import GoldenSets
from weir.views.evaluations import EvaluationViews

RIVERS = ("Ald", "Brim", "Coll", "Dove", "Esk", "Frome", "Gade", "Hodder")
SECRET = "The reserve of the Hodder is 4.2 million pounds."
WET = "What is the mean discharge of the river {}?"
PUBLISHER: dict[str, Any] = {"user": "pia", "groups": ("publishers",)}


def text_of(place: int, river: str) -> str:
    return (f"The river {river} has a mean discharge of {place + 3}.5 cubic metres per second. Its gauge stands "
            f"at the bridge of {river}ham and is read every {place + 2} minutes.")


def golden_questions() -> list[GoldenQuestion]:
    """Twelve that need three documents each, one for each river, one for a group, and two that must be refused."""
    three = [question(f"gauges-{n}", f"Where do the gauges of the rivers {a}, {b} and {c} stand?", kind="several",
                      expected=[expects(r.lower(), f"bridge of {r}ham") for r in (a, b, c)])
             for n, (a, b, c) in enumerate(itertools.islice(itertools.combinations(RIVERS, 3), 12))]
    one = [question(f"discharge-{r}", WET.format(r), answers=[f"{n + 3}.5 cubic metres per second"],
                    expected=[expects(r.lower(), "mean discharge")]) for n, r in enumerate(RIVERS)]
    asked = "How large is the reserve of the Hodder?"
    return [*three, *one,
            question("reserve-board", asked, groups=["board"], clearance=2, expected=[expects("reserve")],
                     answers=["4.2 million pounds"]),
            question("reserve-reader", asked, never=["reserve"]),
            question("world-cup", "Who won the football world championship in 1998?", unanswerable=True)]


@asynccontextmanager
async def library() -> AsyncIterator[Pipeline]:
    """All processes of documents and answers, and the documents searchable."""
    async with pipeline() as made:
        made.start(*INGEST, *ANSWERING)
        sent = [(r.lower(), await made.publish(r.lower(), text_of(n, r), title=f"River {r}"))
                for n, r in enumerate(RIVERS)]
        sent.append(("reserve", await made.publish("reserve", SECRET, title="Reserve", groups=["board"], clearance=2)))
        for document, delivery in sent:
            await made.searchable(document, delivery.offset)
        yield made


@asynccontextmanager
async def golden_sets(weir: Pipeline) -> AsyncIterator[GoldenSets]:
    made = GoldenSets(weir.settings, weir.producer, system_clock)
    await made.start()
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def open_gateway(weir: Pipeline, home: Path) -> AsyncIterator[Gateway]:
    """A gateway where Pia publishes and can sign in."""
    (home / "people.json").write_text(json.dumps([
        {"user": "pia", "name": "Pia Publisher", "groups": ["publishers"]}]))
    async with gateway(gateway_settings(weir.settings, home)) as made:
        await made.call("PUT", f"/v1/workspaces/{WORKSPACE}", json={"title": "Rivers"}, user="adam",
                        groups=("weir-admins",))
        yield made


def versions(weir: Pipeline, **recipe: float) -> Index:
    """The index with a second version over the same stores, asked by another recipe."""
    index = weir.indexes.index()
    [live] = index.versions
    return replace(index, versions=[live, replace(live, name="v2", recipe=recipe)])


async def listed(views: EvaluationViews, run: str) -> list[Evaluation]:
    """The run among the latest ones, which are a second behind."""
    return [e for e in await views.latest() if e.run.startswith(run)]


async def asked(here: Gateway, text: str, user: str = "pia", groups: tuple[str, ...] = ("publishers",)) -> str:
    """The turn of an answer, once it can be read."""
    async with here.chat(user, groups) as chat:
        await chat.ask(text)
        done = (await chat.rest())[-1]
    assert done["type"] == "done", done

    async def there() -> bool:
        return (await here.call("GET", f"/v1/turns/{done['answer']}", user=user, groups=groups))[0] == 200

    await until(there, what="the turn")
    return str(done["answer"])
