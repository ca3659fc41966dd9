"""Means with intervals, for the handful of seeds that a comparison has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
"""Of every interval in a comparison."""

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


def estimate(values: Sequence[float]) -> Estimate | None:
    """Student's interval for the mean, `mean ± t(n - 1) * s / sqrt(n)`; None of no values.

    Not a bootstrap: of three values that is much too narrow (it never leaves their range).
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
