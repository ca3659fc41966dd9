"""What a strategy that tries a list of points would have reached, and paid, with fewer of them.

A grid's size is its user's choice, so a comparison with one size alone can be bent. Of N trained points every
choice of k is as likely. Ranked by test loss from 0, the point of rank i is the best of the k with probability

    C(N - 1 - i, k - 1) / C(N, k)

so the expectations are exact, with no sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

from searcher.algorithms.choice import Candidate, Metric, ranked


@dataclass(frozen=True, slots=True)
class ListSize:
    """The expectations with so many points. A point of which no seed ended well is never the best one.

    Attributes:
        samples: spent on the points, all seeds.
        test_loss, holdout: means over seeds of the point that would be chosen.
    """

    points: int
    samples: float
    test_loss: float
    holdout: float | None


def sizes(trained: Sequence[Candidate], metric: Metric) -> tuple[ListSize, ...]:
    """The whole list, half of it, a quarter, …, one point; nothing for a list of one, or with nothing good."""
    best = ranked(trained)
    if len(trained) < 2 or not best:
        return ()
    counts = [len(trained)]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    return tuple(_size(trained, best, count, metric) for count in counts)


def _size(trained: Sequence[Candidate], best: Sequence[Candidate], count: int, metric: Metric) -> ListSize:
    ways = [comb(len(trained) - 1 - rank, count - 1) for rank in range(len(best))]

    def expected(name: str) -> float | None:
        values = [one.mean(name) for one in best]
        if None in values:
            return None
        return sum(way * value for way, value in zip(ways, values, strict=True) if value is not None) / sum(ways)

    mean = sum(one.samples for one in trained) / len(trained)
    loss = expected("best_test_loss")
    assert loss is not None  # who ended well has one
    return ListSize(count, count * mean, loss, expected(f"holdout_{metric}"))
