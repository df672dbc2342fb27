"""Citations of an answer that a language model writes: markers out of the text, support before release.

The model marks a statement with `[2]` or `[1, 3]`, before or behind its full stop. The markers leave the text. A
citation stands for the sentence it marks and is given out when that sentence is complete and the source supports it;
one without support is dropped. Text is never held back for longer than a marker might be forming.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.events import Citation, Source
from weir.answers.sentences import sentences
from weir.answers.terms import coverage, stems, terms
from weir.models.protocol import Embed

COVERED = 0.5
"""A source supports a sentence when one of its stretches holds this share of the sentence's words..."""
ALIKE = 0.6
"""...or has at least this cosine with it, for a sentence put in other words. Figures must be there in either case."""
NONE = "[none]"
"""What the model writes first where the sources do not hold the answer."""

_MARKER = re.compile(r"[ \t]*\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
_FORMING = re.compile(r"\s+$|[ \t]*\[[\d,; \t]{0,24}$")
_FIGURE = re.compile(r"\d[\d.,]*")
_COMPLETE = re.compile(r"[.!?…:][\"'”’)\]*_]*$")
_GOES_TO = re.compile(r"[^.!?…\n]*?(?:[.!?…]+[\"'”’)\]*_]*(?=\s)|(?=\n))")


@dataclass(frozen=True, slots=True)
class Marked:
    """A sentence that is complete, and the sources that it names."""

    start: int
    """Start in the answer's text, in characters."""
    end: int
    sources: tuple[int, ...]


class MarkerParser:
    """Takes the model's characters, gives text without markers and the sentences that were marked."""

    def __init__(self) -> None:
        self.text = ""
        """All text that was given out."""
        self.not_in_sources = False
        self._raw = ""
        self._open: list[tuple[int, tuple[int, ...]]] = []

    def feed(self, characters: str) -> tuple[str, list[Marked]]:
        """The next characters of the answer's text, and the marked sentences that are complete with them."""
        self._raw += characters
        if not self.text and not self.not_in_sources:
            head = self._raw.lstrip()
            if head.startswith(NONE):
                self.not_in_sources = True
                self._raw = head[len(NONE):]
            elif NONE.startswith(head):
                return "", []
        return self._take(final=False)

    def finish(self) -> tuple[str, list[Marked]]:
        """What is left when the model has ended."""
        return self._take(final=True)

    def finish_keeping(self) -> tuple[str, list[Marked]]:
        """As `finish`, for text that goes on with a quote: the blank at its end stays."""
        held, self._raw = self._raw, ""
        self._add(held)
        return held, []

    def _take(self, *, final: bool) -> tuple[str, list[Marked]]:
        before, at = len(self.text), 0
        for match in _MARKER.finditer(self._raw):
            self._add(self._raw[at:match.start()])
            self._open.append((len(self.text.rstrip()), tuple(int(n) for n in re.findall(r"\d+", match.group(1)))))
            at = match.end()
        rest = self._raw[at:]
        forming = None if final else _FORMING.search(rest)
        held = forming.start() if forming else len(rest)
        self._add(rest[:held])
        self._raw = rest[held:]
        if final:
            self.text = self.text[:max(before, len(self.text.rstrip()))]
        return self.text[before:], self._completed(final=final)

    def _add(self, text: str) -> None:
        self.text += text if self.text else text.lstrip()

    def _completed(self, *, final: bool) -> list[Marked]:
        done: list[Marked] = []
        waiting = []
        for at, numbers in self._open:
            end: int | None = at
            if not _COMPLETE.search(self.text[:at]):
                goes_to = _GOES_TO.match(self.text, at)
                end = goes_to.end() if goes_to else len(self.text) if final else None
            if end is None:
                waiting.append((at, numbers))
            else:
                done.append(Marked(_begin(self.text, at), end, numbers))
        self._open = waiting
        return done


def _begin(text: str, at: int) -> int:
    """Where the sentence begins that holds the character before `at`."""
    paragraph = text.rfind("\n", 0, at) + 1
    last = [s.start for s in sentences(text[paragraph:at])][-1:]
    return paragraph + (last[0] if last else 0)


async def citation(text: str, marked: Marked, source: Source, embed: Embed | None) -> Citation | None:
    """The citation of a sentence, with the stretch of the source that supports it; None where nothing does."""
    sentence = text[marked.start:marked.end]
    candidates = sentences(source.text)
    figures = {f.rstrip(".,") for f in _FIGURE.findall(sentence)}
    if not candidates or not figures <= {f.rstrip(".,") for f in _FIGURE.findall(source.text + source.title)}:
        return None
    asked = terms(sentence)
    covers = [coverage(asked, stems(c.text) | stems(c.lead) | stems(source.title)) for c in candidates]
    best = int(np.argmax(covers))
    if covers[best] < COVERED:
        if embed is None:
            return None
        vectors = await embed([sentence, *(c.text[:1000] for c in candidates[:63])])
        cosines = vectors[1:] @ vectors[0]
        best = int(np.argmax(cosines))
        if cosines[best] < ALIKE:
            return None
    return Citation(source=source.number, start=marked.start, end=marked.end, quote_start=candidates[best].start,
                    quote_end=candidates[best].end)


def by_number(sources: Sequence[Source]) -> dict[int, Source]:
    return {source.number: source for source in sources}
