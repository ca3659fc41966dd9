"""What a comparison says: one row for each strategy, and what they are measured by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from searcher.algorithms.choice import Metric, Target
from searcher.algorithms.costs import Cost
from searcher.algorithms.intervals import Estimate, Interval
from searcher.algorithms.sensitivity import ListSize
from searcher.records import Configuration


@dataclass(frozen=True, slots=True)
class Entrant:
    """A strategy that is to be compared.

    Attributes:
        kind: `grid`, `random`, `one_cycle`, …
        seeds: those of its sweep, in its order.
        price_per_hour: of what one of its trials occupies, in any currency; None: money is not counted.
    """

    kind: str
    seeds: tuple[int, ...]
    price_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class StrategySummary:
    """One strategy's row of the comparison. What cannot be said is None.

    Attributes:
        trials: how many ended, range tests included; `statuses` counts them by how they ended.
        cost: of all trials. `cost_one_seed`: of those with the sweep's first seed, which carries the search
            as well: what a user with a single seed pays.
        configuration: the one chosen, by its mean test loss over seeds; `length` is its epochs.
        test_loss, test_accuracy: its means over seeds, each seed at its best epoch.
        seeds: how many of its seeds ended well (did not diverge or fail).
        holdout: its holdout accuracy (or loss, see `Comparison.metric`) over those seeds.
        cost_to_target: samples spent when the strategy first held a configuration that reaches the target:
            for grid and random search the mean over all orders, else in the order in which trials ended.
        cost_to_target_spread: where 95 % of the orders lie, for grid and random search; for others None.
        cost_ratio, cost_one_seed_ratio, cost_to_target_ratio: as fractions of the reference's.
        cost_ratio_interval: over seeds, see `costs.ratio_over_seeds`; None where the seeds differ or are one.
        cost_to_target_ratio_spread: over the orders of both.
        difference: holdout minus the reference's, paired by seed.
        verdict: in words, never empty.
    """

    strategy: str
    kind: str
    trials: int
    statuses: Mapping[str, int]
    cost: Cost
    cost_one_seed: Cost
    configuration: Configuration | None
    configuration_id: str | None
    length: int | None
    seeds: int
    test_loss: float | None
    test_accuracy: float | None
    holdout: Estimate | None
    cost_to_target: float | None
    cost_to_target_spread: Interval | None = None
    cost_ratio: float | None = None
    cost_ratio_interval: Interval | None = None
    cost_one_seed_ratio: float | None = None
    cost_to_target_ratio: float | None = None
    cost_to_target_ratio_spread: Interval | None = None
    difference: Estimate | None = None
    verdict: str = "the others are measured by it"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The strategies side by side, in the order of the sweep file.

    Attributes:
        reference: the strategy that the others are measured by: the first grid or, without one, the first.
        metric: what `holdout` and `difference` are: `accuracy` or, for a task that has none, `loss`.
        target: of cost-to-target; None while the reference holds nothing to set it by.
        sensitivity: what the reference would have reached with fewer points, if it is a grid or random search.
        notes: what a reader must know beside the table.
    """

    summaries: tuple[StrategySummary, ...]
    reference: str
    metric: Metric
    target: Target | None
    sensitivity: tuple[ListSize, ...]
    notes: tuple[str, ...]
