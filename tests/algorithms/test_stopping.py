"""Stopping rules: verdicts that can be worked out by hand, and what holds for every rule."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.algorithms.stopping import (
    RULES,
    GeneralizationLoss,
    Leaders,
    Observation,
    Overfit,
    Patience,
    ProgressQuotient,
    UpCrossing,
    decide,
    rule_from,
)
from searcher.errors import ConfigurationError
from searcher.records import Verdict


def curve(test: list[float], train: list[float] | None = None) -> list[Observation]:
    """A curve from its test losses; the training loss falls by a tenth from report to report."""
    train = train or [0.9**i for i in range(len(test))]
    return [Observation(i + 1, a, b) for i, (a, b) in enumerate(zip(train, test, strict=True))]


def stopped_at(rule: object, history: list[Observation]) -> int | None:
    """The epoch of the first stop, None if the rule lets the curve run to its end."""
    state = rule.start()
    for observation in history:
        state, decision = rule.judge(state, observation)
        if decision.stops:
            return observation.epoch
    return None


@pytest.mark.parametrize(
    ("rule", "test", "epoch"),
    [
        # GL = 100 (1.04 / 1 - 1) = 4 at epoch 3, 6 at epoch 4.
        (GeneralizationLoss(alpha=5), [2.0, 1.0, 1.04, 1.06], 4),
        (GeneralizationLoss(alpha=3.9), [2.0, 1.0, 1.04, 1.06], 3),
        (GeneralizationLoss(alpha=5), [2.0, 1.0, 1.06, 0.9], 3),
        (GeneralizationLoss(alpha=5), [3.0, 2.0, 1.0], None),
        # Ends of strips of 2: 1.0, 1.1, 1.2. The first has nothing before it.
        (UpCrossing(s=1, strip=2), [9, 1.0, 9, 1.1, 9, 1.2], 4),
        (UpCrossing(s=2, strip=2), [9, 1.0, 9, 1.1, 9, 1.2], 6),
        (UpCrossing(s=2, strip=2), [9, 1.0, 9, 1.1, 9, 1.1, 9, 1.2], None),
        (Patience(reports=2), [1.0, 1.0, 1.1], 3),
        (Patience(reports=2), [1.0, 1.1, 0.99, 1.0, 0.98], None),
        (Patience(reports=2, min_delta=0.05), [1.0, 0.97, 0.96], 3),
        (rule_from("off"), [1.0, 2.0, 3.0, 4.0] * 5, None),
    ],
)
def test_a_rule_stops_at_the_epoch_worked_out_by_hand(rule, test, epoch) -> None:
    assert stopped_at(rule, curve(test)) == epoch


def test_the_progress_quotient_divides_by_the_training_progress_of_the_strip() -> None:
    # P_2 = 1000 (1.5 / (2 * 0.5) - 1) = 500 in the first strip; (1.05 / 1 - 1) 1000 = 50 in the second, where
    # GL = 100 (1.5 / 1 - 1) = 50: the quotient is 1.
    history = curve([2.0, 1.0, 1.2, 1.5], train=[1.0, 0.5, 0.55, 0.5])
    assert stopped_at(ProgressQuotient(alpha=0.99, strip=2), history) == 4
    assert stopped_at(ProgressQuotient(alpha=1.01, strip=2), history) is None


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    ("train", "test", "which"),
    [(0.5, math.nan, "test"), (0.5, math.inf, "test"), (math.nan, 0.5, "training")],
)
def test_a_loss_that_is_not_finite_has_diverged(name, train, test, which) -> None:
    decision = decide([Observation(1, 1.0, 1.0), Observation(2, train, test)], rule_from(name))
    assert decision.verdict is Verdict.DIVERGED
    assert decision.reason.startswith(f"{which} loss is")
    assert decision.reason.endswith("at epoch 2")


losses = st.lists(st.floats(-5, 5) | st.just(math.nan), min_size=1, max_size=60)


@pytest.mark.parametrize("name", RULES)
@given(test=losses)
def test_repeated_reports_change_nothing(name, test) -> None:
    """A trial that was started again from epoch 1 is judged as if it had not been."""
    rule = rule_from(name)
    history = curve(test)
    half = history[: len(history) // 2]
    assert stopped_at(rule, half + history) == stopped_at(rule, history)


@pytest.mark.parametrize("name", RULES)
@given(test=losses)
def test_a_verdict_stands_and_has_a_reason(name, test) -> None:
    rule = rule_from(name)
    state, stopped = rule.start(), None
    for observation in curve(test):
        state, decision = rule.judge(state, observation)
        assert decision.reason
        assert stopped is None or decision == stopped
        stopped = decision if decision.stops else None
    assert decision == decide(curve(test), rule)


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ("default", Overfit()),
        (True, Overfit()),
        ({"overfit": "default"}, Overfit()),
        ({"overfit": False}, RULES["off"]()),
        ({"overfit": {"rule": "up", "s": 2, "strip": 4}}, UpCrossing(2, 4)),
        ({"rule": "gl", "alpha": 3}, GeneralizationLoss(3)),
        (UpCrossing(), UpCrossing()),
    ],
)
def test_a_specification_names_a_rule(spec, rule) -> None:
    assert rule_from(spec) == rule


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("defualt", "no rule 'defualt'.*Did you mean 'default'"),
        ({"rule": "up", "strips": 3}, "rule 'up' has no parameter 'strips'.*Did you mean 'strip'"),
        ({"rule": "up", "s": 0}, "up: s must be a whole number of at least 1, got 0"),
        ({"rule": "gl", "alpha": "5"}, "gl: alpha must be a percentage above 0, got '5'"),
        ({"rule": "gl", "alpha": math.inf}, "got inf"),
        ({"rule": "patience", "reports": True}, "got True"),
        (3, "must be a rule's name or its parameters, got 3"),
    ],
)
def test_a_wrong_specification_is_refused_by_name(spec, text) -> None:
    with pytest.raises(ConfigurationError, match=text):
        rule_from(spec)


@given(reached=st.lists(st.tuples(st.sampled_from("abc"), st.floats(allow_nan=True)), max_size=20))
def test_the_leaders_are_the_lowest_losses_of_the_other_trials(reached) -> None:
    leaders = Leaders()
    for trial, loss in reached:
        leaders.add(trial, loss)
    for trial in "abc":
        others = [loss for other, loss in reached if other != trial and math.isfinite(loss)]
        assert leaders.best_without(trial) == min(others, default=None)
