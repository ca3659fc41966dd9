"""What each strategy reached, and what it paid for it.

Cost is what was processed: the samples of every trial, of range tests and of trials that were stopped,
diverged or failed as well. Configurations are chosen by the test split; the holdout split only reports.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from searcher.algorithms.choice import (
    Candidate,
    Metric,
    Target,
    actual_cost_to_target,
    best_held,
    candidates,
    choose,
    expected_cost_to_target,
)
from searcher.algorithms.intervals import Estimate, estimate
from searcher.algorithms.verdict import share, verdict
from searcher.errors import ConfigurationError
from searcher.records import Configuration, TrialRecord

LISTED = ("grid", "random")
"""Strategies whose trials do not depend on one another's results, so that any order of them is as good."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What trials consumed.

    Attributes:
        samples: training samples processed.
        epochs: the same in passes over the train split.
        device_seconds: seconds that the trials occupied their devices, added up.
        money: device-hours times the price of one; None without a price.
    """

    samples: int
    epochs: float
    device_seconds: float
    money: float | None


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
        cost_ratio, cost_one_seed_ratio, cost_to_target_ratio: as fractions of the reference's.
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
    cost_ratio: float | None = None
    cost_one_seed_ratio: float | None = None
    cost_to_target_ratio: float | None = None
    difference: Estimate | None = None
    verdict: str = "the others are measured by it"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The strategies side by side, in the order of the sweep file.

    Attributes:
        reference: the strategy that the others are measured by: the first grid or, without one, the first.
        metric: what `holdout` and `difference` are: `accuracy` or, for a task that has none, `loss`.
        target: of cost-to-target; None while the reference holds nothing to set it by.
        notes: what a reader must know beside the table.
    """

    summaries: tuple[StrategySummary, ...]
    reference: str
    metric: Metric
    target: Target | None
    notes: tuple[str, ...]


def compare(
    records: Iterable[TrialRecord],
    kinds: Mapping[str, str],
    *,
    seeds: Sequence[int],
    train_size: int,
    target: Target | None = None,
    price_per_hour: float | None = None,
) -> Comparison:
    """Compares the strategies of one sweep.

    Args:
        records: every trial that ended, once.
        kinds: for each strategy's label its kind, in the order of the sweep file.
        seeds: the sweep's seeds, in its order.
        train_size: samples in one epoch.
        target: of cost-to-target; by default the reference's best mean over seeds on the test split.
        price_per_hour: of one device, in any currency.

    Raises:
        ConfigurationError: no strategy, a record of none of them, a target that the task does not measure,
            or a price below 0.
    """
    ended = _by_strategy(records, kinds)
    if price_per_hour is not None and not 0 <= price_per_hour < math.inf:
        raise ConfigurationError(f"price per hour: must be a finite number from 0, got {price_per_hour!r}")
    has_accuracy = any(one.best_test_accuracy is not None for group in ended.values() for one in group)
    metric: Metric = "accuracy" if has_accuracy else "loss"
    if target is not None and target.metric == "accuracy" and metric == "loss":
        raise ConfigurationError("target: this task measures no accuracy; must be test_loss=…, got test_accuracy=…")
    reference = next((label for label, kind in kinds.items() if kind == "grid"), next(iter(kinds)))
    target = target or best_held(candidates(ended[reference]), reference, metric, seeds)
    view = _View(reference, metric, target, tuple(seeds), train_size, price_per_hour)

    chosen = {label: choose(candidates(group)) for label, group in ended.items()}
    rows = {label: _row(label, kinds[label], group, chosen[label], view) for label, group in ended.items()}
    differences = {label: _difference(one, chosen[reference], metric) for label, one in chosen.items()}
    return Comparison(
        summaries=tuple(
            row if label == reference else _against(rows[reference], row, differences[label], view)
            for label, row in rows.items()
        ),
        reference=reference,
        metric=metric,
        target=target,
        notes=_notes(kinds, chosen, view),
    )


@dataclass(frozen=True, slots=True)
class _View:
    """What all strategies of one comparison are looked at with; the fields are those of `compare`."""

    reference: str
    metric: Metric
    target: Target | None
    seeds: tuple[int, ...]
    train_size: int
    price_per_hour: float | None

    def cost(self, records: Sequence[TrialRecord]) -> Cost:
        samples = sum(one.samples for one in records)
        seconds = math.fsum(one.seconds for one in records)
        money = None if self.price_per_hour is None else seconds / 3600 * self.price_per_hour
        return Cost(samples, samples / self.train_size, seconds, money)

    def cost_to_target(self, kind: str, records: Sequence[TrialRecord]) -> float | None:
        if self.target is None:
            return None
        if kind in LISTED:
            return expected_cost_to_target(candidates(records), self.target, self.seeds)
        return actual_cost_to_target(records, self.target, self.seeds)


