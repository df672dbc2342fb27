"""Golden sets and runs on the real servers: imported, marked, run, compared, gated, shown."""

from __future__ import annotations

import asyncio
import itertools
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
from lxml import etree
from playwright.async_api import Browser, Page, expect

from cli.golden import import_file
from schemas.events import Evaluation, GoldenQuestion, Index
from streams import answers, turns
from tests.kit.chromium import NoChromium, browser
from tests.kit.gateway import Gateway, gateway, gateway_settings
from tests.kit.golden import expects, question
from tests.kit.pipeline import MAINS, WORKSPACE, Pipeline, pipeline
from tests.kit.system import until
from weir import identity
from weir.clock import system_clock
from weir.errors import BadRequest, NotFound
from weir.evaluation.compare import evaluate
from weir.evaluation.files import to_csv
from weir.evaluation.sets import GoldenSet, GoldenSets
from weir.kafka.producer import Producer
from weir.settings import environment
from weir.views.evaluations import EvaluationViews

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]
MAINS.setdefault(turns.NAME, turns.main)
MAINS.setdefault(answers.NAME, answers.main)
ROOT = Path(__file__).parents[2]

RIVERS = ("Ald", "Brim", "Coll", "Dove", "Esk", "Frome", "Gade", "Hodder")
SECRET = "The reserve of the Hodder is 4.2 million pounds."
WET = "What is the mean discharge of the river {}?"
PUBLISHER: dict[str, Any] = {"user": "pia", "groups": ("publishers",)}


def text_of(place: int, river: str) -> str:
    return (f"The river {river} has a mean discharge of {place + 3}.5 cubic metres per second. Its gauge stands "
            f"at the bridge of {river}ham and is read every {place + 2} minutes.")


