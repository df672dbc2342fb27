"""The parameters of retrieval. Defaults are those that were measured best; all else is off until somebody asks for it.

An index version may differ in some, a workspace in more, a question in a few and within narrower limits: each of these
is a map of numbers, since that is what their records carry. Where a parameter is about one type of document or one date
field, its name has that behind a dot: `dense_weight.contract`, `half_life.effective`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from weir.errors import BadRequest, SettingsError
from weir.retrieval.parameters import PARAMETERS

MOST_ROWS = 16_384
"""Most rows that one search of Milvus may ask for."""

Pairs = tuple[tuple[str, float], ...]
"""Numbers by what stands behind the dot, in the order of their names."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What each is for, and its limits, says `weir.retrieval.parameters`."""

    depth: int = 200
    windows: int = 200
    window_weight: float = 0.5
    dense_weight: float = 0.5
    dense_weights: Pairs = ()
    document_bonus: float = 0.1
    document_best: int = 3
    fetch: int = 40
    heading_boost: float = 0.0
    type_boosts: Pairs = ()
    recency_weight: float = 0.0
    half_lives: Pairs = ()
    min_score: float = -1000.0
    min_cosine: float = -1.0
    context_tokens: int = 0
    parent_chars: int = 2400
    plain_filters: bool = True
    rewrite: bool = True
    decompose: bool = False
    expand: bool = False
    adaptive_depth: bool = False
    clarify: bool = False
    rerank: int = 0
    rerank_margin: float = 0.5

    @classmethod
    def with_overrides(cls, values: Mapping[str, float]) -> Recipe:
        """The defaults with the values of an index version.

        Raises:
            SettingsError: a value's name is not a parameter, or the value makes no sense.
        """
        return cls().changed(values)

    def changed(self, values: Mapping[str, float]) -> Recipe:
        """This one with the values of an index version or a workspace. Raises SettingsError as `with_overrides`."""
        return self._changed(values, asked=False, error=SettingsError)

    def asked(self, values: Mapping[str, float]) -> Recipe:
        """This one with the values of a question. Its depth changes the windows in proportion.

        Raises:
            BadRequest: as `with_overrides`; or a question may not set it, or not to that.
        """
        made = self._changed(values, asked=True, error=BadRequest)
        return replace(made, windows=min(MOST_ROWS, max(1, round(self.windows * made.depth / self.depth))))

    def _changed(self, values: Mapping[str, float], *, asked: bool, error: type[SettingsError | BadRequest]) -> Recipe:
        if not values:
            return self
        new: dict[str, Any] = {}
        for name, value in values.items():
            head, dot, key = name.partition(".")
            place = _PLACES.get((head, bool(dot)))
            if place is None or (dot and not key):
                raise error(f"the recipe names {name}; its parameters are {', '.join(p.name for p in PARAMETERS)}.")
            limits = place.asked if asked else (place.low, place.high)
            if limits is None:
                raise error(f"{name} is set for an index version or a workspace, not for a question.")
            if not (math.isfinite(value) and limits[0] <= value <= limits[1]):
                raise error(f"{name} of a recipe must lie between {limits[0]:g} and {limits[1]:g}; {value:g} was "
                            "given.")
            kind = type(getattr(self, place.field))
            if dot:
                known = dict(new.get(place.field, getattr(self, place.field)))
                new[place.field] = tuple(sorted({**known, key: float(value)}.items()))
            elif kind is not float and value != int(value):
                raise error(f"{name} of a recipe must be a whole number; {value:g} was given.")
            else:
                new[place.field] = kind(value)
        return replace(self, **new)

    def told(self) -> dict[str, float]:
        """Every parameter by the name under which it is set."""
        found: dict[str, float] = {}
        for place in PARAMETERS:
            value = getattr(self, place.field)
            if place.keyed:
                found |= {f"{place.head}.{key}": v for key, v in value}
            else:
                found[place.name] = value
        return found

    @property
    def looks_at_documents(self) -> bool:
        """Whether candidates are weighed by what their documents are, which has to be read first."""
        return bool(self.dense_weights or self.type_boosts or self.heading_boost
                    or (self.recency_weight and self.half_lives))


_PLACES = {(place.head, place.keyed): place for place in PARAMETERS}


def origins(version: Iterable[str], workspace: Iterable[str], asked: Iterable[str]) -> dict[str, str]:
    """By parameter, who set it: `version`, `workspace` or `question`. What nobody set is not among them."""
    return {**dict.fromkeys(version, "version"), **dict.fromkeys(workspace, "workspace"),
            **dict.fromkeys(asked, "question")}
