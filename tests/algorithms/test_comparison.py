"""The comparison: choices, costs, targets and verdicts worked out by hand."""

# ruff: noqa: E501 (a row of a table stands on one line)

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from searcher.algorithms import comparison
from searcher.algorithms.choice import (
    Candidate,
    Target,
    actual_cost_to_target,
    candidates,
    choose,
    expected_cost_to_target,
)
from searcher.algorithms.comparison import Comparison, Entrant
from searcher.algorithms.intervals import Estimate, Interval, estimate, student_t
from searcher.algorithms.verdict import share, verdict
from searcher.errors import ConfigurationError
from searcher.records import Configuration, Kind, Status, Trial, TrialRecord

SEEDS = (0, 1)


def record(
    lr: float,
    seed: int,
    loss: float | None,
    accuracy: float | None = None,
    holdout: float | None = None,
    *,
    strategy: str = "grid",
    status: Status = Status.COMPLETED,
    samples: int = 100,
    kind: Kind = Kind.TRAIN,
    length: int = 1,
    finished: float = 0.0,
    **more: Any,
) -> TrialRecord:
    configuration = Configuration(lr=lr, momentum=0.9, weight_decay=0.0, batch_size=8, schedule="constant")
    trial = Trial(task="t", strategy=strategy, configuration=configuration, seed=seed, length=length, kind=kind)
    return TrialRecord(
        trial=trial,
        status=status,
        best_test_loss=loss,
        best_test_accuracy=accuracy,
        holdout_accuracy=holdout,
        samples=samples,
        finished=finished,
        **more,
    )


GRID = [
    record(0.1, 0, 0.50, 0.80, 0.79, seconds=9.0),
    record(0.1, 1, 0.30, 0.90, 0.87, seconds=9.0),  # mean loss 0.40, accuracy 0.85
    record(0.2, 0, 0.35, 0.82, 0.84, seconds=9.0),
    record(0.2, 1, 0.37, 0.86, 0.80, seconds=9.0),  # mean loss 0.36, accuracy 0.84: chosen
]
CYCLE = [
    record(1.0, 0, None, samples=20, kind=Kind.RANGE_TEST, length=5, finished=1, strategy="cycle"),
    record(0.6, 0, 0.20, 0.95, 0.99, samples=10, length=1, finished=2, strategy="cycle"),  # confirms
    record(0.5, 0, 0.34, 0.86, 0.83, samples=30, length=3, finished=3, strategy="cycle", seconds=3.0),
    record(0.5, 1, 0.36, 0.88, 0.82, samples=30, length=3, finished=4, strategy="cycle", seconds=3.0),
]
KINDS = {"grid": "grid", "cycle": "one_cycle"}


def compare(
    records: Sequence[TrialRecord],
    kinds: Mapping[str, str],
    *,
    seeds: Sequence[int],
    train_size: int,
    target: Target | None = None,
    price_per_hour: float | None = None,
) -> Comparison:
    """As within one sweep, whose strategies share seeds and resources."""
    entrants = {label: Entrant(kind, tuple(seeds), price_per_hour) for label, kind in kinds.items()}
    return comparison.compare(records, entrants, train_size=train_size, target=target)


def both(**more: Any) -> Comparison:
    return compare([*GRID, *CYCLE], KINDS, seeds=SEEDS, train_size=50, **more)


def test_the_grid_by_hand() -> None:
    row = both().summaries[0]
    assert (row.strategy, row.kind, row.trials, row.statuses) == ("grid", "grid", 4, {"completed": 4})
    assert (row.cost.samples, row.cost.epochs, row.cost.device_seconds, row.cost.money) == (
        400,
        8.0,
        36.0,
        None,
    )
    assert row.cost_one_seed.samples == 200
    assert row.configuration is not None
    assert (row.configuration.lr, row.length, row.seeds) == (0.2, 1, 2)
    assert (row.test_loss, row.test_accuracy) == (pytest.approx(0.36), pytest.approx(0.84))
    # 0.84 and 0.80: mean 0.82, s = 0.04 / sqrt(2), half width 12.7062 * s / sqrt(2) = 12.7062 * 0.02
    assert row.holdout == Estimate(pytest.approx(0.82), pytest.approx(0.254124), 2)
    # The target is 0.85: lr 0.1 reaches it (200 samples); lr 0.2 stands before it in half of the orders.
    assert row.cost_to_target == 200 + 200 / 2
    assert (row.cost_ratio, row.difference) == (None, None)
    assert row.verdict == "the others are measured by it"


