"""The one-cycle method: range tests choose weight decay and learning rate, short runs confirm, cycles train.

L. N. Smith, arXiv 1803.09820, and Smith and Topin, arXiv 1708.07120. Four stages, each read from the history:

1. a learning-rate range test for each weight decay;
2. the weight decay whose range test reaches the lowest smoothed loss;
3. short cycles, each with half the peak of another, around the rate of that lowest loss. It is an upper bound
   only: a cycle that peaks there often does not train. So the peak is confirmed, not believed, by walking in
   factors of two until both neighbours of the best are worse;
4. a full cycle for every seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from searcher.algorithms.range_test import RangeTest, analyse
from searcher.algorithms.schedules import complete
from searcher.algorithms.strategies.base import Plan
from searcher.records import Configuration, History, Kind, TaskInfo, Trial, TrialRecord

RANGE_LOW, RANGE_HIGH = 1e-4, 10.0
"""The learning rates of a range test with SGD; with AdamW both are a tenth."""

RANGE_STEPS = (60, 400)
"""The least and the most steps of a range test, which otherwise takes two epochs."""

START_EXPONENT = 1
"""The first peaks tried are the rate of the lowest loss over 2 to this power, and over twice that."""

EXPONENTS = range(-1, 9)
"""As far as the walk may go: from twice the rate of the lowest loss to a 256th of it."""

CONFIRM_FRACTION = 0.25
"""The length of a confirming cycle as a fraction of the full one, at least 3 epochs."""


class OneCycle:
    """See the module. Built from what the sweep file says under `one_cycle`."""

    def __init__(self, label: str, spec: Any, *, task: TaskInfo, seeds: Sequence[int], epochs: int) -> None:
        self.label = label
        self.spec = spec
        self.task = task
        self.seeds = tuple(seeds)
        self.epochs = spec.epochs or epochs
        self.confirm_epochs = min(self.epochs, max(3, round(self.epochs * CONFIRM_FRACTION)))

    def propose(self, history: History, count: int) -> list[Trial]:
        """See `Strategy.propose`."""
        return [trial for trial in self._stage(history) if trial not in history][: max(count, 0)]

    def plan(self) -> Plan:
        """An estimate: range tests that diverge early cost less, a longer walk to the peak costs more."""
        tests, confirming = len(self.spec.weight_decay), 4
        steps = self.range_steps() * tests
        epochs = confirming * self.confirm_epochs + len(self.seeds) * self.epochs
        samples = steps * self.spec.batch_size + epochs * self.task.train_size
        return Plan(
            trials=tests + confirming + len(self.seeds),
            epochs=samples / self.task.train_size,
            samples=samples,
            exact=False,
        )

    def range_steps(self) -> int:
        """Two epochs, but enough steps to see a shape and no more than that needs."""
        least, most = RANGE_STEPS
        return min(max(2 * self.task.steps_per_epoch(self.spec.batch_size), least), most)

    def _stage(self, history: History) -> list[Trial]:
        """The trials of the stage that the history has reached."""
        tests = [self._range_test(weight_decay) for weight_decay in self.spec.weight_decay]
        if any(history.result(trial) is None for trial in tests):
            return tests
        measured = {
            trial.configuration.weight_decay: analyse(
                [record.lr for record in history.steps(trial)],
                [record.train_loss for record in history.steps(trial)],
            )
            for trial in tests
            if history.steps(trial)
        }
        if not measured:
            return []  # every range test failed: their records say why
        weight_decay, why = choose_weight_decay(measured)
        bound = measured[weight_decay].lr_at_minimum

        losses: dict[int, float] = {}
        while (exponent := next_exponent(losses)) is not None:
            trial = self._cycle(
                bound / 2**exponent,
                weight_decay,
                self.seeds[0],
                self.confirm_epochs,
                f"confirms the peak: the rate of the range test's lowest loss, {bound:.3g}, "
                f"over {2**exponent:g}; {why}",
            )
            result = history.result(trial)
            if result is None:
                return [trial]
            losses[exponent] = _loss(result)
        best = min(losses, key=lambda exponent: losses[exponent])
        peak = bound / 2**best
        reason = f"peak {peak:.3g} was the best of {len(losses)} confirmed ({_told(losses, bound)}); {why}"
        return [self._cycle(peak, weight_decay, seed, self.epochs, reason) for seed in self.seeds]

    def _range_test(self, weight_decay: float) -> Trial:
        low, high = RANGE_LOW, RANGE_HIGH
        if self.spec.optimizer == "adamw":
            low, high = low / 10, high / 10
        return self._trial(
            Kind.RANGE_TEST,
            self.seeds[0],
            self.range_steps(),
            f"range test of weight decay {weight_decay:g}: learning rate {low:g} to {high:g}",
            lr=high,
            weight_decay=weight_decay,
            schedule="range_exponential",
            # The momentum that a cycle has where its learning rate is largest.
            momentum=self.spec.momentum[0],
            momentum_schedule="constant",
            div_factor=high / low,
        )

    def _cycle(self, peak: float, weight_decay: float, seed: int, epochs: int, reason: str) -> Trial:
        constant = self.spec.momentum_schedule == "constant"
        return self._trial(
            Kind.TRAIN,
            seed,
            epochs,
            reason,
            lr=float(f"{peak:.4g}"),  # no more digits than a person would write down
            weight_decay=weight_decay,
            schedule="one_cycle",
            momentum=self.spec.momentum[1],
            momentum_low=None if constant else self.spec.momentum[0],
            momentum_schedule=self.spec.momentum_schedule,
            div_factor=self.spec.div_factor,
            final_div_factor=self.spec.final_div_factor,
            annihilation=self.spec.annihilation,
        )

    def _trial(self, kind: Kind, seed: int, length: int, reason: str, **hyper_parameters: Any) -> Trial:
        configuration = Configuration(
            batch_size=self.spec.batch_size, optimizer=self.spec.optimizer, **hyper_parameters
        )
        return Trial(
            task=self.task.name,
            strategy=self.label,
            configuration=complete(configuration),
            seed=seed,
            length=length,
            kind=kind,
            reason=reason,
        )


def choose_weight_decay(tests: Mapping[float, RangeTest]) -> tuple[float, str]:
    """The weight decay whose range test reaches the lowest smoothed loss, the larger where they are equal.

    1803.09820, section 4.4: the best weight decay is the one whose test loss is lowest while the learning rate
    is still large.
    """
    best = min(tests, key=lambda weight_decay: (tests[weight_decay].min_loss, -weight_decay))
    losses = ", ".join(f"{value:g}: {test.min_loss:.4g}" for value, test in tests.items())
    return best, f"weight decay {best:g} by the lowest loss of the range tests ({losses})"


def next_exponent(losses: Mapping[int, float]) -> int | None:
    """The next power of two to divide by, given the losses of those tried; None when the best is enclosed.

    Walks downhill: two to start with, then beside the best until both of its neighbours were tried and are
    worse, or the end of `EXPONENTS` is reached.
    """
    for exponent in (START_EXPONENT, START_EXPONENT + 1):
        if exponent not in losses:
            return exponent
    if not any(math.isfinite(loss) for loss in losses.values()):
        # Nothing has trained yet: only smaller rates can.
        return max(losses) + 1 if max(losses) + 1 in EXPONENTS else None
    best = min(losses, key=lambda exponent: losses[exponent])
    for neighbour in (best + 1, best - 1):
        if neighbour in EXPONENTS and neighbour not in losses:
            return neighbour
    return None


def _loss(result: TrialRecord) -> float:
    loss = result.best_test_loss
    return math.inf if loss is None or result.best_epoch is None else loss


def _told(losses: Mapping[int, float], bound: float) -> str:
    return ", ".join(f"{bound / 2**exponent:.3g}: {loss:.4g}" for exponent, loss in sorted(losses.items()))
