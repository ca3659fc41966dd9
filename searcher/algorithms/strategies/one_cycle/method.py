"""The one-cycle method, as it is carried out. L. N. Smith, arXiv:1803.09820; Smith and Topin, arXiv:1708.07120.

1. Range tests: one for each weight decay, then the chosen one with further seeds.
2. Short cycles walk to the peak, from where the range tests point to.
3. A climb: the best cycle is made longer, step by step. Short cycles understate how large a peak and how much
   weight decay a longer one likes, as both regularize and that shows only where it begins to over-fit. So at each
   length twice the peak and ten times the weight decay (half the step in the exponent where that lost before)
   compete with what was best before. The longest cycle takes what the budget then leaves.
4. Moves, with what the budget leaves: the best cycle so far is diagnosed, and what its diagnosis calls for is
   tried: a longer cycle, more or less weight decay, a higher or lower peak. What lowers the test loss is kept, and
   a longer cycle also where it does no harm.
5. The best cycle with every seed; a peak at which one of them does not train is halved.

The search uses the first seed alone: with the same weights and the same order of samples, two cycles differ by
their hyper-parameters and not by luck. Everything is measured by the test loss, as configurations are chosen by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from searcher.algorithms.diagnosis import Fit
from searcher.algorithms.range_test import RangeTest, Suggestion, agreed
from searcher.algorithms.strategies.one_cycle.decay import choose_weight_decay
from searcher.algorithms.strategies.one_cycle.measurements import Measurements, Outcome
from searcher.algorithms.strategies.one_cycle.moves import Change, Moves, Point
from searcher.algorithms.strategies.one_cycle.peak import next_exponents
from searcher.algorithms.strategies.one_cycle.trials import Trials
from searcher.records import Trial

RANGE_SEEDS = 3
"""How many seeds the range test of the chosen weight decay is run with."""

SHIFT = 1e3
"""By how much both ends of the ramp are moved where no range test trains."""

GAIN = 0.01
"""A move is kept if it lowers the test loss by more than this fraction of it: less is no reason."""

LUCK = 0.1
"""A longer cycle is kept unless its test loss is above the lowest seen by more than this fraction of it. One seed
and a small test split do not tell less apart, and where nothing over-fits the papers' advice stands: a longer cycle
generalizes better. (On digits cycles of 5 epochs had the lowest test loss of one seed, and half a point less of
holdout accuracy over five seeds than those of 10 to 20 epochs.)"""

RIVALS = 2
"""How many points are tried beside the one that was best before, at each length of the climb."""

NEAR = 0.15
"""A peak has a chance in a longer cycle if it is behind in a shorter one by at most this fraction of what the best
one has learned there: short cycles exclude what hardly trains, and do not choose among the rest."""

BEHIND = 0.1
"""A seed does not train as the first one did if its loss is behind by this fraction of the first one's fall."""

HALVINGS = 2
"""How often the peak is halved for that."""


