"""Whether one strategy reaches another's quality, in words: non-inferiority, read from an interval."""

from __future__ import annotations

from searcher.algorithms.choice import Metric
from searcher.algorithms.intervals import CONFIDENCE, Estimate, Interval

ACCURACY_MARGIN = 0.005
"""An accuracy reaches another if it is at most this fraction below it: half a point."""

LOSS_MARGIN = 0.01
"""A loss reaches another if it is at most this fraction of the other above it."""


def verdict(strategy: str, reference: str, metric: Metric, difference: Estimate, reference_mean: float) -> str:
    """One clause that says where the interval of the difference lies, and shows it.

        the whole interval                  says of the strategy
        better than 0                       exceeds
        not worse than the margin           reaches
        worse than the margin               stays short of
        on both sides of the margin         cannot yet be said to reach

    Args:
        difference: the strategy's holdout metric minus the reference's.
        reference_mean: of the reference's holdout metric; the margin of a loss is a fraction of it.
    """
    # From here on more is better.
    is_accuracy = metric == "accuracy"
    margin = ACCURACY_MARGIN if is_accuracy else LOSS_MARGIN * abs(reference_mean)
    low, high = (difference.low, difference.high) if is_accuracy else (-difference.high, -difference.low)
    if low > 0:
        relation = "exceeds"
    elif low >= -margin:
        relation = "reaches"
    elif high < -margin:
        relation = "stays short of"
    else:
        relation = "cannot yet be said to reach"
    return f"{strategy} {relation} the holdout {metric} of {reference}: {_shown(difference, is_accuracy)}"


def factor(ratio: float) -> str:
    """A ratio of costs as a person writes it: `1/38`, `0.8`, `1`, `1.3`."""
    if ratio > 1:
        return f"{ratio:.3g}"
    if ratio > 0.5 or ratio == 0:
        return f"{ratio:.2g}"
    return f"1/{1 / ratio:.0f}" if ratio <= 0.1 else f"1/{1 / ratio:.2g}"


def share(ratio: float, interval: Interval | None = None) -> str:
    """A ratio of costs as a person says it: `1/38 of its cost`, `about the same cost`, `1.3 times its cost`.

    Args:
        interval: is told as well, where its ends read differently.
    """
    if factor(ratio) == "1":
        words = "the same cost" if ratio == 1 else "about the same cost"
    else:
        words = f"{factor(ratio)} {'times' if ratio > 1 else 'of'} its cost"
    if interval is None or factor(interval.low) == factor(interval.high):
        return words
    ends = [factor(interval.low), factor(interval.high)]
    if ratio <= 0.5:
        ends.reverse()  # so that what stands below the line rises
    return f"{words}, {100 * CONFIDENCE:.0f} % interval {ends[0]} to {ends[1]}"


def _shown(difference: Estimate, is_accuracy: bool) -> str:
    def number(value: float, sign: str) -> str:
        return f"{100 * value:{sign}.1f}" if is_accuracy else f"{value:{sign}.3g}"

    unit = " points" if is_accuracy else ""
    if difference.half_width is None:
        return f"difference {number(difference.mean, '+')}{unit}, of one seed, so without an interval"
    interval = f"{number(difference.mean, '+')} ± {number(difference.half_width, '')}{unit}"
    return f"difference {interval} ({100 * CONFIDENCE:.0f} % interval, n = {difference.n} seeds)"
