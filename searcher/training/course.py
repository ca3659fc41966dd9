"""A trial under way: its rates at every step, its records, what the rule says of it, and how it ended.

All that a trial is apart from its tensors, so that it is the same whether it is trained alone or in a batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from searcher.algorithms.range_test import DivergenceWatch
from searcher.algorithms.schedules import values
from searcher.algorithms.stopping import Observation, Rule
from searcher.records import Configuration, EpochRecord, Record, Status, StepRecord, TrialRecord

Emit = Callable[[Record], None]


class Plan:
    """The learning rate and momentum of every step, as plain floats."""

    def __init__(self, configuration: Configuration, steps: int) -> None:
        lr, momentum = values(configuration, steps)
        self.lr: list[float] = lr.tolist()
        self.momentum: list[float] = momentum.tolist()
        # Extremes of what is still to come, running backwards from the end.
        self._highest: list[float] = np.maximum.accumulate(lr[::-1])[::-1].tolist()
        self._lowest: list[float] = np.minimum.accumulate(lr[::-1])[::-1].tolist()

    def to_come(self, done: int) -> tuple[float, float]:
        """The largest and the smallest rate after `done` steps, as fractions of the last one used; 0 at the end."""
        if done == len(self.lr):
            return 0.0, 0.0
        return self._highest[done] / self.lr[done - 1], self._lowest[done] / self.lr[done - 1]


class TrainingCourse:
    """A training run: whole epochs until its length is reached, the rule stops it, or its loss is not finite.

    Attributes:
        record: the summary so far; its status counts once `ended`.
        epochs: everything measured before the epoch that ended the run.
    """

    def __init__(
        self, record: TrialRecord, steps_per_epoch: int, samples_per_epoch: int, rule: Rule, emit: Emit
    ) -> None:
        self.record = record
        self.epochs: list[EpochRecord] = []
        self.ended = False
        self.plan = Plan(record.trial.configuration, record.trial.length * steps_per_epoch)
        self._steps_per_epoch = steps_per_epoch
        self._samples_per_epoch = samples_per_epoch
        self._rule = rule
        self._state = rule.start()
        self._emit = emit

    def restore(self, epochs: list[EpochRecord]) -> None:
        """Takes over what an earlier process measured, and emits it once more."""
        for measured in epochs:
            self._take(measured)
            self.epochs.append(measured)

    def measured(self, train_loss: float, test_loss: float, test_accuracy: float | None, seconds: float) -> bool:
        """Records one more epoch, the trial having taken so many seconds so far; True if it is the best so far."""
        trial, epoch = self.record.trial, len(self.epochs) + 1
        step = epoch * self._steps_per_epoch
        lr_left, lr_low = self.plan.to_come(step)
        measured = EpochRecord(
            trial_id=trial.trial_id,
            strategy=trial.strategy,
            epoch=epoch,
            step=step,
            samples=epoch * self._samples_per_epoch,
            seconds=seconds,
            train_loss=train_loss,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            lr=self.plan.lr[step - 1],
            momentum=self.plan.momentum[step - 1],
            lr_left=lr_left,
            lr_low=lr_low,
            time=time.time(),
        )
        self._take(measured)
        if not self.ended:
            self.epochs.append(measured)
        return self.record.best_epoch == epoch

    def _take(self, measured: EpochRecord) -> None:
        self._emit(measured)
        self.record = self.record.after(measured)
        self._state, decision = self._rule.judge(self._state, _observation(measured))
        if not math.isfinite(measured.train_loss + measured.test_loss):
            losses = f"train loss {measured.train_loss:g}, test loss {measured.test_loss:g}"
            self._end(Status.DIVERGED, f"{losses} at epoch {measured.epoch}")
        elif measured.epoch == self.record.trial.length:
            self._end(Status.COMPLETED)  # a rule that speaks now stops nothing
        elif decision.stops:
            # Whatever the verdict, its losses were finite and its best epoch stays a candidate.
            self._end(Status.STOPPED_OVERFIT, decision.reason)

    def _end(self, status: Status, reason: str = "") -> None:
        self.record = replace(self.record, status=status, status_reason=reason)
        self.ended = True

    @property
    def wants_holdout(self) -> bool:
        """Whether the holdout split is to be evaluated, with the weights of the best epoch."""
        return self.record.best_epoch is not None and self.record.status is not Status.DIVERGED


class RangeTestCourse:
    """A range test: steps of a rising learning rate until its length is reached or its loss has diverged."""

    def __init__(self, record: TrialRecord, emit: Emit) -> None:
        # To diverge is what a range test is for: it is complete when it has.
        self.record = replace(record, status=Status.COMPLETED)
        self.ended = False
        self.plan = Plan(record.trial.configuration, record.trial.length)
        self._watch = DivergenceWatch()
        self._emit = emit

    def measured(self, train_loss: float, samples: int) -> None:
        """Records one more step, of a batch of so many samples."""
        trial, step = self.record.trial, self.record.steps
        samples += self.record.samples
        lr = self.plan.lr[step]
        self._emit(
            StepRecord(
                trial_id=trial.trial_id,
                strategy=trial.strategy,
                step=step + 1,
                samples=samples,
                lr=lr,
                momentum=self.plan.momentum[step],
                train_loss=train_loss,
            )
        )
        self.record = replace(self.record, steps=step + 1, samples=samples, last_train_loss=train_loss)
        if self._watch.update(train_loss):
            reason = f"the training loss diverged at lr {lr:.3g}, step {step + 1} of {trial.length}"
            self.record = replace(self.record, status_reason=reason)
            self.ended = True
        self.ended = self.ended or step + 1 == trial.length


def _observation(epoch: EpochRecord) -> Observation:
    return Observation(
        epoch=epoch.epoch,
        train_loss=epoch.train_loss,
        test_loss=epoch.test_loss,
        lr=epoch.lr,
        lr_left=epoch.lr_left,
        lr_low=epoch.lr_low,
    )
