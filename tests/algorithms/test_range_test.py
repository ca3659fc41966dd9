"""The range test: its suggestions do not depend on the loss's unit, on a spike, or on noise alone."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.algorithms.range_test import SUGGESTIONS, DivergenceWatch, RangeTest, agreed, analyse
from searcher.errors import ConfigurationError

STEPS = 100
RATES = np.logspace(-4, 1, STEPS)


def curve(seed: int = 0, *, turn: float = 0.5, noise: float = 0.03, steps: int = STEPS) -> np.ndarray:
    """Falls from 2.3 to about 0.5 up to the rate `turn`, then climbs without end: what networks do."""
    log = np.linspace(-4, 1, steps)
    fall = 2.3 - 1.8 / (1 + np.exp(-4 * (log - math.log10(turn) + 1)))
    climb = np.exp(np.clip(6 * (log - math.log10(turn)), None, 40)) * 0.02
    return fall + climb + noise * np.random.default_rng(seed).standard_normal(steps)


def rates_of(test: RangeTest) -> dict[str, float]:
    return {rule: suggestion.lr for rule, suggestion in test.suggestions.items()}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    turn=st.floats(0.03, 3.0),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-100, 100),
)
def test_another_unit_of_the_loss_gives_the_same_rates(seed: int, turn: float, scale: float, shift: float) -> None:
    losses = curve(seed, turn=turn)
    plain, changed = (rates_of(analyse(RATES, values)) for values in (losses, losses * scale + shift * scale))
    assert changed == pytest.approx(plain)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), turn=st.floats(0.03, 3.0))
def test_every_rule_stays_within_the_ramp_and_below_the_turn(seed: int, turn: float) -> None:
    test = analyse(RATES, curve(seed, turn=turn))
    assert test.fell
    for rule, rate in rates_of(test).items():
        assert RATES[0] / 10 <= rate <= RATES[-1]
        assert rate <= 3 * turn, rule
    assert 0.2 * turn < rates_of(test)["usable"]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), at=st.integers(10, 60), height=st.floats(-20, 20))
def test_one_spike_moves_the_usable_rate_little(seed: int, at: int, height: float) -> None:
    losses = curve(seed)
    spiked = losses.copy()
    spiked[at] += height
    plain, other = (rates_of(analyse(RATES, values)) for values in (losses, spiked))
    assert 0.5 < other["usable"] / plain["usable"] < 2


def test_a_dip_behind_the_rise_is_not_usable() -> None:
    losses = curve(noise=0.0)
    dipped = losses.copy()
    dipped[84:92] = losses.min() + 0.05  # almost as low as the lowest once more, where it had climbed
    plain, other = (analyse(RATES, values).suggestions["usable"].lr for values in (losses, dipped))
    assert other == pytest.approx(plain, rel=0.2)


@pytest.mark.parametrize("steps", [24, 60, 200])
def test_noise_alone_neither_diverges_nor_falls_far(steps: int) -> None:
    diverged = 0
    for seed in range(100):
        watch = DivergenceWatch()
        losses = 2.3 + 0.1 * np.random.default_rng(seed).standard_normal(steps)
        diverged += any(map(watch.update, losses))
    assert diverged == 0


@pytest.mark.parametrize("turn", [0.05, 0.5])
def test_a_divergence_is_seen_early(turn: float) -> None:
    for seed in range(20):
        watch = DivergenceWatch()
        ended = next(step for step, loss in enumerate(curve(seed, turn=turn)) if watch.update(loss))
        assert turn < RATES[ended] < 20 * turn
        assert watch.since is not None
        assert RATES[watch.since] < RATES[ended]


@pytest.mark.parametrize(
    ("losses", "fell", "turned"),
    [
        ([math.nan] * 5, False, True),  # not one finite loss
        ([2.0, 1.9, math.inf], False, True),
        ([1.0] * 40, False, False),  # never falls
        (list(np.linspace(2, 1, 40)), True, False),  # still falls
        ([1.0], False, False),
    ],
)
def test_curves_that_say_little_still_give_a_rate_with_a_reason(
    losses: list[float], fell: bool, turned: bool
) -> None:
    test = analyse(RATES[: len(losses)], losses)
    assert (test.fell, test.turned) == (fell, turned)
    for suggestion in test.suggestions.values():
        assert math.isfinite(suggestion.lr)
        assert suggestion.reason
    if not fell:
        assert "never fell" in test.suggestions["usable"].reason
    elif not turned:
        assert "still falling" in test.suggestions["usable"].reason


def test_a_divergence_after_mere_noise_is_seen_however_short_it_is() -> None:
    losses = 1 + 0.1 * (-1.0) ** np.arange(STEPS)
    losses[-4:] = [20, 300, 4e3, 5e4]
    test = analyse(RATES, losses)
    assert test.turned
    assert not test.fell
    assert test.suggestions["usable"].lr == pytest.approx(RATES[-4] / 10, rel=0.2)
    losses[-4:] = [1, 20, 1, 1]  # a spike is no divergence
    assert not analyse(RATES, losses).turned


def test_seeds_that_never_fell_but_diverged_say_more_than_those_that_did_not() -> None:
    losses = 1 + 0.1 * (-1.0) ** np.arange(STEPS)
    diverged = analyse(RATES, [*losses[:-4], 20, 300, 4e3, 5e4])
    assert agreed([analyse(RATES, losses), diverged], "usable") == diverged.suggestions["usable"]


def test_a_loss_that_is_not_a_number_ends_the_curve_before_it() -> None:
    losses = curve(turn=0.5)
    cut = [*losses[:80], math.nan, *losses[81:]]
    assert rates_of(analyse(RATES, cut))["usable"] == pytest.approx(
        rates_of(analyse(RATES, losses))["usable"], rel=0.3
    )


def test_seeds_are_read_together() -> None:
    tests = [analyse(RATES, curve(seed)) for seed in range(3)]
    silent = analyse(RATES, np.ones(STEPS))
    far = analyse(RATES, curve(turn=0.01))
    for rule in SUGGESTIONS:
        rates = sorted(test.suggestions[rule].lr for test in tests)
        assert rates[0] <= agreed(tests, rule).lr <= rates[-1]
    assert agreed([*tests, silent], "usable").lr == agreed(tests, "usable").lr
    assert "1 more, whose loss never fell" in agreed([*tests, silent], "usable").reason
    assert agreed([*tests, far], "usable").lr == far.suggestions["usable"].lr
    assert "do not agree" in agreed([*tests, far], "usable").reason
    assert "never fell" in agreed([silent], "usable").reason


def test_rates_and_losses_must_be_as_many() -> None:
    with pytest.raises(ConfigurationError, match="got 1 and 2"):
        analyse([0.1, 0.2], [1.0])
