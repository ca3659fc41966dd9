"""What the range tests of several weight decays say together."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from searcher.algorithms.range_test import RangeTest

NOISES = 0.5
"""Smoothed losses that differ by less than this many standard deviations of a loss are equal."""


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
