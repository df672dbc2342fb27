"""What can be set of a recipe, within which limits, and what it is for.

`python -m weir.retrieval.parameters` writes `docs/reference/recipe.md` from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "recipe.md"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of `weir.retrieval.recipe.Recipe`."""

    name: str
    """As it is set; with `.TYPE` or `.FIELD` it is set for one type of document or one field."""
    field: str
    """Of the recipe."""
    low: float
    high: float
    asked: tuple[float, float] | None
    """The limits that a question has; None where a question may not set it."""
    doc: str

    @property
    def head(self) -> str:
        """The name without what stands behind its dot."""
        return self.name.partition(".")[0]

    @property
    def keyed(self) -> bool:
        return "." in self.name


PARAMETERS = (
    Parameter("depth", "depth", 1, 10000, (10, 400),
              "Chunks taken from each store, and scores that the mean and deviation of a store's list are taken over."),
    Parameter("windows", "windows", 1, 16384, None,
              "Windows taken from Milvus besides: a chunk of which one is among them may be among the best though "
              "it is not as a whole. The depth of a question changes them in proportion."),
    Parameter("window_weight", "window_weight", 0, 1, None,
              "Share of the best window in a chunk's dense score; the rest is the chunk's own vector."),
    Parameter("dense_weight", "dense_weight", 0, 1, (0, 1),
              "Share of the dense score in the fused one; the rest is the keyword score."),
    Parameter("dense_weight.TYPE", "dense_weights", 0, 1, (0, 1),
              "The same for documents of a type."),
    Parameter("document_bonus", "document_bonus", 0, 1000, None,
              "Weight of a document's best chunks in each of its chunks' scores."),
    Parameter("document_best", "document_best", 1, 10000, None,
              "How many chunks of a document count for the bonus."),
    Parameter("fetch", "fetch", 1, 10000, None,
              "Chunks whose text is read at a time."),
    Parameter("heading_boost", "heading_boost", -10, 10, (-3, 3),
              "Added to the score of a chunk whose title and headings hold all of the question's words; a share of it "
              "for a share of them."),
    Parameter("type_boost.TYPE", "type_boosts", -10, 10, (-3, 3),
              "Added to the score of documents of a type."),
    Parameter("recency_weight", "recency_weight", 0, 10, (0, 3),
              "Added to the score of a document of today, half of it after one half-life."),
    Parameter("half_life.FIELD", "half_lives", 0.01, 36525, (1, 36525),
              "Days after which a document counts half as recent, by this date field of its metadata. Of several "
              "fields "
              "the first by name that a document has counts."),
    Parameter("min_score", "min_score", -1000, 1000, (-1000, 1000),
              "Passages with a lower score are left out; without any left Weir says that it does not know. The score "
              "depends on the other passages found: look at some with `--explain` first."),
    Parameter("min_cosine", "min_cosine", -1, 1, (-1, 1),
              "The same for the dense score, which means the same for every question; not where vectors are away."),
    Parameter("context_tokens", "context_tokens", 0, 100000, (50, 8000),
              "Most tokens of passages that an answer is made from, four characters each; 0: as many as the model "
              "takes. Never more than those."),
    Parameter("parent_chars", "parent_chars", 0, 64000, (0, 8000),
              "Longest section, in characters, that is read whole where one of its chunks was found; 0: passages are "
              "read as they are."),
    Parameter("plain_filters", "plain_filters", 0, 1, (0, 1),
              'Conditions in a question ("signed after March", "version above 2.9") become filters where the '
              "workspace's metadata has such a field."),
    Parameter("rewrite", "rewrite", 0, 1, (0, 1),
              "A follow-up takes what it leaves out from the question before it, and is searched so."),
    Parameter("decompose", "decompose", 0, 1, (0, 1),
              "A question with several parts is searched part by part, and answered so by quotes."),
    Parameter("expand", "expand", 0, 1, (0, 1),
              "Other spellings of the question's words are searched too, at half their weight."),
    Parameter("adaptive_depth", "adaptive_depth", 0, 1, (0, 1),
              "Half the depth for plain questions, twice the depth for hard ones."),
    Parameter("clarify", "clarify", 0, 1, (0, 1),
              "A question that could mean several documents, or names nothing, is asked back."),
    Parameter("rerank", "rerank", 0, 100, (0, 30),
              "How many of the best passages the cross-encoder of WEIR_RERANK_MODEL reads; 0: none."),
    Parameter("rerank_margin", "rerank_margin", 0, 1000, (0, 10),
              "It reads them only where the first is less than this above the second."),
)

HEAD = """# The retrieval recipe

Written by `python -m weir.retrieval.parameters` from `weir/retrieval/parameters.py`.
[How to use it](../how-to/tune-retrieval.md).

A recipe is a map of names to numbers; yes and no are 1 and 0. What an index version says goes before the defaults, what
a workspace says before that, and what a question says before both. TYPE stands for what the metadata fields `type` and
`kind` of a document say, in small letters, or for its format: `markdown`, `text`, `html`, `pdf`, `docx`, `csv`, `qa`,
`passages`. FIELD stands for a metadata field that holds dates.

| parameter | default | limits | in a question | what it is for |
|---|---|---|---|---|
"""


def page() -> str:
    """The text of the page."""
    from weir.retrieval.recipe import Recipe

    defaults = Recipe()
    rows = []
    for p in PARAMETERS:
        value = getattr(defaults, p.field)
        shown = "" if isinstance(value, tuple) else f"`{value:g}`"
        asked = f"{p.asked[0]:g} to {p.asked[1]:g}" if p.asked else "no"
        rows.append(f"| `{p.name}` | {shown} | {p.low:g} to {p.high:g} | {asked} | {p.doc} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
