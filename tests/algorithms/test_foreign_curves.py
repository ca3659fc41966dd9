"""The default rule on families of curves that no recorded sweep holds: which it must let run, which it must end.

Each family is drawn with 30 seeds, in units from 1e-3 to 1e3. A trial that has its best loss still to come is lost
if it is stopped before: then its best loss gets worse by more than 1 %.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from searcher.algorithms.stopping import Observation, Overfit

Family = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Test losses, training losses and learning rates of one trial."""

TIME = np.arange(200) / 200
CONSTANT = np.full(200, 0.1)
SEEDS = 30


def noise(random: np.random.Generator, width: float) -> np.ndarray:
    return width * random.normal(size=200)


def spike(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Up to three spikes of both losses, up to fourfold, that decay over some reports; then a better minimum."""
    shape = np.ones(200)
    for at in random.integers(20, 170, size=random.integers(1, 4)):
        since = np.arange(200) - at
        shape += random.uniform(0.5, 3) * np.where(since >= 0, random.uniform(0.5, 0.9) ** np.maximum(since, 0), 0)
    return (0.3 + np.exp(-3 * TIME)) * shape + noise(random, 0.005), np.exp(-5 * TIME) * shape, CONSTANT


def late_drop(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A large rate makes the test loss noisy and lets it creep up; a tenth of it, late, brings it below all."""
    at = random.integers(120, 180)
    early = np.arange(200) < at
    width = random.uniform(0.05, 0.1)
    test = 0.6 + 0.5 * np.exp(-8 * TIME) + width * TIME + noise(random, width) * np.where(early, 1, 0.1)
    train = np.where(early, 0.8 - 0.3 * TIME, 0.3)
    return test - np.where(early, 0, 0.3), train, np.where(early, 0.1, 0.01)


def small_test_set(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Falls to the end under noise as wide as a fifth of it."""
    return 0.5 + np.exp(-2 * TIME) + noise(random, 0.15), 0.2 + 0.8 * np.exp(-2 * TIME), CONSTANT


def towards_zero(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both losses fall to 1e-6 of where they began, with noise in proportion."""
    falls = np.exp(-14 * TIME)
    return falls * np.exp(noise(random, 0.2)), falls * np.exp(noise(random, 0.1)), CONSTANT


def likelihood(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A negative log-likelihood that falls through zero."""
    return 1 - 3 * TIME + noise(random, 0.05), 1 - 4 * TIME, CONSTANT


def turning(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Over-fits: the test loss doubles after its minimum, the training loss falls to the end."""
    at = random.uniform(0.1, 0.4)
    return 0.5 + np.abs(TIME - at) + noise(random, 0.02), np.exp(-5 * TIME), CONSTANT


def turning_likelihood(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same below zero."""
    test, _, rates = turning(random)
    return test - 3, -4 * TIME, rates


def double_descent(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The test loss rises by half after its first minimum, and falls below it at last: a rule cannot know that."""
    hump, falls = 0.3 * np.exp(-(((TIME - 0.4) / 0.15) ** 2)), 0.2 * np.clip((TIME - 0.4) / 0.6, 0, 1)
    return 0.5 + 0.5 * np.exp(-25 * TIME) + hump - falls + noise(random, 0.01), np.exp(-4 * TIME), CONSTANT


def stop(test: np.ndarray, train: np.ndarray, lr: np.ndarray, ahead: float | None = None) -> int:
    """Reports made under the default rule."""
    rule = Overfit()
    state = rule.start()
    for i in range(len(test)):
        later = lr[i + 1 :]
        left, low = (later.max() / lr[i], later.min() / lr[i]) if len(later) else (0.0, 0.0)
        observation = Observation(i + 1, float(train[i]), float(test[i]), float(lr[i]), float(left), float(low))
        state, decision = rule.judge(state, observation, ahead)
        if decision.stops:
            return i + 1
    return len(test)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(
    ("family", "at_most"),
    [(spike, 0), (late_drop, 0), (small_test_set, 1), (towards_zero, 0), (likelihood, 0)],  # of 30
)
def test_what_has_its_best_still_to_come_is_let_run(family: Family, at_most: int, unit: float) -> None:
    lost = 0
    for seed in range(SEEDS):
        test, train, lr = family(np.random.default_rng(seed))
        made = stop(unit * test, unit * train, lr)
        lost += test[:made].min() - test.min() > 0.01 * abs(test.min())
    assert lost <= at_most


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("family", [turning, turning_likelihood])
def test_what_over_fits_is_ended_soon_and_loses_nothing(family: Family, unit: float) -> None:
    late = []
    for seed in range(SEEDS):
        test, train, lr = family(np.random.default_rng(seed))
        made = stop(unit * test, unit * train, lr)
        assert test[:made].min() == test.min()
        late.append(made - int(np.argmin(test)))
    assert max(late) <= 60  # of 120 to 180 that are left


def test_a_double_descent_is_lost() -> None:
    """What the document says of the rule's limits."""
    curves = [double_descent(np.random.default_rng(seed)) for seed in range(SEEDS)]
    assert all(test[: stop(test, train, lr)].min() > 1.01 * test.min() for test, train, lr in curves)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_ends_a_trial_at_once(value: float) -> None:
    test, train, lr = small_test_set(np.random.default_rng(0))
    test[50] = value
    assert stop(test, train, lr) == 51
