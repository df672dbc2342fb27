"""What a workspace and a question may say of how they are searched, over the whole way from the gateway and back."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from elasticsearch import AsyncElasticsearch, ConnectionTimeout
from rich.console import Console

from cli.explain import show
from schemas.events import Filter, FilterOp
from tests.kit.agreements import ADMIN, LAWYER, PUBLISHER, agreements
from tests.kit.answers import READER
from tests.kit.gateway import Gateway
from tests.kit.pipeline import WORKSPACE, Pipeline
from tests.kit.waiting import until
from weir.errors import Unavailable
from weir.retrieval.pipeline import Retriever

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]

WHEN = "Which contracts signed after March 2026 say how long the notice is?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Pipeline, Gateway]]:
    async with agreements(tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture(scope="module")
def weir(both: tuple[Pipeline, Gateway]) -> Pipeline:
    return both[0]


@pytest.fixture(scope="module")
def here(both: tuple[Pipeline, Gateway]) -> Gateway:
    return both[1]


async def search(here: Gateway, question: str, who: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    status, found = await here.call("POST", "/v1/search", json={
        "workspace": WORKSPACE, "question": question, "explain": True, **more}, **(who or {"user": "rob"}))
    assert status == 200, found
    return dict(found)


async def ask(here: Gateway, question: str, **more: Any) -> dict[str, Any]:
    async with here.chat("rob") as chat:
        await chat.ask(question, **more)
        done = (await chat.rest())[-1]
    assert done["type"] == "done", done
    return dict(done)


async def settle(here: Gateway, recipe: dict[str, float]) -> None:
    """The workspace says this of its recipe, and whoever answers knows it."""
    status, put = await here.call("PUT", f"/v1/workspaces/{WORKSPACE}", json={"recipe": recipe}, **ADMIN)
    assert status == 200 and put["recipe"] == recipe, put

    async def known() -> bool:
        told = (await search(here, "pump"))["explain"]
        return {name for name, by in told["origin"].items() if by == "workspace"} == recipe.keys()

    await until(known, what="the recipe to be known to the answers worker")


@pytest_asyncio.fixture(loop_scope="module")
async def workspace(here: Gateway) -> AsyncIterator[Any]:
    """Sets the workspace's recipe; afterwards it has none."""
    yield lambda **recipe: settle(here, recipe)
    await settle(here, {})


def documents(found: dict[str, Any]) -> set[str]:
    return {s["document"] for s in found["sources"]}


async def test_a_condition_in_plain_words_narrows_is_shown_and_can_be_taken_away(here: Gateway) -> None:
    found = await search(here, WHEN)
    assert documents(found) == {"thornlea"}
    shown = "Only where signed is 2026-04-01 or later."
    assert found["filters"] == [{"said": "signed after March 2026", "shown": shown}] and found["notices"] == [shown]
    told = found["explain"]
    assert told["searched"] == "Which contracts say how long the notice is?"
    assert told["filters"] == [{"field": "signed", "op": "gte", "values": ["2026-04-01"],
                                "said": "signed after March 2026"}]
    free = await search(here, WHEN, without=[found["filters"][0]["said"]])
    assert free["filters"] == [] and {"thornlea", "brackwater"} <= documents(free)
    done = await ask(here, "How many days is the written notice of an agreement signed after March 2026?")
    assert done["filters"] == found["filters"] and documents(done) == {"thornlea"}
    assert "90 days" in done["text"] and "60 days" not in done["text"]


async def test_a_condition_never_shows_more_than_a_person_may_read(here: Gateway) -> None:
    assert documents(await search(here, WHEN, LAWYER)) == {"thornlea", "marlow"}
    versions = await search(here, "notice in versions above 2.9")
    assert documents(versions) == {"thornlea"}, "2.10 is above 2.9"
    assert versions["explain"]["filters"][0]["values"] == ["2.10"], "the reader does not learn of 3.0"
    lawyer = await search(here, "notice in versions above 2.9", LAWYER)
    assert documents(lawyer) == {"thornlea", "marlow"}
    own = [{"field": "kind", "op": "eq", "values": ["memo"]}]
    assert documents(await search(here, WHEN, LAWYER, filters=own)) == {"marlow"}, "all conditions must hold"
    assert documents(await search(here, "notice with kind memo")) == {"thornlea", "brackwater", "handbook"}, (
        "a value that only others may read means nothing")
    assert documents(await search(here, "notice in versions above 9.0")) == set()


async def test_a_client_s_filter_may_compare_versions(here: Gateway) -> None:
    for op, expected in (("gte", {"thornlea"}), ("lte", {"thornlea", "brackwater"})):
        low = [{"field": "version", "op": op, "values": ["2.10"]}]
        assert documents(await search(here, "notice", filters=low)) == expected


