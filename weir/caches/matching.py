"""Whether an earlier answer answers a question that was asked now. Pure.

Retrieval has been made for the question of now, on the index of now. The same question is answered by the earlier
answer where the passages are the same ones: the model would read what it read then. A question in other words is
answered by it where

    - the two are of one kind, near each other as vectors, and turned by the same words (not, only, before ...);
    - the best passages of now had been read then, and all that the answer cites is found now;
    - a word that only one of the two has stands in what the answer cites;
    - the sentence that holds most of the question's words is one that the answer cites;
    - no word of it is a name in the passages.

Vectors alone cannot tell: "Who signs an order?" is as near to "Who writes an order?" as to "Who has to sign orders?".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schemas.events import Citation, Source
from weir.answers.terms import covered, prefixes, stems, terms
from weir.caches.kinds import kind_of, names, turned
from weir.models.evidence import gather, scores

BEST = 3
"""Passages of now that must have been read then."""


def same_passages(now: Sequence[Source], then: Sequence[Source]) -> bool:
    """Whether a model would read the same: the very versions of the very chunks, as far as they were read."""
    return {_read(s) for s in now} == {_read(s) for s in then}


def _read(source: Source) -> tuple[str, int, int, int]:
    return source.chunk, source.section, source.start, source.end


def answers(question: str, now: Sequence[Source], asked: str, then: Sequence[Source],
            citations: Sequence[Citation]) -> bool:
    """Whether the answer to `asked`, made from the passages `then`, answers the question too.

    Args:
        now: passages that were found for the question, best first.
    """
    if kind_of(question) != kind_of(asked) or turned(question) != turned(asked):
        return False
    found, read = {s.chunk for s in now}, {s.chunk: s for s in then}
    numbers = {s.number: s for s in then}
    cited = [(numbers[c.source], c) for c in citations if c.source in numbers]
    if not cited or any(s.chunk not in read for s in now[:BEST]) or any(s.chunk not in found for s, _ in cited):
        return False
    if names(question, [s.text for s in now]):
        return False
    return _told(question, asked, cited) and _is_best(question, now, cited)


def _told(question: str, asked: str, cited: Sequence[tuple[Source, Citation]]) -> bool:
    """Whether each word that only one of the questions has stands in what was cited."""
    one, other = {t.stem: t for t in terms(question)}, {t.stem: t for t in terms(asked)}
    said = stems(" ".join(" ".join([s.title, *s.heading_path, s.text[c.quote_start:c.quote_end]]) for s, c in cited))
    begin = prefixes(said)
    return all(covered((one.get(word) or other[word]), said, begin) for word in one.keys() ^ other.keys())


def _is_best(question: str, now: Sequence[Source], cited: Sequence[tuple[Source, Citation]]) -> bool:
    """Whether the sentence that answers best, by its words, is one that was cited."""
    evidence = gather(question, now)
    if not evidence.candidates:
        return False
    ranking = scores(evidence, None)
    best = evidence.candidates[int(np.argmax(ranking))]
    said = best.sentence.text.strip()
    return any(said in (quoted := s.text[c.quote_start:c.quote_end]) or quoted.strip() in said for s, c in cited
               if s.text[c.quote_start:c.quote_end].strip())
