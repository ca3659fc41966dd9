"""What each strategy reached, and what it paid for it.

Cost is what was processed: the samples of every trial, of range tests and of trials that were stopped,
diverged or failed as well. Configurations are chosen by the test split; the holdout split only reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from searcher.algorithms.choice import (
    Metric,
    Target,
    actual_cost_to_target,
    best_held,
    candidates,
    choose,
    expected_cost_to_target,
)
from searcher.algorithms.costs import Cost, cost_of, cost_over_orders, ratio_over_seeds, spread
from searcher.algorithms.intervals import Interval, estimate
from searcher.algorithms.sensitivity import sizes
from searcher.algorithms.summary import Comparison, Entrant, StrategySummary
from searcher.algorithms.verdict import share, verdict
from searcher.errors import ConfigurationError
from searcher.records import TrialRecord

LISTED = ("grid", "random")
"""Strategies whose trials do not depend on one another's results, so that any order of them is as good."""


def compare(
    records: Iterable[TrialRecord],
    entrants: Mapping[str, Entrant],
    *,
    train_size: int,
    target: Target | None = None,
) -> Comparison:
    """Compares strategies that were tried on the same task and the same splits.

    Args:
        records: every trial that ended, once.
        entrants: by label, in the order of the sweep file.
        train_size: samples in one epoch.
        target: of cost-to-target; by default the reference's best mean over seeds on the test split.

    Raises:
        ConfigurationError: no strategy, a record of none of them, or a target that the task does not measure.
    """
    ended = _by_strategy(records, entrants)
    has_accuracy = any(one.best_test_accuracy is not None for group in ended.values() for one in group)
    metric: Metric = "accuracy" if has_accuracy else "loss"
    if target is not None and target.metric == "accuracy" and metric == "loss":
        raise ConfigurationError("target: this task measures no accuracy; must be test_loss=…, got test_accuracy=…")
    reference = next((label for label, one in entrants.items() if one.kind == "grid"), next(iter(entrants)))
    trained = candidates(ended[reference])
    target = target or best_held(trained, reference, metric, entrants[reference].seeds)
    view = _View(reference, metric, target, train_size)

    sides = {label: _Side(label, one, ended[label], view) for label, one in entrants.items()}
    base = sides[reference]
    return Comparison(
        summaries=tuple(side.row() if side is base else _against(base, side) for side in sides.values()),
        reference=reference,
        metric=metric,
        target=target,
        sensitivity=sizes(trained, metric) if entrants[reference].kind in LISTED else (),
        notes=_notes(sides, view),
    )


@dataclass(frozen=True, slots=True)
class _View:
    """What all strategies of one comparison are looked at with; the fields are those of `Comparison`."""

    reference: str
    metric: Metric
    target: Target | None
    train_size: int


class _Side:
    """One strategy with what is computed of it more than once."""

    def __init__(self, label: str, entrant: Entrant, ended: Sequence[TrialRecord], view: _View) -> None:
        self.label = label
        self.entrant = entrant
        self.ended = ended
        self.view = view
        self.chosen = choose(candidates(ended))
        self.orders: np.ndarray | None = None
        if view.target is not None and entrant.kind in LISTED:
            # Each strategy is shuffled in orders of its own, the same ones every time.
            generator = np.random.default_rng(list(label.encode()))
            self.orders = cost_over_orders(ended, view.target, entrant.seeds, generator)

    def cost(self, records: Sequence[TrialRecord]) -> Cost:
        return cost_of(records, self.view.train_size, self.entrant.price_per_hour)

    def cost_to_target(self) -> float | None:
        if self.view.target is None:
            return None
        if self.entrant.kind in LISTED:
            return expected_cost_to_target(candidates(self.ended), self.view.target, self.entrant.seeds)
        return actual_cost_to_target(self.ended, self.view.target, self.entrant.seeds)

    def holdout(self) -> dict[int, float]:
        """The holdout metric of each seed of the choice that has one."""
        name = f"holdout_{self.view.metric}"
        values = {one.trial.seed: getattr(one, name) for one in (self.chosen.good if self.chosen else [])}
        return {seed: value for seed, value in values.items() if value is not None}

    def row(self) -> StrategySummary:
        chosen, first = self.chosen, self.entrant.seeds[0]
        return StrategySummary(
            strategy=self.label,
            kind=self.entrant.kind,
            trials=len(self.ended),
            statuses=dict(Counter(str(one.status) for one in self.ended)),
            cost=self.cost(self.ended),
            cost_one_seed=self.cost([one for one in self.ended if one.trial.seed == first]),
            configuration=chosen.configuration if chosen else None,
            configuration_id=chosen.configuration_id if chosen else None,
            length=chosen.length if chosen else None,
            seeds=len(chosen.good) if chosen else 0,
            test_loss=chosen.mean("best_test_loss") if chosen else None,
            test_accuracy=chosen.mean("best_test_accuracy") if chosen else None,
            holdout=estimate(list(self.holdout().values())),
            cost_to_target=self.cost_to_target(),
            cost_to_target_spread=spread(self.orders),
        )