def test_one_cycle_by_hand() -> None:
    comparison = both()
    row = comparison.summaries[1]
    assert (comparison.reference, comparison.metric, comparison.notes) == ("grid", "accuracy", ())
    assert comparison.target == Target("accuracy", pytest.approx(0.85), "the best mean over seeds of grid")
    assert (row.trials, row.cost.samples, row.cost_one_seed.samples) == (4, 90, 60)
    assert (row.cost_ratio, row.cost_one_seed_ratio) == (90 / 400, 60 / 200)
    # The confirming run has the lowest loss, but only one of two seeds: it is no choice, and reaches no target.
    assert row.configuration is not None
    assert (row.configuration.lr, row.length) == (0.5, 3)
    assert row.cost_to_target == 90
    assert row.cost_to_target_ratio == 90 / 300
    # Seed by seed: 0.83 - 0.84 and 0.82 - 0.80.
    assert row.difference == Estimate(pytest.approx(0.005), pytest.approx(12.706204736 * 0.015), 2)
    assert row.verdict == (
        "cycle cannot yet be said to reach the holdout accuracy of grid: "
        "difference +0.5 ± 19.1 points (95 % interval, n = 2 seeds), at 1/4.4 of its cost"
    )


def test_money_is_device_hours_times_the_price() -> None:
    grid, cycle = both(price_per_hour=2.5).summaries
    assert grid.cost.money == pytest.approx(36 / 3600 * 2.5)
    assert cycle.cost_one_seed.money == pytest.approx(3 / 3600 * 2.5)


def test_a_target_of_the_users_own() -> None:
    comparison = both(target=Target.parse("test_accuracy=0.86"))
    assert [row.cost_to_target for row in comparison.summaries] == [None, 90]
    assert comparison.summaries[1].cost_to_target_ratio is None
    comparison = both(target=Target.parse("test_loss=0.36001"))
    assert [row.cost_to_target for row in comparison.summaries] == [300, 90]


def test_holdout_chooses_nothing_and_sets_no_target() -> None:
    changed = [
        *GRID[:2],
        *(record(0.2, seed, loss, acc, 0.0) for seed, loss, acc in ((0, 0.35, 0.82), (1, 0.37, 0.86))),
    ]
    before, after = both(), compare([*changed, *CYCLE], KINDS, seeds=SEEDS, train_size=50)
    assert after.target == before.target
    assert [row.configuration for row in after.summaries] == [row.configuration for row in before.summaries]
    assert [row.cost_to_target for row in after.summaries] == [row.cost_to_target for row in before.summaries]


def test_stopped_diverged_and_failed_trials_are_paid_for() -> None:
    rows = [
        record(0.1, 0, 0.5, 0.8, 0.8, status=Status.STOPPED_OVERFIT, samples=7),
        record(0.1, 1, 0.5, 0.8, 0.8, samples=11),
        record(0.2, 0, 0.1, 0.9, None, status=Status.DIVERGED, samples=13),
        record(0.2, 1, None, None, None, status=Status.FAILED, samples=17),
    ]
    (row,) = compare(rows, {"grid": "grid"}, seeds=SEEDS, train_size=1).summaries
    assert row.cost.samples == 48
    assert row.statuses == {"stopped_overfit": 1, "completed": 1, "diverged": 1, "failed": 1}
    assert row.configuration is not None
    assert row.configuration.lr == 0.1  # a stopped trial stays a candidate by its best epoch


