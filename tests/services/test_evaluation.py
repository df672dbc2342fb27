"""Golden sets and runs on the real servers: imported, marked, run, compared, gated, shown."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from lxml import etree

from cli.golden import import_file
from cli.operate import golden_sample
from schemas import topics
from schemas.events import GoldenQuestion, Workspace
from tests.kit.gateway import Gateway
from tests.kit.golden import expects, question
from tests.kit.pipeline import WORKSPACE, Pipeline
from tests.kit.rivers import (
    PUBLISHER,
    WET,
    asked,
    golden_questions,
    golden_sets,
    library,
    listed,
    open_gateway,
    versions,
)
from tests.kit.waiting import until
from weir.clock import system_clock
from weir.errors import BadRequest, NotFound, SettingsError
from weir.evaluation.compare import evaluate
from weir.evaluation.files import to_csv
from weir.evaluation.sets import GoldenSet, GoldenSets
from weir.kafka.producer import Producer
from weir.settings import environment
from weir.views.evaluations import EvaluationViews

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]
ROOT = Path(__file__).parents[2]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def weir() -> AsyncIterator[Pipeline]:
    async with library() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sets(weir: Pipeline) -> AsyncIterator[GoldenSets]:
    async with golden_sets(weir) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rivers(sets: GoldenSets) -> GoldenSet:
    return await sets.change("rivers", WORKSPACE, "eve", put=golden_questions(), reason="the first ones")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(weir: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with open_gateway(weir, tmp_path_factory.mktemp("home")) as made:
        yield made


# -- sets ---------------------------------------------------------------------------------------------------------


async def test_an_import_makes_a_version_and_the_same_import_none(weir: Pipeline, sets: GoldenSets,
                                                                  tmp_path: Path) -> None:
    path = tmp_path / "set.csv"

    async def imported(questions: list[GoldenQuestion], **options: Any) -> GoldenSet:
        path.write_text(to_csv(questions), "utf-8")
        return await import_file(weir.settings, path, "imported", WORKSPACE, "eve", **options)

    a, b = question("a", expected=[expects("d")]), question("b", unanswerable=True)
    assert (await imported([a, b])).version == 1
    assert (await imported([a, b])).version == 1, "nothing differs"
    assert [q.id for q in (await imported([replace(a, question="Who?")])).questions] == ["a", "b"]
    assert [q.id for q in (await imported([b], replace=True, reason="a was wrong")).questions] == ["b"]
    assert (await imported([a], once=True)).version == 3, "what is there is left alone"
    await until(lambda: len(sets.history("imported")) == 3)
    assert sets.get("imported", 1).questions == (a, b)
    assert sets.get("imported", 2).questions[0].question == "Who?"
    assert [(c.by, c.reason) for c in sets.history("imported")] == [("eve", ""), ("eve", ""), ("eve", "a was wrong")]
    with pytest.raises(NotFound, match="its newest is 3"):
        sets.get("imported", 4)
    with pytest.raises(BadRequest, match="is about the workspace"):
        await sets.change("imported", "elsewhere", "eve", put=[a])


async def test_the_samples_set_is_made_once(weir: Pipeline, sets: GoldenSets, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    settings = weir.settings.model_copy(update={"home": tmp_path})
    await asyncio.to_thread(golden_sample, settings)
    first = await until(lambda: sets.find("sample"))
    assert len(first.questions) == 36
    await sets.change("sample", "sample", "eve", remove=["bankfull"])
    (tmp_path / "run" / "sample-golden").unlink()
    await asyncio.to_thread(golden_sample, settings)
    assert (sets.get("sample").version, len(sets.get("sample").questions)) == (2, 35), "what people made of it stays"


async def test_changes_at_the_same_moment_all_count(weir: Pipeline, sets: GoldenSets) -> None:
    async with Producer(weir.settings) as producer:
        other = GoldenSets(weir.settings, producer, system_clock)
        await other.start()
        try:
            made = await asyncio.gather(*(
                (sets, other)[n % 2].change("busy", WORKSPACE, f"p{n}", put=[question(f"q{n}")]) for n in range(4)))
            assert sorted(s.version for s in made) == [1, 2, 3, 4]
            await until(lambda: len(other.history("busy")) == len(sets.history("busy")) == 4)
            assert {q.id for q in sets.get("busy").questions} == {"q0", "q1", "q2", "q3"}
            assert other.get("busy") == sets.get("busy")
        finally:
            await other.close()


# -- runs ---------------------------------------------------------------------------------------------------------


async def test_a_run_measures_with_the_access_that_the_set_gives(weir: Pipeline, rivers: GoldenSet) -> None:
    told: list[int] = []
    [made] = await evaluate(weir.settings, weir.producer, rivers, weir.indexes.index(), by="eve", clock=system_clock,
                            told=told.append)
    figures = {f.name: f for f in made.figures}
    assert told == list(range(1, len(rivers.questions) + 1))
    assert (made.set, made.set_version, made.set_change) == ("rivers", rivers.version, rivers.change)
    assert (made.index_version, made.live, made.model, made.verdict) == ("v1", True, "extractive", None)
    assert made.embedding.startswith("minilm-int8@") and made.ruler == made.embedding
    assert figures["recall@10"].value > 0.95
    assert figures["hit@1"].value > 0.9
    assert (figures["withheld"].value, figures["refused"].value) == (1.0, 1.0)
    assert figures["gold_in_cited"].value > 0.7
    assert 0.3 < figures["similarity"].value <= 1.0
    assert "supported" not in figures, "quotes are supported by construction"
    assert all(f.low <= f.value <= f.high for f in made.figures)
    assert {"embed", "keyword", "dense", "retrieval", "total"} <= {s.name for s in made.stages}
    by_id = {q.id: q for q in made.questions}
    assert not [q.id for q in made.questions if q.outcome == "failed" or q.notices]
    assert by_id["reserve-board"].found[0].document == "reserve"
    assert "4.2 million pounds" in by_id["reserve-board"].answer
    assert "4.2" not in by_id["reserve-reader"].answer
    assert "reserve" not in [f.document for f in by_id["reserve-reader"].found]
    views = EvaluationViews(weir.es, weir.settings)
    assert await views.wait(made.run) == made
    found = await until(lambda: listed(views, made.run))
    assert found == [replace(made, questions=[])]


async def test_the_gate_refuses_a_version_that_finds_less_and_lets_its_equal_through(weir: Pipeline,
                                                                                     rivers: GoldenSet) -> None:
    async def compared(**recipe: float) -> Any:
        return await evaluate(weir.settings, weir.producer, rivers, versions(weir, **recipe), "v2", by="eve",
                              clock=system_clock)

    live, worse = await compared(depth=1, windows=1)
    assert (live.against, worse.against, worse.live) == ("", live.run, False)
    main = next(d for d in worse.differences if d.name == "recall@10")
    assert main.value < -0.15 and main.high < 0 and main.p_worse < 0.01
    assert not worse.verdict.passed
    assert "significantly worse" in worse.verdict.reasons[0]
    assert worse.recipe == {"depth": 1.0, "windows": 1.0}
    _, equal = await compared()
    assert equal.verdict.passed, equal.verdict
    assert all(d.value == 0 for d in equal.differences)
    with pytest.raises(NotFound, match="has no version v3"):
        await evaluate(weir.settings, weir.producer, rivers, versions(weir), "v3", by="eve", clock=system_clock)


async def test_a_recipe_is_tried_beside_the_live_one_over_what_the_workspace_says(weir: Pipeline, rivers: GoldenSet
                                                                                 ) -> None:
    topic = weir.topic(topics.WORKSPACES)
    said = Workspace(workspace=WORKSPACE, changed_at=0, changed_by="eve", recipe={"expand": 1.0})
    await weir.producer.send(topic, WORKSPACE, said)
    few = replace(rivers, questions=[q for q in rivers.questions if q.id.startswith("discharge")])
    try:
        live, tried = await evaluate(weir.settings, weir.producer, few, weir.indexes.index(), by="eve",
                                     clock=system_clock, recipe={"min_cosine": 1})
        assert (live.index_version, live.recipe, live.live) == ("v1", {"expand": 1.0}, True)
        assert (tried.index_version, tried.live) == ("v1 min_cosine=1", False)
        assert tried.recipe == {"expand": 1.0, "min_cosine": 1.0}
        assert all(q.outcome == "not_in_sources" and not q.found for q in tried.questions)
        assert all(q.rank == 1 for q in live.questions)
        with pytest.raises(SettingsError, match="names dept"):
            await evaluate(weir.settings, weir.producer, few, weir.indexes.index(), by="eve", clock=system_clock,
                           recipe={"dept": 1})
    finally:
        await weir.producer.send(topic, WORKSPACE, None)


@asynccontextmanager
async def language_model() -> AsyncIterator[str]:
    """The address of a model that answers everything in two sentences, cites one, and judges that as not relevant."""
    async def complete(request: web.Request) -> web.Response:
        if not (await request.json()).get("stream"):
            said = {"role": "assistant", "content": None, "tool_calls": [{
                "id": "c", "type": "function", "function": {"name": "verdict", "arguments": json.dumps(
                    {"faithful": True, "relevant": False, "why": "it only greets"})}}]}
            return web.json_response({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [
                {"index": 0, "message": said, "finish_reason": "tool_calls"}]})
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        text = "The river Ald has a mean discharge of 3.5 cubic metres per second [1]. The weather was very fine today."
        chunks = [{"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]},
                  {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
        return web.Response(content_type="text/event-stream", text="".join(
            f"data: {json.dumps(chunk | c)}\n\n" for c in chunks) + "data: [DONE]\n\n")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def test_a_language_models_answers_are_measured_and_judged(weir: Pipeline, here: Gateway,
                                                                 sets: GoldenSets) -> None:
    turn = await asked(here, WET.format("Ald"))
    status, _ = await here.call("POST", f"/v1/turns/{turn}/golden", json={"good": True, "set": "judged"}, **PUBLISHER)
    assert status == 201
    async with language_model() as url:
        settings = weir.settings.model_copy(update={"model": "openai:m", "model_url": url})
        [made] = await evaluate(settings, weir.producer, sets.get("judged"), weir.indexes.index(), by="eve",
                                clock=system_clock)
    [found] = made.questions
    assert (made.model, made.judge, made.judge_prompt) == ("openai:m", "openai:m", "judge-1")
    assert (found.figures["supported"], found.figures["cited"]) == (0.5, 1.0)
    assert (found.figures["faithful"], found.figures["relevant"], found.why) == (1.0, 0.0, "it only greets")
    assert made.agreement is not None
    assert (made.agreement.marks, made.agreement.agreed) == (1, 0.0), "the person had marked an answer as good"


async def test_from_the_terminal(weir: Pipeline, rivers: GoldenSet, tmp_path: Path) -> None:
    async def typed(*words: str, code: int = 0) -> str:
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-m", "cli.main", *words], cwd=ROOT, capture_output=True, text=True,
            env=environment(weir.settings) | {"COLUMNS": "200"}, timeout=120, check=False)
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    path = tmp_path / "few.csv"
    path.write_text(to_csv(rivers.questions[12:14]), "utf-8")
    assert "few version 1 has 2 questions" in await typed("golden", "import", str(path), "-s", "few", "-w", WORKSPACE)
    assert await typed("golden", "export", "few") == path.read_text("utf-8")
    assert "imported from few.csv" in await typed("golden", "list")
    assert "no golden set 'none'" in await typed("golden", "show", "none", code=1)
    told = await typed("eval", "run", "-s", "few", "-o", str(tmp_path / "run.svg"))
    assert "recall@10" in told and "discharge-Ald" in told
    assert etree.parse(tmp_path / "run.svg").getroot().tag.endswith("svg")
    views, run = EvaluationViews(weir.es, weir.settings), told.partition("run ")[2][:8]
    await until(lambda: listed(views, run))
    assert "discharge-Ald" in await typed("eval", "show", run)
