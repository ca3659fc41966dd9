"""Replay: outcomes that can be worked out by hand."""

from __future__ import annotations

import math

import pytest

from searcher.algorithms.replay import Curve, RuleJudge, replay, stops
from searcher.algorithms.stopping import Observation, Overfit, Patience, rule_from

EARLY = [3.0, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6]
"""Best at its second report."""
LATE = [3.0, 2.0, 2.1, 2.2, 2.3, 0.5, 2.4, 2.5]
"""The best of all, at its sixth report, after three without a new minimum."""


def curve(name: str, test: list[float], accuracies: tuple[float, ...] = ()) -> Curve:
    reports = (Observation(i + 1, 0.9**i, value) for i, value in enumerate(test))
    return Curve(name, tuple(reports), accuracies)


def test_each_trial_is_stopped_where_its_judge_says() -> None:
    curves = [curve("early", EARLY), curve("late", LATE)]
    assert stops(curves, RuleJudge(Patience(reports=3)), [0, 1]) == [5, 5]
    assert stops(curves, RuleJudge(rule_from("off")), [1, 0], workers=1) == [8, 8]


def test_what_is_saved_and_lost() -> None:
    """Patience 3 stops both after 5 of 8 reports: the best loss is 1 instead of 0.5, its accuracy 0.8, not 0.9."""
    accurate = tuple(0.9 if value == 0.5 else 0.8 for value in LATE)
    curves = [curve("early", EARLY, (0.8,) * 8), curve("late", LATE, accurate)]
    outcome = replay(curves, lambda: RuleJudge(Patience(reports=3)), resamples=400)
    assert outcome.saved.value == pytest.approx(3 / 8)
    assert outcome.loss_regret.value == pytest.approx(1.0)
    assert outcome.accuracy_regret.value == pytest.approx(0.1)
    # Only a resample without `late`, one in four, has a winner that is not stopped too soon.
    assert outcome.winner_stopped == pytest.approx(0.75, abs=0.08)
    assert (outcome.saved.low, outcome.saved.high) == (pytest.approx(3 / 8), pytest.approx(3 / 8))
    assert outcome.loss_regret.low == 0


def test_never_stopping_saves_and_loses_nothing() -> None:
    outcome = replay([curve("early", EARLY), curve("late", LATE)], lambda: RuleJudge(rule_from("off")))
    assert (outcome.saved.high, outcome.loss_regret.high, outcome.winner_stopped) == (0, 0, 0)
    assert math.isnan(outcome.accuracy_regret.value)


def test_a_rule_hears_what_the_others_have_reached_by_then() -> None:
    leader = curve("leader", [0.1] * 60)
    turning = curve("turning", [1 + 0.05 * abs(i - 20) for i in range(60)])
    alone = stops([turning], RuleJudge(Overfit()), [0])[0]
    assert stops([leader, turning], RuleJudge(Overfit()), [0, 1], workers=2)[1] < alone
    assert stops([turning, leader], RuleJudge(Overfit()), [0, 1], workers=1)[0] == alone  # it runs first


def test_a_loss_that_is_not_finite_is_never_the_best() -> None:
    broken = curve("broken", [math.nan, 2.0, 1.0, math.inf])
    assert broken.best(4) == 2
    assert broken.loss(1) == math.inf
