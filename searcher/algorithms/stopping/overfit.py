"""The default rule: over-fitting told apart from noise and from a learning rate that has still to come
down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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

UNSETTLED = Decision(Verdict.CONTINUE, "the learning rate has still to fall: a rise may yet be repaired")


@dataclass(frozen=True, slots=True)
class OverfitState(State):
    """Minimum, strip sums, the last strip's means, and how many strips in a row have risen."""

    best: float = math.inf
    best_epoch: int = 0
    best_train: float = math.inf
    lr_peak: float = 0.0
    count: int = 0
    test_sum: float = 0.0
    train_sum: float = 0.0
    test_mean: float = math.inf
    train_mean: float = math.inf
    rises: int = 0


@dataclass(frozen=True, slots=True)
class Overfit:
    """Stops a trial whose test loss rises while its training loss falls, when nothing to come repairs it.

    Losses are averaged over strips of reports, so that noise within a strip is no rise. A strip counts as a
    rise when its mean test loss is above that of the strip before while its mean training loss is below.
    After `rises` such strips in a row the trial is over-fitting, if the strip is also at least `margin`
    above the minimum. While the learning rate has more than `settled` of its peak still to fall, or has
    still to rise, no strip counts.

    Attributes:
        strip: reports in one strip.
        rises: rising strips in a row that stop a trial.
        margin: how far above its minimum the strip's mean must be, as a fraction of the minimum's size.
        settled: the fall still to come, as a fraction of the largest learning rate so far, below which
            rises count.
        hopeless: a trial stops at its first rising strip if its minimum is worse than another trial's by
            this fraction. None (the default) never looks at other trials: what they have reached by then
            depends on timing, so that a sweep run twice could stop other trials.
    """

    strip: int = 3
    rises: int = 3
    margin: float = 0.05
    settled: float = 0.1
    hopeless: float | None = None

    def __post_init__(self) -> None:
        require(is_count(self.strip), "overfit", "strip", "a whole number of at least 1", self.strip)
        require(is_count(self.rises), "overfit", "rises", "a whole number of at least 1", self.rises)
        ok = is_number(self.margin) and self.margin >= 0
        require(ok, "overfit", "margin", "a fraction of at least 0", self.margin)
        ok = is_number(self.settled) and 0 <= self.settled <= 1
        require(ok, "overfit", "settled", "a fraction from 0 to 1", self.settled)
        ok = self.hopeless is None or (is_number(self.hopeless) and self.hopeless >= 0)
        require(ok, "overfit", "hopeless", "a fraction of at least 0, or none", self.hopeless)

    def start(self) -> OverfitState:
        return OverfitState()

    def judge(
        self, state: OverfitState, observation: Observation, best_elsewhere: float | None = None
    ) -> tuple[OverfitState, Decision]:
        if (known := already_known(state, observation)) is not None:
            return known
        best, best_epoch, best_train = state.best, state.best_epoch, state.best_train
        if observation.test_loss < best:
            best, best_epoch, best_train = observation.test_loss, observation.epoch, observation.train_loss
        peak = max(state.lr_peak, observation.lr or 0.0)
        count = state.count + 1
        test_sum = state.test_sum + observation.test_loss
        train_sum = state.train_sum + observation.train_loss
        moved = replace(
            state,
            epoch=observation.epoch,
            best=best,
            best_epoch=best_epoch,
            best_train=best_train,
            lr_peak=peak,
        )
        if count < self.strip:
            return replace(moved, count=count, test_sum=test_sum, train_sum=train_sum), state.decision

        test_mean, train_mean = test_sum / count, train_sum / count
        rising = test_mean > state.test_mean and train_mean < state.train_mean
        fall = _fall_to_come(observation, peak)
        if fall > self.settled:
            rises, decision = 0, UNSETTLED
        else:
            rises, decision = state.rises + 1 if rising else 0, WATCHING
            if rises and test_mean > best + self.margin * abs(best):
                facts = _facts(test_mean, best, best_epoch, train_mean, best_train, fall)
                if rises >= self.rises:
                    decision = Decision(Verdict.OVERFIT, facts)
                elif self._is_hopeless(best, best_elsewhere):
                    decision = Decision(Verdict.HOPELESS, f"{facts}; another trial reached {best_elsewhere:.4g}")
        moved = replace(moved, count=0, test_sum=0.0, train_sum=0.0, test_mean=test_mean, train_mean=train_mean)
        return replace(moved, decision=decision, rises=rises), decision

    def _is_hopeless(self, best: float, best_elsewhere: float | None) -> bool:
        if self.hopeless is None or best_elsewhere is None:
            return False
        return best > best_elsewhere + self.hopeless * abs(best_elsewhere)


def _fall_to_come(observation: Observation, peak: float) -> float:
    """How far the learning rate has to fall, as a fraction of its peak; infinite if it rises first."""
    if observation.lr_left is not None and observation.lr_left > 1.0 + 1e-9:
        return math.inf
    if observation.lr is None or observation.lr_low is None or peak <= 0:
        return 0.0
    return observation.lr * (1.0 - observation.lr_low) / peak


def _facts(test: float, best: float, best_epoch: int, train: float, best_train: float, fall: float) -> str:
    above = f"{100 * (test - best) / abs(best):.0f} % above" if best else "above"
    fell = f"{100 * (best_train - train) / abs(best_train):.0f} %" if best_train else "further"
    return (
        f"test loss {test:.4g} is {above} its minimum {best:.4g} at epoch {best_epoch}, "
        f"training loss fell {fell} since, lr has {100 * fall:.0f} % left to fall"
    )
