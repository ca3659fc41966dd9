"""The frozen records that everything passes around. Imports nothing of ours.

Losses are means per sample in the task's own unit; accuracies, fractions and progress run from 0 to 1;
`seconds` are seconds of wall time; `time` is seconds since the Unix epoch (UTC).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any


class Kind(StrEnum):
    """What a trial is: a training run, a learning-rate range test, or a probe for the batch size."""

    TRAIN = "train"
    RANGE_TEST = "range_test"
    BATCH_PROBE = "batch_probe"


class Status(StrEnum):
    """How a trial ended."""

    COMPLETED = "completed"
    STOPPED_OVERFIT = "stopped_overfit"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_final(self) -> bool:
        """False for a trial that a resumed sweep must train again."""
        return self is not Status.INTERRUPTED


FULL_PRECISION = "32-true"
PRECISIONS = (FULL_PRECISION, "bf16-mixed")
"""How a model is computed, in Lightning's words: float32 throughout; or automatic mixed precision with bfloat16."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """The hyper-parameters of one training run. `None`: this schedule has no such parameter.

    Attributes:
        lr: the largest learning rate of the run.
        momentum: the largest momentum (SGD), or the largest first beta (AdamW).
        weight_decay: L2 penalty (SGD) or decoupled decay (AdamW), constant over the run.
        batch_size: samples in one optimizer step.
        schedule: the name of a learning-rate schedule, see `searcher.algorithms.schedules`.
        optimizer: `sgd` or `adamw`.
        precision: one of `PRECISIONS`.
        momentum_schedule: `constant`, `cyclical` (against the learning rate), `decreasing` or `increasing`.
        momentum_low: the smallest momentum of a schedule that is not constant.
        div_factor: the run starts at `lr / div_factor` (1cycle, CLR, range test).
        final_div_factor: a 1cycle run ends at its starting rate divided by this.
        annihilation: the fraction of a 1cycle run that is its last, falling phase.
        cycles: the number of triangles of a cyclical (CLR) schedule.
        gamma: the factor at each milestone (step), or over the whole run (exp_range).
        milestones: fractions of the run at which the step schedule multiplies by gamma.
    """

    lr: float
    momentum: float
    weight_decay: float
    batch_size: int
    schedule: str
    optimizer: str = "sgd"
    precision: str = FULL_PRECISION
    momentum_schedule: str = "constant"
    momentum_low: float | None = None
    div_factor: float | None = None
    final_div_factor: float | None = None
    annihilation: float | None = None
    cycles: int | None = None
    gamma: float | None = None
    milestones: tuple[float, ...] | None = None

    def given(self) -> dict[str, Any]:
        """The hyper-parameters that this configuration has, by name; those that are None are left out."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration with one seed: what is trained.

    Attributes:
        task: the task's name as the sweep file gives it.
        strategy: the label of the strategy that proposed it.
        length: epochs of a training run, optimizer steps of a range test, timed steps of a probe for each size.
        reason: one line: why the strategy proposed it.
    """

    task: str
    strategy: str
    configuration: Configuration
    seed: int
    length: int
    kind: Kind = Kind.TRAIN
    reason: str = ""

    @cached_property
    def trial_id(self) -> str:
        """Hash of task, kind, configuration, seed and length: the same training has the same id everywhere."""
        return _digest(
            {
                "task": self.task,
                "kind": self.kind,
                "configuration": _canonical(self.configuration),
                "seed": self.seed,
                "length": self.length,
            }
        )

    @cached_property
    def configuration_id(self) -> str:
        """The same for all seeds: what is averaged over seeds has one configuration_id."""
        return _digest(
            {
                "task": self.task,
                "kind": self.kind,
                "configuration": _canonical(self.configuration),
                "length": self.length,
            }
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """One optimizer step of a range test, or one batch size of a probe. Counts from 1.

    Attributes:
        samples: those of the trial so far.
        train_loss: of the mini-batch, before its update; NaN where a probe ran out of memory.
        test_loss: only where it was measured.
        batch_size: that a probe tried; None in a range test.
        seconds: of one step at that size; None where it ran out of memory, and in a range test.
        memory: the fraction of the device's memory that was in use at most; None where it is not known.
    """

    trial_id: str
    strategy: str
    step: int
    samples: int
    lr: float
    momentum: float
    train_loss: float
    test_loss: float | None = None
    batch_size: int | None = None
    seconds: float | None = None
    memory: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRecord:
    """What one epoch measured. `epoch` counts from 1; steps, samples and seconds are those of the trial so far.

    Attributes:
        train_loss: mean over the epoch's mini-batches, as trained (so before each of their updates).
        test_accuracy: None for a task that has no accuracy (a regression).
        lr, momentum: as used in the last step of the epoch.
        lr_left: the largest learning rate that is still to come, as a fraction of `lr`; 0 after the last step.
        lr_low: the smallest learning rate that is still to come, as a fraction of `lr`; 0 after the last step.
        extra: further metrics of the task, by name.
    """

    trial_id: str
    strategy: str
    epoch: int
    step: int
    samples: int
    seconds: float
    train_loss: float
    test_loss: float
    test_accuracy: float | None
    lr: float
    momentum: float
    lr_left: float
    lr_low: float
    time: float
    extra: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """How a trial ended and what it cost. Best is by test loss; metrics are None where nothing was measured.

    Attributes:
        status_reason: one line: why it ended so (the stopping rule's words, an error's text); may be empty
            only for a completed trial.
        holdout_loss, holdout_accuracy: measured once, with the weights of `best_epoch`; not for a trial that
            was pruned: its strategy has given it up, so it is no candidate for the choice.
        seconds: seconds that the trial occupied its device.
        energy: joules that its share of the GPU drew meanwhile; None where that is not known, as on a CPU.
        device: e.g. `cpu` or the GPU's name; node: the host that trained it.
    """

    trial: Trial
    status: Status
    status_reason: str = ""
    best_epoch: int | None = None
    best_test_loss: float | None = None
    best_test_accuracy: float | None = None
    last_train_loss: float | None = None
    last_test_loss: float | None = None
    last_test_accuracy: float | None = None
    holdout_loss: float | None = None
    holdout_accuracy: float | None = None
    epochs: int = 0
    steps: int = 0
    samples: int = 0
    seconds: float = 0.0
    energy: float | None = None
    device: str = ""
    node: str = ""
    started: float = 0.0
    finished: float = 0.0

    @property
    def trial_id(self) -> str:
        return self.trial.trial_id

    @property
    def strategy(self) -> str:
        return self.trial.strategy

    def after(self, epoch: EpochRecord) -> TrialRecord:
        """The summary with one more epoch; the best epoch is the first of the lowest finite test loss."""
        best = math.inf if self.best_test_loss is None else self.best_test_loss
        is_best = math.isfinite(epoch.test_loss) and epoch.test_loss < best
        return dataclasses.replace(
            self,
            best_epoch=epoch.epoch if is_best else self.best_epoch,
            best_test_loss=epoch.test_loss if is_best else self.best_test_loss,
            best_test_accuracy=epoch.test_accuracy if is_best else self.best_test_accuracy,
            last_train_loss=epoch.train_loss,
            last_test_loss=epoch.test_loss,
            last_test_accuracy=epoch.test_accuracy,
            epochs=epoch.epoch,
            steps=epoch.step,
            samples=epoch.samples,
            seconds=epoch.seconds,
        )


Record = StepRecord | EpochRecord | TrialRecord


class Verdict(StrEnum):
    """What a stopping rule says of a trial."""

    CONTINUE = "continue"
    OVERFIT = "overfit"
    HOPELESS = "hopeless"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and the reason for it, which is never empty."""

    verdict: Verdict
    reason: str

    def __post_init__(self) -> None:
        if not self.reason:
            raise ValueError("a decision needs a reason")

    @property
    def stops(self) -> bool:
        return self.verdict is not Verdict.CONTINUE


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """What a strategy may know of a task before anything was trained: its name and the sizes of its splits."""

    name: str
    train_size: int
    test_size: int
    holdout_size: int

    def steps_per_epoch(self, batch_size: int) -> int:
        """The last, smaller batch of an epoch is trained as well."""
        return math.ceil(self.train_size / batch_size)


