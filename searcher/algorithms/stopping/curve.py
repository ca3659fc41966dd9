"""What a curve tells of itself, report by report: its level, its noise, and the learning rate behind it.

All are immutable values of a fixed size; `after` gives the value after one more report.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from searcher.algorithms.stopping.base import Observation

WINDOW = 3
"""Reports that a level is the mean of: this one and the two before it."""

LEVEL = math.sqrt(2 / WINDOW)
"""The width of the difference between two levels, in widths of the noise of single reports."""

RECENT, LASTING = 0.2, 0.05
"""Weight of the newest report in the two moving means of the noise: memories of about 5 and 20 reports."""

WARM_UP = 4
"""A rate that has fallen for this many times as long as it rose is past a warm-up, not within a cycle."""

_WIDTH = math.sqrt(math.pi / 2) / math.sqrt(6)


class Noise(NamedTuple):
    """The width (standard deviation) of a curve's noise, from its bends.

    A bend x[t] - 2 x[t-1] + x[t-2] has no part of a straight trend; where the noise is independent from report
    to report and of width s, its mean size is s sqrt(6) sqrt(2 / pi). The bends of a curve's first, steep fall
    are its trend's: where three values go one way, a bend counts for no more than the mean so far (which of
    pure noise takes 1 in 100).

    Attributes:
        recent: the mean size of the latest bends.
        lasting: the same over a longer time, each divided by the learning rate that made it. Noise shrinks with
            the rate, so that this times a rate is the noise to expect at it, even after a few quiet reports.
    """

    bends: int = 0
    recent: float = 0.0
    lasting: float = 0.0

    def after(self, values: tuple[float, float, float], rate: float) -> Noise:
        """With the bend of three values, oldest first; `rate` is the largest learning rate of their reports."""
        bends, (first, second, third) = self.bends + 1, values
        recent = abs(third - 2 * second + first)
        lasting = recent / rate
        if first <= second <= third or first >= second >= third:
            recent, lasting = min(recent, self.recent), min(lasting, self.lasting)
        return Noise(
            bends,
            self.recent + max(RECENT, 1 / bends) * (recent - self.recent),
            self.lasting + max(LASTING, 1 / bends) * (lasting - self.lasting),
        )

    @property
    def width(self) -> float:
        """Of single reports now."""
        return _WIDTH * self.recent

    def width_at(self, rate: float) -> float:
        """Of single reports under a learning rate; never less than now."""
        return _WIDTH * max(self.recent, self.lasting * rate)


class Rate(NamedTuple):
    """The learning rate so far: now, its peak, and how many reports it has risen and been below its peak for."""

    now: float = 0.0
    peak: float = 0.0
    risen: int = 0
    fallen: int = 0

    def after(self, observation: Observation) -> Rate:
        lr = observation.lr
        if lr is None:
            return self
        rises = 0 < self.now < lr * (1 - 1e-9)
        peak = max(self.peak, lr)
        return Rate(lr, peak, self.risen + rises, self.fallen + (not rises and lr < peak * (1 - 1e-9)))

    def fall_to_come(self, observation: Observation) -> float:
        """The largest fall still to come, as a fraction of the rate now; infinite if it rises first.

        Where the rate to come is not reported it may fall to nothing, so this is 1.
        """
        if observation.lr_left is not None and observation.lr_left > 1 + 1e-9:
            return math.inf
        if observation.lr_left == 0:
            return 0.0
        return 1.0 if observation.lr_low is None else max(0.0, 1 - observation.lr_low)

    def of_peak(self, fall: float) -> float:
        """A fall as a fraction of the peak."""
        return fall * self.now / self.peak if self.peak > 0 else fall

    @property
    def in_cycle(self) -> bool:
        """Whether the rate has risen, and has not fallen for so long that this was merely a warm-up."""
        return self.risen > 0 and self.fallen < WARM_UP * self.risen


class Curve(NamedTuple):
    """Two losses under a learning rate.

    Attributes:
        reports: how many there were.
        test, train: the last two values of each loss, the older one first.
        test_noise, train_noise: their noise.
        test_level, train_level: means of the last `WINDOW` reports; infinite before there are so many.
        low, low_train: the lowest test level, and the training level at that report.
        train_low: the lowest training level.
        best, best_epoch, best_train: the lowest test loss of a single report, and the training loss there.
    """

    reports: int = 0
    test: tuple[float, float] = (math.nan, math.nan)
    train: tuple[float, float] = (math.nan, math.nan)
    rates: tuple[float, float] = (0.0, 0.0)
    test_noise: Noise = Noise()
    train_noise: Noise = Noise()
    rate: Rate = Rate()
    test_level: float = math.inf
    train_level: float = math.inf
    low: float = math.inf
    low_train: float = math.inf
    train_low: float = math.inf
    best: float = math.inf
    best_epoch: int = 0
    best_train: float = math.inf

    @property
    def held(self) -> float:
        """The fraction of the training loss at the lowest test level that is still there, from 0 to 1.

        1 where a loss is not positive: it has then no zero to be compared with.
        """
        return min(1.0, max(0.0, self.train_level / self.low_train)) if self.low_train > 0 else 1.0

    def after(self, observation: Observation) -> Curve:
        """With one more report, of finite losses."""
        test, train = observation.test_loss, observation.train_loss
        (test2, test1), (train2, train1) = self.test, self.train
        reports, rate = self.reports + 1, self.rate.after(observation)
        test_noise, train_noise = self.test_noise, self.train_noise
        test_level, train_level = self.test_level, self.train_level
        low, low_train, train_low = self.low, self.low_train, self.train_low
        if reports >= WINDOW:
            scale = max(rate.now, *self.rates) or 1.0
            test_noise = test_noise.after((test2, test1, test), scale)
            train_noise = train_noise.after((train2, train1, train), scale)
            test_level, train_level = (test + test1 + test2) / 3, (train + train1 + train2) / 3
            train_low = min(train_low, train_level)
            if test_level < low:
                low, low_train = test_level, train_level
        better = test < self.best
        return Curve(
            reports,
            (test1, test),
            (train1, train),
            (self.rates[1], rate.now),
            test_noise,
            train_noise,
            rate,
            test_level,
            train_level,
            low,
            low_train,
            train_low,
            test if better else self.best,
            observation.epoch if better else self.best_epoch,
            train if better else self.best_train,
        )
