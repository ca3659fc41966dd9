"""The walk to the peak of the cycle.

What a range test suggests is a place to start from only: a cycle that peaks there may not train at all, or may
train better at twice the rate. So the peak is confirmed by short cycles, in factors of two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

EXPONENTS = range(-3, 9)
"""As far as the walk may go: from 8 times the rate it starts at to a 256th of it."""


def next_exponents(losses: Mapping[int, float]) -> list[int]:
    """The next powers of two to divide the starting rate by, given the losses of those tried; none: enclosed.

    Two to start with, then downhill: beside the best until both of its neighbours were tried and are worse, or
    the end of `EXPONENTS` is reached. While nothing has trained only smaller rates are tried.
    """
    if missing := [exponent for exponent in (0, 1) if exponent not in losses]:
        return missing
    if not any(math.isfinite(loss) for loss in losses.values()):
        return [lower] if (lower := max(losses) + 1) in EXPONENTS else []
    best = min(losses, key=lambda exponent: losses[exponent])
    beside = [one for one in (best + 1, best - 1) if one in EXPONENTS and one not in losses]
    return beside[:1]
