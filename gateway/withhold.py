"""Old answers meet new rights: what a person may no longer read is taken out of a turn when it is shown again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from schemas.events import Person, Source, Turn
from weir.access import may_read
from weir.views.documents import DocumentView, DocumentViews

MARK = "[withheld]"


class SourceAccess:
    """Checks sources against the newest access of their documents."""

    def __init__(self, views: DocumentViews) -> None:
        self._views = views

    async def allowed(self, person: Person, workspace: str, documents: Iterable[str]) -> set[str]:
        """Those of `documents` that exist and that the person may read now.

        Raises:
            Unavailable: nobody can tell at the moment.
        """
        wanted = sorted(set(documents) - {""})
        if not wanted:
            return set()
        found = await self._views.check(workspace, wanted)
        return {d for d, view in found.items() if readable(person, view)}

    async def turn(self, person: Person, turn: Turn) -> Turn:
        """The turn as the person may see it now."""
        allowed = await self.allowed(person, turn.workspace, (s.document for s in turn.sources))
        return withhold(turn, {s.number for s in turn.sources if s.document not in allowed})

    async def turns(self, person: Person, turns: list[Turn]) -> list[Turn]:
        """Turns of one or more workspaces, with one check for each workspace."""
        allowed: dict[str, set[str]] = {}
        for workspace in {t.workspace for t in turns}:
            documents = {s.document for t in turns if t.workspace == workspace for s in t.sources}
            allowed[workspace] = await self.allowed(person, workspace, documents)
        return [withhold(t, {s.number for s in t.sources if s.document not in allowed[t.workspace]}) for t in turns]


def readable(person: Person, view: DocumentView | None) -> bool:
    return view is not None and not view.deleted and may_read(person, view.groups, view.clearance)


def withhold(turn: Turn, numbers: set[int]) -> Turn:
    """The turn without the sources `numbers` and without the lines of the answer that rest on them.

    Whole lines, since what stands before a quote names its document. A withheld source keeps its number and nothing
    else; the other citations move with the text.
    """
    if not numbers:
        return turn
    cuts = _merged(sorted(_line(turn.text, c.start, c.end) for c in turn.citations
                          if c.source in numbers and c.start < c.end))
    text, at = [], 0
    for start, end in cuts:
        text += [turn.text[at:start], MARK]
        at = end
    text.append(turn.text[at:])
    kept = [replace(c, start=_moved(c.start, cuts), end=_moved(c.end, cuts)) for c in turn.citations
            if c.source not in numbers and not any(s < c.end and c.start < e for s, e in cuts)]
    how_many = "1 source is" if len(numbers) == 1 else f"{len(numbers)} sources are"
    return replace(
        turn, text="".join(text), citations=kept,
        sources=[_emptied(s) if s.number in numbers else s for s in turn.sources],
        notices=[*turn.notices, f"{how_many} withheld: deleted, or no longer open to you."])


def _emptied(source: Source) -> Source:
    return Source(number=source.number, chunk="", document="", version=source.version, title="", heading_path=[],
                  text="", section=0, start=0, end=0, score=0.0)


def _line(text: str, start: int, end: int) -> tuple[int, int]:
    """The stretch, widened to the beginning and the end of its lines."""
    after = text.find("\n", end)
    return text.rfind("\n", 0, start) + 1, len(text) if after < 0 else after


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _moved(position: int, cuts: list[tuple[int, int]]) -> int:
    """Where a position outside every cut is once each cut has become the mark."""
    return position + sum(len(MARK) - (end - start) for start, end in cuts if end <= position)