def golden_questions() -> list[GoldenQuestion]:
    """Twenty that need three documents each, one for each river, one for a group, and two that must be refused."""
    three = [question(f"gauges-{n}", f"Where do the gauges of the rivers {a}, {b} and {c} stand?", kind="several",
                      expected=[expects(r.lower(), f"bridge of {r}ham") for r in (a, b, c)])
             for n, (a, b, c) in enumerate(itertools.islice(itertools.combinations(RIVERS, 3), 20))]
    one = [question(f"discharge-{r}", WET.format(r), answers=[f"{n + 3}.5 cubic metres per second"],
                    expected=[expects(r.lower(), "mean discharge")]) for n, r in enumerate(RIVERS)]
    asked = "How large is the reserve of the Hodder?"
    return [*three, *one,
            question("reserve-board", asked, groups=["board"], clearance=2, expected=[expects("reserve")],
                     answers=["4.2 million pounds"]),
            question("reserve-reader", asked, never=["reserve"]),
            question("world-cup", "Who won the football world championship in 1998?", unanswerable=True)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def weir() -> AsyncIterator[Pipeline]:
    async with pipeline() as made:
        made.start()
        sent = [(r.lower(), await made.publish(r.lower(), text_of(n, r), title=f"River {r}"))
                for n, r in enumerate(RIVERS)]
        sent.append(("reserve", await made.publish("reserve", SECRET, title="Reserve", groups=["board"], clearance=2)))
        for document, delivery in sent:
            await made.searchable(document, delivery.offset)
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sets(weir: Pipeline) -> AsyncIterator[GoldenSets]:
    made = GoldenSets(weir.settings, weir.producer, system_clock)
    await made.start()
    yield made
    await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rivers(sets: GoldenSets) -> GoldenSet:
    return await sets.change("rivers", WORKSPACE, "eve", put=golden_questions(), reason="the first ones")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(weir: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
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

    live, worse = await compared(depth=1, rows=1)
    assert (live.against, worse.against, worse.live) == ("", live.run, False)
    main = next(d for d in worse.differences if d.name == "recall@10")
    assert main.value < -0.2 and main.high < 0 and main.p_worse < 0.01
    assert not worse.verdict.passed
    assert "significantly worse" in worse.verdict.reasons[0]
    assert worse.recipe == {"depth": 1.0, "rows": 1.0}
    _, equal = await compared()
    assert equal.verdict.passed, equal.verdict
    assert all(d.value == 0 for d in equal.differences)
    with pytest.raises(NotFound, match="has no version v3"):
        await evaluate(weir.settings, weir.producer, rivers, versions(weir), "v3", by="eve", clock=system_clock)


async def test_from_the_terminal(weir: Pipeline, rivers: GoldenSet, tmp_path: Path) -> None:
    async def typed(*words: str, code: int = 0) -> str:
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-m", "cli.main", *words], cwd=ROOT, capture_output=True, text=True,
            env=environment(weir.settings) | {"COLUMNS": "200"}, timeout=120, check=False)
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    path = tmp_path / "few.csv"
    path.write_text(to_csv(rivers.questions[20:22]), "utf-8")
    assert "few version 1 has 2 questions" in await typed("golden", "import", str(path), "-s", "few", "-w", WORKSPACE)
    assert await typed("golden", "export", "few") == path.read_text("utf-8")
    assert "imported from few.csv" in await typed("golden", "list")
    assert "mean discharge" in await typed("golden", "show", "few")
    assert "no golden set 'none'" in await typed("golden", "show", "none", code=1)
    told = await typed("eval", "run", "-s", "few", "-o", str(tmp_path / "run.svg"))
    assert "recall@10" in told and "discharge-Ald" in told
    assert etree.parse(tmp_path / "run.svg").getroot().tag.endswith("svg")
    views, run = EvaluationViews(weir.es, weir.settings), told.partition("run ")[2][:8]
    await until(lambda: listed(views, run))
    assert "discharge-Ald" in await typed("eval", "show", run)
    assert run in await typed("eval", "list")


# -- people -------------------------------------------------------------------------------------------------------


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


async def test_a_marked_answer_becomes_a_question_of_the_set(here: Gateway, sets: GoldenSets) -> None:
    turn = await asked(here, WET.format("Esk"))
    path = f"/v1/turns/{turn}/golden"
    status, made = await here.call("POST", path, json={"good": True}, **PUBLISHER)
    assert (status, made) == (201, {"set": WORKSPACE, "version": 1, "question": f"turn-{turn}"})
    assert (await here.call("POST", path, json={"good": True}, **PUBLISHER))[1]["version"] == 1, "it is in already"
    status, found = await here.call("GET", f"/v1/golden/{WORKSPACE}", **PUBLISHER)
    [kept] = found["questions"]
    assert (kept["groups"], kept["good"], kept["expected"][0]["document"]) == (["everyone", "publishers"], True, "esk")
    assert "7.5 cubic metres" in kept["expected"][0]["text"]
    status, refused = await here.call("POST", path, json={"good": False}, **PUBLISHER)
    assert (status, "say what would have been right" in refused["error"]["message"]) == (400, True)
    status, made = await here.call("POST", path, json={"good": False, "documents": ["esk"], "answer": "7.5"},
                                   **PUBLISHER)
    assert (status, made["version"]) == (201, 2)
    assert sets.get(WORKSPACE, 1).questions[0].good is True, "the version before stays as it was"


async def test_who_may_see_and_change_golden_sets(here: Gateway, rivers: GoldenSet) -> None:
    turn = await asked(here, WET.format("Dove"), user="rob", groups=())
    assert (await here.call("POST", f"/v1/turns/{turn}/golden", json={"good": True}, user="rob"))[0] == 403
    assert (await here.call("POST", f"/v1/turns/{turn}/golden", json={"good": True}, **PUBLISHER))[0] == 404
    assert (await here.call("GET", "/v1/golden", user="rob"))[1] == {"sets": []}
    assert (await here.call("GET", "/v1/golden/rivers", user="rob"))[0] == 404
    assert (await here.call("GET", "/v1/evaluations", user="rob"))[1] == {"evaluations": []}
    status, found = await here.call("GET", "/v1/golden/rivers", **PUBLISHER)
    assert (status, found["count"]) == (200, len(rivers.questions))
    assert "4.2 million" not in json.dumps(found)
    assert found["questions"].count({"withheld": True}) == 1


async def run_of(weir: Pipeline, rivers: GoldenSet) -> str:
    """A run that was compared, once the view has it."""
    _, made = await evaluate(weir.settings, weir.producer, rivers, versions(weir, depth=1, rows=1), "v2", by="eve",
                             clock=system_clock)
    assert await EvaluationViews(weir.es, weir.settings).wait(made.run) is not None
    return made.run


async def test_a_run_over_rest_withholds_what_the_reader_may_not_ask(weir: Pipeline, here: Gateway,
                                                                    rivers: GoldenSet) -> None:
    path = f"/v1/evaluations/{await run_of(weir, rivers)}"
    status, found = await here.call("GET", path, **PUBLISHER)
    assert status == 200
    assert "4.2 million" not in json.dumps(found) and "reserve-board" not in json.dumps(found)
    hidden = [q for q in found["questions"] if q["id"].startswith("withheld-")]
    assert [q["live"]["id"] for q in hidden] == [q["id"] for q in hidden] and len(hidden) == 1
    status, board = await here.call("GET", path, user="bea", groups=("publishers", "board"), clearance=2)
    assert "4.2 million" in json.dumps(board)
    assert found["verdict"]["passed"] is False and found["live_run"]["index_version"] == "v1"
    status, drawn = await here.call("GET", f"{path}/picture.svg", **PUBLISHER)
    assert (status, "4.2 million" in drawn) == (200, False)
    assert etree.fromstring(drawn.encode()).tag.endswith("svg")
    assert (await here.call("GET", path, user="rob"))[0] == 404


# -- pages --------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    try:
        async with browser() as made:
            yield made
    except NoChromium as e:
        pytest.skip(f"the pages were not looked at: {e}")


@asynccontextmanager
async def page(chromium: Browser, here: Gateway, path: str, **options: Any) -> AsyncIterator[Page]:
    """A page that somebody has signed in to. At its end: nothing foreign was asked for, and no policy was broken."""
    context = await chromium.new_context(**options)
    made = await context.new_page()
    foreign: list[str] = []
    problems: list[str] = []
    made.on("request", lambda r: None if r.url.startswith(here.url) else foreign.append(r.url))
    made.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    made.on("pageerror", lambda e: problems.append(str(e)))
    try:
        await made.goto(here.url + path)
        await made.select_option("#person", "pia")
        await made.fill("#code", identity.access_code(here.settings))
        await made.press("#code", "Enter")
        await expect(made.locator("#shell")).to_be_visible()
        yield made
        assert (foreign, problems) == ([], [])
    finally:
        await context.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1280])
