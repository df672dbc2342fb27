"""A golden set against one index version, or against two of them question by question.

Two versions take turns at each question, each as often first as second: whatever else the machine does meets both.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from schemas import topics
from schemas.events import Evaluation, Figure, GoldenQuestion, QuestionResult, StageTime
from weir.clock import Clock, system_clock
from weir.errors import BadRequest
from weir.evaluation.asking import Subject, ask
from weir.evaluation.gate import differences, gate
from weir.evaluation.judge import Judge
from weir.evaluation.metrics import FAILED, FIGURES
from weir.evaluation.sets import GoldenSet
from weir.evaluation.statistics import interval, median_interval
from weir.kafka.producer import Producer
from weir.models.protocol import Embed
from weir.settings import Settings

SEED = 2026
MOST_CHARS = 2000
"""Of an answer that is measured for similarity: more than the embedding model reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run needs besides its questions."""

    by: str
    """Subject of who runs it."""
    ruler: Subject
    """The version whose embedding model measures similarity, the same for all that are compared."""
    judge: Judge | None = None
    clock: Clock = system_clock
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex
    told: Callable[[int], None] = lambda done: None
    """Called with the number of questions that are finished."""


async def run(golden: GoldenSet, subjects: Sequence[Subject], plan: Plan) -> list[Evaluation]:
    """Asks every question of every subject; one evaluation each, in their order.

    Raises:
        BadRequest: the set is empty.
        Unavailable: the model that measures similarity does not answer.
    """
    if not golden.questions:
        raise BadRequest(f"the golden set {golden.name!r} has no questions: import or mark some.")
    started = plan.clock()
    asked: list[list[QuestionResult]] = [[] for _ in subjects]
    for n, question in enumerate(golden.questions):
        for turn in range(len(subjects)):
            which = (n + turn) % len(subjects)
            asked[which].append(await ask(subjects[which], golden.workspace, question, plan.clock))
        plan.told(n + 1)
    made = []
    for subject, answers in zip(subjects, asked, strict=True):
        results = await _with_similarity(golden.questions, answers, plan.ruler.embed)
        if plan.judge is not None:
            results = [await plan.judge.judged(r) for r in results]
        made.append(_evaluation(golden, subject, results, plan, started))
    return made


def paired_with(live: Evaluation, candidate: Evaluation) -> Evaluation:
    """The candidate's run with what it is worth beside the live one's."""
    return replace(candidate, against=live.run, differences=differences(live, candidate), verdict=gate(live, candidate))


async def publish(settings: Settings, producer: Producer, evaluation: Evaluation) -> None:
    """Keeps a run. Raises Unavailable where Kafka does not take it."""
    await producer.send(topics.EVALUATIONS.named(settings.prefix), evaluation.run, evaluation)


async def _with_similarity(questions: Sequence[GoldenQuestion], results: Sequence[QuestionResult], embed: Embed
                           ) -> list[QuestionResult]:
    """The results with the cosine of answer and nearest accepted answer; 0 where a refusal came instead."""
    accepted = {q.id: [a for a in q.answers if a.strip()] for q in questions}
    texts = list(dict.fromkeys(
        text[:MOST_CHARS] for r in results if accepted[r.id] and r.answer.strip()
        for text in (r.answer, *accepted[r.id])))
    if not texts:
        return list(results)
    vectors = dict(zip(texts, await embed(texts), strict=True))
    found = []
    for r in results:
        if accepted[r.id] and r.outcome != FAILED:
            near = 0.0
            if r.outcome == "answered" and r.answer.strip():
                own = vectors[r.answer[:MOST_CHARS]]
                near = max(float(own @ vectors[a[:MOST_CHARS]]) for a in accepted[r.id])
            r = replace(r, figures={**r.figures, "similarity": min(1.0, max(0.0, near))})
        found.append(r)
    return found


def _evaluation(golden: GoldenSet, subject: Subject, results: list[QuestionResult], plan: Plan, started: int
                ) -> Evaluation:
    version, ruler = subject.version, plan.ruler.version
    return Evaluation(
        run=plan.new_id(), set=golden.name, set_version=golden.version, set_change=golden.change,
        workspace=golden.workspace, index=subject.index, index_version=version.name, live=subject.live,
        cut=version.cut.name, embedding=f"{version.model}@{version.revision}", recipe=dict(version.recipe),
        model=subject.model.name, prompt=subject.model.prompt, ruler=f"{ruler.model}@{ruler.revision}",
        judge=plan.judge.name if plan.judge else "", judge_prompt=plan.judge.prompt if plan.judge else "", seed=SEED,
        started_at=started, ended_at=plan.clock(), by=plan.by, figures=figures(results), stages=stages(results),
        questions=results)


def figures(results: Sequence[QuestionResult]) -> list[Figure]:
    """The mean of each figure over the questions to which it applies."""
    rng = np.random.default_rng(SEED)
    found = []
    for name in FIGURES:
        values = [r.figures[name] for r in results if name in r.figures]
        if values:
            i = interval(values, rng)
            found.append(Figure(name=name, value=i.value, low=i.low, high=i.high, count=len(values)))
    return found


def stages(results: Sequence[QuestionResult]) -> list[StageTime]:
    """Median, its interval and 95th percentile of each stage, the slowest last."""
    rng = np.random.default_rng(SEED)
    found = []
    for name in dict.fromkeys(name for r in results for name in r.timings):
        values = [r.timings[name] for r in results if name in r.timings]
        i = median_interval(values, rng)
        found.append(StageTime(name=name, p50=i.value, low=i.low, high=i.high, p95=float(np.quantile(values, 0.95))))
    return sorted(found, key=lambda s: s.p50)
