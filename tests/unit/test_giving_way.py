"""A version that is being built gives way to questions; documents that somebody waits for do not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from weir.index.giving_way import GivingWay
from weir.retrieval.embed import BULK_BATCH, BULK_IN_FLIGHT, LATER, SOON, Vectors

TEXTS = [("x" * (n * 7 % 400)) + str(n) for n in range(1100)]


class Model:
    """Says of each text how long it is."""

    model = "m"

    def __init__(self) -> None:
        self.priority = SOON
        self.asked: list[tuple[int, int]] = []

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked.append((len(texts), self.priority))
        return np.array([[len(text), hash(text) % 1000] for text in texts], np.float32)

    async def close(self) -> None:
        pass


def expected() -> Vectors:
    return np.array([[len(text), hash(text) % 1000] for text in TEXTS], np.float32)


@pytest.mark.parametrize("at_a_time", [1, 3])
async def test_while_people_ask_a_build_embeds_few_texts_at_a_time(at_a_time: int) -> None:
    model, looks = Model(), iter(range(10**6))

    async def lately() -> bool:
        return 1 <= next(looks) < 101

    gentle = GivingWay(model, at_a_time, lately)
    gentle.priority = LATER
    np.testing.assert_array_equal(await gentle.embed(TEXTS), expected())
    whole = BULK_BATCH * BULK_IN_FLIGHT
    assert model.asked[:3] == [(whole, LATER), (at_a_time, LATER), (at_a_time, LATER)]
    assert [n for n, _ in model.asked].count(at_a_time) >= 100 and sum(n for n, _ in model.asked) == len(TEXTS)


async def test_what_somebody_waits_for_goes_through_at_once() -> None:
    model = Model()

    async def lately() -> bool:
        raise AssertionError("nobody wants to know")

    np.testing.assert_array_equal(await GivingWay(model, 1, lately).embed(TEXTS), expected())
    assert model.asked == [(len(TEXTS), SOON)]
