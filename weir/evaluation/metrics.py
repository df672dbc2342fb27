"""Figures of one question, each between 0 and 1. Pure.

Of the ranking, where passages are expected. A chunk meets an expectation when it is of the document, is the passage,
and holds the words, as far as each is named: so a set measures versions that are cut differently. Each expectation
counts once, at its first chunk.

    hit@k       whether one expectation is met among the first k
    recall@k    share of the expectations that are met among the first k
    mrr         1 / rank of the first that is met (Voorhees, TREC-8 question answering track, 1999)
    ndcg@10     discounted gain of the first ten over that of the best order, gain = grade, discount log2(rank + 1)
                (Järvelin and Kekäläinen, ACM TOIS 20(4), 2002; with linear gain, as trec_eval and BEIR have it)

Of the answer:

    cited          whether an answer cites anything
    gold_in_cited  whether an accepted answer stands in what is cited
    supported      share of the answer's sentences that a citation supports; not where all of it is quoted
    refused        whether a question that the sources cannot answer was refused
    refusal_right  of a refusal: whether it was right
    withheld       whether nothing was shown that the person must not see
    similarity     cosine of the answer with the nearest accepted one
    faithful, relevant   the judge's opinion
    quality        mean of ndcg@10, gold_in_cited, refused and withheld, as far as they apply: the worst come first
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence

from schemas.events import Citation, GoldenPassage, GoldenQuestion, Source
from weir.answers.sentences import sentences

DEPTH = 20
"""Passages of a ranking that are looked at."""
HITS, RECALLS, NDCG_AT = (1, 5, 10), (5, 10, 20), 10
MAIN = "recall@10"
"""The figure that the gate decides by: what an answer is made from is taken from the first ten."""
FIGURES = (*(f"hit@{k}" for k in HITS), *(f"recall@{k}" for k in RECALLS), "mrr", f"ndcg@{NDCG_AT}", "cited",
           "gold_in_cited", "supported", "refused", "refusal_right", "withheld", "similarity", "faithful", "relevant")
"""Those that a report shows, in its order."""
FAILED = "failed"
"""Outcome of a question that got no answer at all."""
QUALITY = (f"ndcg@{NDCG_AT}", "gold_in_cited", "refused", "withheld")


def plain(text: str) -> str:
    """The text as it is compared: compatible characters as one, no case, white space collapsed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def meets(expected: GoldenPassage, source: Source) -> bool:
    """Whether a chunk is, or holds, or is part of what is expected."""
    if expected.document not in ("", source.document) or expected.passage not in ("", source.passage or ""):
        return False
    wanted, there = plain(expected.text), plain(source.text)
    return wanted in there or (bool(there) and there in wanted)


def newly_met(expected: Sequence[GoldenPassage], sources: Sequence[Source]) -> list[set[int]]:
    """For each source in order, the places of the expectations that it is the first to meet."""
    met: set[int] = set()
    found = []
    for source in sources[:DEPTH]:
        new = {i for i, e in enumerate(expected) if i not in met and meets(e, source)}
        met |= new
        found.append(new)
    return found


def ranking_figures(expected: Sequence[GoldenPassage], sources: Sequence[Source]) -> dict[str, float]:
    """Figures of a ranking, best first; nothing where nothing is expected."""
    if not expected:
        return {}
    met = newly_met(expected, sources)
    first = first_rank(met)
    gains = [float(sum(expected[i].grade for i in new)) for new in met[:NDCG_AT]]
    ideal = sorted((float(e.grade) for e in expected), reverse=True)[:NDCG_AT]
    figures = {f"hit@{k}": float(any(met[:k])) for k in HITS}
    figures |= {f"recall@{k}": sum(map(len, met[:k])) / len(expected) for k in RECALLS}
    # One chunk may meet two expectations at once, which is better than the best order of two chunks.
    return figures | {"mrr": 1 / first if first else 0.0, f"ndcg@{NDCG_AT}": min(1.0, _dcg(gains) / _dcg(ideal))}


def first_rank(met: Sequence[set[int]]) -> int:
    """Rank of the first source that meets something, from 1; 0 where none does."""
    return next((rank for rank, new in enumerate(met, 1) if new), 0)


def _dcg(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def answer_figures(question: GoldenQuestion, refused: bool, text: str, citations: Sequence[Citation],
                   cited: Sequence[str], shown: Sequence[str], *, quoted: bool) -> dict[str, float]:
    """Figures of an answer, without those that need a model.

    Args:
        refused: whether it says that the sources do not hold the answer.
        cited: the stretches of sources that it cites.
        shown: the documents among its sources.
        quoted: whether it is made of quotes alone.
    """
    figures: dict[str, float] = {}
    if question.unanswerable:
        figures["refused"] = float(refused)
    elif question.answers:
        said = plain(" ".join(cited))
        figures["gold_in_cited"] = float(not refused and any(plain(a) in said for a in question.answers))
    if refused and (question.unanswerable or question.expected or question.answers):
        figures["refusal_right"] = float(question.unanswerable)
    if not refused:
        figures["cited"] = float(bool(citations))
        if not quoted:
            figures["supported"] = supported(text, citations)
    if question.never:
        figures["withheld"] = float(not set(question.never) & set(shown))
    return figures


def supported(text: str, citations: Sequence[Citation]) -> float:
    """Share of the sentences of an answer that a citation stands for. One that no source backs was never released."""
    said = sentences(text)
    backed = sum(any(c.start < s.end and s.start < c.end for c in citations) for s in said)
    return backed / len(said) if said else 0.0


def with_quality(figures: Mapping[str, float]) -> dict[str, float]:
    """The figures and, where they say anything about it, the quality."""
    apply = [figures[name] for name in QUALITY if name in figures]
    return {**figures, **({"quality": sum(apply) / len(apply)} if apply else {})}
