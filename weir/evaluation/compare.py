"""A golden set against an index's live version, or against another of its versions beside the live one; and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from schemas.events import Evaluation, Index, Turn
from weir.clock import Clock
from weir.evaluation.asking import subjects
from weir.evaluation.judge import judge_from
from weir.evaluation.run import SEED, Plan, paired_with, publish, run
from weir.evaluation.sets import GoldenSet
from weir.kafka.producer import Producer
from weir.settings import Settings
from weir.stores import elasticsearch
from weir.views.turns import TurnViews


async def evaluate(settings: Settings, producer: Producer, golden: GoldenSet, index: Index, version: str | None = None,
                   *, by: str, clock: Clock, judged: bool = True, told: Callable[[int], None] = lambda done: None
                   ) -> list[Evaluation]:
    """Runs a golden set and keeps the runs on `evaluations`.

    Args:
        version: the version to measure; with another than the live one both are asked, and the second run says what
            the version is worth beside the first and whether the gate lets it through.
        judged: whether a configured language model judges the answers.
        told: called with the number of questions that are finished.

    Returns:
        The live version's run, and that of the other version where there is one.

    Raises:
        NotFound: the index has no such version.
        BadRequest: the set is empty.
        Unavailable: a server does not answer.
        SettingsError: the model is misconfigured.
    """
    versions = list(dict.fromkeys([index.live, version or index.live]))
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