async def test_a_workspace_switches_conditions_off(here: Gateway, workspace: Any) -> None:
    await workspace(plain_filters=0)
    assert (await search(here, WHEN))["filters"] == []
    on = await search(here, WHEN, recipe={"plain_filters": 1})
    assert documents(on) == {"thornlea"} and on["explain"]["origin"] == {"plain_filters": "question"}


async def test_nonsense_is_refused_where_it_is_said(here: Gateway) -> None:
    put = await here.call("PUT", f"/v1/workspaces/{WORKSPACE}", json={"recipe": {"dense": 1}}, **ADMIN)
    assert put[0] == 400 and "the recipe names dense" in put[1]["error"]["message"]
    for recipe, why in (({"depth": 900}, "between 10 and 400"), ({"fetch": 9}, "not for a question")):
        status, said = await here.call("POST", "/v1/search", user="rob", json={
            "workspace": WORKSPACE, "question": "notice", "recipe": recipe})
        assert status == 400 and why in said["error"]["message"]


async def test_types_headings_and_dates_move_passages(here: Gateway, workspace: Any) -> None:
    plain = await search(here, "days of notice and leave")
    boosted = await search(here, "days of notice and leave", recipe={"type_boost.handbook": 3})
    assert boosted["sources"][0]["document"] == "handbook"
    first = boosted["explain"]["ranking"][0]
    assert first["boosts"] == {"type": 3.0} and first["document"] == "handbook"
    assert [r["boosts"] for r in plain["explain"]["ranking"]] == [{}] * len(plain["explain"]["ranking"])
    newest = await search(here, "written notice", recipe={"recency_weight": 3, "half_life.signed": 365})
    oldest = await search(here, "written notice", recipe={"dense_weight": 0.5})
    assert newest["sources"][0]["document"] == "thornlea"
    assert {r["document"]: r["boosts"].get("recency", 0) for r in newest["explain"]["ranking"]}["handbook"] == 0
    assert not any(r["boosts"] for r in oldest["explain"]["ranking"])
    heading = await search(here, "payment", recipe={"heading_boost": 3})
    assert heading["sources"][0]["heading_path"][-1] == "Payment"
    await workspace(**{"dense_weight": 1, "dense_weight.contract": 0})
    weighed = (await search(here, "written notice"))["explain"]
    assert {r["document"]: r["dense_weight"] for r in weighed["ranking"]} == {
        "thornlea": 0, "brackwater": 0, "handbook": 1}


async def test_below_the_minimum_weir_does_not_know(here: Gateway, workspace: Any) -> None:
    question = "How many days of notice end the Thornlea agreement?"
    assert "90 days" in (await ask(here, question))["text"]
    done = await ask(here, question, recipe={"min_cosine": 0.99})
    assert (done["outcome"], done["sources"]) == ("not_in_sources", [])
    assert done["notices"] == ["What was found does not reach the minimum score that this workspace asks for."]
    some = await search(here, question, recipe={"min_score": 0})
    assert 0 < len(some["sources"]) < len(some["explain"]["ranking"])
    assert {r["left_out"] for r in some["explain"]["ranking"] if r["score"] < 0} == {"below the minimum"}
    await workspace(min_score=100)
    assert (await ask(here, question))["outcome"] == "not_in_sources"


async def test_a_budget_in_tokens_drops_what_does_not_fit_and_says_so(here: Gateway) -> None:
    question = "How many days of notice end the agreement?"
    whole = await search(here, question, recipe={"context_tokens": 2000})
    small = await search(here, question, recipe={"context_tokens": 50})
    assert sum(len(s["text"]) for s in whole["sources"]) > 200 >= sum(len(s["text"]) for s in small["sources"]) > 0
    assert "over the budget" in {r["left_out"] for r in small["explain"]["ranking"]}


async def test_the_parts_of_a_question_are_found_and_answered_one_by_one(here: Gateway) -> None:
    question = ("How many days of notice end the Brackwater agreement, and how many days of annual leave do employees "
                "have?")
    done = await ask(here, question, recipe={"decompose": 1}, explain=True)
    assert "60 days" in done["text"] and "twenty-seven days" in done["text"]
    cited = {c["source"] for c in done["citations"]}
    assert {s["document"] for s in done["sources"] if s["number"] in cited} == {"brackwater", "handbook"}
    for c in done["citations"]:
        source = next(s for s in done["sources"] if s["number"] == c["source"])
        assert done["text"][c["start"]:c["end"]] == source["text"][c["quote_start"]:c["quote_end"]]
    assert [part["query"] for part in done["explain"]["parts"]] == [
        "How many days of notice end the Brackwater agreement?", "how many days of annual leave do employees have?"]
    half = await ask(here, "How many days of annual leave do employees have, and who won the world cup of 1998?",
                     recipe={"decompose": 1})
    assert "twenty-seven" in half["text"] and "do not say: “who won the world cup of 1998?”" in half["text"]
    none = await ask(here, "Who won the world cup of 1998, and who invented the zip fastener?", recipe={"decompose": 1})
    assert none["outcome"] == "not_in_sources"


