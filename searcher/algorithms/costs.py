"""What trials consumed, what that costs in money, and how a ratio of costs varies over seeds and orders."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from searcher.algorithms.choice import Target, candidates
from searcher.algorithms.intervals import Interval, bootstrap, middle
from searcher.errors import ConfigurationError, nearest
from searcher.records import TrialRecord

Unit = Literal["gpu-hour", "cpu-hour"]

DRAWS = 10_000
"""Shuffled orders; of more than 200 points fewer, so that they fit in some 100 MB. That moves the ends of an
interval by about a percent of its width."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What trials consumed.

    Attributes:
        samples: training samples processed.
        epochs: the same in passes over the train split.
        device_seconds: seconds that the trials occupied their devices, added up.
        money: what those cost at the price of one; None without a price.
        energy: joules; None where that of some trial is not known.
    """

    samples: int
    epochs: float
    device_seconds: float
    money: float | None
    energy: float | None = None


def cost_of(records: Iterable[TrialRecord], train_size: int, price_per_hour: float | None) -> Cost:
    """The cost of these trials.

    Args:
        train_size: samples in one epoch.
        price_per_hour: of what one trial occupies, in any currency.
    """
    records = list(records)
    samples = sum(one.samples for one in records)
    seconds = math.fsum(one.seconds for one in records)
    money = None if price_per_hour is None else seconds / 3600 * price_per_hour
    drawn = [one.energy for one in records if one.seconds]
    known = [joules for joules in drawn if joules is not None]
    energy = math.fsum(known) if known and len(known) == len(drawn) else None
    return Cost(samples, samples / train_size, seconds, money, energy)


@dataclass(frozen=True, slots=True)
class Price:
    """Of one GPU, or of one CPU core, for an hour, in any currency."""

    amount: float
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> Price:
        """From `2.5/gpu-hour` or `0.04/cpu-hour`.

        Raises:
            ConfigurationError: another unit, or no finite amount from 0.
        """
        amount, _, unit = (part.strip() for part in text.partition("/"))
        units: tuple[Unit, ...] = get_args(Unit)
        for known in units:
            if unit == known:
                try:
                    value = float(amount)
                except ValueError:
                    value = math.nan
                if not 0 <= value < math.inf:
                    raise ConfigurationError(f"price: the amount must be a finite number from 0, got {amount!r}")
                return cls(value, known)
        raise ConfigurationError(
            f"price: must be an amount per gpu-hour or cpu-hour, such as 2.5/gpu-hour, got {text!r}."
            f"{nearest(unit, units)}"
        )

    def of_a_trial(self, cpu: float, gpu: float) -> float:
        """The price of an hour of a trial that occupies so many CPU cores and GPUs.

        Raises:
            ConfigurationError: the price is of a GPU, and the trial had none.
        """
        if self.unit == "gpu-hour" and not gpu:
            raise ConfigurationError("price: the trials of this sweep had no GPU, so it must be per cpu-hour")
        return self.amount * (gpu if self.unit == "gpu-hour" else cpu)


def ratio_over_seeds(
    mine: Sequence[TrialRecord], theirs: Sequence[TrialRecord], seeds: Sequence[int]
) -> Interval | None:
    """The interval of a ratio of costs in samples over seeds, by bootstrap.

    Trials of configurations that were trained on every seed belong to their seed; all others are the search,
    which is paid once, whatever the seeds. Seeds are drawn with replacement, the same for both sides:

        (search of mine + sum over drawn seeds of mine) / (search of theirs + sum over drawn seeds of theirs)

    Returns None with fewer than two seeds, and for a denominator that is 0.
    """
    (search, each), (other_search, other_each) = _by_seed(mine, seeds), _by_seed(theirs, seeds)
    if len(seeds) < 2 or not other_search + other_each.min() > 0:
        return None
    return bootstrap(
        len(seeds),
        lambda drawn: (search + each[drawn].sum(axis=1)) / (other_search + other_each[drawn].sum(axis=1)),
    )


def _by_seed(records: Sequence[TrialRecord], seeds: Sequence[int]) -> tuple[float, np.ndarray]:
    """Samples of the search, and those of each seed."""
    reached: dict[str, set[int]] = defaultdict(set)
    for one in records:
        reached[one.trial.configuration_id].add(one.trial.seed)
    each = dict.fromkeys(seeds, 0.0)
    search = 0.0
    for one in records:
        if reached[one.trial.configuration_id] >= each.keys() and one.trial.seed in each:
            each[one.trial.seed] += one.samples
        else:
            search += one.samples
    return search, np.array([each[seed] for seed in seeds])


def cost_over_orders(
    records: Sequence[TrialRecord], target: Target, seeds: Sequence[int], generator: np.random.Generator
) -> np.ndarray | None:
    """Samples spent up to the first candidate that reaches the target, in some `DRAWS` orders of the candidates.

    All seeds of a candidate are trained before the next. Its mean is `choice.expected_cost_to_target`.
    Returns None if no candidate reaches the target.
    """
    trained = candidates(records)
    hits = np.array([one.reaches(target, seeds) for one in trained], dtype=bool)
    if not hits.any():
        return None
    samples = np.array([one.samples for one in trained], dtype=float)
    draws = min(DRAWS, max(1000, 200 * DRAWS // len(trained)))
    orders = generator.random((draws, len(trained))).argsort(axis=1)
    first = hits[orders].argmax(axis=1)
    spent: np.ndarray = samples[orders].cumsum(axis=1)[np.arange(draws), first]
    return spent


def spread(costs: np.ndarray | None) -> Interval | None:
    """Where 95 % of the orders lie."""
    return None if costs is None else middle(costs)
