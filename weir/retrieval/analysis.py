"""What counts as a word: how texts and questions become terms before BM25 sees them.

Identifiers are split here and not in Elasticsearch, so that a text that holds one is repeated with its parts, as in the
recipe that was measured; the analyzer then only finds words, lowers, drops English stop words and stems.
"""

from __future__ import annotations

import re
from typing import Any

_CAMEL = re.compile(r"([a-z0-9])([A-Z])")
_ACRONYM = re.compile(r"([A-Z]+)([A-Z][a-z])")
_QUERY_WORD = re.compile(r"[\w`.:]+")

_FILLER = """
    what how why which where when who whom whose do does did is are was were be can could should would will i you we
    one it its use used using uses purpose role work works working meaning mean happen happens happened explain describe
"""
FILLER = frozenset(_FILLER.split())
"""Words of a question that say that it is one."""

ANALYZER = "weir"
ANALYSIS: dict[str, Any] = {
    "analyzer": {ANALYZER: {"type": "custom", "tokenizer": "words", "filter": ["lowercase", "stopwords", "stems"]}},
    # Words of two characters or more, of any alphabet.
    "tokenizer": {"words": {"type": "pattern", "pattern": "(?U)\\b\\w\\w+\\b", "group": 0}},
    "filter": {"stopwords": {"type": "stop", "stopwords": "_english_"},
               "stems": {"type": "stemmer", "language": "porter2"}},
}
SIMILARITY = {"weir": {"type": "BM25", "k1": 1.5, "b": 0.75}}


def with_parts(text: str) -> str:
    """The text, followed by itself with identifiers taken apart (camelCase, snake_case) if it has any."""
    split = _ACRONYM.sub(r"\1 \2", _CAMEL.sub(r"\1 \2", text)).replace("_", " ")
    return text if split == text else f"{text} {split}"


def keywords(question: str) -> str:
    """The question without filler; the question itself where nothing else is in it."""
    return " ".join(word for word in _QUERY_WORD.findall(question) if word.lower().strip("`") not in FILLER) or question
