"""Intervals and tests over the figures of many questions. Pure: the generator of chance is passed in.

    interval     95 % interval of a mean: the percentile bootstrap over questions (Efron and Tibshirani, An Introduction
                 to the Bootstrap, 1993, ch. 13). For shares Wilson's score interval (Wilson, JASA 22, 1927; Brown, Cai
                 and DasGupta, Statistical Science 16(2), 2001): a bootstrap of 30 hits of 30 would claim certainty.
    paired       of two runs over the same questions: interval by the same bootstrap, and Fisher's randomization test,
                 which flips the signs of differences (Smucker, Allan and Carterette, CIKM 2007). Exact where few
                 questions differ; else from random flips, with the observed one among them (Phipson and Smyth,
                 Statistical Applications in Genetics and Molecular Biology 9(1), 2010).
    kappa        agreement beyond chance (Cohen, Educational and Psychological Measurement 20(1), 1960)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

RESAMPLES = 10_000
LEVEL = 0.95
Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""
EXACT = 16
"""So many differing questions are tested with every combination of signs: 65,536."""
CELLS = 2_000_000
"""Most numbers of a block of resamples in memory."""
EPSILON = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Paired:
    """Mean of the differences, its interval, and the probability of one this low by chance."""

    value: float
    low: float
    high: float
    p_worse: float


def interval(values: Sequence[float], rng: np.random.Generator) -> Interval:
    """Mean and its interval. Raises ValueError without values."""
    x = _array(values)
    mean = float(x.mean())
    if np.isin(x, (0.0, 1.0)).all():
        return _wilson(mean, len(x))
    return Interval(mean, *_percentiles(_resampled(x, _means, rng)))


def median_interval(values: Sequence[float], rng: np.random.Generator) -> Interval:
    """Median and its interval. Raises ValueError without values."""
    x = _array(values)
    return Interval(float(np.median(x)), *_percentiles(_resampled(x, _medians, rng)))


def paired(differences: Sequence[float], rng: np.random.Generator) -> Paired:
    """Of differences question by question. Raises ValueError without any."""
    d = _array(differences)
    low, high = _percentiles(_resampled(d, _means, rng))
    return Paired(float(d.mean()), low, high, _p_worse(d, rng))


def kappa(first: Sequence[bool], second: Sequence[bool], rng: np.random.Generator) -> tuple[float, Interval]:
    """Share of agreement, and Cohen's kappa with its interval. Raises ValueError without judgements."""
    pairs = np.array([first, second], dtype=np.float64)
    if not pairs.size:
        raise ValueError("there is nothing to agree on")
    picks = rng.integers(0, pairs.shape[1], (2_000, pairs.shape[1]))
    resampled = [_kappa(pairs[:, pick]) for pick in picks]
    return float((pairs[0] == pairs[1]).mean()), Interval(_kappa(pairs), *_percentiles(np.array(resampled)))


def _kappa(pairs: Values) -> float:
    observed = float((pairs[0] == pairs[1]).mean())
    yes = pairs.mean(1)
    chance = float(yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1]))
    # Both gave one and the same mark throughout: they agree, and chance explains all of it.
    return 0.0 if 1 - chance < EPSILON else (observed - chance) / (1 - chance)


def _array(values: Sequence[float]) -> Values:
    if not len(values):
        raise ValueError("there are no values")
    return np.asarray(values, dtype=np.float64)


def _wilson(share: float, n: int) -> Interval:
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * float(np.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)))
    # At 0 and at 1 the ends meet the share but for rounding.
    return Interval(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)))


def _resampled(x: Values, statistic: Callable[[Values], Values], rng: np.random.Generator) -> Values:
    """The statistic of each resample, shape (RESAMPLES,)."""
    block = max(1, CELLS // len(x))
    found = []
    for at in range(0, RESAMPLES, block):
        picks = rng.integers(0, len(x), (min(block, RESAMPLES - at), len(x)))
        found.append(statistic(x[picks]))
    return np.concatenate(found)


def _means(samples: Values) -> Values:
    return np.asarray(samples.mean(1), dtype=np.float64)


def _medians(samples: Values) -> Values:
    return np.asarray(np.median(samples, axis=1), dtype=np.float64)


def _percentiles(found: Values) -> tuple[float, float]:
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _p_worse(differences: Values, rng: np.random.Generator) -> float:
    """Share of sign flips whose sum is as low as the observed one; 1 where nothing differs."""
    d = differences[np.abs(differences) > EPSILON]
    if not len(d):
        return 1.0
    observed = float(d.sum()) + EPSILON * len(d)
    if len(d) <= EXACT:
        bits = (np.arange(2 ** len(d))[:, None] >> np.arange(len(d))) & 1
        return float(((bits * 2 - 1) @ np.abs(d) <= observed).mean())
    block, lower = max(1, CELLS // len(d)), 0
    for at in range(0, RESAMPLES, block):
        signs = rng.integers(0, 2, (min(block, RESAMPLES - at), len(d))) * 2 - 1
        lower += int((signs @ np.abs(d) <= observed).sum())
    return (lower + 1) / (RESAMPLES + 1)
