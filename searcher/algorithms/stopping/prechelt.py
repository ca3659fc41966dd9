"""Prechelt's three classes of stopping criteria, as published.

L. Prechelt, "Automatic early stopping using cross validation: quantifying the criteria", Neural Networks 11
(1998) 761-767, section 2; also "Early stopping - but when?" in Neural Networks: Tricks of the Trade. With
E_va the test loss, E_tr the training loss, E_opt(t) the minimum of E_va up to t, and strips of k reports:

    GL(t)  = 100 (E_va(t) / E_opt(t) - 1)                             generalization loss, in percent
    P_k(t) = 1000 (mean of E_tr over the strip / its minimum there - 1)   training progress, per mille

The paper ends a run as well when P_5 falls below 0.1; that is the end of progress and not over-fitting, so
it is left out here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from searcher.algorithms.stopping.base import (
    WATCHING,
    Observation,
    State,
    already_known,
    is_count,
    is_number,
    require,
)
from searcher.records import Decision, Verdict


@dataclass(frozen=True, slots=True)
class MinimumState(State):
    best: float = math.inf
    best_epoch: int = 0


def generalization_loss(test_loss: float, best: float) -> float:
    """GL in percent; infinite above a minimum of 0, and 0 (no criterion) where the minimum is negative."""
    if best > 0:
        return 100 * (test_loss / best - 1)
    return math.inf if best == 0 < test_loss else 0.0


@dataclass(frozen=True, slots=True)
class GeneralizationLoss:
    """GL_alpha: stop at the first report with GL(t) > alpha. Losses must be positive (a ratio is taken)."""

    alpha: float = 5.0

    def __post_init__(self) -> None:
        require(is_number(self.alpha) and self.alpha > 0, "gl", "alpha", "a percentage above 0", self.alpha)

    def start(self) -> MinimumState:
        return MinimumState()

    def judge(
        self,
        state: MinimumState,
        observation: Observation,
        best_elsewhere: float | None = None,
    ) -> tuple[MinimumState, Decision]:
        if (known := already_known(state, observation)) is not None:
            return known
        if observation.test_loss < state.best:
            return MinimumState(
                observation.epoch, best=observation.test_loss, best_epoch=observation.epoch
            ), WATCHING
        loss = generalization_loss(observation.test_loss, state.best)
        decision = WATCHING
        if loss > self.alpha:
            decision = Decision(
                Verdict.OVERFIT,
                f"GL: {_above(observation, state.best, state.best_epoch)}, more than {self.alpha:.4g} %",
            )
        return MinimumState(observation.epoch, decision, state.best, state.best_epoch), decision


@dataclass(frozen=True, slots=True)
class ProgressState(MinimumState):
    count: int = 0
    train_sum: float = 0.0
    train_min: float = math.inf


@dataclass(frozen=True, slots=True)
class ProgressQuotient:
    """PQ_alpha: stop at the first end of a strip with GL(t) / P_k(t) > alpha. Losses must be positive."""

    alpha: float = 0.5
    strip: int = 5

    def __post_init__(self) -> None:
        require(is_number(self.alpha) and self.alpha > 0, "pq", "alpha", "a number above 0", self.alpha)
        require(is_count(self.strip), "pq", "strip", "a whole number of at least 1", self.strip)

    def start(self) -> ProgressState:
        return ProgressState()

    def judge(
        self,
        state: ProgressState,
        observation: Observation,
        best_elsewhere: float | None = None,
    ) -> tuple[ProgressState, Decision]:
        if (known := already_known(state, observation)) is not None:
            return known
        best, best_epoch = state.best, state.best_epoch
        if observation.test_loss < best:
            best, best_epoch = observation.test_loss, observation.epoch
        count = state.count + 1
        train_sum = state.train_sum + observation.train_loss
        train_min = min(state.train_min, observation.train_loss)
        if count < self.strip:
            return ProgressState(
                observation.epoch, WATCHING, best, best_epoch, count, train_sum, train_min
            ), WATCHING
        loss = generalization_loss(observation.test_loss, best)
        progress = 1000 * (train_sum / (count * train_min) - 1) if train_min > 0 else math.inf
        decision = WATCHING
        # Written as a product: progress is 0 when the training loss stood still over the strip.
        if loss > self.alpha * progress:
            decision = Decision(
                Verdict.OVERFIT,
                f"PQ: {_above(observation, best, best_epoch)}, training progress {progress:.4g} per mille "
                f"over {self.strip} reports, quotient above {self.alpha:.4g}",
            )
        return ProgressState(observation.epoch, decision, best, best_epoch), decision


@dataclass(frozen=True, slots=True)
class CrossingState(State):
    count: int = 0
    previous: float = math.inf
    rises: int = 0


@dataclass(frozen=True, slots=True)
class UpCrossing:
    """UP_s: stop when the test loss at the end of a strip was above that of the strip before, s times in a
    row.
    """

    s: int = 3
    strip: int = 5

    def __post_init__(self) -> None:
        require(is_count(self.s), "up", "s", "a whole number of at least 1", self.s)
        require(is_count(self.strip), "up", "strip", "a whole number of at least 1", self.strip)

    def start(self) -> CrossingState:
        return CrossingState()

    def judge(
        self,
        state: CrossingState,
        observation: Observation,
        best_elsewhere: float | None = None,
    ) -> tuple[CrossingState, Decision]:
        if (known := already_known(state, observation)) is not None:
            return known
        count = state.count + 1
        if count < self.strip:
            return CrossingState(observation.epoch, WATCHING, count, state.previous, state.rises), WATCHING
        rises = state.rises + 1 if observation.test_loss > state.previous else 0
        decision = WATCHING
        if rises >= self.s:
            decision = Decision(
                Verdict.OVERFIT,
                f"UP: test loss rose over {rises} strips of {self.strip} reports in a row, "
                f"{observation.test_loss:.4g} at epoch {observation.epoch}",
            )
        return CrossingState(observation.epoch, decision, 0, observation.test_loss, rises), decision


def _above(observation: Observation, best: float, best_epoch: int) -> str:
    loss = generalization_loss(observation.test_loss, best)
    where = f"its minimum {best:.4g} at epoch {best_epoch}"
    return f"test loss {observation.test_loss:.4g} at epoch {observation.epoch} is {loss:.3g} % above {where}"