async def test_the_report_by_keyboard_and_on_a_phone(chromium: Browser, weir: Pipeline, here: Gateway,
                                                     rivers: GoldenSet, width: int) -> None:
    run = await run_of(weir, rivers)
    async with page(chromium, here, f"/evaluations#{run}", viewport={"width": width, "height": 800}) as made:
        await expect(made.locator(".callout")).to_contain_text("The gate refuses it.")
        await expect(made.locator(".panel-small", has_text="Recall@10").locator("circle")).to_have_count(2)
        await expect(made.locator(".panel-small", has_text="Recall@10").locator("strong.worse")).to_be_visible()
        await expect(made.locator(".question")).to_have_count(len(rivers.questions))
        await made.keyboard.press("j")
        await made.keyboard.press("Enter")
        first = made.locator(".question[open]")
        await expect(first.locator(".beside > section")).to_have_count(2)
        await expect(first).to_contain_text("bridge of")
        await made.keyboard.press("j")
        assert await made.evaluate("document.activeElement.tagName") == "SUMMARY"
        await made.select_option(".choose select", "differ")
        assert 0 < await made.locator(".question:visible").count() < len(rivers.questions)
        wide = await made.evaluate("""[...document.querySelectorAll('body *')].filter((e) => e.checkVisibility({
            visibilityProperty: true}) && e.getBoundingClientRect().right > innerWidth + 1
            && !e.closest('.visually-hidden, .skip')).map((e) => e.id || e.className || e.tagName)""")
        assert wide == []


@pytest.mark.browser
async def test_a_bad_answer_is_marked_on_the_page(chromium: Browser, here: Gateway, sets: GoldenSets) -> None:
    async with page(chromium, here, "/") as made:
        await expect(made.locator("#to-evaluations")).to_be_visible()
        await made.fill("#question", WET.format("Gade"))
        await made.press("#question", "Enter")
        await made.locator("[data-key=feedback-false]").click(timeout=30_000)
        form = made.locator(".golden")
        await form.get_by_role("button").click()
        await expect(form.locator(".error-text")).to_contain_text("say what would have been right", timeout=15_000)
        await form.locator("[name=document]").first.check()
        await form.locator("[name=answer]").fill("9.5 cubic metres per second")
        await form.get_by_role("button").click()
        await expect(form).to_contain_text(f"Kept in the golden set {WORKSPACE}, version")
        kept = sets.get(WORKSPACE).questions[-1]
        assert (kept.question, kept.answers, kept.good) == (WET.format("Gade"), ["9.5 cubic metres per second"], False)
