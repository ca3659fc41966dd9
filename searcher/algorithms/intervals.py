"""Means with intervals, for the handful of seeds that a comparison has."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
"""Of every interval in a comparison."""

RESAMPLES = 10_000

_Z = 1.959963984540054  # the normal distribution's quantile for 95 %, two-sided
_SMALL = {1: 12.706204736, 2: 4.302652730, 3: 3.182446305, 4: 2.776445105}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean of n values and the half width of its 95 % interval, which one value alone does not have."""

    mean: float
    half_width: float | None
    n: int

    @property
    def low(self) -> float:
        """The interval's lower end; of a single value, minus infinity."""
        return -math.inf if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float:
        """The interval's upper end; of a single value, infinity."""
        return math.inf if self.half_width is None else self.mean + self.half_width


@dataclass(frozen=True, slots=True)
class Interval:
    """The ends of a 95 % interval."""

    low: float
    high: float


def bootstrap(n: int, statistic: Callable[[np.ndarray], np.ndarray]) -> Interval:
    """The expanded percentile bootstrap interval of a statistic that has no interval in closed form.

    A percentile interval of few values is too narrow. Hesterberg (What Teachers Should Know About the Bootstrap,
    The American Statistician 69, 2015) takes its ends at the quantiles Φ(±sqrt(n / (n - 1)) * t(n - 1)) instead,
    so that for a mean it is about as wide as Student's. Of 2 to 4 values it ends at the extremes that a
    resampling can have, and even so holds its 95 % only roughly.

    Args:
        n: how many there are to draw from; at least 2.
        statistic: of indices [draws, n] in 0 … n - 1 the values [draws].
    """
    drawn = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    tail = NormalDist().cdf(-math.sqrt(n / (n - 1)) * student_t(n - 1))
    low, high = np.quantile(statistic(drawn), [tail, 1 - tail])
    return Interval(float(low), float(high))


def middle(values: np.ndarray) -> Interval:
    """Where the middle 95 % of many values lie."""
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))


def estimate(values: Sequence[float]) -> Estimate | None:
    """Student's interval for the mean, `mean ± t(n - 1) * s / sqrt(n)`; None of no values.

    Not a bootstrap: of three values that is much too narrow (it never leaves their range). See `bootstrap` for
    what has no such formula.
    """
    if not values:
        return None
    n = len(values)
    mean = float(np.mean(values))
    if n == 1:
        return Estimate(mean, None, n)
    return Estimate(mean, student_t(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n), n)


def student_t(degrees: int) -> float:
    """The quantile of Student's t distribution for a two-sided 95 % interval.

    From 5 degrees of freedom on by the series in 1 / degrees of Abramowitz & Stegun, 26.7.5, whose error is
    below 0.0003; below that, exact.
    """
    if degrees < 1:
        raise ValueError(f"degrees: must be at least 1, got {degrees}")
    if degrees in _SMALL:
        return _SMALL[degrees]
    z, d = _Z, degrees
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / d + second / d**2 + third / d**3 + fourth / d**4
