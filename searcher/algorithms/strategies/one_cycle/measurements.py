"""What was measured and what it cost, read from the history in the order in which the method asks for it.

The method is written as if a trial were measured by a function call. A call for something that the history does
not hold yet raises `Waiting` with the trials to train; when they have ended, the method is read again from the
start, and comes one step further. So nothing but the history is ever remembered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from searcher.algorithms.diagnosis import Diagnosis, Fit, diagnose
from searcher.algorithms.range_test import RangeTest, analyse
from searcher.algorithms.strategies.one_cycle.budget import Budget, Spending
from searcher.records import History, Trial, TrialRecord

# The method is read anew for every proposal; the same measurements need not be.
_analysed = lru_cache(maxsize=64)(analyse)


class Waiting(Exception):
    """The method can say no more before these trials have ended."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        super().__init__(f"waiting for {len(trials)} trials")
        self.trials = list(trials)


@dataclass(frozen=True)
class Outcome:
    """What a cycle came to.

    Attributes:
        loss: its lowest test loss; infinite where it has none.
        fallen: how far the test loss had fallen from the first epoch to there.
        accuracy: of that epoch; None for a task without.
        highest: the largest training loss of an epoch.
        blew_up: it did not train, by `judged`.
    """

    trial: Trial
    loss: float
    fallen: float
    accuracy: float | None
    diagnosis: Diagnosis
    highest: float = -math.inf
    blew_up: bool = False

    @property
    def trained(self) -> bool:
        return math.isfinite(self.loss)

    def judged(self, untrained: float, noise: float) -> Outcome:
        """Itself, or as one that did not train: if its training loss once rose above the one before any training by
        more than the cycle ever learned, and by more than the noise. Such a cycle blew up, and an epoch of it with
        a low test loss is luck: on a small test split a network of huge weights may happen to be right everywhere.
        """
        rose, learned = self.highest - untrained, max(untrained - self.loss, 0.0)
        if not self.trained or rose <= max(learned, noise):
            return self
        reason = f"diverged: the training loss rose to {self.highest:.4g}, from {untrained:.4g} before any training"
        diagnosis = replace(self.diagnosis, fit=Fit.DIVERGED, reason=reason)
        return replace(self, loss=math.inf, fallen=0.0, diagnosis=diagnosis, blew_up=True)


_NOTHING = Diagnosis(Fit.DIVERGED, "diverged: it ended before its first epoch", 0, math.inf, -math.inf, 0.0)


class Measurements:
    """One reading of a history. `spent` grows as results are asked for, each trial once."""

    def __init__(self, history: History, budget: Budget, train_size: int) -> None:
        self.history = history
        self.budget = budget
        self.spent = Spending()
        self._train_size = train_size
        self._counted: set[str] = set()

    def records(self, trials: Sequence[Trial]) -> list[TrialRecord]:
        """How the trials ended.

        Raises:
            Waiting: some have not ended; with those.
        """
        found = [self.history.result(trial) for trial in trials]
        if missing := [trial for trial, record in zip(trials, found, strict=True) if record is None]:
            raise Waiting(missing)
        records = [record for record in found if record is not None]
        for record in records:
            if record.trial_id not in self._counted:
                self._counted.add(record.trial_id)
                self.spent += Spending(record.samples, record.seconds)
        return records

    def range_tests(self, trials: Sequence[Trial]) -> dict[Trial, RangeTest]:
        """What the range tests measured; one that measured nothing (it failed) is left out."""
        self.records(trials)
        steps = {trial: self.history.steps(trial) for trial in trials}
        return {
            trial: _analysed(tuple(one.lr for one in measured), tuple(one.train_loss for one in measured))
            for trial, measured in steps.items()
            if measured
        }

    def cycles(self, trials: Sequence[Trial]) -> list[Outcome]:
        """What the cycles came to."""
        return [self._outcome(record) for record in self.records(trials)]

    def affords(self, epochs: float) -> bool:
        """Whether that many epochs more stay within the budget."""
        return self.budget.holds(self.spent.ahead(epochs * self._train_size), self._train_size)

    def _outcome(self, record: TrialRecord) -> Outcome:
        epochs = self.history.epochs(record.trial)
        loss = math.inf if record.best_epoch is None or record.best_test_loss is None else record.best_test_loss
        if not epochs:
            return Outcome(record.trial, loss, 0.0, record.best_test_accuracy, _NOTHING)
        diagnosis = diagnose([one.train_loss for one in epochs], [one.test_loss for one in epochs])
        fallen = max(epochs[0].test_loss - loss, 0.0)
        highest = max(one.train_loss for one in epochs)
        return Outcome(record.trial, loss, fallen, record.best_test_accuracy, diagnosis, highest)
