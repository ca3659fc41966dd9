"""Under-fitting, over-fitting or a good fit, read from the curves of one training run, with the numbers.

Source: Smith, arXiv:1803.09820, section 3: the test loss of an under-fitted network still falls when the run
ends; that of an over-fitted one turned and rises while the training loss goes on falling; where it levels off,
the fit is good.

Everything is measured in the fall of the test loss and in the width of its noise, so a loss in other units, or
with a constant added to it, has the same diagnosis. A curve may be cut anywhere: the diagnosis is that of the
run so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from searcher.errors import ConfigurationError

Floats = NDArray[np.float64]

MATERIAL = 0.01
"""A change of the test loss counts from this fraction of its whole fall on, if it is also above the noise."""

FOLLOWS = 0.3
"""Under-fitting: of each unit that the training loss still falls, the test loss falls at least this much."""


class Fit(StrEnum):
    """How a run fits its data."""

    UNDER = "under-fitting"
    OVER = "over-fitting"
    GOOD = "good fit"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A verdict on a curve.

    Attributes:
        reason: the numbers behind it, in one line.
        best_epoch: of the lowest test loss, smoothed; counts from 1.
        rise: of the test loss since then.
        falling: how much the test loss fell in the last quarter of the run; negative where it rose.
        follows: that fall as a fraction of the training loss's in the same time; 0 where that did not fall.
    """

    fit: Fit
    reason: str
    best_epoch: int
    rise: float
    falling: float
    follows: float


def diagnose(train_loss: Sequence[float], test_loss: Sequence[float]) -> Diagnosis:
    """Diagnoses a run from its two losses, one value of each for every epoch so far.

    The test loss is smoothed by a running median of 3. Its noise is the standard deviation of an epoch about
    its neighbours, from second differences, so a steady fall is none. A change is *material* from
    `MATERIAL` of the whole fall on, and from twice the noise on.

        over-fitting     the test loss rose by a material amount since its lowest, and the training loss fell
        under-fitting    it fell by a material amount in the last quarter, and by `FOLLOWS` of what the
                         training loss fell: what is learned still carries over
        good fit         neither

    Raises:
        ConfigurationError: no epoch, or not as many training as test losses.
    """
    if not len(test_loss) or len(train_loss) != len(test_loss):
        raise ConfigurationError(
            f"diagnosis: needs as many train as test losses, at least one, "
            f"got {len(train_loss)} and {len(test_loss)}"
        )
    train, test = np.asarray(train_loss, dtype=np.float64), np.asarray(test_loss, dtype=np.float64)
    finite = np.isfinite(train) & np.isfinite(test)
    if not finite.all():
        epoch = int(np.argmin(finite)) + 1
        return Diagnosis(Fit.DIVERGED, f"the loss is not finite at epoch {epoch}", epoch, math.inf, -math.inf, 0.0)
    smooth = _median_of_three(test)
    lowest = int(np.argmin(smooth))
    quarter = max(1, len(test) // 4)
    before = max(len(test) - 1 - quarter, 0)
    fallen = float(smooth[0] - smooth[lowest])
    material = max(MATERIAL * fallen, 2 * _noise(test))
    rise = float(smooth[-1] - smooth[lowest])
    falling = float(smooth[before] - smooth[-1])
    trained, trained_since = float(train[before] - train[-1]), float(train[lowest] - train[-1])
    follows = falling / trained if trained > 0 else 0.0
    if rise > material and trained_since > 0:
        fit, words = Fit.OVER, (
            f"the test loss turned at epoch {lowest + 1}, {smooth[lowest]:.4g}, and rose by {rise:.3g} "
            f"while the training loss fell by {trained_since:.3g}"
        )  # fmt: skip
    elif falling > material and follows >= FOLLOWS:
        fit, words = Fit.UNDER, (
            f"in the last quarter the test loss still fell by {falling:.3g}, the training loss by {trained:.3g}"
        )  # fmt: skip
    else:
        fit, words = Fit.GOOD, (
            f"the test loss levels off at {smooth[-1]:.4g}: in the last quarter it fell by {falling:.3g}, "
            f"the training loss by {trained:.3g}"
        )  # fmt: skip
    return Diagnosis(fit, f"{fit}: {words}", lowest + 1, rise, falling, follows)


def _median_of_three(values: Floats) -> Floats:
    if len(values) < 3:
        return values
    padded = np.pad(values, 1, mode="edge")
    smooth: Floats = np.median(np.lib.stride_tricks.sliding_window_view(padded, 3), axis=1)
    return smooth


def _noise(values: Floats) -> float:
    """The standard deviation of a value: that of a second difference is sqrt(6) of it."""
    if len(values) < 5:
        return 0.0
    return 1.4826 / math.sqrt(6) * float(np.median(np.abs(np.diff(values, 2))))
