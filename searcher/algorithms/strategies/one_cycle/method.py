"""The one-cycle method, as it is carried out. L. N. Smith, arXiv:1803.09820; Smith and Topin, arXiv:1708.07120.

1. Range tests: one for each weight decay, then the chosen one with further seeds.
2. Short cycles walk to the peak, from where the range tests point to.
3. Moves: the best cycle so far is diagnosed, and what its diagnosis calls for is tried: a longer cycle, more or
   less weight decay, a higher or lower peak. What lowers the test loss is kept.
4. The best cycle with every seed; a peak at which one of them does not train is halved.

The search uses the first seed alone: with the same weights and the same order of samples, two cycles differ by
their hyper-parameters and not by luck. Everything is measured by the test loss, as configurations are chosen by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from searcher.algorithms.range_test import RangeTest
from searcher.algorithms.strategies.base import Plan
from searcher.algorithms.strategies.one_cycle.budget import Budget
from searcher.algorithms.strategies.one_cycle.measurements import Measurements, Outcome, Waiting
from searcher.algorithms.strategies.one_cycle.moves import Moves, Point
from searcher.algorithms.strategies.one_cycle.peak import next_exponents
from searcher.algorithms.strategies.one_cycle.range_tests import Bound, bound_of, choose_weight_decay
from searcher.algorithms.strategies.one_cycle.trials import Trials
from searcher.errors import ConfigurationError
from searcher.records import History, TaskInfo, Trial

SEEDS = 3
"""How many seeds the range test of the chosen weight decay is run with."""

SHORTEST = 3
"""The least epochs of a cycle. The lengths are the longest, its half, its quarter and its eighth."""

LONGEST = 2 / 3
"""The longest cycle where the spec names none, as a fraction of a full run: a cycle needs fewer epochs."""

CYCLES = 3.5
"""The budget where none is given: this many of the longest cycles, and one for each seed after the first."""

SEARCH, CYCLES_TRIED = 2.5, 9
"""About what the search takes, for the plan: in longest cycles, and in trials."""

GAIN = 0.01
"""A move is kept if it lowers the test loss by more than this fraction of it: less is no reason."""

BEHIND = 0.1
"""A seed does not train as the first one did if its loss is behind by this fraction of the first one's fall."""

HALVINGS = 2
"""How often the peak is halved for that."""

SHIFT = 1e3
"""By how much both ends of the ramp are moved where no range test trains."""