class History:
    """What one strategy has proposed and measured so far; the only thing a strategy decides by.

    Rebuilt from the results when a sweep is resumed, so nothing else may matter to a strategy.
    """

    def __init__(self) -> None:
        self.finished: dict[str, TrialRecord] = {}
        self.running: dict[str, Trial] = {}
        self._epochs: dict[str, dict[int, EpochRecord]] = {}
        self._steps: dict[str, dict[int, StepRecord]] = {}

    def __contains__(self, trial: Trial) -> bool:
        """True for a trial that is finished or running, so that need not be proposed again."""
        return trial.trial_id in self.finished or trial.trial_id in self.running

    def __iter__(self) -> Iterator[TrialRecord]:
        return iter(self.finished.values())

    def start(self, trial: Trial) -> None:
        self.running[trial.trial_id] = trial

    def add(self, record: Record) -> None:
        """Adds a record; one that is there already is replaced, so adding twice changes nothing."""
        match record:
            case EpochRecord():
                self._epochs.setdefault(record.trial_id, {})[record.epoch] = record
            case StepRecord():
                self._steps.setdefault(record.trial_id, {})[record.step] = record
            case TrialRecord():
                self.running.pop(record.trial.trial_id, None)
                if record.status.is_final:
                    self.finished[record.trial.trial_id] = record

    def result(self, trial: Trial) -> TrialRecord | None:
        return self.finished.get(trial.trial_id)

    def epochs(self, trial: Trial) -> Sequence[EpochRecord]:
        """The trial's epochs so far, in order."""
        return [record for _, record in sorted(self._epochs.get(trial.trial_id, {}).items())]

    def steps(self, trial: Trial) -> Sequence[StepRecord]:
        """The trial's recorded steps so far, in order."""
        return [record for _, record in sorted(self._steps.get(trial.trial_id, {}).items())]


def _canonical(configuration: Configuration) -> dict[str, Any]:
    # 1 and 1.0 are the same learning rate, so must not make two ids.
    whole = {"batch_size", "cycles"}
    # Trials had ids before there was a choice of precision: full precision leaves no trace in them.
    given = configuration.given()
    if configuration.precision == FULL_PRECISION:
        del given["precision"]
    return {
        name: float(value) if isinstance(value, int) and name not in whole else value
        for name, value in given.items()
    }


def _digest(identity: Mapping[str, Any]) -> str:
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
