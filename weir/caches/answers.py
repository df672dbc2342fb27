"""Answers that are given again: an LRU in the memory of each answers worker, filled from the topic `turns`.

What an entry is kept under, its *space*, is a hash of all that an answer depends on besides question and passages
(keys.py): nobody in another space ever meets it. Retrieval is always made first, so that an entry is
only looked at beside the passages of now (matching.py), and right before it is given, the newest version and access
of every document that it was made from are read. Eviction only saves memory: nothing depends on it being in time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

import numpy as np

from schemas.events import (
    Cited,
    Delta,
    Done,
    Earlier,
    Outcome,
    Person,
    QuestionAsked,
    Reuse,
    Sources,
    Turn,
    TurnOutcome,
)
from weir import telemetry
from weir.access import may_read
from weir.caches import ANSWERS, HOUR, MISSED
from weir.caches.figures import Figures
from weir.caches.keys import answer_key
from weir.caches.kinds import NAME, names, plain, unfit
from weir.caches.matching import answers, same_passages
from weir.clock import Clock
from weir.errors import Unavailable
from weir.models.protocol import NOTHING, Embed, LanguageModel, Usage, Vectors
from weir.retrieval.pipeline import Controls, Retrieved
from weir.retrieval.views import DocumentViews

log = telemetry.logger(__name__)

EMBEDDED = 16
"""Questions of entries that are embedded for one lookup at most, the newest first."""
ANEW, FOLLOW_UP, PARTS, CONDITION, NOTICE = "anew", "follow-up", "parts", "condition", "notice"
"""Why a question is not answered again, besides what kinds.py says."""
CHANGED, DELETED, ACCESS, PASSAGES, AGE, FULL, ERASED = (
    "changed", "deleted", "access", "passages", "age", "full", "erased")
"""Why an entry was thrown away."""


class ReuseOf(Protocol):
    def __call__(self, workspace: str, /) -> Reuse | None:
        """What the workspace allows now."""


@dataclass(slots=True)
class Entry:
    turn: Turn
    vector: Vectors | None = None
    """(dimension,) of its question, once somebody wanted it."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An earlier answer that may be given now."""

    turn: Turn
    similarity: float
    spent: Usage = NOTHING
    """On reading the question of now."""

    @property
    def earlier(self) -> Earlier:
        return Earlier(turn=self.turn.turn, question=self.turn.question, asked_at=self.turn.asked_at,
                       similarity=self.similarity, cost=self.turn.cost)

    @property
    def notice(self) -> str:
        to = "the same question" if self.similarity == 1 else f"“{self.turn.question}”"
        day = datetime.fromtimestamp(self.turn.asked_at / 1000, UTC).date()
        return f"This is an earlier answer, to {to}, asked on {day}. Its sources have not changed since."

    def bodies(self, found: Retrieved, timings: Callable[[], Mapping[str, float]]
               ) -> Iterator[Sources | Delta | Cited | Done]:
        """The frames after `Accepted`: those of any other turn."""
        turn, notices = self.turn, [self.notice]
        yield Sources(sources=turn.sources, notices=notices)
        yield Delta(text=turn.text, position=0)
        for citation in turn.citations:
            yield Cited(citation=citation)
        yield Done(outcome=Outcome.ANSWERED, text=turn.text, sources=turn.sources, citations=turn.citations,
                   notices=notices, model=turn.model, prompt=turn.prompt, index=found.index,
                   index_version=found.index_version, earlier=self.earlier, tokens_in=self.spent.tokens_in,
                   tokens_out=self.spent.tokens_out, cost=self.spent.cost,
                   timings={name: round(millis, 2) for name, millis in timings().items()})