def _by_strategy(records: Iterable[TrialRecord], labels: Iterable[str]) -> dict[str, list[TrialRecord]]:
    ended: dict[str, list[TrialRecord]] = {label: [] for label in labels}
    if not ended:
        raise ConfigurationError("strategies: there is none to compare")
    for record in records:
        if record.strategy not in ended:
            raise ConfigurationError(f"strategy: must be one of {', '.join(ended)}, got {record.strategy!r}")
        ended[record.strategy].append(record)
    return ended


def _against(base: _Side, side: _Side) -> StrategySummary:
    """The strategy's row with what measures it by the reference's."""
    row, other = side.row(), base.row()
    mine, theirs = side.holdout(), base.holdout()
    difference = estimate([mine[seed] - theirs[seed] for seed in mine if seed in theirs])
    if row.configuration is None or other.configuration is None:
        which = row.strategy if row.configuration is None else other.strategy
        words = f"nothing to compare: no trial of {which} has ended well"
    elif difference is None or other.holdout is None:
        words = f"nothing to compare: it shares no seed with a holdout {side.view.metric} with {other.strategy}"
    else:
        words = verdict(row.strategy, other.strategy, side.view.metric, difference, other.holdout.mean)
    ratio = _ratio(row.cost.samples, other.cost.samples)
    interval = None
    if side.entrant.seeds == base.entrant.seeds:
        interval = ratio_over_seeds(side.ended, base.ended, side.entrant.seeds)
    return replace(
        row,
        cost_ratio=ratio,
        cost_ratio_interval=interval,
        cost_one_seed_ratio=_ratio(row.cost_one_seed.samples, other.cost_one_seed.samples),
        cost_to_target_ratio=_ratio(row.cost_to_target, other.cost_to_target),
        cost_to_target_ratio_spread=_ratio_over_orders(side, base),
        difference=difference,
        verdict=words if ratio is None or difference is None else f"{words}, at {share(ratio, interval)}",
    )


def _ratio_over_orders(side: _Side, base: _Side) -> Interval | None:
    mine, theirs = (one.cost_to_target() if one.orders is None else one.orders for one in (side, base))
    if mine is None or theirs is None or (side.orders is None and base.orders is None):
        return None
    return spread(np.asarray(mine) / np.asarray(theirs))


def _ratio(cost: float | None, other: float | None) -> float | None:
    return None if cost is None or not other else cost / other


def _notes(sides: Mapping[str, _Side], view: _View) -> tuple[str, ...]:
    notes = []
    if sides[view.reference].entrant.kind != "grid":
        notes.append(f"there is no grid: the others are measured by {view.reference}, the first strategy")
    if view.target is None:
        notes.append(f"no target: {view.reference} holds no configuration that ended well on every seed")
    for label, side in sides.items():
        one, wanted = side.chosen, len(side.entrant.seeds)
        if one is not None and len(one.records) < wanted:
            notes.append(f"{label} is not complete: its choice has {len(one.records)} of {wanted} seeds")
        elif one is not None and len(one.good) < len(one.records):
            bad = len(one.records) - len(one.good)
            notes.append(
                f"{bad} of {wanted} seeds of the choice of {label} did not end well; its means leave them out"
            )
    return tuple(notes)


__all__ = ["LISTED", "Comparison", "Entrant", "StrategySummary", "compare"]