class OneCycle:
    """See the module. Built from what the sweep file says under `one_cycle`."""

    def __init__(self, label: str, spec: Any, *, task: TaskInfo, seeds: Sequence[int], epochs: int) -> None:
        self.label = label
        self.spec = spec
        self.task = task
        self.seeds = tuple(seeds)
        self.epochs = spec.epochs or max(1, round(epochs * LONGEST))
        self.lengths = lengths_of(self.epochs)
        self.trials = Trials(label, spec, task, spec.batch_size)
        self.moves = Moves(spec.optimizer, self.lengths)
        self.budget = self._budget()

    def propose(self, history: History, count: int) -> list[Trial]:
        """See `Strategy.propose`."""
        try:
            self._carry_out(Measurements(history, self.budget, self.task.train_size))
        except Waiting as waiting:
            return [trial for trial in waiting.trials if trial not in history][: max(count, 0)]
        return []

    def plan(self) -> Plan:
        """An estimate: the walk and the moves are as long as what they find makes them."""
        tests, others = self._range_tests(), len(self.seeds) - 1
        epochs = (SEARCH + others) * self.epochs
        samples = tests * self.trials.range_steps() * self.trials.batch_size + round(epochs * self.task.train_size)
        if (most := self.budget.samples(self.task.train_size)) < samples:
            samples = int(most)
        return Plan(tests + CYCLES_TRIED + others, samples / self.task.train_size, samples, exact=False)

    def _carry_out(self, measured: Measurements) -> None:
        """The method; ends by `Waiting` until everything was measured."""
        if (start := self._read_range_tests(measured)) is None:
            return  # every range test failed: their records say why
        bound, weight_decay, why = start
        outcomes = self._walk(measured, bound, weight_decay, why)
        best = min(outcomes, key=lambda point: outcomes[point].loss)
        if not outcomes[best].trained:
            return  # no peak trained: their records say why
        best = self._improve(measured, bound, best, outcomes)
        self._finish(measured, bound, best, outcomes)

    def _read_range_tests(self, measured: Measurements) -> tuple[Bound, float, str] | None:
        """Where the walk starts, the weight decay, and why it is that one; None where every test failed."""
        shift, why = 1.0, ""
        tests = self._tests(measured, shift, why)
        if tests and not any(test.fell for test in tests.values()):
            turned = any(test.turned for test in tests.values())
            shift, why = (1 / SHIFT, _LOWER) if turned else (SHIFT, _HIGHER)
            tests = self._tests(measured, shift, why) or tests
        if not tests:
            return None
        weight_decay, reason = choose_weight_decay(tests)
        more = [self.trials.range_test(weight_decay, seed, shift, _AGAIN) for seed in self._further_seeds()]
        repeated = measured.range_tests(more)
        return bound_of([tests[weight_decay], *repeated.values()]), weight_decay, reason

    def _tests(self, measured: Measurements, shift: float, why: str) -> dict[float, RangeTest]:
        """By weight decay, the range tests of the first seed; those that failed are left out."""
        asked = [self.trials.range_test(one, self.seeds[0], shift, why) for one in self.spec.weight_decay]
        return {trial.configuration.weight_decay: test for trial, test in measured.range_tests(asked).items()}

    def _walk(self, measured: Measurements, bound: Bound, weight_decay: float, why: str) -> dict[Point, Outcome]:
        """Short cycles until the best peak is enclosed."""
        losses: dict[int, float] = {}
        outcomes: dict[Point, Outcome] = {}
        while exponents := next_exponents(losses):
            if losses and not self._affords(measured, self.lengths[0], 0):
                break
            points = [Point(exponent, weight_decay, 0) for exponent in exponents]
            trials = [
                self._cycle(
                    bound, point, self.seeds[0], f"confirms a peak, {_over(bound, point)}, {bound.reason}; {why}"
                )
                for point in points
            ]
            for point, outcome in zip(points, measured.cycles(trials), strict=True):
                outcomes[point], losses[point.exponent] = outcome, outcome.loss
        return outcomes

    def _improve(self, measured: Measurements, bound: Bound, best: Point, outcomes: dict[Point, Outcome]) -> Point:
        """Moves from the best point while one is left that the budget holds; the point that they arrive at."""
        while True:
            now = outcomes[best]
            for move in self.moves.of(best, now.diagnosis.fit):
                length = self.lengths[move.point.level]
                if move.point in outcomes or not self._affords(measured, length, move.point.level):
                    continue
                reason = f"tries {move.words}: {self._told(best, bound, now)} is {now.diagnosis.reason}"
                (outcome,) = measured.cycles([self._cycle(bound, move.point, self.seeds[0], reason)])
                outcomes[move.point] = outcome
                if outcome.loss < now.loss - GAIN * abs(now.loss):
                    best = move.point
                    break
            else:
                return best

    def _finish(self, measured: Measurements, bound: Bound, best: Point, outcomes: dict[Point, Outcome]) -> None:
        """The best cycle with every seed; again with half the peak while a seed does not train as the first."""
        reason = f"the best of {len(outcomes)} cycles: {self._told(best, bound, outcomes[best])}"
        for _ in range(HALVINGS + 1):
            first, *others = measured.cycles([self._cycle(bound, best, seed, reason) for seed in self.seeds])
            behind = max((one.loss - first.loss for one in others), default=0.0)
            unpaid = self.spec.budget and not self._affords(measured, self.lengths[best.level], best.level)
            if behind <= BEHIND * first.fallen or unpaid:
                return
            worst = f"loss {first.loss + behind:.4g}" if math.isfinite(behind) else "no loss at all"
            reason = (
                f"half the peak: at {_over(bound, best)} one seed ended with {worst}, another with {first.loss:.4g}"
            )
            best = Point(best.exponent + 1, best.weight_decay, best.level)

    def _affords(self, measured: Measurements, epochs: int, level: int) -> bool:
        """Whether a cycle of so many epochs, and then the final cycles of that level's length, can be paid."""
        return measured.affords(epochs + (len(self.seeds) - 1) * self.lengths[level])

    def _cycle(self, bound: Bound, point: Point, seed: int, reason: str) -> Trial:
        peak, length = bound.lr / 2**point.exponent, self.lengths[point.level]
        return self.trials.cycle(peak, point.weight_decay, seed, length, reason)

    def _told(self, point: Point, bound: Bound, outcome: Outcome) -> str:
        return (
            f"peak {bound.lr / 2**point.exponent:.3g}, weight decay {point.weight_decay:g}, "
            f"{self.lengths[point.level]} epochs, test loss {outcome.loss:.4g}"
        )

    def _further_seeds(self) -> list[int]:
        """Seeds of the sweep, and above those where it has too few."""
        more = [*self.seeds[1:], *range(max(self.seeds) + 1, max(self.seeds) + SEEDS)]
        return more[: SEEDS - 1]

    def _range_tests(self) -> int:
        return len(self.spec.weight_decay) + SEEDS - 1

    def _budget(self) -> Budget:
        """The spec's, or `FULL_RUNS` for each seed; refused where not even the shortest search fits.

        Raises:
            ConfigurationError: the budget is too small.
        """
        tests = self._range_tests() * self.trials.range_steps() * self.trials.batch_size / self.task.train_size
        least = tests + (1 + len(self.seeds)) * self.lengths[0]
        given = self.spec.budget
        if given is None:
            return Budget("epochs", max((CYCLES + len(self.seeds) - 1) * self.epochs, least))
        unit, amount = given.unit, given.amount
        needed = {"epochs": least, "samples": least * self.task.train_size}.get(unit, 0.0)
        if amount < needed:
            raise ConfigurationError(
                f"{self.label}.budget.{unit}: must be at least {math.ceil(needed)} (range tests, two short cycles "
                f"and one for every seed), got {amount:g}"
            )
        return Budget(unit, amount, given.price_per_hour or 0.0)


_LOWER = "; lower, because nothing trained in the usual range"
_HIGHER = "; higher, because nothing trained below"
_AGAIN = "; with another seed, as one may mislead"


def lengths_of(epochs: int) -> tuple[int, ...]:
    """The lengths that a cycle may have: an eighth, a quarter and a half of the longest, and the longest."""
    parts = {max(min(SHORTEST, epochs), round(epochs / part)) for part in (8, 4, 2, 1)}
    return tuple(sorted(parts))


def _over(bound: Bound, point: Point) -> str:
    peak = bound.lr / 2**point.exponent
    factor = 2.0**point.exponent
    if factor == 1:
        return f"{peak:.3g}"
    return (
        f"{peak:.3g} = {bound.lr:.3g} / {factor:g}"
        if factor > 1
        else f"{peak:.3g} = {bound.lr:.3g} x {1 / factor:g}"
    )
