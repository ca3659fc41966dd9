"""Prices, ratios of costs over seeds and orders, and the sensitivity to a grid's size: from cases by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_comparison import record

from searcher.algorithms.choice import Target, candidates, choose, expected_cost_to_target
from searcher.algorithms.comparison import Entrant, compare
from searcher.algorithms.costs import Price, cost_of, cost_over_orders, ratio_over_seeds, spread
from searcher.algorithms.intervals import Interval, bootstrap, estimate, middle
from searcher.algorithms.sensitivity import sizes
from searcher.errors import ConfigurationError
from searcher.records import Kind, TrialRecord


@pytest.mark.parametrize(
    ("text", "cpu", "gpu", "hourly"),
    [("2.5/gpu-hour", 4.0, 0.5, 1.25), (" 0.04 / cpu-hour ", 2.0, 1.0, 0.08), ("0/gpu-hour", 1.0, 1.0, 0.0)],
)
def test_a_trial_pays_for_what_it_occupies(text: str, cpu: float, gpu: float, hourly: float) -> None:
    assert Price.parse(text).of_a_trial(cpu, gpu) == pytest.approx(hourly)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("2.5", "price: must be an amount per gpu-hour or cpu-hour, such as 2.5/gpu-hour, got '2.5'."),
        ("2/gpuhour", "price: must be an amount per gpu-hour or cpu-hour, such as 2.5/gpu-hour, got '2/gpuhour'. "
                      "Did you mean 'gpu-hour'?"),
        ("-1/gpu-hour", "price: the amount must be a finite number from 0, got '-1'"),
        ("nan/cpu-hour", "price: the amount must be a finite number from 0, got 'nan'"),
        ("$2/cpu-hour", "price: the amount must be a finite number from 0, got '$2'"),
    ],
)  # fmt: skip
def test_what_is_no_price(text: str, fault: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Price.parse(text)
    assert str(caught.value) == fault


def test_a_gpu_that_was_not_there_has_no_price() -> None:
    with pytest.raises(ConfigurationError, match=r"^price: the trials of this sweep had no GPU"):
        Price.parse("2.5/gpu-hour").of_a_trial(cpu=2.0, gpu=0.0)


def test_a_cost_by_hand() -> None:
    cost = cost_of([record(1, 0, 0.1, samples=150, seconds=1800.0), record(1, 1, 0.1, samples=50)], 100, 2.5)
    assert (cost.samples, cost.epochs, cost.device_seconds, cost.money) == (200, 2.0, 1800.0, 1.25)


def test_energy_is_told_where_that_of_every_trial_is_known() -> None:
    known = record(1, 0, 0.1, seconds=10.0, energy=2000.0)
    never_ran = record(1, 1, 0.1, seconds=0.0)
    assert cost_of([known, known, never_ran], 100, None).energy == 4000.0
    assert cost_of([known, record(1, 1, 0.1, seconds=10.0)], 100, None).energy is None
    assert cost_of([never_ran], 100, None).energy is None


def seed_costs(*samples: int, strategy: str, search: int = 0) -> list[TrialRecord]:
    """One configuration with these costs for seeds 0, 1, …, and a range test."""
    trials = [record(1, seed, 0.1, samples=cost, strategy=strategy) for seed, cost in enumerate(samples)]
    return [*trials, record(1, 0, None, samples=search, kind=Kind.RANGE_TEST, length=9, strategy=strategy)]


def test_a_ratio_over_seeds_by_hand() -> None:
    mine, theirs = seed_costs(10, 20, 30, strategy="a", search=40), seed_costs(100, 200, 400, strategy="b")
    # Of three seeds the interval ends where one of them is drawn three times; the search is paid once always.
    assert ratio_over_seeds(mine, theirs, (0, 1, 2)) == Interval(pytest.approx(130 / 1200), pytest.approx(70 / 300))
    # Where stopping saves the same of every seed, nothing varies.
    same = ratio_over_seeds(
        seed_costs(10, 20, 30, strategy="a"), seed_costs(100, 200, 300, strategy="b"), (0, 1, 2)
    )
    assert same == Interval(pytest.approx(0.1), pytest.approx(0.1))
    assert ratio_over_seeds(mine, theirs, (0,)) is None
    assert ratio_over_seeds(mine, [], (0, 1, 2)) is None


def test_a_trial_of_one_seed_is_search() -> None:
    confirming = record(5, 1, 0.1, samples=60, strategy="a")
    found = ratio_over_seeds(
        [*seed_costs(10, 10, strategy="a"), confirming], seed_costs(100, 100, strategy="b"), (0, 1)
    )
    assert found == Interval(pytest.approx(80 / 200), pytest.approx(80 / 200))


def test_the_bootstrap_of_a_mean_is_about_as_wide_as_students() -> None:
    values = np.random.default_rng(3).normal(size=30)
    found, student = bootstrap(30, lambda drawn: values[drawn].mean(axis=1)), estimate(list(values))
    assert student is not None
    assert found.low == pytest.approx(student.low, abs=0.1 * student.half_width)
    assert found.high == pytest.approx(student.high, abs=0.1 * student.half_width)


POINTS = st.lists(st.tuples(st.booleans(), st.integers(1, 1000)), min_size=1, max_size=8)


@settings(max_examples=30, deadline=None)
@given(POINTS)
def test_the_mean_over_shuffled_orders_is_the_exact_expectation(points: list[tuple[bool, int]]) -> None:
    target = Target("loss", 0.5, "")
    rows = [record(i + 1, 0, 0.4 if hit else 0.6, samples=samples) for i, (hit, samples) in enumerate(points)]
    costs = cost_over_orders(rows, target, [0], np.random.default_rng(0))
    expected = expected_cost_to_target(candidates(rows), target, [0])
    if expected is None:
        assert costs is None
        assert spread(costs) is None
    else:
        assert costs is not None
        assert costs.mean() == pytest.approx(expected, abs=5 * costs.std() / math.sqrt(len(costs)) + 1e-9)


def test_the_spread_over_orders_by_hand() -> None:
    # One of 40 points reaches the target: its place is uniform from 1 to 40.
    rows = [record(i + 1, 0, 0.4 if i == 7 else 0.6, samples=1) for i in range(40)]
    costs = cost_over_orders(rows, Target("loss", 0.5, ""), [0], np.random.default_rng(0))
    assert spread(costs) == Interval(pytest.approx(1.5, abs=0.6), pytest.approx(39.5, abs=0.6))
    assert middle(np.arange(1001.0)) == Interval(pytest.approx(25.0), pytest.approx(975.0))


def test_the_ratio_of_costs_to_target_has_the_spread_of_the_orders() -> None:
    grid = [record(i + 1, 0, 0.4 if i == 7 else 0.6, samples=100) for i in range(40)]
    cycle = [record(50, 0, 0.3, samples=200, strategy="cycle")]
    seeds = (0,)
    summaries = compare(
        [*grid, *cycle], {"grid": Entrant("grid", seeds), "cycle": Entrant("one_cycle", seeds)}, train_size=1
    ).summaries
    assert summaries[0].cost_to_target == pytest.approx(2050)
    assert summaries[0].cost_to_target_spread == Interval(pytest.approx(150, abs=60), pytest.approx(3950, abs=60))
    assert (summaries[1].cost_to_target_spread, summaries[1].cost_to_target_ratio) == (None, 200 / 2050)
    ratio = summaries[1].cost_to_target_ratio_spread
    assert ratio == Interval(pytest.approx(200 / 3950, abs=0.001), pytest.approx(200 / 150, abs=0.7))


def test_the_grids_size_by_hand() -> None:
    rows = [
        record(lr, seed, loss, holdout=holdout, samples=samples)
        for lr, loss, holdout, samples in (
            (1, 0.1, 0.9, 30),
            (2, 0.2, 0.8, 10),
            (3, 0.3, 0.7, 10),
            (4, 0.4, 0.6, 10),
        )
        for seed in (0, 1)
    ]
    whole, half, one = sizes(candidates(rows), "accuracy")
    assert (whole.points, whole.samples, whole.test_loss, whole.holdout) == (4, 120, 0.1, 0.9)
    # Of the 6 pairs 3 have 0.1 as their best, 2 have 0.2 and 1 has 0.3.
    assert (half.points, half.samples) == (2, 60)
    assert half.test_loss == pytest.approx((3 * 0.1 + 2 * 0.2 + 0.3) / 6)
    assert half.holdout == pytest.approx((3 * 0.9 + 2 * 0.8 + 0.7) / 6)
    assert (one.points, one.samples, one.test_loss) == (1, 30, pytest.approx(0.25))
    assert sizes(candidates(rows[:2]), "accuracy") == ()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_the_grids_size_is_the_mean_over_all_its_parts(losses: list[float]) -> None:
    trained = candidates(record(i + 1, 0, loss, samples=i) for i, loss in enumerate(losses))
    for size in sizes(trained, "accuracy"):
        parts = list(itertools.combinations(trained, size.points))
        best = [choose(part) for part in parts]
        assert size.samples == pytest.approx(sum(one.samples for part in parts for one in part) / len(parts))
        assert size.test_loss == pytest.approx(np.mean([one.mean("best_test_loss") for one in best if one]))


def test_seeds_that_differ_are_paired_where_they_meet() -> None:
    rows = [record(1, seed, 0.5, 0.8, holdout=0.5) for seed in (0, 1, 2)]
    rows += [record(1, seed, 0.5, 0.8, holdout=0.4 + seed / 10, strategy="b") for seed in (1, 2, 3)]
    found = compare(
        rows, {"grid": Entrant("grid", (0, 1, 2)), "b": Entrant("random", (1, 2, 3), 3600.0)}, train_size=1
    )
    row = found.summaries[1]
    assert row.difference is not None
    assert (row.difference.n, row.difference.mean) == (2, pytest.approx(0.05))
    assert (row.cost_ratio, row.cost_ratio_interval) == (1.0, None)
    assert (found.summaries[0].cost.money, row.cost.money) == (None, 0.0)


def test_the_verdict_tells_the_interval_of_the_cost() -> None:
    seeds = (0, 1, 2)
    grid = [record(lr, seed, lr, 0.8, 0.80, samples=100) for lr in (0.1, 0.2) for seed in seeds]
    cycle = [record(9, seed, 0.1, 0.8, 0.81, samples=10 + seed, strategy="cycle") for seed in seeds]
    entrants = {"grid": Entrant("grid", seeds), "cycle": Entrant("one_cycle", seeds)}
    row = compare([*grid, *cycle], entrants, train_size=1).summaries[1]
    assert row.cost_ratio_interval == Interval(pytest.approx(30 / 600), pytest.approx(36 / 600))
    assert row.verdict == (
        "cycle exceeds the holdout accuracy of grid: difference +1.0 ± 0.0 points (95 % interval, n = 3 seeds), "
        "at 1/18 of its cost, 95 % interval 1/17 to 1/20"
    )