async def test_an_ambiguous_question_is_asked_back(here: Gateway) -> None:
    question = "How many days is the notice?"
    assert (await ask(here, question))["choices"] == []
    done = await ask(here, question, recipe={"clarify": 1})
    assert done["choices"] == [f"How many days is the notice ({name} agreement)?" for name in (
        ("Thornlea", "Brackwater") if done["text"].index("Thornlea") < done["text"].index("Brackwater") else
        ("Brackwater", "Thornlea"))]
    chosen = next(c for c in done["choices"] if "Brackwater" in c)
    assert "60 days" in (await ask(here, chosen, recipe={"clarify": 1}))["text"]


async def test_the_terminal_shows_the_whole_way(here: Gateway) -> None:
    recipe = {"context_tokens": 50, "type_boost.contract": 1, "expand": 1}
    found = await search(here, "how many days is the notice of agreements signed after 2023", recipe=recipe)
    console = Console(record=True, width=200, file=io.StringIO())
    show(console, found)
    told = console.export_text()
    for line in ("signed is at least 2024-01-01", "context_tokens (by the question)", "what each store found",
                 "Thornlea agreement > Notice", "type +1.00", "over the budget", "[1]", "ms in all"):
        assert line in told, told
    parts = await search(here, "What is the notice of Thornlea, and how long is annual leave?", recipe={"decompose": 1})
    show(console, parts)
    assert "part how long is annual leave?" in console.export_text()


async def test_a_follow_up_is_searched_as_it_was_typed_where_the_recipe_says_so(weir: Pipeline, here: Gateway) -> None:
    first = await ask(here, "How many days of notice end the Thornlea agreement?")
    assert await here.services.turns.wait(first["answer"], 30)
    follow = {"conversation": first["conversation"], "follows": first["answer"], "explain": True}
    whole = await ask(here, "And Brackwater?", **follow)
    assert whole["explain"]["rewritten"] == "How many days of notice end the Brackwater agreement?"
    assert whole["explain"]["asked"] == "And Brackwater?" and "60 days" in whole["text"]
    typed = await ask(here, "And Brackwater?", recipe={"rewrite": 0}, **follow)
    assert typed["explain"]["rewritten"] == typed["explain"]["asked"] == "And Brackwater?"


async def test_expansion_and_depth_are_switched_by_the_recipe(here: Gateway) -> None:
    plain = await search(here, "annual leave of 27 days")
    assert plain["explain"]["also"] == "" and plain["explain"]["depth"] == 200
    more = await search(here, "compare 14 days", recipe={"expand": 1, "adaptive_depth": 1})
    assert (more["explain"]["also"], more["explain"]["depth"]) == ("fourteen", 400)


async def test_an_explanation_names_no_document_that_was_closed_a_moment_ago(weir: Pipeline, here: Gateway) -> None:
    before = await search(here, "written notice")
    listed = {r["document"] for lists in before["explain"]["lists"].values() for r in lists}
    assert {"thornlea", "brackwater"} <= listed and "marlow" not in listed
    await weir.stop("consumers.keywords", "consumers.vectors")
    try:
        await here.call("POST", f"/v1/workspaces/{WORKSPACE}/documents", **PUBLISHER, json={
            "document": "brackwater", "content": "Closed.", "media_type": "text/plain", "groups": ["legal"]})

        async def closed() -> bool:
            found = await search(here, "written notice")
            return "brackwater" not in str(found["sources"])

        await until(closed, what="the access view")
        assert "brackwater" not in str((await search(here, "written notice"))["explain"]).lower()
    finally:
        weir.start("consumers.keywords", "consumers.vectors")


async def test_without_the_fields_a_question_is_searched_as_it_is_and_says_so(weir: Pipeline) -> None:
    class Blind(AsyncElasticsearch):
        """Reads everything but what is counted."""

        async def search(self, **asked: Any) -> Any:
            if "aggs" in asked:
                raise ConnectionTimeout("too slow")
            return await super().search(**asked)

        def options(self, **_: Any) -> Any:
            return self

    es = Blind(weir.settings.elasticsearch_urls)
    live = weir.indexes.live()
    retriever = Retriever(weir.settings, es, weir.milvus, weir.views, lambda _: ("main", live))
    try:
        for _ in range(2):
            found = await retriever.retrieve(WORKSPACE, WHEN, READER)
            assert found.filters == [] and len(found.sources) > 2
            assert [n for n in found.notices if n.startswith("Conditions in the question were not read")]
        ranged = [Filter(field="version", op=FilterOp.GTE, values=["2.9"])]
        with pytest.raises(Unavailable):
            await retriever.retrieve(WORKSPACE, "notice", READER, ranged)
    finally:
        await retriever.close()
        await es.close()