def _by_strategy(records: Iterable[TrialRecord], kinds: Mapping[str, str]) -> dict[str, list[TrialRecord]]:
    if not kinds:
        raise ConfigurationError("strategies: there is none to compare")
    ended: dict[str, list[TrialRecord]] = {label: [] for label in kinds}
    for record in records:
        if record.strategy not in ended:
            raise ConfigurationError(f"strategy: must be one of {', '.join(kinds)}, got {record.strategy!r}")
        ended[record.strategy].append(record)
    return ended


def _row(
    label: str, kind: str, ended: Sequence[TrialRecord], chosen: Candidate | None, view: _View
) -> StrategySummary:
    return StrategySummary(
        strategy=label,
        kind=kind,
        trials=len(ended),
        statuses=dict(Counter(str(one.status) for one in ended)),
        cost=view.cost(ended),
        cost_one_seed=view.cost([one for one in ended if one.trial.seed == view.seeds[0]]),
        configuration=chosen.configuration if chosen else None,
        configuration_id=chosen.configuration_id if chosen else None,
        length=chosen.length if chosen else None,
        seeds=len(chosen.good) if chosen else 0,
        test_loss=chosen.mean("best_test_loss") if chosen else None,
        test_accuracy=chosen.mean("best_test_accuracy") if chosen else None,
        holdout=estimate(list(_holdout(chosen, view.metric).values())),
        cost_to_target=view.cost_to_target(kind, ended),
    )


def _holdout(chosen: Candidate | None, metric: Metric) -> dict[int, float]:
    """The holdout metric of each seed that has one."""
    values = {one.trial.seed: getattr(one, f"holdout_{metric}") for one in (chosen.good if chosen else [])}
    return {seed: value for seed, value in values.items() if value is not None}


def _difference(chosen: Candidate | None, reference: Candidate | None, metric: Metric) -> Estimate | None:
    mine, theirs = _holdout(chosen, metric), _holdout(reference, metric)
    return estimate([mine[seed] - theirs[seed] for seed in mine if seed in theirs])


def _against(
    base: StrategySummary, row: StrategySummary, difference: Estimate | None, view: _View
) -> StrategySummary:
    """The row with what measures it by the reference's."""
    ratio = _ratio(row.cost.samples, base.cost.samples)
    if row.configuration is None or base.configuration is None:
        which = row.strategy if row.configuration is None else base.strategy
        words = f"nothing to compare: no trial of {which} has ended well"
    elif difference is None or base.holdout is None:
        words = f"nothing to compare: it shares no seed with a holdout {view.metric} with {base.strategy}"
    else:
        words = verdict(row.strategy, base.strategy, view.metric, difference, base.holdout.mean)
    return replace(
        row,
        cost_ratio=ratio,
        cost_one_seed_ratio=_ratio(row.cost_one_seed.samples, base.cost_one_seed.samples),
        cost_to_target_ratio=_ratio(row.cost_to_target, base.cost_to_target),
        difference=difference,
        verdict=words if ratio is None else f"{words}, at {share(ratio)}",
    )


def _ratio(cost: float | None, other: float | None) -> float | None:
    return None if cost is None or not other else cost / other


def _notes(kinds: Mapping[str, str], chosen: Mapping[str, Candidate | None], view: _View) -> tuple[str, ...]:
    notes = []
    if kinds[view.reference] != "grid":
        notes.append(f"there is no grid: the others are measured by {view.reference}, the first strategy")
    if view.target is None:
        notes.append(f"no target: {view.reference} holds no configuration that ended well on every seed")
    wanted = len(view.seeds)
    for label, one in chosen.items():
        if one is not None and len(one.records) < wanted:
            notes.append(f"{label} is not complete: its choice has {len(one.records)} of {wanted} seeds")
        elif one is not None and len(one.good) < len(one.records):
            bad = len(one.records) - len(one.good)
            notes.append(
                f"{bad} of {wanted} seeds of the choice of {label} did not end well; its means leave them out"
            )
    return tuple(notes)
