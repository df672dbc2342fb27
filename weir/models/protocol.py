"""What a language model is to Weir: a question with its passages in, pieces of an answer out.

    Text            characters; a model that writes cites with markers, `[2]` or `[1, 3]`, and says `[none]` first
                    where the sources do not hold the answer
    Quote           a stretch of a source, word for word: its own citation
    NotInSources    the sources do not hold the answer
    Usage           what it cost; the last one counts
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from schemas.events import Source
from weir.errors import ModelError

Vectors = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Awaitable[Vectors]]
"""Texts to vectors of length 1, shape (n, dimension)."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question of the same conversation and what was answered."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with all that may be used to answer it. The person may read every source in it."""

    question: str
    """As it was typed."""
    sources: Sequence[Source]
    """Passages, best first, numbered from 1."""
    history: Sequence[Exchange] = ()
    """What was said before, oldest first."""
    standalone: str = ""
    """The question with what a follow-up leaves out; empty where it is the same."""
    vector: Vectors | None = None
    """(dimension,) of the standalone question; None where it could not be embedded."""
    cosines: Mapping[str, float] = field(default_factory=dict)
    """Cosine of the question with chunks, by the chunk's id."""
    embed: Embed | None = None
    """The model that made `vector`; None where it cannot be asked."""

    @property
    def whole(self) -> str:
        return self.standalone or self.question


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Quote:
    source: int
    """Number of the source."""
    start: int
    """Start in the source's text, in characters."""
    end: int


@dataclass(frozen=True, slots=True)
class NotInSources:
    pass


@dataclass(frozen=True, slots=True)
class Usage:
    tokens_in: int
    tokens_out: int
    cost: float = 0.0
    """In the currency of the configured prices."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Cost of a million tokens."""

    tokens_in: float = 0.0
    tokens_out: float = 0.0

    def usage(self, tokens_in: int, tokens_out: int) -> Usage:
        cost = (tokens_in * self.tokens_in + tokens_out * self.tokens_out) / 1e6
        return Usage(tokens_in, tokens_out, cost)


Piece = Text | Quote | NotInSources | Usage


class LanguageModel(Protocol):
    """Writes answers."""

    @property
    def name(self) -> str:
        """As it stands in the turn."""

    @property
    def prompt(self) -> str:
        """Name and version of the prompt; empty for a model without one."""

    @property
    def context_chars(self) -> int | None:
        """How many characters of passages, grown into their sections, it takes; None for the passages as they are."""

    def answer(self, asked: Asked) -> AsyncGenerator[Piece, None]:
        """Streams an answer. Closing the generator ends the call.

        Raises:
            ModelError: the model refused, broke off, is away or is misconfigured.
        """

    async def close(self) -> None:
        """Gives back connections."""


class ModelUnavailable(ModelError):
    """The model does not answer, broke off or is overloaded; asking again may help."""

    code = "model_unavailable"
    status = 503
    retriable = True


class ModelRefused(ModelError):
    """The model would not answer this question."""

    code = "model_refused"
