"""Replay: what a stopping rule would have done to curves that were recorded in full, and what it would have cost.

    curves ──▶ stops (a judge sees them report by report) ──▶ outcome (saved, lost, with intervals)

A rule may look at other trials, so the curves are replayed as a sweep runs: so many at a time, in a random order,
each making one report in turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from searcher.algorithms.stopping import Leaders, Observation, Rule

WORKERS, ORDERS, RESAMPLES = 4, 5, 1000


@dataclass(frozen=True)
class Curve:
    """The whole curve of one trial.

    Attributes:
        observations: its reports, in the order of their epochs; at least one.
        accuracies: at each of them, of the split that speaks of the choice (the holdout split where there is
            one); empty where there is none.
    """

    trial: str
    observations: tuple[Observation, ...]
    accuracies: tuple[float, ...] = ()

    def best(self, reports: int) -> int:
        """The index of the lowest test loss of the first reports; 0 if none is finite."""
        return int(np.argmin(self._losses[:reports]))

    def loss(self, reports: int) -> float:
        return float(self._losses[: self.best(reports) + 1][-1])

    def accuracy(self, reports: int) -> float:
        """Where the test loss is lowest; not a number without accuracies."""
        return self.accuracies[self.best(reports)] if self.accuracies else math.nan

    @cached_property
    def _losses(self) -> np.ndarray:
        losses = np.array([observation.test_loss for observation in self.observations])
        return np.where(np.isfinite(losses), losses, np.inf)


class Judge(Protocol):
    """Decides which trials of one sweep stop. Made anew for each replay."""

    def stops(self, trial: str, observation: Observation) -> bool:
        """Takes a report; whether the trial ends with it."""

    def ended(self, trial: str, observation: Observation) -> None:
        """The trial made its last report, on its own or because it was stopped."""


class RuleJudge:
    """One of our rules, told of what the other trials have reached so far."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._states: dict[str, object] = {}
        self._leaders = Leaders()

    def stops(self, trial: str, observation: Observation) -> bool:
        state = self._states.get(trial) or self._rule.start()
        elsewhere = self._leaders.best_without(trial)
        self._states[trial], decision = self._rule.judge(state, observation, elsewhere)
        self._leaders.add(trial, observation.test_loss)
        return decision.stops

    def ended(self, trial: str, observation: Observation) -> None:
        del self._states[trial]


def stops(curves: Sequence[Curve], judge: Judge, order: Sequence[int], workers: int = WORKERS) -> list[int]:
    """How many reports each curve makes under a judge.

    Args:
        order: the indices of the curves in the order in which they start.
        workers: how many run at a time; each makes a report in turn.
    """
    made = [0] * len(curves)
    waiting, running = list(reversed(order)), list[int]()
    while waiting or running:
        while waiting and len(running) < workers:
            running.append(waiting.pop())
        for index in list(running):
            curve = curves[index]
            observation = curve.observations[made[index]]
            made[index] += 1
            if judge.stops(curve.trial, observation) or made[index] == len(curve.observations):
                judge.ended(curve.trial, observation)
                running.remove(index)
    return made


@dataclass(frozen=True)
class Share:
    """A number with the 2.5 and 97.5 % quantiles over resampled trials."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Outcome:
    """What a judge did to a sweep.

    Attributes:
        saved: the fraction of all epochs that were not trained.
        loss_regret: how much worse the best test loss is than that of the full curves, as a fraction of it.
        accuracy_regret: how much lower the accuracy of the trial chosen by test loss is, taken at its best epoch.
        winner_stopped: the fraction of the resamples in which the trial with the best test loss of all is
            stopped before it gets there.
    """

    saved: Share
    loss_regret: Share
    accuracy_regret: Share
    winner_stopped: float


def replay(
    curves: Sequence[Curve],
    make: Callable[[], Judge],
    *,
    workers: int = WORKERS,
    orders: int = ORDERS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Outcome:
    """Replays curves in several random orders under judges that `make` gives, and resamples the trials.

    The values are means over the orders; the intervals come from drawing an order and as many trials as there
    are, with replacement. A trial's end is that of the whole sweep, it is not judged anew in each resample.
    """
    random = np.random.default_rng(seed)
    permutations = [random.permutation(len(curves)).tolist() for _ in range(orders)]
    made = [stops(curves, make(), order, workers) for order in permutations]
    full = [len(curve.observations) for curve in curves]
    table = _Table(
        made=np.array(made),
        full=np.array(full),
        loss=np.array([[curve.loss(n) for curve, n in zip(curves, row, strict=True)] for row in made]),
        accuracy=np.array([[curve.accuracy(n) for curve, n in zip(curves, row, strict=True)] for row in made]),
        full_loss=np.array([curve.loss(n) for curve, n in zip(curves, full, strict=True)]),
        full_accuracy=np.array([curve.accuracy(n) for curve, n in zip(curves, full, strict=True)]),
    )
    everyone = np.arange(len(curves))
    whole = np.array([table.measure(order, everyone) for order in range(orders)]).mean(0)
    drawn = np.array(
        [
            table.measure(int(random.integers(orders)), random.integers(len(curves), size=len(curves)))
            for _ in range(resamples)
        ]
    )
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    saved, loss, accuracy = (Share(float(whole[i]), float(low[i]), float(high[i])) for i in range(3))
    return Outcome(saved, loss, accuracy, winner_stopped=float(drawn[:, 3].mean()))


@dataclass(frozen=True)
class _Table:
    """By order and trial `[o, n]`: reports made, best loss, its accuracy; by trial `[n]` those of full curves."""

    made: np.ndarray
    full: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    full_loss: np.ndarray
    full_accuracy: np.ndarray

    def measure(self, order: int, trials: np.ndarray) -> tuple[float, float, float, float]:
        """Saved, loss regret, accuracy regret, and whether the winner was stopped before its best."""
        loss, full_loss = self.loss[order, trials], self.full_loss[trials]
        kept, winner = trials[np.argmin(loss)], trials[np.argmin(full_loss)]
        best = self.full_loss[winner]
        lost = float(loss.min() - best)
        return (
            1 - float(self.made[order, trials].sum() / self.full[trials].sum()),
            lost / abs(best) if best and math.isfinite(best) else lost,
            float(self.full_accuracy[winner] - self.accuracy[order, kept]),
            float(self.loss[order, winner] > best),
        )
