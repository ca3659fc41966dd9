"""What was measured for a claim on a task, read from the stored results, and the yardsticks of its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from catalogue import RESULTS, Claim

import searcher
from searcher.algorithms.intervals import Estimate, estimate

MARGIN = 0.005
"""An accuracy reaches another if it is at most half a point below it."""

HOLDS, FAILS, OPEN = "holds", "does not hold here", "mixed"


@dataclass(frozen=True)
class Finding:
    """A verdict on one task: `holds`, `does not hold here` or `mixed`, and the numbers that it is read from."""

    verdict: str
    numbers: tuple[str, ...]
    n: int


class Evidence:
    """The sweeps of one claim on one task."""

    def __init__(self, claim: Claim, task: str, seeds: Sequence[int]) -> None:
        self.claim = claim
        self.task = task
        self.seeds = tuple(seeds)
        self._results = searcher.open_results(RESULTS)

    @cached_property
    def sweeps(self) -> list[str]:
        return [name for name, _ in self.claim.sweeps(self.task, self.seeds)]

    def frame(self, data_set: str) -> pd.DataFrame:
        """`trials`, `epochs` or `steps` of all the sweeps."""
        read = getattr(self._results, data_set)
        return pd.concat([read(sweep=name) for name in self.sweeps]).astype({"strategy": str})

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Training runs."""
        frame = self.frame("trials")
        return frame[frame.kind == "train"]

    @cached_property
    def chosen(self) -> Mapping[str, pd.DataFrame]:
        """For each strategy, by seed, the trials of the configuration that it chose by test loss."""
        parts: dict[str, list[pd.DataFrame]] = {}
        for sweep in self.sweeps:
            for row in self._results.compare(sweep).comparison.summaries:
                is_it = (self.trials.strategy == row.strategy) & (
                    self.trials.configuration_id == row.configuration_id
                )
                parts.setdefault(row.strategy, []).append(self.trials[is_it & (self.trials.sweep == sweep)])
        return {label: pd.concat(some).set_index("seed").sort_index() for label, some in parts.items()}

    def holdout(self, strategy: str) -> Estimate:
        """Holdout accuracy of the choice over seeds."""
        found = estimate(self.chosen[strategy].holdout_accuracy.dropna().tolist())
        assert found is not None, f"{self.claim.name} on {self.task}: {strategy} has no holdout accuracy"
        return found

    def difference(self, strategy: str, reference: str) -> Estimate:
        """Holdout accuracy of the one's choice minus the other's, paired by seed."""
        mine, theirs = self.chosen[strategy].holdout_accuracy, self.chosen[reference].holdout_accuracy
        found = estimate((mine - theirs).dropna().tolist())
        assert found is not None, f"{self.claim.name} on {self.task}: {strategy}, {reference} share no seed"
        return found

    def epochs_spent(self, strategy: str) -> float:
        """Epochs of one run of the choice."""
        return float(self.chosen[strategy].epochs.mean())


def reaches(difference: Estimate) -> str:
    """Whether something is at least as good: the whole interval above minus the margin, or below, or neither."""
    if difference.low >= -MARGIN:
        return HOLDS
    return FAILS if difference.high < -MARGIN else OPEN


def exceeds(difference: Estimate) -> str:
    """Whether something gains: the whole interval above zero, or below the margin, or neither."""
    if difference.low > 0:
        return HOLDS
    return FAILS if difference.high < MARGIN else OPEN


def together(verdicts: Sequence[str]) -> str:
    """One verdict of several: what all of them say, or `mixed`."""
    return verdicts[0] if len(set(verdicts)) == 1 else OPEN


def percent(value: Estimate) -> str:
    return f"{100 * value.mean:.1f} ± {100 * (value.half_width or 0):.1f} %"


def points(value: Estimate) -> str:
    return f"{100 * value.mean:+.1f} ± {100 * (value.half_width or 0):.1f} points"


def plain(value: Estimate, digits: int = 3) -> str:
    spread = value.half_width or 0.0
    seen = spread if spread > 1e-12 * abs(value.mean) else 0.0  # what rounding makes of equal values is no spread
    return f"{value.mean:.{digits}g} ± {seen:.{digits}g}"
