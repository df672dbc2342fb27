"""What is counted of a minute in a workspace. Pure: events in, figures out; figures add up."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from schemas import topics
from schemas.events import (
    CacheFigures,
    Choice,
    Decision,
    DecisionKind,
    DecisionStatus,
    Feedback,
    Insight,
    TaskResult,
    Turn,
    TurnOutcome,
)
from weir.agents.limits import no_steps
from weir.caches import EVERYWHERE, FIT, HITS
from weir.erasing import ERASED, PASSAGE_ERASED

SOURCES = (topics.TURNS, topics.FEEDBACK, topics.DECISIONS, topics.TASK_RESULTS, topics.CACHE_FIGURES)
"""The topics that are counted."""
MINUTE = 60_000
"""Milliseconds."""
MILLIS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000)
"""Upper ends of the buckets of a stage; one more is for what took longer."""
SCORES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
"""Upper ends of the buckets of the best passage's score; one more is for what is higher."""

Where = tuple[str, int]
"""Workspace and the beginning of a minute, in milliseconds since the epoch."""


@dataclass(slots=True)
class Figures:
    """The figures of a minute, or of several."""

    counts: dict[str, int] = field(default_factory=dict)
    stages: dict[str, list[int]] = field(default_factory=dict)
    scores: list[int] = field(default_factory=lambda: [0] * (len(SCORES) + 1))

    def count(self, name: str, much: int = 1) -> None:
        if much:
            self.counts[name] = self.counts.get(name, 0) + much

    def __iadd__(self, other: Figures | Insight) -> Figures:
        for name, much in other.counts.items():
            self.count(name, much)
        for stage, buckets in other.stages.items():
            self.stages[stage] = _added(self.stages.get(stage, []), buckets)
        self.scores = _added(self.scores, other.scores)
        return self

    def flat(self) -> dict[str, int]:
        """All of it by name, each bucket by itself."""
        found = dict(self.counts)
        for name, buckets, ends in [*((f"{s} ms", b, MILLIS) for s, b in self.stages.items()),
                                    ("score", self.scores, SCORES)]:
            for many, end in zip(buckets, (*(f"<= {e:g}" for e in ends), f"> {ends[-1]:g}"), strict=False):
                if many:
                    found[f"{name} {end}"] = many
        return found

    def take(self, event: Any) -> None:
        """Counts an event; one that says nothing counts nothing."""
        match event:
            case Turn():
                self._turn(event)
            case Feedback():
                self.count("feedback_good" if event.good else "feedback_bad")
            case Decision(kind=DecisionKind.BUDGET):
                self.count("tasks_at_step_limit", int(at_step_limit(event)))
            case Decision(choice=Choice.APPROVE):
                self.count("approved")
            case Decision(choice=Choice.DENY):
                self.count("denied")
            case TaskResult():
                self.count("tasks")
                self.count(f"tasks_{event.outcome.value}")
                self.count("task_tokens", event.spent.tokens)
                self.count("task_micros", event.spent.micros)

    def _turn(self, turn: Turn) -> None:
        self.count("searches" if turn.outcome is TurnOutcome.SEARCHED else "questions")
        self.count(turn.outcome.value, int(turn.outcome is not TurnOutcome.SEARCHED))
        self.count("cited", int(bool(turn.citations)))
        self.count("tokens_in", turn.tokens_in)
        self.count("tokens_out", turn.tokens_out)
        self.count("micros", round(turn.cost * 1_000_000))
        for stage, millis in turn.timings.items():
            buckets = self.stages.setdefault(stage, [0] * (len(MILLIS) + 1))
            buckets[bisect_left(MILLIS, millis)] += 1
        if turn.sources:
            self.scores[bisect_left(SCORES, max(s.score for s in turn.sources))] += 1


def _added(one: Sequence[int], other: Sequence[int]) -> list[int]:
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    return [a + (shorter[i] if i < len(shorter) else 0) for i, a in enumerate(longer)]


def counted(event: Any) -> dict[Where, Figures]:
    """What an event adds, and where."""
    if isinstance(event, CacheFigures):
        return _caches(event)
    at = where(event)
    if at is None:
        return {}
    figures = Figures()
    figures.take(event)
    return {at: figures}


def _caches(told: CacheFigures) -> dict[Where, Figures]:
    """Lookups that could have been hits, as far as they belong to a workspace, and the money that hits saved."""
    found: dict[Where, Figures] = {}
    for cache in told.caches:
        if cache.workspace == EVERYWHERE:
            continue
        figures = found.setdefault((cache.workspace, told.until // MINUTE * MINUTE), Figures())
        for outcome, many in cache.lookups.items():
            if outcome in FIT:
                figures.count(f"{cache.cache}_{'hits' if outcome in HITS else 'misses'}", many)
        figures.count("saved_micros", round(cache.saved * 1_000_000))
    return found


def where(event: Any) -> Where | None:
    """Where an event is counted; None where it is not."""
    match event:
        case Turn():
            return event.workspace, event.finished_at // MINUTE * MINUTE
        case Feedback():
            return event.workspace, event.at // MINUTE * MINUTE
        case Decision(kind=DecisionKind.BUDGET) if at_step_limit(event):
            return event.workspace, event.created_at // MINUTE * MINUTE
        case Decision(choice=Choice.APPROVE | Choice.DENY):
            return event.workspace, event.decided_at // MINUTE * MINUTE
        case TaskResult():
            return event.workspace, event.finished_at // MINUTE * MINUTE
    return None


def again(event: Any) -> bool:
    """Whether a record replaces one that was counted: an erased turn, what became of a proposal about the budget."""
    match event:
        case Turn():
            return ERASED in event.notices or PASSAGE_ERASED in event.notices
        case Decision(kind=DecisionKind.BUDGET):
            return event.status is not DecisionStatus.PENDING
    return False


def at_step_limit(decision: Decision) -> bool:
    """Whether a proposal about the budget was made because the steps are used up."""
    try:
        limit = orjson.loads(decision.arguments)["steps"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return False
    return isinstance(limit, int) and decision.reason == no_steps(limit)


def quantile(buckets: Sequence[int], share: float, ends: Sequence[float] = MILLIS) -> float:
    """The upper end of the bucket in which so large a share of the values lies at or below, infinite of the last one.

    Args:
        buckets: how many values each has; at least one value.
        share: 0.5 for the median, 0.95 for the 95th percentile.
    """
    total, below = sum(buckets), 0
    for many, end in zip(buckets, ends, strict=False):
        below += many
        if below >= share * total:
            return float(end)
    return math.inf


def totals(parts: Iterable[Insight]) -> dict[Where, Figures]:
    """The sums of the latest record of each key, by workspace and minute."""
    latest = {(p.workspace, p.minute, p.part): p for p in parts}
    found: dict[Where, Figures] = {}
    for (workspace, minute, _), part in latest.items():
        found.setdefault((workspace, minute), Figures()).__iadd__(part)
    return found
