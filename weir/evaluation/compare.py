"""A golden set against an index's live version, or against another of its versions beside the live one; and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from schemas import topics
from schemas.events import Evaluation, Index, Turn, Workspace
from weir.clock import Clock
from weir.evaluation.asking import subjects
from weir.evaluation.judge import judge_from
from weir.evaluation.run import SEED, Plan, paired_with, publish, run
from weir.evaluation.sets import GoldenSet
from weir.kafka.producer import Producer
from weir.kafka.table import Table
from weir.retrieval.recipe import Recipe
from weir.settings import Settings
from weir.stores import elasticsearch
from weir.views.turns import TurnViews


async def evaluate(settings: Settings, producer: Producer, golden: GoldenSet, index: Index, version: str | None = None,
                   *, by: str, clock: Clock, judged: bool = True, recipe: Mapping[str, float] | None = None,
                   told: Callable[[int], None] = lambda done: None) -> list[Evaluation]:
    """Runs a golden set and keeps the runs on `evaluations`.

    Args:
        version: the version to measure; with another than the live one both are asked, and the second run says what
            the version is worth beside the first and whether the gate lets it through.
        judged: whether a configured language model judges the answers.
        recipe: parameters of retrieval to try: what is measured beside the live version is `version` with them.
        told: called with the number of questions that are finished.

    Returns:
        The live version's run, and that of the other version where there is one.

    Raises:
        NotFound: the index has no such version.
        BadRequest: the set is empty.
        Unavailable: a server does not answer.
        SettingsError: the model is misconfigured, or the recipe makes no sense.
    """
    own = await _own_recipe(settings, golden.workspace)
    measured, tried = version or index.live, dict(recipe or {})
    index = replace(index, versions=[replace(v, recipe={**v.recipe, **own}) for v in index.versions])
    if tried:
        index, measured = _with(index, measured, tried)
    versions = list(dict.fromkeys([index.live, measured]))
    judge = judge_from(settings) if judged else None
    try:
        async with subjects(settings, index, versions) as asked:
            made = await run(golden, asked, Plan(by=by, ruler=asked[0], judge=judge, clock=clock, told=told))
        if judge is not None:
            agreement = await judge.agreement(golden.questions, await _marked(settings, golden), SEED)
            made = [replace(evaluation, agreement=agreement) for evaluation in made]
    finally:
        if judge is not None:
            await judge.close()
    made = [made[0], *(paired_with(made[0], candidate) for candidate in made[1:])]
    for evaluation in made:
        await publish(settings, producer, evaluation)
    return made


async def _own_recipe(settings: Settings, workspace: str) -> dict[str, float]:
    """What the workspace says of its recipe: people are answered by that, so the runs are too."""
    table = Table(settings, topics.WORKSPACES.named(settings.prefix))
    await table.start()
    try:
        found = table.get(workspace)
        return dict(found.recipe) if isinstance(found, Workspace) else {}
    finally:
        await table.close()


def _with(index: Index, name: str, recipe: Mapping[str, float]) -> tuple[Index, str]:
    """The index with one more version, over the same stores as the one of that name, and what it is called."""
    Recipe.with_overrides(recipe)
    called = " ".join([name, *(f"{key}={value:g}" for key, value in sorted(recipe.items()))])
    made = [replace(v, name=called, recipe={**v.recipe, **recipe}) for v in index.versions if v.name == name]
    return replace(index, versions=[*index.versions, *made]), called


async def _marked(settings: Settings, golden: GoldenSet) -> dict[str, Turn]:
    """The turns that questions were made from, as far as they are still there."""
    names = {q.turn for q in golden.questions if q.turn and q.good is not None}
    if not names:
        return {}
    es = elasticsearch(settings)
    try:
        found = [await TurnViews(es, settings).get(name) for name in sorted(names)]
    finally:
        await es.close()
    return {turn.turn: turn for turn in found if turn is not None}
