"""Under what a search and an answer are kept: hashes of all that they depend on. Pure.

They are taken of whole values, so that what is added to a recipe, a question, its controls or an index version later is
part of the key by itself. The few fields that are left out are named here, each for its reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from schemas.events import Filter, IndexVersion, Person, QuestionAsked
from weir.access import EVERYONE
from weir.models.protocol import LanguageModel
from weir.retrieval.candidates import Query
from weir.retrieval.pipeline import Controls, Retrieved
from weir.retrieval.recipe import Recipe

WHO = frozenset({"subject", "name"})
"""Of a person: what they are called. What they may read is left."""
ASKED = frozenset({"answer", "conversation", "question", "person", "asked_at", "anew"})
"""Of a question: its ids; its text, which is compared apart; who asks, of whom their access counts; when, of which the
day counts, among the controls; and that it is to be answered anew, since the new answer takes the old one's place."""
WISHED = frozenset({"anew"})
"""Of the controls, for the same reason."""
READ = frozenset({"standalone", "parts", "also", "usage"})
"""Of how a model read the question: what it made of this wording, which the passages show that were found with it. A
question with several parts and a follow-up are never answered again."""


def search_key(version: IndexVersion, query: Query, recipe: Recipe) -> str:
    """What the candidates depend on besides what is in the stores."""
    return _digest(_whole(version), {**_whole(query, {"person"}), **_filters(query.filters)}, access(query.person),
                   _whole(recipe))


def answer_key(question: QuestionAsked, controls: Controls, found: Retrieved, model: LanguageModel) -> str:
    """What an answer depends on besides the question's text and the passages."""
    return _digest({**_whole(question, ASKED), **_filters(question.filters)}, access(question.person),
                   {**_whole(controls, WISHED), **_read(controls)}, _whole(found.recipe), found.reranker,
                   found.index, found.index_version, model.name, model.prompt, model.context_chars)[:32]


def access(person: Person) -> dict[str, Any]:
    """What a person may read. Everybody is in the group of everyone, whether it was said or not."""
    return {**_whole(person, WHO), "groups": sorted({*person.groups, EVERYONE})}


def _whole(value: Any, without: Iterable[str] = ()) -> dict[str, Any]:
    return {name: held for name, held in asdict(value).items() if name not in set(without)}


def _read(controls: Controls) -> dict[str, Any]:
    return {"reading": controls.reading and _whole(controls.reading, READ)}


def _filters(filters: Sequence[Filter]) -> dict[str, Any]:
    """All hold, in whatever order they were given."""
    return {"filters": sorted(_text(asdict(f)) for f in filters)}


def _digest(*values: Any) -> str:
    return hashlib.sha256(_text(values).encode()).hexdigest()


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=_told)


def _told(value: Any) -> Any:
    if isinstance(value, date):
        return {"day": value.isoformat()}
    raise TypeError(f"{value!r} cannot be part of a key")
