"""The parameters of retrieval. Defaults are those that were measured best; an index version may differ in some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from weir.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Recipe:
    depth: int = 200
    """Chunks taken from each store, and scores that the mean and deviation of a store's list are taken over."""
    rows: int = 600
    """Vectors taken from Milvus to find those chunks: a chunk has one of its own and one a window."""
    window_weight: float = 0.5
    """Share of the best window in a chunk's dense score; the rest is the chunk's own vector."""
    dense_weight: float = 0.5
    """Share of the dense score in the fused one; the rest is the keyword score."""
    document_bonus: float = 0.1
    """Weight of a document's best chunks in each of its chunks' scores."""
    document_best: int = 3
    """How many chunks of a document count for the bonus."""
    fetch: int = 40
    """Chunks whose text is read at a time."""

    @classmethod
    def with_overrides(cls, values: Mapping[str, float]) -> Recipe:
        """The defaults with the values of an index version.

        Raises:
            SettingsError: a value's name is not a parameter, or the value makes no sense.
        """
        kinds = {f.name: int if f.type == "int" else float for f in fields(cls)}
        unknown = sorted(values.keys() - kinds.keys())
        if unknown:
            raise SettingsError(f"the recipe names {', '.join(unknown)}; its parameters are {', '.join(kinds)}.")
        recipe = cls(**{name: kinds[name](value) for name, value in values.items()})  # type: ignore[arg-type]  # int or float by name
        if recipe.depth < 1 or recipe.rows < 1 or recipe.fetch < 1 or recipe.document_best < 1:
            raise SettingsError("depth, rows, fetch and document_best of a recipe must be 1 or more.")
        if not (0 <= recipe.window_weight <= 1 and 0 <= recipe.dense_weight <= 1):
            raise SettingsError("window_weight and dense_weight of a recipe must lie between 0 and 1.")
        return recipe
