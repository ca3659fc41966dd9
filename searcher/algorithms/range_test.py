"""The LR range test: when its loss has diverged, and what learning rates its curve suggests.

Source: Smith, arXiv:1506.01186, section 3.3, and arXiv:1803.09820, section 4.1: train for a short while with a
learning rate that rises at every step; the loss falls, levels off, and climbs again where the rate is too large.

All that is decided here is relative to how far the loss fell and to the width of its noise, never to the loss
itself: a loss in other units, or with a constant added to it, gives the same rates.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from searcher.errors import ConfigurationError

Floats = NDArray[np.float64]

# The standard deviation of a normal distribution, from the median of the differences between neighbours.
_NOISE = 1.4826 / math.sqrt(2)


_KNOWN = 16
"""Steps after which the width of the noise is known well enough to tell that something was learned."""


class DivergenceWatch:
    """Tells a range test, loss by loss, that its loss has climbed for good. O(1) work and memory for each loss.

    The level is the median of the last 5 losses (one spike, or two, leave it alone), smoothed exponentially with
    bias correction. The level is lost at a step where it stands above its minimum by more than three quarters of
    what it had fallen, and by more than 4 times the width of the noise: 16 times while nothing was learned yet,
    as the first few losses tell that width badly. The test has diverged when the steps at which the level was
    lost are 6 more (or, late, a sixteenth of all steps) than those at which it was regained: networks often leap
    up in their first steps and recover. A loss that is not finite has diverged at once.
    """

    def __init__(self) -> None:
        self.since: int | None = None
        """The index of the step (from 0) since which the level is lost; None while it is not."""
        self._steps = 0
        self._lost = 0
        self._last: deque[float] = deque(maxlen=5)
        self._changes: deque[float] = deque(maxlen=6)
        self._level = _Mean(0.7)
        self._noise = _Mean(0.9)
        self._start = self._lowest = math.inf

    def update(self, loss: float) -> bool:
        """Takes the next loss; True if the test has diverged, which ends it."""
        self._steps += 1
        if not math.isfinite(loss):
            self.since = self._steps - 1 if self.since is None else self.since
            return True
        if self._last:
            self._changes.append(abs(loss - self._last[-1]))
        self._last.append(loss)
        level = self._level.update(median(self._last))
        if self._steps <= 5:
            self._start = level
        self._lowest = min(self._lowest, level)
        fallen = max(self._start - self._lowest, 0.0)
        above = level - self._lowest
        # The mean absolute difference between neighbours is 2 / sqrt(pi) standard deviations.
        noise = self._noise.value * math.sqrt(math.pi) / 2
        # The leaps of a divergence must not pass for noise and so hide it: once something was learned, a change
        # counts as noise only if the level is still low five steps later.
        learned = self._steps > _KNOWN and fallen > 6 * noise
        if self._changes and (not learned or above <= 0.25 * fallen):
            self._noise.update(self._changes[0])
        if self._steps > _KNOWN // 2 and above > max(0.75 * fallen, (4 if learned else 16) * noise):
            self._lost += 1
        else:
            self._lost = max(self._lost - 1, 0)
        if self._lost == 0:
            self.since = None
        elif self.since is None:
            self.since = self._steps - 1
        return self._lost >= max(6, self._steps // 16)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A learning rate that a rule reads off the curve, and why it is that one."""

    lr: float
    reason: str


@dataclass(frozen=True)
class RangeTest:
    """What a range test measured, and what follows from it.

    Attributes:
        lr: `[n]`, the learning rates up to the step at which the loss diverged.
        loss: `[n]`, the losses as measured.
        smoothed: `[n]`, the same without their noise, see `analyse`.
        noise: standard deviation of a loss about the smoothed one.
        fell: whether the loss fell by more than its noise: if not, no rate here trained the network.
        turned: whether the loss rose again before the ramp ended.
        suggestions: by rule, see `SUGGESTIONS`.
    """

    lr: Floats
    loss: Floats
    smoothed: Floats
    noise: float
    fell: bool
    turned: bool
    suggestions: Mapping[str, Suggestion]

    @property
    def lr_at_minimum(self) -> float:
        """The rate of the lowest smoothed loss: an upper bound for the peak of a cycle."""
        return self.suggestions["minimum"].lr

    @property
    def min_loss(self) -> float:
        """The lowest smoothed loss; infinite where not one loss was finite."""
        lowest = float(self.smoothed.min())
        return lowest if math.isfinite(lowest) else math.inf