CHOICES = [
    # what it shows, rows (lr, seed, loss, status), lr chosen
    ("lowest mean", [(1, 0, 0.2, "completed"), (1, 1, 0.4, "completed"), (2, 0, 0.29, "completed"), (2, 1, 0.29, "completed")], 2),
    ("a diverged seed weighs more than any loss", [(1, 0, 0.1, "completed"), (1, 1, 0.1, "diverged"), (2, 0, 9.0, "completed"), (2, 1, 9.0, "completed")], 2),
    ("a failed seed as well", [(1, 0, 0.1, "completed"), (1, 1, None, "failed"), (2, 0, 9.0, "completed"), (2, 1, 9.0, "stopped_overfit")], 2),
    ("but it is not invisible: fewest bad seeds first", [(1, 0, 0.1, "diverged"), (1, 1, 0.1, "diverged"), (2, 0, 9.0, "completed"), (2, 1, 9.0, "diverged")], 2),
    ("one seed of two is a step on the way", [(1, 0, 0.1, "completed"), (2, 0, 0.5, "completed"), (2, 1, 0.5, "completed")], 2),
    ("with one seed each the best of them", [(1, 0, 0.1, "completed"), (2, 0, 0.5, "completed")], 1),
    ("an interrupted trial has not ended well", [(1, 0, 0.1, "completed"), (1, 1, 0.1, "interrupted"), (2, 0, 0.5, "completed"), (2, 1, 0.5, "completed")], 2),
    ("nothing ended well", [(1, 0, 0.1, "diverged"), (2, 0, None, "failed")], None),
    ("nothing at all", [], None),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "lr"), [case[1:] for case in CHOICES], ids=[case[0] for case in CHOICES])
def test_the_choice(rows: list[tuple[float, int, float | None, str]], lr: float | None) -> None:
    for order in (rows, rows[::-1]):
        chosen = choose(candidates(record(a, seed, loss, status=Status(how)) for a, seed, loss, how in order))
        assert (chosen.configuration.lr if chosen else None) == lr


def test_the_same_configuration_with_another_length_is_another_candidate() -> None:
    found = candidates([record(1, 0, 0.1, length=1), record(1, 0, 0.2, length=2), record(1, 1, 0.1, length=1)])
    assert sorted(len(one.records) for one in found) == [1, 2]


def _by_all_orders(trained: Sequence[Candidate], target: Target, seeds: Sequence[int]) -> float | None:
    """Expected cost to target as its definition says: the mean over every order."""
    costs = []
    for order in itertools.permutations(trained):
        spent = 0
        for one in order:
            spent += one.samples
            if one.reaches(target, seeds):
                costs.append(spent)
                break
    return sum(costs) / len(costs) if costs else None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 1000)), min_size=1, max_size=6))
def test_the_expected_cost_is_the_mean_over_all_orders(points: list[tuple[bool, int]]) -> None:
    target = Target("loss", 0.5, "")
    trained = candidates(
        record(i + 1, 0, 0.4 if hit else 0.6, samples=samples) for i, (hit, samples) in enumerate(points)
    )
    expected = _by_all_orders(trained, target, [0])
    found = expected_cost_to_target(trained, target, [0])
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_target_needs_every_seed() -> None:
    target = Target("loss", 0.5, "")
    lucky = [record(1, 0, 0.1), record(1, 1, None, status=Status.DIVERGED)]
    assert expected_cost_to_target(candidates(lucky), target, SEEDS) is None
    assert expected_cost_to_target(candidates(lucky[:1]), target, SEEDS) is None
    assert actual_cost_to_target(lucky, target, SEEDS) is None


def test_the_actual_cost_goes_by_the_order_in_which_trials_ended() -> None:
    rows = [
        record(9, 0, None, kind=Kind.RANGE_TEST, samples=1, finished=1),
        record(1, 0, 0.9, samples=2, finished=2),
        record(2, 0, 0.4, samples=4, finished=3),
        record(2, 1, 0.4, samples=8, finished=5),  # here the second configuration is complete
        record(1, 1, 0.9, samples=16, finished=4),
        record(3, 0, 0.1, samples=32, finished=6),
    ]
    for order in itertools.permutations(rows, 6):
        assert actual_cost_to_target(order, Target("loss", 0.5, ""), SEEDS) == 1 + 2 + 4 + 16 + 8
    assert actual_cost_to_target(rows, Target("loss", 0.3, ""), SEEDS) is None


