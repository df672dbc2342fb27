"""Golden sets: the changes on the topic `golden`, and every version that they make.

A change is never overwritten; the fold of the changes up to one of them is a version of the set. Two people who change
a set at the same moment both write a change that follows the same one: the first in the log counts, and the other's
writer, who reads its own record back, writes it once more on top of that.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from schemas import keys, topics
from schemas.events import GoldenChange, GoldenQuestion
from weir.clock import Clock
from weir.errors import BadRequest, Conflict, NotFound, Unavailable
from weir.kafka.producer import Producer
from weir.kafka.table import Table
from weir.settings import Settings

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MOST_QUESTIONS = 20_000
TRIES = 5
VISIBLE_WITHIN = 10.0
"""Seconds that a change may take to be read back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSet:
    """A version of a set."""

    name: str
    version: int
    change: str
    """Id of the change that made it."""
    workspace: str
    questions: tuple[GoldenQuestion, ...]
    """In the order in which they came."""
    by: str
    at: int
    reason: str = ""


def chain(changes: Sequence[GoldenChange]) -> list[GoldenChange]:
    """Those changes of one set that count, oldest first.

    Args:
        changes: in the order of the log.
    """
    following: dict[str, list[GoldenChange]] = defaultdict(list)
    for change in changes:
        following[change.parent].append(change)
    counted: list[GoldenChange] = []
    parent = ""
    while found := following.pop(parent, None):
        # A record that was rewritten stands further back in the log than when it was chosen.
        chosen = next((c for c in found if c.erased), found[0])
        counted.append(chosen)
        parent = chosen.change
    return counted


def folded(changes: Sequence[GoldenChange]) -> GoldenSet:
    """The version that these changes make, oldest first."""
    questions: dict[str, GoldenQuestion] = {}
    for change in changes:
        for gone in change.remove:
            questions.pop(gone, None)
        questions.update((q.id, q) for q in change.put)
    last = changes[-1]
    return GoldenSet(name=last.set, version=len(changes), change=last.change, workspace=last.workspace,
                     questions=tuple(questions.values()), by=last.by, at=last.at, reason=last.reason)


def check(question: GoldenQuestion) -> None:
    """
    Raises:
        BadRequest: what is expected contradicts itself, or something is missing.
    """
    named = f"the question {question.id!r}"
    if not question.id or len(question.id) > 200:
        raise BadRequest(f"a question has the id {question.id[:80]!r}: give it one of 1 to 200 characters.")
    if not question.question.strip():
        raise BadRequest(f"{named} is empty.")
    if not question.groups:
        raise BadRequest(f"{named} names no group as which it is asked: `everyone` is one.")
    if question.unanswerable and (question.expected or question.answers):
        raise BadRequest(f"{named} cannot be answered from the sources and expects an answer: say one of both.")
    for expected in question.expected:
        if not expected.document and not expected.passage:
            raise BadRequest(f"{named} expects words and does not say in which document.")
        if expected.grade < 1:
            raise BadRequest(f"{named} has the grade {expected.grade}: grades are 1 or more; leave out what is not "
                             "expected.")


