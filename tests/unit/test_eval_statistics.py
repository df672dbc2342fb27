"""Intervals and tests: against known values, and by how often they are right on made-up data of known truth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from weir.evaluation import statistics
from weir.evaluation.statistics import interval, kappa, median_interval, paired


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 400)


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_share_gets_wilsons_interval() -> None:
    # Ten hits of ten: 10 / (10 + z^2) = 0.7225.
    sure = interval([1.0] * 10, rng())
    assert (sure.value, sure.low, sure.high) == (1.0, pytest.approx(0.72246, abs=1e-5), 1.0)
    never = interval([0.0] * 10, rng())
    assert (never.low, never.high) == (0.0, pytest.approx(0.27754, abs=1e-5))
    # 81 of 263: the worked example of Newcombe, Statistics in Medicine 17 (1998), method 3.
    some = interval([1.0] * 81 + [0.0] * 182, rng())
    assert (some.low, some.high) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))


def test_the_same_seed_gives_the_same_interval() -> None:
    values = list(rng(1).random(30))
    assert interval(values, rng()) == interval(values, rng())
    assert interval(values, rng()) != interval(values, rng(8))


def test_an_interval_near_the_normal_one_where_that_holds() -> None:
    values = rng(3).normal(0.5, 0.1, 400)
    found, half = interval(list(values), rng()), 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=half * 0.06)
    assert found.high == pytest.approx(values.mean() + half, abs=half * 0.06)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["skewed", "share", "median"])
def test_nineteen_of_twenty_intervals_hold_the_truth(kind: str) -> None:
    draw, chance, held, trials = rng(11), rng(12), 0, 400
    for _ in range(trials):
        if kind == "skewed":
            found, truth = interval(list(draw.beta(4, 1, 40)), chance), 0.8
        elif kind == "share":
            found, truth = interval(list((draw.random(40) < 0.9).astype(float)), chance), 0.9
        else:
            found, truth = median_interval(list(draw.exponential(1.0, 41)), chance), float(np.log(2))
        held += found.low <= truth <= found.high
    assert 0.91 <= held / trials <= 0.98, held / trials


def test_a_paired_test_by_counting() -> None:
    # Signs of 3, 2 and 1: of eight sums only -6 is as low as all three lost.
    assert paired([-0.3, -0.2, -0.1], rng()).p_worse == pytest.approx(1 / 8)
    # +3 -2 -1 = 0: as low or lower are 0 (twice), -2, -4 and -6.
    sums = [sum(s * d for s, d in zip(signs, (3, 2, 1), strict=True)) for signs in itertools.product((-1, 1), repeat=3)]
    assert paired([0.3, -0.2, -0.1], rng()).p_worse == pytest.approx(sum(s <= 0 for s in sums) / 8)
    assert paired([0.3, 0.2, 0.1], rng()).p_worse == 1.0
    assert paired([0.0] * 30, rng()).p_worse == 1.0, "nothing differs"


def test_many_differences_are_tested_from_random_flips() -> None:
    drawn = list(rng(5).normal(-0.1, 0.3, 60))
    found = paired(drawn, rng())
    t = np.mean(drawn) / (np.std(drawn, ddof=1) / np.sqrt(60))
    assert found.p_worse == pytest.approx(0.5 * (1 + math.erf(t / np.sqrt(2))), abs=0.01)
    assert found.low < found.value < found.high


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("n", [12, 50])
def test_where_nothing_is_worse_one_in_twenty_is_called_so(n: int) -> None:
    draw, chance, trials = rng(21), rng(22), 400
    called = sum(paired(list(draw.normal(0, 0.2, n)), chance).p_worse < 0.05 for _ in range(trials))
    assert 0.02 <= called / trials <= 0.085, called / trials


@pytest.mark.usefixtures("quick")
def test_what_is_clearly_worse_is_found() -> None:
    draw, chance = rng(31), rng(32)
    assert all(paired(list(draw.normal(-0.15, 0.2, 50)), chance).p_worse < 0.05 for _ in range(50))


def test_kappa_by_hand() -> None:
    # Cohen's table: 20 and 15 agree of 50, 25 and 30 said yes. Observed 0.7, by chance 0.5: kappa 0.4.
    first = [True] * 20 + [True] * 5 + [False] * 10 + [False] * 15
    second = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    agreed, found = kappa(first, second, rng())
    assert (agreed, found.value) == (0.7, pytest.approx(0.4))
    assert found.low < 0.4 < found.high
    assert kappa([True, False], [True, False], rng())[1].value == 1.0
    assert kappa([True, True], [True, True], rng())[1].value == 0.0, "chance explains it"


def test_nothing_has_no_figures() -> None:
    for call in (lambda: interval([], rng()), lambda: paired([], rng()), lambda: kappa([], [], rng())):
        with pytest.raises(ValueError):
            call()