def test_without_a_grid_the_first_strategy_is_the_reference_and_the_notes_say_so() -> None:
    rows = [record(1, 0, 0.5, 0.5, 0.5, strategy=name) for name in ("b", "a")]
    comparison = compare(rows, {"b": "random", "a": "one_cycle"}, seeds=[0], train_size=1)
    assert comparison.reference == "b"
    assert comparison.notes == ("there is no grid: the others are measured by b, the first strategy",)
    assert comparison.summaries[1].cost_ratio == 1
    assert comparison.summaries[1].verdict == (
        "a cannot yet be said to reach the holdout accuracy of b: "
        "difference +0.0 points, of one seed, so without an interval, at the same cost"
    )


def test_a_task_without_accuracy_is_compared_by_loss() -> None:
    rows = [
        *(record(1, seed, 0.5 + seed, holdout_loss=2.0) for seed in SEEDS),
        *(record(2, seed, 0.6 + seed, strategy="cycle", holdout_loss=2.01, samples=10) for seed in SEEDS),
    ]
    comparison = compare(rows, KINDS, seeds=SEEDS, train_size=1)
    assert comparison.metric == "loss"
    assert comparison.target == Target("loss", pytest.approx(1.0), "the best mean over seeds of grid")
    grid, cycle = comparison.summaries
    assert (grid.test_accuracy, grid.holdout, grid.cost_to_target) == (None, Estimate(2.0, 0.0, 2), 200)
    assert cycle.cost_to_target is None
    assert cycle.verdict.startswith("cycle reaches the holdout loss of grid: difference +0.01 ± ")
    assert cycle.verdict.endswith(" (95 % interval, n = 2 seeds), at 1/10 of its cost")
    with pytest.raises(ConfigurationError, match=r"^target: this task measures no accuracy"):
        compare(rows, KINDS, seeds=SEEDS, train_size=1, target=Target.parse("test_accuracy=0.5"))


def test_a_strategy_with_nothing_yet_is_a_row_all_the_same() -> None:
    comparison = compare(GRID, KINDS, seeds=SEEDS, train_size=1)
    row = comparison.summaries[1]
    assert (row.trials, row.cost.samples, row.configuration, row.cost_to_target) == (0, 0, None, None)
    assert row.verdict == "nothing to compare: no trial of cycle has ended well"


def test_an_empty_reference_sets_no_target_and_no_ratio() -> None:
    comparison = compare(CYCLE, KINDS, seeds=SEEDS, train_size=1)
    assert comparison.target is None
    assert "no target: grid holds no configuration that ended well on every seed" in comparison.notes
    row = comparison.summaries[1]
    assert (row.cost_ratio, row.cost_to_target, row.cost_to_target_ratio) == (None, None, None)
    assert row.verdict == "nothing to compare: no trial of grid has ended well"


def test_notes_on_choices_that_lack_seeds() -> None:
    notes = compare(GRID[:1] + CYCLE, KINDS, seeds=SEEDS, train_size=1).notes
    assert "grid is not complete: its choice has 1 of 2 seeds" in notes
    bad = record(0.5, 1, 0.1, status=Status.DIVERGED, length=3, strategy="cycle")
    notes = compare([*GRID, *CYCLE[:3], bad], KINDS, seeds=SEEDS, train_size=1).notes
    assert notes == ("1 of 2 seeds of the choice of cycle did not end well; its means leave them out",)