class GoldenSets:
    """Follows `golden`. `await start()` before use; `await close()` at the end."""

    def __init__(self, settings: Settings, producer: Producer, clock: Clock,
                 new_id: Callable[[], str] = lambda: uuid.uuid4().hex) -> None:
        self._producer, self._clock, self._new_id = producer, clock, new_id
        self._table = Table(settings, topics.GOLDEN.named(settings.prefix))
        self._changed = asyncio.Event()
        self._chains: dict[str, list[GoldenChange]] = {}
        self._table.on_change(self._on_change)

    async def start(self) -> None:
        """Reads what the topic holds now. Raises Unavailable where Kafka does not answer."""
        await self._table.start()

    async def close(self) -> None:
        await self._table.close()

    def names(self) -> list[str]:
        return sorted({c.set for c in self._changes()})

    def history(self, name: str) -> list[GoldenChange]:
        """The changes that made the set, oldest first; none where there is no such set."""
        if name not in self._chains:
            self._chains[name] = chain([c for c in self._changes() if c.set == name])
        return self._chains[name]

    def find(self, name: str, version: int | None = None) -> GoldenSet | None:
        """A set as of a version, the newest where none is named; None where there is none."""
        changes = self.history(name)
        if version is not None and not 1 <= version <= len(changes):
            return None
        return folded(changes[:version]) if changes else None

    def get(self, name: str, version: int | None = None) -> GoldenSet:
        """Raises: NotFound: there is no such set or version."""
        found = self.find(name, version)
        if found is None:
            have = len(self.history(name))
            raise NotFound(f"the golden set {name!r} has no version {version}: its newest is {have}." if have else
                           f"there is no golden set {name!r}; there are {', '.join(self.names()) or 'none'}: name one "
                           "of them, or make it (`weir golden import`).")
        return found

    async def change(self, name: str, workspace: str, by: str, *, put: Sequence[GoldenQuestion] = (),
                     remove: Sequence[str] = (), reason: str = "") -> GoldenSet:
        """Makes the next version, and a set where there was none. What changes nothing makes no version.

        Raises:
            BadRequest: a question contradicts itself, or the set belongs to another workspace.
            Conflict: others went on changing the set.
            Unavailable: Kafka does not take or show the change.
        """
        if not NAME.fullmatch(name):
            raise BadRequest(f"{name[:80]!r} is no name of a golden set: letters, digits, `.`, `_`, `-`, at most 64.")
        for question in put:
            check(question)
        if len({q.id for q in put}) != len(put):
            raise BadRequest("two questions have the same id: give each its own.")
        for _ in range(TRIES):
            head = self.find(name)
            if head is not None and head.workspace != workspace:
                raise BadRequest(f"the golden set {name!r} is about the workspace {head.workspace!r}, not "
                                 f"{workspace!r}: give the new one another name.")
            have = {q.id: q for q in head.questions} if head else {}
            new = [q for q in put if have.get(q.id) != q]
            gone = [i for i in dict.fromkeys(remove) if i in have]
            if head is not None and not new and not gone:
                return head
            if len(have.keys() - set(gone) | {q.id for q in put}) > MOST_QUESTIONS:
                raise BadRequest(f"a golden set holds at most {MOST_QUESTIONS:,} questions: make several.")
            change = GoldenChange(
                set=name, version=head.version + 1 if head else 1, change=self._new_id(),
                parent=head.change if head else "", workspace=workspace, put=new, remove=gone, by=by, at=self._clock(),
                reason=reason)
            if (made := await self._written(change)) is not None:
                return made
        raise Conflict(f"the golden set {name!r} is being changed by others all the time: try again.")

    async def _written(self, change: GoldenChange) -> GoldenSet | None:
        """The version that the change made; None where another one came first."""
        key = keys.golden_key(change.set, change.version, change.change)
        await self._producer.send(self._table.topic, key, change)
        try:
            async with asyncio.timeout(VISIBLE_WITHIN):
                while self._table.get(key) is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise Unavailable(f"the change to {change.set!r} is written down and is not seen yet: look at the set's "
                              "versions in a moment.", retry_after=5) from None
        counted = self.history(change.set)
        place = next((i for i, c in enumerate(counted, 1) if c.change == change.change), None)
        return folded(counted[:place]) if place else None

    def _changes(self) -> Iterable[GoldenChange]:
        return [event for _, event in self._table.items() if isinstance(event, GoldenChange)]

    def _on_change(self, *_: object) -> None:
        self._chains.clear()
        self._changed.set()


def erased(change: GoldenChange, questions: Sequence[str]) -> GoldenChange:
    """The same change without the questions of these ids, to be written under its own key: the version stays and
    says less."""
    return replace(change, put=[q for q in change.put if q.id not in questions], erased=True)