class Search:
    """One reading of the method: every measurement that it asks for and the history lacks raises `Waiting`.

    Args:
        spec: what the sweep file says under `one_cycle`.
        lengths: those that a cycle may have, in epochs, rising.
        full: up to so many epochs the longest may be stretched.
    """

    def __init__(
        self,
        spec: Any,
        seeds: Sequence[int],
        lengths: Sequence[int],
        full: int,
        trials: Trials,
        measured: Measurements,
    ) -> None:
        self.spec = spec
        self.seeds = tuple(seeds)
        self.lengths = tuple(lengths)
        self.full = full
        self.trials = trials
        self.measured = measured
        self.moves = Moves(spec.optimizer, lengths)
        self.outcomes: dict[Point, Outcome] = {}
        """What the cycles of the first seed came to."""
        self.untrained = math.inf
        """The loss before any training."""
        self.noise = 0.0
        """That of the loss of a mini-batch."""
        self.aside = ""
        """What is to be told of cycles that diverged."""
        self.effects: dict[Change, float] = {}
        """By how much each change raised the test loss when it was last tried."""

    def carry_out(self) -> None:
        """The whole method. Ends early where nothing trained: the records say why.

        Raises:
            Waiting: with the trials without which the method can say no more.
        """
        tests, shift = self._range_tests()
        if not tests:
            return
        weight_decay, why = choose_weight_decay(tests)
        self.untrained, self.noise = median(tests[weight_decay].loss[:5]), tests[weight_decay].noise
        self.bound = self._bound(tests[weight_decay], weight_decay, shift)
        best = self._walk(weight_decay, f"{self.bound.reason}; {why}")
        if self.outcomes[best].trained:
            self._finish(self._improve(self._climb(best)))
        elif blew_up := [point for point, one in self.outcomes.items() if one.blew_up]:
            # The budget ended above the peaks that train: the final cycles go on downwards from the lowest.
            self._finish(max(blew_up, key=lambda point: point.exponent))

    def _range_tests(self) -> tuple[dict[float, RangeTest], float]:
        """By weight decay, the range tests of the first seed, and what their ramp was multiplied by."""
        tests = self._range_tests_at(1.0, "")
        if not tests or any(test.fell for test in tests.values()):
            return tests, 1.0
        turned = [test.lr[-1] for test in tests.values() if test.turned]
        if not turned and self.spec.optimizer == "sgd":
            shift, why = SHIFT, "; higher, because nothing trained below"
        elif turned and max(turned) <= self.trials.ramp[1] / SHIFT:
            shift, why = 1 / SHIFT, "; lower, because nothing trained above"
        else:
            # The ramp is where it should be, and what is learned in so few steps is less than their noise.
            return tests, 1.0
        return self._range_tests_at(shift, why) or tests, shift

    def _range_tests_at(self, shift: float, why: str) -> dict[float, RangeTest]:
        asked = [self.trials.range_test(one, self.seeds[0], shift, why) for one in self.spec.weight_decay]
        tests = self.measured.range_tests(asked)
        return {trial.configuration.weight_decay: test for trial, test in tests.items()}

    def _bound(self, test: RangeTest, weight_decay: float, shift: float) -> Suggestion:
        """Where the walk starts, by range tests of several seeds: the sweep's, and others if it has few."""
        others = [*self.seeds[1:], *range(max(self.seeds) + 1, max(self.seeds) + RANGE_SEEDS)][: RANGE_SEEDS - 1]
        why = "; another seed, as one alone may mislead"
        again = self.measured.range_tests(
            [self.trials.range_test(weight_decay, seed, shift, why) for seed in others]
        )
        tests = [test, *again.values()]
        if not any(one.fell or one.turned for one in tests) and self.spec.optimizer == "adamw":
            # Its steps do not depend on the scale of the loss, so no higher rate would train.
            high = self.trials.ramp[1]
            return Suggestion(
                high / 10, f"a tenth of {high:g}, up to which no loss fell or rose by more than its noise"
            )
        return agreed(tests, "usable")

    def _walk(self, weight_decay: float, why: str) -> Point:
        """Short cycles until the best peak is enclosed, or the budget is at its end."""
        losses: dict[int, float] = {}
        while exponents := next_exponents(losses):
            if losses and not self._affords(self.lengths[0], level=0):
                break
            points = [Point(exponent, weight_decay, level=0) for exponent in exponents]
            self._try(points, [f"confirms a peak, {self._peak(point)}; start: {why}" for point in points])
            losses |= {point.exponent: self.outcomes[point].loss for point in points}
        best = min(self.outcomes, key=lambda point: self.outcomes[point].loss)
        for change, exponent in ((Change.HIGHER, best.exponent - 1), (Change.LOWER, best.exponent + 1)):
            if exponent in losses:
                self.effects[change] = losses[exponent] - losses[best.exponent]
        return best

    def _climb(self, best: Point) -> Point:
        """Makes the best cycle longer, step by step, while that does no harm and the budget holds it."""
        while (top := self._top(best.level)) > best.level:
            if best.level == len(self.lengths) - 2:
                self._stretch(best)
            longer = replace(best, level=best.level + 1)
            words = f"a longer cycle, {self.lengths[longer.level]} epochs"
            self._try([longer], [f"tries {words}: {self._told(best)} is {self.outcomes[best].diagnosis.reason}"])
            there = self._compete(longer, top)
            if not self._keeps(best, there):
                break
            best = there
        return best

    def _stretch(self, best: Point) -> None:
        """The longest cycle takes what the budget leaves, up to a full run: nothing else can use it better, as long
        as the cycle before it does not over-fit.
        """
        if self.outcomes[best].diagnosis.fit is Fit.OVER:
            return
        *shorter, longest = self.lengths
        while longest < self.full and self.measured.affords((longest + 1) * len(self.seeds)):
            longest += 1
        self.lengths = self.moves.lengths = (*shorter, longest)

    def _top(self, level: int) -> int:
        """The highest level to which the budget holds a climb from this one, one cycle at each."""
        tops = range(level + 1, len(self.lengths))
        return max((top for top in tops if self._affords(self._ascent(level, top), top)), default=level)

    def _ascent(self, level: int, top: int) -> int:
        """The epochs of a climb."""
        return sum(self.lengths[level + 1 : top + 1])

    def _compete(self, point: Point, top: int) -> Point:
        """The best of a point and a few rivals of its length; after each the climb to `top` can still be paid."""
        tried: set[Change] = set()
        for _ in range(RIVALS):
            now = self.outcomes[point]
            rivals = [
                move
                for move in self.moves.rivals(point, now.diagnosis.fit)
                if move.point not in self.outcomes and move.change not in tried and self._behind(move.point) <= NEAR
            ]
            if not rivals or not self._affords(self.lengths[point.level] + self._ascent(point.level, top), top):
                break
            # What helped when it was last tried, or did the least harm, comes first; but a lower peak, which a
            # longer cycle likes less than a short one, comes last unless this one over-fits.
            last = {Change.LOWER} if now.diagnosis.fit is Fit.GOOD else set()
            rival = min(rivals, key=lambda move: (move.change in last, self.effects.get(move.change, 0.0)))
            tried.add(rival.change)
            told = f"{self._told(point)} is {now.diagnosis.reason}"
            self._try([rival.point], [f"tries {rival.words}, as a longer cycle may like another one: {told}"])
            new = self.outcomes[rival.point]
            effect = self.effects[rival.change] = new.loss - now.loss if new.trained else math.inf
            # A tie goes to what regularizes more where a still longer cycle follows, which likes it better.
            regularizes = rival.change in (Change.HIGHER, Change.MORE_DECAY)
            tie = regularizes and point.level < top and effect < GAIN * abs(now.loss)
            wins = tie or _is_better(new, now)
            self._bisect(rival.change, loser=point if wins else rival.point)
            if wins:
                self.effects[rival.change.opposite] = -effect
                point = rival.point
        return point

    def _behind(self, point: Point) -> float:
        """How far its peak was behind the best one, in the longest of the shorter cycles that had it, as a fraction
        of what the best one had learned. NaN if none had it.
        """
        levels = [one.level for one in self.outcomes if one.exponent == point.exponent and one.level < point.level]
        if not levels:
            return math.nan
        there = {one: outcome for one, outcome in self.outcomes.items() if one.level == max(levels)}
        best = min(there.values(), key=lambda outcome: outcome.loss)
        mine = min(outcome.loss for one, outcome in there.items() if one.exponent == point.exponent)
        learned = self.untrained - best.loss
        return (mine - best.loss) / learned if learned > 0 else (math.inf if mine > best.loss else 0.0)

    def _improve(self, best: Point) -> Point:
        """Moves from the best point while one is left that the budget holds; the point that they arrive at."""
        while (better := self._move(best)) is not None:
            best = better
        return best

    def _move(self, best: Point) -> Point | None:
        """The first of the moves that improves on the best point; None if none does."""
        now = self.outcomes[best]
        for move in self.moves.of(best, now.diagnosis.fit):
            level = move.point.level
            if move.point in self.outcomes or not self._affords(self.lengths[level], level):
                continue
            if move.change is Change.HIGHER and self._behind(move.point) > NEAR:
                continue
            self._try([move.point], [f"tries {move.words}: {self._told(best)} is {now.diagnosis.reason}"])
            kept = self._keeps(best, move.point)
            self._bisect(move.change, loser=best if kept else move.point)
            if kept:
                return move.point
        return None

    def _bisect(self, change: Change, loser: Point) -> None:
        """The next step towards a weight decay that lost is half of one."""
        if change in (Change.MORE_DECAY, Change.LESS_DECAY):
            self.moves.lost.add(loser.weight_decay)

    def _keeps(self, best: Point, tried: Point) -> bool:
        """Whether a move from the best point is made, now that it was tried."""
        now, new = self.outcomes[best], self.outcomes[tried]
        if tried.level > best.level and new.diagnosis.fit in (Fit.UNDER, Fit.GOOD):
            lowest = min(outcome.loss for outcome in self.outcomes.values())
            return new.loss <= lowest + LUCK * abs(lowest)
        return _is_better(new, now)

    def _finish(self, best: Point) -> None:
        """The best cycle with every seed; again with half the peak while a seed does not train as the first."""
        reason = f"the best of {len(self.outcomes)} cycles: {self._told(best)}"
        for _ in range(HALVINGS + 1):
            first, *others = self._cycles([self._cycle(best, seed, reason) for seed in self.seeds])
            worst = max((one.loss for one in others), default=first.loss)
            if first.trained and worst - first.loss <= BEHIND * first.fallen:
                return
            if self.spec.budget and not self._affords(self.lengths[best.level], best.level):
                return
            behind = f"with a test loss of {worst:.4g}, not {first.loss:.4g}"
            told = behind if math.isfinite(max(worst, first.loss)) else "that diverged"
            reason = f"half the peak: {self._peak(best)} has a seed {told}"
            best = replace(best, exponent=best.exponent + 1)

    def _affords(self, epochs: int, level: int) -> bool:
        """Whether a cycle of so many epochs, and then the final cycles of that level's length, can be paid."""
        return self.measured.affords(epochs + (len(self.seeds) - 1) * self.lengths[level])

    def _try(self, points: Sequence[Point], reasons: Sequence[str]) -> None:
        """Measures cycles of the first seed. Those that diverged are told in the reason of the next."""
        trials = [
            self._cycle(point, self.seeds[0], reason + self.aside)
            for point, reason in zip(points, reasons, strict=True)
        ]
        self.outcomes |= zip(points, self._cycles(trials), strict=True)
        failed = [
            f"{self._peak(point)}, {self.outcomes[point].diagnosis.reason}"
            for point in points
            if not self.outcomes[point].trained
        ]
        self.aside = f" (set aside: peak {'; peak '.join(failed)})" if failed else ""

    def _cycles(self, trials: Sequence[Trial]) -> list[Outcome]:
        """What they came to; one that blew up did not train."""
        return [one.judged(self.untrained, self.noise) for one in self.measured.cycles(trials)]

    def _cycle(self, point: Point, seed: int, reason: str) -> Trial:
        peak = self.bound.lr / 2**point.exponent
        return self.trials.cycle(peak, point.weight_decay, seed, self.lengths[point.level], reason)

    def _told(self, point: Point) -> str:
        return (
            f"peak {self.bound.lr / 2**point.exponent:.3g}, weight decay {point.weight_decay:g}, "
            f"{self.lengths[point.level]} epochs, test loss {self.outcomes[point].loss:.4g}"
        )

    def _peak(self, point: Point) -> str:
        peak, start = f"{self.bound.lr / 2**point.exponent:.3g}", f"{self.bound.lr:.3g}"
        if point.exponent == 0:
            return peak
        return f"{peak} = {start} {'/' if point.exponent > 0 else 'x'} {2 ** abs(point.exponent)}"


def _is_better(new: Outcome, now: Outcome) -> bool:
    """Whether the test loss is lower by more than `GAIN`; what trained is better than what did not."""
    return new.trained and (not now.trained or new.loss < now.loss - GAIN * abs(now.loss))