@pytest.mark.parametrize(
    ("records", "kinds", "fault"),
    [
        ([], {}, "strategies: there is none to compare"),
        (CYCLE, {"grid": "grid"}, "strategy: must be one of grid, got 'cycle'"),
    ],
)
def test_what_cannot_be_compared(records: Any, kinds: Any, fault: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compare(records, kinds, seeds=SEEDS, train_size=1)
    assert str(caught.value) == fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("accuracy=0.9", "target: must be test_accuracy=… or test_loss=…, got 'accuracy=0.9'. Did you mean 'test_accuracy'?"),
        ("test_accuracy", "target: test_accuracy must be a fraction from 0 to 1, got ''"),
        ("test_accuracy=98", "target: test_accuracy must be a fraction from 0 to 1, got '98'"),
        ("test_loss=nan", "target: test_loss must be a finite number, got 'nan'"),
    ],
)  # fmt: skip
def test_a_target_that_is_none(text: str, fault: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Target.parse(text)
    assert str(caught.value) == fault


VERDICTS = [
    # metric, mean, half width, the relation; margins are 0.005 and 0.01 * 2.0
    ("accuracy", 0.010, 0.005, "exceeds"),
    ("accuracy", 0.001, 0.003, "reaches"),
    ("accuracy", -0.001, 0.003, "reaches"),
    ("accuracy", -0.001, 0.0, "reaches"),
    ("accuracy", 0.001, 0.010, "cannot yet be said to reach"),
    ("accuracy", -0.006, 0.002, "cannot yet be said to reach"),
    ("accuracy", -0.010, 0.002, "stays short of"),
    ("accuracy", 0.500, None, "cannot yet be said to reach"),
    ("loss", -0.05, 0.01, "exceeds"),
    ("loss", 0.01, 0.005, "reaches"),
    ("loss", 0.01, 0.015, "cannot yet be said to reach"),
    ("loss", 0.05, 0.015, "stays short of"),
]


@pytest.mark.parametrize(("metric", "mean", "half_width", "relation"), VERDICTS)
def test_the_verdict(metric: Any, mean: float, half_width: float | None, relation: str) -> None:
    words = verdict("a", "b", metric, Estimate(mean, half_width, 5), 2.0)
    assert words.startswith(f"a {relation} the holdout {metric} of b: difference ")


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(1 / 38.2, "1/38 of its cost"), (0.1, "1/10 of its cost"), (0.4, "1/2.5 of its cost"), (0.8, "0.8 of its cost"),
     (1.0, "the same cost"), (0.9951, "about the same cost"), (1.004, "about the same cost"), (1.294, "1.29 times its cost"), (0.0, "0 of its cost")],
)  # fmt: skip
def test_shares_of_a_cost(ratio: float, words: str) -> None:
    assert share(ratio) == words


@pytest.mark.parametrize(
    ("ratio", "low", "high", "words"),
    [(1 / 38, 1 / 46, 1 / 31, "1/38 of its cost, 95 % interval 1/31 to 1/46"),
     (1 / 38, 1 / 38.1, 1 / 37.9, "1/38 of its cost"),
     (0.8, 0.7, 1.0, "0.8 of its cost, 95 % interval 0.7 to 1"),
     (1.0, 0.9, 1.1, "the same cost, 95 % interval 0.9 to 1.1"),
     (1.5, 1.25, 2.0, "1.5 times its cost, 95 % interval 1.25 to 2")],
)  # fmt: skip
def test_shares_with_an_interval(ratio: float, low: float, high: float, words: str) -> None:
    assert share(ratio, Interval(low, high)) == words


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 6, 9, 30, 1000])
def test_student_t_against_scipy(degrees: int) -> None:
    assert student_t(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=3e-4)


def test_an_estimate_against_scipy() -> None:
    values = [0.91, 0.93, 0.90, 0.95]
    found = estimate(values)
    assert found is not None
    low, high = stats.t.interval(0.95, 3, loc=0.9225, scale=stats.sem(values))
    assert (found.low, found.mean, found.high) == pytest.approx((low, 0.9225, high))
    assert estimate([]) is None
    single = estimate([0.5])
    assert single == Estimate(0.5, None, 1)
    assert (single.low, single.high) == (-math.inf, math.inf)
    with pytest.raises(ValueError, match="degrees"):
        student_t(0)
