"""A question of a golden set from a turn whose answer somebody marked as good or bad. Pure.

A good answer says by itself what is expected: the stretches that it cites, or that the sources hold nothing. Of a bad
one the person says what would have been right; without that it would be a question that measures nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.events import GoldenPassage, GoldenQuestion, Person, Turn, TurnOutcome
from weir.access import EVERYONE
from weir.errors import BadRequest

MOST_CHARS = 400
"""Of a cited stretch that is expected: the beginning names its place well enough."""


def marked(turn: Turn, person: Person, good: bool, *, documents: Sequence[str] = (), answer: str = "",
           unanswerable: bool = False) -> GoldenQuestion:
    """The question, asked with the access that the person had then and still has.

    Args:
        documents: where the right answer stands, where the person says so; their sources must be among the turn's.
        answer: the right answer, in their words.
        unanswerable: whether the right answer is that the sources do not hold it.

    Raises:
        BadRequest: the turn is no answer, or nobody says what a right answer would be.
    """
    if turn.outcome not in (TurnOutcome.ANSWERED, TurnOutcome.NOT_IN_SOURCES):
        raise BadRequest("only a finished answer can be marked.")
    if turn.follows:
        raise BadRequest("a follow-up means nothing without the turns before it: ask it as a question of its own.")
    listed = {s.document for s in turn.sources}
    if strange := sorted(set(documents) - listed):
        raise BadRequest(f"{', '.join(strange)} is not among the answer's sources.")
    groups = sorted({g for g in turn.person.groups if g in person.groups} | {EVERYONE})
    refused = turn.outcome is TurnOutcome.NOT_IN_SOURCES
    if good and not unanswerable and not documents and not answer:
        unanswerable = refused
        expected = [] if refused else _cited(turn)
    else:
        expected = [GoldenPassage(document=d) for d in dict.fromkeys(documents)]
    if unanswerable and (documents or answer):
        raise BadRequest("say either where the answer stands or that the sources do not hold it.")
    if not (unanswerable or expected or answer):
        raise BadRequest("say what would have been right: the documents that hold the answer, the answer itself, or "
                         "that the sources do not hold it.")
    return GoldenQuestion(
        id=f"turn-{turn.turn}", question=turn.question, groups=groups,
        clearance=min(turn.person.clearance, person.clearance), expected=expected, answers=[answer] if answer else [],
        unanswerable=unanswerable, kind="marked", turn=turn.turn, good=good)


def _cited(turn: Turn) -> list[GoldenPassage]:
    """What the answer cites, each stretch once."""
    sources = {s.number: s for s in turn.sources}
    found = []
    for citation in turn.citations:
        source = sources.get(citation.source)
        # Withheld sources keep their number and nothing else.
        if source is not None and source.document:
            text = source.text[citation.quote_start:citation.quote_end][:MOST_CHARS].strip()
            found.append(GoldenPassage(document=source.document, text=text))
    return list(dict.fromkeys(found))