class AnswerCache:
    """Looks up and keeps. All calls on one event loop.

    Args:
        most: entries that are held.
        embedder: the model of an index version's vectors, by the version's name.
    """

    def __init__(self, most: int, reuse: ReuseOf, views: DocumentViews, embedder: Callable[[str], Embed | None],
                 figures: Figures, clock: Clock) -> None:
        self._most, self._reuse, self._views, self._embedder = most, reuse, views, embedder
        self._figures, self._clock = figures, clock
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._spaces: dict[str, dict[str, Entry]] = {}
        """By space and turn."""
        self._documents: dict[tuple[str, str], set[str]] = {}
        """The turns that were made from a document."""
        figures.held(ANSWERS, 0)

    def __len__(self) -> int:
        return len(self._entries)

    # -- asking ---------------------------------------------------------------------------------------------------

    def space(self, question: QuestionAsked, controls: Controls, found: Retrieved, model: LanguageModel) -> str:
        """What an answer to the question is kept under; empty where none may be given again."""
        reuse = self._reuse(question.workspace)
        if reuse is None or question.search_only or question.explain:
            return ""
        reason = FOLLOW_UP if question.follows else unfit(question.question, reuse.kinds) or _unfit(question, found)
        if reason is not None:
            self._figures.looked(ANSWERS, question.workspace, reason)
            return ""
        return answer_key(question, controls, found, model)

    async def find(self, space: str, question: QuestionAsked, controls: Controls, found: Retrieved) -> Hit | None:
        """An earlier answer of that space that answers the question, checked now; none where it is asked anew.

        Raises:
            Unavailable: nobody can tell who may read what.
        """
        if question.anew:
            self._figures.looked(ANSWERS, question.workspace, ANEW)
            return None
        hit = await self._found(space, question, found)
        if hit is not None and (reason := await self._refused(hit.turn, question.person)) is not None:
            self._evict(hit.turn.turn, reason)
        # What was erased while the check was made is not given either.
        if hit is None or hit.turn.turn not in self._entries:
            self._figures.looked(ANSWERS, question.workspace, MISSED)
            return None
        self._entries.move_to_end(hit.turn.turn)
        spent = controls.reading.usage if controls.reading is not None else NOTHING
        self._figures.looked(ANSWERS, question.workspace, "exact" if hit.similarity == 1 else "semantic",
                             max(0.0, hit.turn.cost - spent.cost))
        return replace(hit, spent=spent)

    async def _found(self, space: str, question: QuestionAsked, found: Retrieved) -> Hit | None:
        reuse = self._reuse(question.workspace)
        if reuse is None or any(s.being_replaced for s in found.sources):
            return None
        entries, asked = self._young(space, reuse), plain(question.question)
        for entry in entries:
            if plain(entry.turn.question) == asked:
                if same_passages(found.sources, entry.turn.sources):
                    return Hit(entry.turn, 1.0)
                self._evict(entry.turn.turn, PASSAGES)
        if not reuse.semantic or found.vector is None:
            return None
        near = await self._near(entries, found)
        for similarity, turn in near:
            if similarity < reuse.similarity:
                break
            if turn.turn in self._entries and plain(turn.question) != asked and answers(
                    question.question, found.sources, turn.question, turn.sources, turn.citations):
                return Hit(turn, min(similarity, 0.9999))
        return None

    def _young(self, space: str, reuse: Reuse) -> list[Entry]:
        """The entries of a space, newest first; those that are too old are thrown away."""
        oldest = self._clock() - reuse.hours * HOUR
        entries = sorted(self._spaces.get(space, {}).values(), key=lambda e: -e.turn.finished_at)
        for entry in entries:
            if entry.turn.finished_at < oldest:
                self._evict(entry.turn.turn, AGE)
        return [e for e in entries if e.turn.finished_at >= oldest]

    async def _near(self, entries: Sequence[Entry], found: Retrieved) -> list[tuple[float, Turn]]:
        """Cosine of the question with those of the entries, the nearest first."""
        assert found.vector is not None
        embed = self._embedder(found.index_version)
        new = [e for e in entries if e.vector is None][:EMBEDDED]
        if new and embed is not None:
            try:
                vectors = await embed([e.turn.question for e in new])
            except Unavailable as e:
                log.warning("looking for earlier answers by their words alone", reason=e.message)
            else:
                for entry, vector in zip(new, vectors, strict=True):
                    entry.vector = vector
        known = [e for e in entries if e.vector is not None and e.vector.shape == found.vector.shape]
        cosines = [float(np.dot(e.vector, found.vector)) for e in known if e.vector is not None]
        return sorted(((c, e.turn) for c, e in zip(cosines, known, strict=True)), key=lambda pair: -pair[0])

    async def _refused(self, turn: Turn, person: Person) -> str | None:
        """Why the answer may not be given to this person now."""
        views = await self._views.check(turn.workspace, sorted({s.document for s in turn.sources}))
        for source in turn.sources:
            view = views.get(source.document)
            if view is None or view.deleted:
                return DELETED
            if not may_read(person, view.groups, view.clearance):
                return ACCESS
            if view.version != source.version:
                return CHANGED
        return None

    # -- filling --------------------------------------------------------------------------------------------------

    def keep(self, turn: Turn) -> None:
        """Takes a turn from the log, in place of what it said before."""
        if not fit(turn):
            self._evict(turn.turn, ERASED)
            return
        self._drop(turn.turn)
        reuse = self._reuse(turn.workspace)
        if reuse is None or turn.finished_at < self._clock() - reuse.hours * HOUR:
            return
        for other in list(self._spaces.get(turn.reuse, {}).values()):
            if plain(other.turn.question) == plain(turn.question):
                if other.turn.finished_at > turn.finished_at:
                    return
                self._drop(other.turn.turn)
        entry = self._entries[turn.turn] = Entry(turn)
        self._spaces.setdefault(turn.reuse, {})[turn.turn] = entry
        for source in turn.sources:
            self._documents.setdefault((turn.workspace, source.document), set()).add(turn.turn)
        while len(self._entries) > self._most:
            self._evict(next(iter(self._entries)), FULL)
        self._figures.held(ANSWERS, len(self._entries))

    def forget(self, turn: str) -> None:
        """The turn was taken from the log."""
        self._evict(turn, ERASED)

    def changed(self, workspace: str, document: str) -> None:
        """The document has another version, other access or is gone."""
        for turn in list(self._documents.get((workspace, document), ())):
            self._evict(turn, CHANGED)

    def _evict(self, turn: str, reason: str) -> None:
        entry = self._drop(turn)
        if entry is not None:
            self._figures.evicted(ANSWERS, entry.turn.workspace, reason)
            self._figures.held(ANSWERS, len(self._entries))

    def _drop(self, turn: str) -> Entry | None:
        entry = self._entries.pop(turn, None)
        if entry is None:
            return None
        space = self._spaces[entry.turn.reuse]
        del space[turn]
        if not space:
            del self._spaces[entry.turn.reuse]
        for name in {(entry.turn.workspace, s.document) for s in entry.turn.sources}:
            made = self._documents[name]
            made.discard(turn)
            if not made:
                del self._documents[name]
        return entry


def fit(turn: Turn) -> bool:
    """Whether the turn's answer may be given again at all: whole, cited, by itself, from newest versions."""
    return (turn.outcome is TurnOutcome.ANSWERED and bool(turn.reuse) and turn.follows is None and turn.earlier is None
            and bool(turn.citations) and not turn.notices and not any(s.being_replaced for s in turn.sources))


def _unfit(question: QuestionAsked, found: Retrieved) -> str | None:
    """Why its search makes a question one that is not answered again."""
    if names(question.question, [s.text for s in found.sources]):
        return NAME
    if len(found.parts) > 1:
        return PARTS
    if found.filters:
        return CONDITION
    return NOTICE if found.notices else None
