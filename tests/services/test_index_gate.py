"""Nobody goes over to a version that finds less, unless they insist: and then the audit says so."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.pipeline import WORKSPACE, Pipeline
from tests.kit.rivers import golden_questions, golden_sets, library
from tests.kit.versions import audits, built, versions
from weir.settings import environment
from weir.views.evaluations import EvaluationViews

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]


async def typed(made: Pipeline, *words: str, code: int = 0) -> str:
    """What `weir index ...` says; it must end with this code."""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "cli.main", "index", *words], cwd=ROOT, capture_output=True, text=True,
        env=environment(made.settings) | {"COLUMNS": "200"}, timeout=300, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


async def with_recipe(made: Pipeline, **recipe: float) -> str:
    """A version over the same stores, complete at once."""
    operator = versions(made)
    version = await operator.build(await operator.plan("minilm-int8", recipe=recipe))
    await built(made, version)
    return version.name


async def live(made: Pipeline) -> str:
    return (await versions(made).record()).live


async def test_a_version_that_finds_less_goes_live_by_force_alone() -> None:
    async with library() as made:
        worse, equal = await with_recipe(made, depth=1, windows=1), await with_recipe(made, dense_weight=0.51)

        # Where there is nothing to measure with, nobody passes.
        assert "there is no golden set 'rivers'; there are none" in await typed(
            made, "gate", worse, "--set", "rivers", code=1)
        said = await typed(made, "cutover", equal, code=1)
        assert "nobody can tell whether v3 finds less than v1: there is no golden set 'sample'" in said
        assert "`weir golden import`" in said and await live(made) == "v1"

        async with golden_sets(made) as sets:
            await sets.change("rivers", WORKSPACE, "eve", put=golden_questions())
        assert "gate: passed" in await typed(made, "gate", equal, "--set", "rivers")
        said = await typed(made, "cutover", worse, "--set", "rivers", code=1)
        assert "the gate refuses v2: recall@10 -" in said and await live(made) == "v1"

        said = await typed(made, "cutover", worse, "--set", "rivers", "--force", "--by", "ben")
        assert "the gate refuses: recall@10 -" in said and await live(made) == "v2"
        forced = (await audits(made.settings))[-1]
        detail = json.loads(forced.detail)
        assert (forced.subject, forced.action, forced.target) == ("ben", "index_cutover", "main/v2")
        assert detail["forced"] and not detail["gate"]["passes"] and "significantly" in detail["gate"]["reason"]
        assert (detail["gate"]["set"], detail["gate"]["set_version"]) == ("rivers", 1)
        [difference] = detail["gate"]["differences"]
        assert difference["name"] == "recall@10" and difference["high"] < 0
        run = await EvaluationViews(made.es, made.settings).wait(detail["gate"]["runs"]["v2"])
        assert run is not None and run.against == detail["gate"]["runs"]["v1"]
