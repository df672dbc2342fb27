"""From ranked passages to the context of an answer. Pure.

A passage that stands in a short section becomes that whole section; passages that touch become one; what another
passage already says is left out; and all of it fits a budget of characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from schemas.events import Source

SectionKey = tuple[str, int, int]
"""Document, version, ordinal of the section."""

PARENT_CHARS = 2400
"""Longest section that is taken whole where nobody says otherwise, in characters: three chunks."""
TOUCHING = 8
"""Passages with at most so many characters between them, white space as a rule, are one."""


def section_of(source: Source) -> SectionKey:
    return source.document, source.version, source.section


@dataclass(frozen=True, slots=True)
class Selection:
    sources: list[Source]
    """The passages to answer from, best first, numbered from 1."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Chunks that are not among them, and why."""


def select(ranked: Sequence[Source], sections: Mapping[SectionKey, str], budget: int, parent_chars: int = PARENT_CHARS
           ) -> Selection:
    """
    Args:
        ranked: one chunk each, best first.
        sections: texts of their sections; where one is missing its chunks stay as they are.
        budget: characters that all passages together may have. The best one is always taken.
        parent_chars: longest section that is taken whole, in characters.
    """
    chosen: list[Source] = []
    left_out = _repeated(ranked)
    for source in ranked:
        if source.chunk in left_out:
            continue
        grown = _grown(source, sections.get(section_of(source)), parent_chars)
        touched = [i for i, other in enumerate(chosen) if _touch(grown, other, sections)]
        merged = _merged([grown, *(chosen[i] for i in touched)], sections) if touched else grown
        # A whole section that does not fit is still good for its best chunk.
        for wanted in ([merged, source] if not touched else [merged]):
            rest = [other for i, other in enumerate(chosen) if i not in touched]
            if not chosen or sum(len(other.text) for other in rest) + len(wanted.text) <= budget:
                place = min(touched, default=len(chosen))
                for other in (chosen[i] for i in touched):
                    left_out[other.chunk] = "one with another chunk of its section"
                if wanted.chunk != source.chunk:
                    left_out[source.chunk] = "one with another chunk of its section"
                left_out.pop(wanted.chunk, None)
                chosen = [*rest[:place], wanted, *rest[place:]]
                break
        else:
            left_out[source.chunk] = "over the budget"
    return Selection([replace(source, number=n) for n, source in enumerate(chosen, 1)], left_out)


def interleaved(rankings: Sequence[Sequence[Source]], limit: int) -> list[Source]:
    """The best of each ranking, then the second of each, numbered from 1: no chunk twice, one version a document."""
    found: dict[str, Source] = {}
    versions: dict[str, int] = {}
    for place in range(max((len(ranking) for ranking in rankings), default=0)):
        for source in (ranking[place] for ranking in rankings if place < len(ranking)):
            if versions.setdefault(source.document, source.version) == source.version:
                found.setdefault(source.chunk, source)
    return [replace(source, number=n) for n, source in enumerate(list(found.values())[:limit], 1)]


def shortened(sources: Sequence[Source], most: int) -> list[Source]:
    """The same passages with at most `most` bytes of UTF-8 text together: the longest end early, all at one length."""
    lengths = sorted(len(source.text.encode()) for source in sources)
    if sum(lengths) <= most:
        return list(sources)
    longest, left = 0, most
    for n, length in enumerate(lengths):
        longest = left // (len(lengths) - n)
        if length > longest:
            break
        left -= length
    return [_cut(source, longest) for source in sources]


def one_version_each(found: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Document to its newest version that was found: in the moment between two versions both can be.

    Args:
        found: (document, version) of each passage.
    """
    chosen: dict[str, int] = {}
    for document, version in found:
        chosen[document] = max(version, chosen.get(document, version))
    return chosen


def _cut(source: Source, most: int) -> Source:
    text = source.text.encode()[:most].decode(errors="ignore")
    return replace(source, text=text, end=source.start + len(text))


def _repeated(ranked: Sequence[Source]) -> dict[str, str]:
    """Those whose text a better one has, white space aside."""
    said: dict[str, Source] = {}
    for source in ranked:
        said.setdefault(" ".join(source.text.split()), source)
    first = {source.chunk for source in said.values()}
    return {source.chunk: "says what a better one says" for source in ranked if source.chunk not in first}


def _grown(source: Source, section: str | None, longest: int) -> Source:
    if section is None or len(section) > longest or section[source.start:source.end] != source.text:
        return source
    return replace(source, text=section, start=0, end=len(section))


def _touch(a: Source, b: Source, sections: Mapping[SectionKey, str]) -> bool:
    return (section_of(a) == section_of(b) and section_of(a) in sections
            and max(a.start, b.start) - min(a.end, b.end) <= TOUCHING)


def _merged(parts: Sequence[Source], sections: Mapping[SectionKey, str]) -> Source:
    """One passage over all of them, known by the best one's chunk."""
    best = max(parts, key=lambda source: source.score)
    start, end = min(source.start for source in parts), max(source.end for source in parts)
    return replace(best, text=sections[section_of(best)][start:end], start=start, end=end)
