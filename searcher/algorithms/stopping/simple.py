"""The rules that everyone knows: never, and after so many reports without a new minimum."""

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
class Never:
    """Lets every trial run to its end; only a loss that is not finite stops one."""

    def start(self) -> State:
        return State()

    def judge(
        self,
        state: State,
        observation: Observation,
        best_elsewhere: float | None = None,
    ) -> tuple[State, Decision]:
        return already_known(state, observation) or (State(observation.epoch), WATCHING)


@dataclass(frozen=True, slots=True)
class PatienceState(State):
    best: float = math.inf
    best_epoch: int = 0
    waited: int = 0


@dataclass(frozen=True, slots=True)
class Patience:
    """Stops after `reports` reports in a row without a test loss below its minimum less `min_delta`.

    What Keras and Lightning call early stopping. It cannot tell a noisy test loss, or a plateau before the
    learning rate falls, from over-fitting; it is here to be compared with.
    """

    reports: int = 10
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        require(is_count(self.reports), "patience", "reports", "a whole number of at least 1", self.reports)
        ok = is_number(self.min_delta) and self.min_delta >= 0
        require(ok, "patience", "min_delta", "a number of at least 0", self.min_delta)

    def start(self) -> PatienceState:
        return PatienceState()

    def judge(
        self,
        state: PatienceState,
        observation: Observation,
        best_elsewhere: float | None = None,
    ) -> tuple[PatienceState, Decision]:
        if (known := already_known(state, observation)) is not None:
            return known
        if observation.test_loss < state.best - self.min_delta:
            return PatienceState(
                observation.epoch, best=observation.test_loss, best_epoch=observation.epoch
            ), WATCHING
        waited = state.waited + 1
        decision = WATCHING
        if waited >= self.reports:
            decision = Decision(
                Verdict.OVERFIT,
                f"patience: test loss has no new minimum for {waited} reports: {observation.test_loss:.4g} "
                f"at epoch {observation.epoch}, {state.best:.4g} at epoch {state.best_epoch}",
            )
        return PatienceState(observation.epoch, decision, state.best, state.best_epoch, waited), decision
