"""Vectors that are remembered are those that the model would give again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from weir.errors import BadRequest, Unavailable
from weir.retrieval.embed import Vectors
from weir.retrieval.remembered import OVERHEAD, Remembered, VectorCache
from weir.settings import Settings


class Counted:
    """A model whose vectors say what they were made from."""

    def __init__(self, model: str = "model", factor: float = 1.0) -> None:
        self.model, self.priority = model, 1
        self.asked: list[str] = []
        self._factor = factor

    async def embed(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            raise BadRequest("there is no text to embed")
        if "away" in texts:
            raise Unavailable("the model is away")
        self.asked += texts
        return np.array([[len(t), sum(map(ord, t))] for t in texts], np.float32) * self._factor

    async def close(self) -> None:
        """There is nothing to close."""


def cache(**settings: int) -> VectorCache:
    return VectorCache(Settings(**settings))


async def test_what_was_computed_is_not_asked_for_again_and_keeps_its_place() -> None:
    model = Counted()
    remembered = Remembered(model, "1", cache())
    await remembered.embed(["b", "aa"])
    vectors = await remembered.embed(["c", "aa", "c", "b"])
    assert model.asked == ["b", "aa", "c"]
    assert vectors.tolist() == (await Counted().embed(["c", "aa", "c", "b"])).tolist()


async def test_models_and_revisions_do_not_meet() -> None:
    shared = cache()
    one, other = Remembered(Counted(), "1", shared), Remembered(Counted(factor=2.0), "2", shared)
    third = Remembered(Counted("another", factor=3.0), "1", shared)
    vectors = [(await r.embed(["text"]))[0, 0] for r in (one, other, third, one, other, third)]
    assert vectors == [4, 8, 12, 4, 8, 12]


async def test_a_failure_is_not_remembered() -> None:
    remembered = Remembered(Counted(), "1", cache())
    for _ in range(2):
        with pytest.raises(Unavailable):
            await remembered.embed(["here", "away"])
        with pytest.raises(BadRequest):
            await remembered.embed([])


async def test_memory_has_an_end() -> None:
    model, made = Counted(), cache(vector_cache_mb=1)
    remembered = Remembered(model, "1", made)
    texts = [str(n) for n in range(5_000)]
    await remembered.embed(texts)
    assert 0 < len(made) <= 2**20 // (8 + OVERHEAD)
    await remembered.embed(texts[-1:])
    assert len(model.asked) == len(texts), "the last ones stay"


async def test_without_room_everything_is_computed() -> None:
    model, made = Counted(), cache(vector_cache_mb=0)
    remembered = Remembered(model, "1", made)
    for _ in range(2):
        await remembered.embed(["text"])
    assert model.asked == ["text", "text"] and len(made) == 0
