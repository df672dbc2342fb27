"""The embedding model that an index version names: on Triton, or `openai:MODEL` behind an API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from schemas.events import IndexVersion
from weir.retrieval.embed import Embedder, Vectors
from weir.settings import Settings

if TYPE_CHECKING:
    from weir.retrieval.embed_openai import OpenAIEmbedder

PAID = "openai:"
"""What the names of models begin with that may cost money."""


class Embeds(Protocol):
    """Texts to vectors. See `weir.retrieval.embed.Embedder`, which says what each member does."""

    model: str
    priority: int

    async def embed(self, texts: Sequence[str]) -> Vectors: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Described:
    """What a model's server has now: all that an index version keeps of it."""

    model: str
    revision: str
    dimension: int
    probe: list[float] = field(default_factory=list)


def embedder(settings: Settings, version: IndexVersion, bulk: bool = False) -> Embeds:
    """The model of an index version; whatever its server gives that the version was not built with is an error.

    Args:
        bulk: for documents rather than questions.
    """
    if version.model.startswith(PAID):
        return _openai()(settings, version.model, version.revision, bulk, version.dimension, version.probe)
    return Embedder(settings, version.model, version.revision, bulk, version.dimension)


async def described(settings: Settings, model: str) -> Described:
    """What the server has of a model.

    Raises:
        Unavailable: it does not answer, or does not know the model.
        BadRequest: it refuses.
    """
    if model.startswith(PAID):
        paid = _openai()(settings, model, None)
        try:
            return Described(model, *await paid.described())
        finally:
            await paid.close()
    local = Embedder(settings, model, None)
    try:
        return Described(model, *await local.described())
    finally:
        await local.close()


def _openai() -> type[OpenAIEmbedder]:
    from weir.retrieval.embed_openai import OpenAIEmbedder  # half a second that most processes can do without

    return OpenAIEmbedder
