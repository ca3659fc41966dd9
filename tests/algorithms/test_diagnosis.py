"""The diagnosis, from curves that a person would judge the same way."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.algorithms.diagnosis import Fit, diagnose
from searcher.errors import ConfigurationError

EPOCHS = np.arange(20)
FALLING = 2.0 - 0.08 * EPOCHS
LEVEL = 0.5 + 1.5 * np.exp(-EPOCHS / 3)
TURNED = np.where(EPOCHS < 8, 2.0 - 0.15 * EPOCHS, 0.95 + 0.03 * (EPOCHS - 8))
NOISE = 0.02 * np.random.default_rng(0).standard_normal(20)


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        (FALLING, FALLING + 0.1, Fit.UNDER),
        (FALLING, LEVEL, Fit.GOOD),
        (FALLING, TURNED, Fit.OVER),
        (FALLING, TURNED + NOISE, Fit.OVER),
        (FALLING, LEVEL + NOISE, Fit.GOOD),  # noise about a level is no rise
        (np.full(20, 1.0), TURNED, Fit.GOOD),  # a rise while the training loss stands still is not over-fitting
        (FALLING, 2.0 - 0.004 * EPOCHS, Fit.GOOD),  # the test loss follows a twentieth of the training loss
        ([1.0], [1.0], Fit.GOOD),
        ([2.0, 1.0], [2.0, 1.0], Fit.UNDER),
        ([1.0, math.nan], [1.0, 1.0], Fit.DIVERGED),
        ([1.0, 1.0], [1.0, math.inf], Fit.DIVERGED),
    ],
)
def test_the_verdict(train: list[float], test: list[float], expected: Fit) -> None:
    diagnosis = diagnose(train, test)
    assert diagnosis.fit is expected
    assert diagnosis.reason


def test_the_numbers_stand_in_the_reason() -> None:
    diagnosis = diagnose(FALLING, TURNED)
    assert diagnosis.best_epoch == 8
    assert diagnosis.rise == pytest.approx(0.33)
    assert "turned at epoch 8, 0.95, and rose by 0.33 while the training loss fell by 0.96" in diagnosis.reason


@settings(max_examples=50, deadline=None)
@given(scale=st.floats(0.01, 100), shift=st.floats(-10, 10), which=st.sampled_from([FALLING, LEVEL, TURNED]))
def test_another_unit_of_the_losses_has_the_same_diagnosis(scale: float, shift: float, which: np.ndarray) -> None:
    changed = diagnose((FALLING + shift) * scale, (which + NOISE + shift) * scale)
    assert changed.fit is diagnose(FALLING, which + NOISE).fit


def test_losses_must_be_as_many() -> None:
    with pytest.raises(ConfigurationError, match="got 1 and 2"):
        diagnose([1.0], [1.0, 2.0])
