"""Which configuration a strategy arrives at, and what it had spent when it first held a good one.

Both go by the test split, by means over seeds, each seed at its best epoch. The holdout split has no say.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from searcher.errors import ConfigurationError, nearest
from searcher.records import Configuration, Kind, Status, TrialRecord

Metric = Literal["accuracy", "loss"]

_METRICS: dict[str, Metric] = {"test_accuracy": "accuracy", "test_loss": "loss"}
_ENDED_WELL = (Status.COMPLETED, Status.STOPPED_OVERFIT)


@dataclass(frozen=True, slots=True)
class Target:
    """A mean over seeds on the test split, for cost-to-target.

    Attributes:
        metric: an `accuracy` is reached from below, a `loss` from above.
        origin: where the value is from, in words.
    """

    metric: Metric
    value: float
    origin: str

    def reached_by(self, value: float | None) -> bool:
        """Whether a mean over seeds reaches it; what was not measured does not."""
        if value is None:
            return False
        return value >= self.value if self.metric == "accuracy" else value <= self.value

    @classmethod
    def parse(cls, text: str) -> Target:
        """From `test_accuracy=0.98` or `test_loss=0.1`.

        Raises:
            ConfigurationError: another metric, no number, or an accuracy that is no fraction.
        """
        name, _, value = (part.strip() for part in text.partition("="))
        if name not in _METRICS:
            hint = nearest(name, _METRICS)
            raise ConfigurationError(f"target: must be test_accuracy=… or test_loss=…, got {text!r}.{hint}")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or (name == "test_accuracy" and not 0 <= number <= 1):
            wanted = "a fraction from 0 to 1" if name == "test_accuracy" else "a finite number"
            raise ConfigurationError(f"target: {name} must be {wanted}, got {value!r}")
        return cls(_METRICS[name], number, "asked for")


@dataclass(frozen=True)
class Candidate:
    """One configuration, trained for one length, with the trials of its seeds."""

    records: tuple[TrialRecord, ...]

    @property
    def configuration(self) -> Configuration:
        return self.records[0].trial.configuration

    @property
    def configuration_id(self) -> str:
        return self.records[0].trial.configuration_id

    @property
    def length(self) -> int:
        """Epochs of each of its trials, where they are not stopped."""
        return self.records[0].trial.length

    @property
    def good(self) -> list[TrialRecord]:
        """The seeds that ended well: neither diverged nor failed, so each has a best epoch."""
        return [one for one in self.records if one.status in _ENDED_WELL and one.best_test_loss is not None]

    @property
    def samples(self) -> int:
        return sum(one.samples for one in self.records)

    def mean(self, name: str) -> float | None:
        """The mean over the seeds that ended well; None if there is none, or one has no such value."""
        values = [getattr(one, name) for one in self.good]
        return None if not values or None in values else float(np.mean(values))

    def reaches(self, target: Target, seeds: Iterable[int]) -> bool:
        """Whether it holds the target. Every seed must have ended well: a lucky one is not enough."""
        whole = {one.trial.seed for one in self.good} >= set(seeds)
        return whole and target.reached_by(self.mean(f"best_test_{target.metric}"))


def candidates(records: Iterable[TrialRecord]) -> list[Candidate]:
    """The configurations that were trained; with another length, another one. Range tests are none."""
    grouped: dict[str, list[TrialRecord]] = defaultdict(list)
    for record in records:
        if record.trial.kind is Kind.TRAIN:
            grouped[record.trial.configuration_id].append(record)
    return [Candidate(tuple(sorted(group, key=lambda one: one.trial.seed))) for group in grouped.values()]


def choose(trained: Sequence[Candidate]) -> Candidate | None:
    """The candidate with the lowest mean test loss, of those with the most seeds; None if no seed ended well.

    One with fewer seeds was a step on the way (a confirming run, or an interrupted sweep). A seed that
    diverged or failed weighs more than any loss: such a configuration is chosen only if none has fewer.
    """
    return next(iter(ranked(trained)), None)


def ranked(trained: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that `choose` chooses from, the best first."""
    most = max((len(one.records) for one in trained), default=0)
    return sorted((one for one in trained if len(one.records) == most and one.good), key=_rank)


def _rank(one: Candidate) -> tuple[int, float, str]:
    loss = one.mean("best_test_loss")
    return -len(one.good), math.inf if loss is None else loss, one.configuration_id


def best_held(trained: Sequence[Candidate], strategy: str, metric: Metric, seeds: Sequence[int]) -> Target | None:
    """The best mean over seeds that a strategy holds, as the target for all; None while it holds none."""
    anything = Target(metric, -math.inf if metric == "accuracy" else math.inf, "anything")
    means = [one.mean(f"best_test_{metric}") for one in trained if one.reaches(anything, seeds)]
    held = [mean for mean in means if mean is not None]
    if not held:
        return None
    best = max(held) if metric == "accuracy" else min(held)
    return Target(metric, best, f"the best mean over seeds of {strategy}")


def expected_cost_to_target(trained: Sequence[Candidate], target: Target, seeds: Sequence[int]) -> float | None:
    """Samples spent up to the first candidate that reaches the target: the mean over all orders of them.

    Of m candidates that reach it each is as likely to be the first, and each of the others stands before all
    m with probability 1 / (m + 1). So the expectation is exact, with no shuffling:

        sum of the samples of the others / (m + 1) + mean of the samples of those that reach it

    Returns None if no candidate reaches the target.
    """
    hits = [one.samples for one in trained if one.reaches(target, seeds)]
    if not hits:
        return None
    others = sum(one.samples for one in trained) - sum(hits)
    return others / (len(hits) + 1) + sum(hits) / len(hits)


def actual_cost_to_target(records: Sequence[TrialRecord], target: Target, seeds: Sequence[int]) -> float | None:
    """Samples spent up to the first candidate that reaches the target, in the order in which trials ended.

    Range tests count; what was running at that time and ended later does not. Returns None if no candidate
    reaches the target.
    """
    ended = sorted(records, key=lambda one: (one.finished, one.started))
    reaching = {one.configuration_id for one in candidates(ended) if one.reaches(target, seeds)}
    missing = {identity: set(seeds) for identity in reaching}
    spent = 0
    for record in ended:
        spent += record.samples
        left = missing.get(record.trial.configuration_id)
        if left is not None:
            left.discard(record.trial.seed)
            if not left:
                return float(spent)
    return None
