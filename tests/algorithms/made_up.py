"""A made-up task on which the one-cycle method is played, without any training."""

import math
from dataclasses import dataclass

from searcher.algorithms.schedules import values
from searcher.algorithms.strategies.one_cycle import OneCycle
from searcher.records import EpochRecord, History, Kind, Record, Status, StepRecord, TaskInfo, Trial, TrialRecord
from searcher.sweep import OneCycleSpec

TASK = TaskInfo("made-up", train_size=1000, test_size=200, holdout_size=200)


def strategy(**changes: object) -> OneCycle:
    given = {"batch_size": 50, "weight_decay": [1e-3, 0.0], "epochs": 20} | changes
    spec = OneCycleSpec.model_validate(given)
    return OneCycle("one_cycle", spec, task=TASK, seeds=(0, 1, 2), epochs=60)


@dataclass(frozen=True)
class Made:
    """A made-up task: what its cycles come to.

    A cycle's test loss is a bowl over the logarithm of its peak, best at `peak`, and one over that of the weight
    decay, best at `decay`. Longer cycles are better up to `epochs`; beyond it they are worse by `doubling` for each
    doubling, and over-fit if `over_fits`. The best peak is that of 20 epochs, and `grows` with the length.
    """

    peak: float = 0.1
    decay: float = 1e-3
    epochs: int = 20
    doubling: float = 0.05
    over_fits: bool = True
    brittle_seed: int | None = None
    grows: float = 0.0

    def loss(self, trial: Trial) -> float:
        rate, decay = trial.configuration.lr, max(trial.configuration.weight_decay, 1e-5)
        length = abs(math.log2(trial.length / self.epochs))
        return (
            0.1
            + 0.1 * math.log10(rate / (self.peak * (trial.length / 20) ** self.grows)) ** 2
            + 0.03 * math.log10(decay / self.decay) ** 2
            + self.doubling * length
        )

    def measure(self, trial: Trial) -> list[Record]:
        """What a trial measures: range tests fall until rate 1, cycles come to what the class says."""
        if trial.kind is Kind.RANGE_TEST:
            ended = TrialRecord(
                trial=trial, status=Status.COMPLETED, samples=50 * trial.length, seconds=trial.length / 20
            )
            return [*ramp(trial), ended]
        loss = self.loss(trial)
        if trial.seed == self.brittle_seed and trial.configuration.lr > 0.06:
            loss = 2.0
        ended = TrialRecord(
            trial=trial, status=Status.COMPLETED, best_epoch=trial.length, best_test_loss=loss,
            samples=1000 * trial.length, seconds=float(trial.length),
        )  # fmt: skip
        return [*curve(trial, loss, over=self.over_fits and trial.length > self.epochs), ended]

    def finish(self, history: History, trial: Trial) -> None:
        history.start(trial)
        for record in self.measure(trial):
            history.add(record)


def ramp(trial: Trial) -> list[StepRecord]:
    lrs, momenta = values(trial.configuration, trial.length)
    penalty = 0.0 if trial.configuration.weight_decay else 0.2
    return [
        StepRecord(
            trial_id=trial.trial_id, strategy="one_cycle", step=step, samples=50 * step,
            lr=lr, momentum=momentum, train_loss=0.3 + penalty + 0.5 * abs(math.log10(lr)),
        )
        for step, (lr, momentum) in enumerate(zip(lrs, momenta, strict=True), start=1)
    ]  # fmt: skip


def curve(trial: Trial, loss: float, over: bool) -> list[EpochRecord]:
    """Falls from 2 to its loss, under-fitting to the end; or turns at half its length and rises again."""
    records = []
    for epoch in range(1, trial.length + 1):
        share = epoch / trial.length
        test = loss + (2 - loss) * (1 - share)
        if over:
            test = loss + (2 - loss) * (max(0.0, 1 - 2 * share) + max(0.0, share - 0.5))
        records.append(
            EpochRecord(
                trial_id=trial.trial_id, strategy="one_cycle", epoch=epoch, step=20 * epoch, samples=1000 * epoch,
                seconds=float(epoch), train_loss=2 * (1 - share), test_loss=test, test_accuracy=None, lr=0.1,
                momentum=0.9, lr_left=1.0, lr_low=0.0, time=0.0,
            )
        )  # fmt: skip
    return records


def play(method: OneCycle, made: Made, at_once: int = 3) -> tuple[History, list[Trial]]:
    history, trials = History(), []
    while proposed := method.propose(history, at_once):
        for trial in proposed:
            made.finish(history, trial)
        trials += proposed
    return history, trials