SUGGESTIONS: Mapping[str, str] = {
    "minimum": "the rate of the lowest loss",
    "minimum/10": "a tenth of the rate of the lowest loss",
    "steepest": "the rate at which the loss falls fastest, per factor of the rate",
    "valley": "half-way down the longest fall of the loss (fastai's default)",
    "usable": "the largest rate up to which the loss is still as low as the lowest, within the noise",
    "usable/2": "half of the largest usable rate",
}
"""The rules, in words. Which is best depends on the network, so a sweep confirms a cycle's peak by short runs."""

DEFAULT_RULE = "usable/2"
"""What is suggested as the peak of a cycle where no run confirms it; docs/method.md has the measurements."""

SPREAD = 4.0
"""Seeds whose suggestions differ by more than this factor do not agree."""


def analyse(lr: Sequence[float], loss: Sequence[float]) -> RangeTest:
    """Reads a range test: one learning rate and one training loss for each step, the rates rising.

    The loss is smoothed by a running median of 5, which no spike passes, and an exponential mean with bias
    correction, once forwards and once backwards: so the curve does not lag behind the rates. Losses above
    the starting level are cut to it beforehand, or a divergence would be smeared over the steps before it.

    Raises:
        ConfigurationError: no step, or not as many rates as losses.
    """
    if not len(lr) or len(lr) != len(loss):
        raise ConfigurationError(
            f"range test: needs as many losses as learning rates, at least one, got {len(loss)} and {len(lr)}"
        )
    end = _diverged_from(loss)
    rates, losses = np.asarray(lr[:end], dtype=np.float64), np.asarray(loss[:end], dtype=np.float64)
    start = float(np.median(losses[:5]))
    smoothed = _smooth(np.minimum(losses, start))
    lowest = int(np.argmin(smoothed))
    noise = _NOISE * float(np.median(np.abs(np.diff(losses[: max(lowest, 5)])))) if len(losses) > 1 else 0.0
    fallen = float(smoothed[0] - smoothed[lowest])
    # Smoothing takes away about this part of the noise.
    fell = len(losses) > 5 and fallen > noise
    turned = end < len(loss) or bool(smoothed[-1] - smoothed[lowest] > max(0.1 * fallen, noise))
    if not fell and len(climbed := np.flatnonzero(_running_median(losses) > start + 4 * noise)):
        # A divergence that nothing hides, as nothing was learned; it may be too short for the watch.
        rates, losses, smoothed, turned = (*(one[: max(climbed[0], 1)] for one in (rates, losses, smoothed)), True)
    return RangeTest(rates, losses, smoothed, noise, fell, turned, _suggest(rates, smoothed, noise, fell, turned))


def agreed(tests: Sequence[RangeTest], rule: str) -> Suggestion:
    """What the range tests of several seeds suggest together, by one of `SUGGESTIONS`.

    The median over the seeds, in factors; the lowest where they differ by more than `SPREAD`. A seed whose loss
    never fell says nothing of the rate, and is left out while another one's did fall. Where none did, those that
    diverged say at least where that was.
    """
    fell = [test for test in tests if test.fell]
    if not fell:
        diverged = [test for test in tests if test.turned] or tests
        return min((test.suggestions[rule] for test in diverged), key=lambda one: one.lr)
    rates = sorted(test.suggestions[rule].lr for test in fell)
    told = f"{rates[0]:.3g} to {rates[-1]:.3g} over {len(rates)} seeds" if len(rates) > 1 else "of one seed"
    if silent := len(tests) - len(fell):
        told += f"; {silent} more, whose loss never fell, left out"
    if rates[-1] > SPREAD * rates[0]:
        return Suggestion(rates[0], f"the lowest of {SUGGESTIONS[rule]}, as the seeds do not agree ({told})")
    return Suggestion(math.exp(median(map(math.log, rates))), f"{SUGGESTIONS[rule]} ({told})")


