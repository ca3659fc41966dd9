"""What several range tests say together: a weight decay, and the rate from which the peak is looked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from searcher.algorithms.range_test import RangeTest

RULE = "usable"
"""The rule whose suggestion the walk to the peak starts from; docs/method.md has the measurements behind it."""

NOISES = 0.5
"""Smoothed losses that differ by less than this many standard deviations of a loss are equal."""

SPREAD = 4.0
"""Seeds whose suggestions differ by more than this factor do not agree: then the lowest one is taken."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The learning rate at which the walk to the peak starts, and why it is that one."""

    lr: float
    reason: str


def choose_weight_decay(tests: Mapping[float, RangeTest]) -> tuple[float, str]:
    """The weight decay whose range test reaches the lowest smoothed loss; the largest within the noise of it.

    1803.09820, section 4.4: the best weight decay is the largest with which the loss still falls as low while
    the learning rate is large.
    """
    lowest = min(test.min_loss for test in tests.values())
    noise = median(test.noise for test in tests.values())
    best = max(one for one, test in tests.items() if test.min_loss <= lowest + NOISES * noise)
    if len(tests) == 1:
        return best, f"weight decay {best:g} is the only one listed"
    losses = ", ".join(f"{value:g}: {test.min_loss:.4g}" for value, test in tests.items())
    return best, (
        f"weight decay {best:g}, the largest whose range test falls as low as any, within the noise ({losses})"
    )


def bound_of(tests: Sequence[RangeTest]) -> Bound:
    """What the range tests of several seeds suggest together: the median, or the lowest where they disagree.

    A seed whose loss never fell says nothing of the rate, and is left out while another one's did fall.
    """
    fell = [test for test in tests if test.fell]
    if not fell:
        lowest = min((test.suggestions[RULE] for test in tests), key=lambda one: one.lr)
        return Bound(lowest.lr, lowest.reason)
    rates = sorted(test.suggestions[RULE].lr for test in fell)
    told = f"{rates[0]:.3g} to {rates[-1]:.3g} over {len(rates)} seeds" if len(rates) > 1 else "one seed"
    if silent := len(tests) - len(fell):
        told += f"; {silent} more, whose loss never fell, left out"
    if rates[-1] > SPREAD * rates[0]:
        return Bound(rates[0], f"the lowest usable rate of the range tests, as the seeds do not agree ({told})")
    middle = math.exp(median(map(math.log, rates)))
    return Bound(middle, f"the usable rate of the range tests ({told})")
