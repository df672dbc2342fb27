"""The retrieval recipe and its baselines over a whole collection in memory: what the servers' answers are measured by.

No server, no candidates, no filters: every passage gets both exact scores. Texts are cut and put in context as
documents are (`weir.documents`), and vectors come from the same model; BM25 is this file's own, so that a mistake in
the index would show.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import numpy.typing as npt
import Stemmer

from bench.common import Collection, passages_json
from weir.documents.cut import cut_document
from weir.documents.types import Cut, embedded_text
from weir.retrieval.analysis import keywords, with_parts

Floats = npt.NDArray[np.float64]
Embed = Callable[[Sequence[str]], Awaitable[npt.NDArray[np.float32]]]

DEPTH = 200
K1, B = 1.5, 0.75
RRF_K = 60
_WORD = re.compile(r"(?u)\b\w\w+\b")
_STOPWORDS = frozenset(
    ["a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
     "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with"])


class Bm25:
    """BM25 over a list of texts, k1 1.5, b 0.75, English stop words dropped, words stemmed."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._stemmer = Stemmer.Stemmer("english")
        counts = [Counter(self._terms(text)) for text in texts]
        lengths = np.array([sum(count.values()) for count in counts], np.float64)
        self._norm = K1 * (1 - B + B * lengths / max(lengths.mean(), 1e-9))
        places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for place, count in enumerate(counts):
            for term, n in count.items():
                places[term].append((place, n))
        self._places = {term: np.array(found) for term, found in places.items()}

    def __call__(self, query: str) -> Floats:
        """(texts,) scores."""
        out = np.zeros(len(self._norm))
        for term in self._terms(query):
            if (found := self._places.get(term)) is not None:
                at, n = found[:, 0], found[:, 1]
                idf = math.log(1 + (len(out) - len(at) + 0.5) / (len(at) + 0.5))
                out[at] += idf * n / (n + self._norm[at])
        return out

    def _terms(self, text: str) -> list[str]:
        words = [w for w in _WORD.findall(with_parts(text).lower()) if w not in _STOPWORDS]
        return list(self._stemmer.stemWords(words))


class Oracle:
    """Exact scores of a collection's passages. Make it with `Oracle.of`."""

    def __init__(self, ids: list[str], chunk: Floats, window: Floats, owner: npt.NDArray[np.intp], plain: Floats,
                 bm25: Bm25, document: npt.NDArray[np.intp]) -> None:
        self.ids = ids
        self._chunk, self._window, self._owner, self._plain = chunk, window, owner, plain
        self._bm25, self._document = bm25, document

    @classmethod
    async def of(cls, collection: Collection, embed: Embed) -> Oracle:
        ids: list[str] = []
        texts: list[str] = []
        plain: list[str] = []
        windows: list[str] = []
        owner: list[int] = []
        document: list[int] = []
        for number, (name, passages) in enumerate(collection.documents.items()):
            cut = cut_document(passages_json(passages), "application/x-passages+json", document_id=name,
                               cut=Cut("oracle"))
            for chunk in cut.chunks:
                for window in chunk.windows:
                    windows.append(embedded_text(chunk.context, window.text))
                    owner.append(len(ids))
                ids.append(chunk.passage_id or "")
                texts.append(embedded_text(chunk.context, chunk.text))
                plain.append(chunk.text)
                document.append(number)
        every = [text if text.strip() else "x" for text in [*texts, *windows, *plain]]
        vectors = (await embed(every)).astype(np.float64)
        a, b = len(texts), len(texts) + len(windows)
        return cls(ids, vectors[:a], vectors[a:b], np.array(owner), vectors[b:], Bm25(texts), np.array(document))

    def ranked(self, question: str, vector: Floats) -> dict[str, list[str]]:
        """Ids from best to worst for each way of ranking."""
        keyword, chunk = self._bm25(keywords(question)), self._chunk @ vector
        best = np.full(len(self.ids), -1.0)
        np.maximum.at(best, self._owner, self._window @ vector)
        fused = 0.5 * _z(keyword) + 0.5 * _z(0.5 * chunk + 0.5 * best)
        top = np.array([np.sort(fused[self._document == d])[-3:].mean() for d in range(self._document.max() + 1)])
        ways = {"recipe": fused + 0.1 * top[self._document], "plain dense": self._plain @ vector,
                "plain RRF": _reciprocal(keyword, chunk)}
        return {name: [self.ids[i] for i in np.argsort(-scores, kind="stable")[:100]] for name, scores in ways.items()}


def _z(scores: Floats) -> Floats:
    top = np.sort(scores)[-DEPTH:]
    return np.asarray((scores - top.mean()) / max(float(top.std()), 1e-9))


def _reciprocal(*lists: Floats) -> Floats:
    out = np.zeros(len(lists[0]))
    for scores in lists:
        order = np.argsort(-scores, kind="stable")[:DEPTH]
        out[order] += 1 / (RRF_K + 1 + np.arange(len(order)))
    return out