def _diverged_from(loss: Sequence[float]) -> int:
    """The number of steps before the loss diverged for good; at least one."""
    watch = DivergenceWatch()
    for value in loss:
        if watch.update(value):
            return max(watch.since or 0, 1)
    return len(loss)


def _smooth(loss: Floats) -> Floats:
    flat = _running_median(loss)
    keep = 1 - 1 / max(2.0, len(loss) / 40)
    for _ in range(2):
        mean = _Mean(keep)
        flat = np.array([mean.update(value) for value in flat])[::-1]
    return flat


def _running_median(loss: Floats) -> Floats:
    """Of 5, so that no spike passes."""
    padded = np.pad(loss, 2, mode="edge")
    flat: Floats = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    return flat


def _suggest(rates: Floats, smoothed: Floats, noise: float, fell: bool, turned: bool) -> dict[str, Suggestion]:
    lowest = int(np.argmin(smoothed))
    if not fell:
        bound = float(rates[-1]) if turned else float(rates[0])
        why = "the loss diverged" if turned else "no rate was large enough to train the network, the ramp began"
        nothing = Suggestion(bound / 10, f"the loss never fell by more than its noise: a tenth of where {why}")
        return dict.fromkeys(SUGGESTIONS, nothing)
    fallen = float(smoothed[0] - smoothed[lowest])
    still = "" if turned else "; it was still falling when the ramp ended, so a larger rate may do as well"
    minimum = float(rates[lowest])
    # Up to the first rise: a noisy curve may dip once more at a rate that no network trains with.
    too_high = np.flatnonzero(smoothed[lowest:] > smoothed[lowest] + max(0.05 * fallen, 0.5 * noise))
    usable = float(rates[lowest + too_high[0] - 1 if len(too_high) else -1])
    # Only before the minimum: behind it a noisy rise has falls of its own.
    slopes = np.gradient(smoothed, np.log(rates))[: lowest + 1]
    begin, length = _longest_fall(smoothed[: lowest + 1])
    within = "the loss is within 5 % of the fall, or the noise, of the lowest up to"
    return {
        "minimum": Suggestion(minimum, f"the smoothed loss is lowest there, {smoothed[lowest]:.4g}{still}"),
        "minimum/10": Suggestion(minimum / 10, f"a tenth of {minimum:.3g}, where the loss is lowest{still}"),
        "steepest": Suggestion(
            float(rates[int(np.argmin(slopes))]),
            f"the loss falls fastest there, by {-float(slopes.min()):.3g} for each factor of e in the rate",
        ),
        "valley": Suggestion(
            float(rates[begin + length // 2]),
            f"half-way through the longest fall, from rate {rates[begin]:.3g} to {rates[begin + length]:.3g}",
        ),
        "usable": Suggestion(usable, f"{within} there{still}"),
        "usable/2": Suggestion(usable / 2, f"half of {usable:.3g}: {within} {usable:.3g}{still}"),
    }


def _longest_fall(values: Floats) -> tuple[int, int]:
    """The first index of the longest run of falling values, and how many steps it has."""
    best, begin = (0, 0), 0
    for index in range(1, len(values)):
        if values[index] >= values[index - 1]:
            begin = index
        if index - begin > best[1]:
            best = (begin, index - begin)
    return best


class _Mean:
    """An exponentially weighted mean with bias correction, so that the first values are not drawn to 0."""

    def __init__(self, keep: float) -> None:
        self.value = 0.0
        self._keep = keep
        self._weight = 0.0

    def update(self, value: float) -> float:
        self._weight = self._keep * self._weight + 1
        self.value += (value - self.value) / self._weight
        return self.value
