"""Experiment trackers: Ray Tune's own integrations, which get one run for each trial of ours.

A trial of Tune is a carrier, which trains several of our trials or a part of one, so the integrations are not
handed to the Tuner: they are called from here as Tune would call them, with what the store has taken. They work in
a thread of their own, so that a slow one holds up no training.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searcher.errors import ConfigurationError, ExecutionError
from searcher.records import EpochRecord, History, Record, Status, StepRecord, Trial, TrialRecord

if TYPE_CHECKING:
    from ray.tune.logger import LoggerCallback

Sink = Callable[[Iterable[Record]], None]

log = logging.getLogger(__name__)

FOLDER = "runs"
"""Where TensorBoard's files are, and those that Weights & Biases keeps: `runs/SWEEP/STRATEGY/TRIAL_ID`."""

PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""The trackers, and what each needs to be importable."""


@dataclass(frozen=True, kw_only=True)
class Trackers:
    """Which trackers are told, and of what.

    Attributes:
        names: keys of `PACKAGES`.
        sweep: its name, which becomes MLflow's experiment and the group of Weights & Biases.
        results: the results folder or its address, which tells this sweep from others of its name.
    """

    names: Sequence[str]
    sweep: str
    results: str


def check_installed(names: Iterable[str]) -> None:
    """Raises ConfigurationError when a tracker's package is missing."""
    for name in names:
        if find_spec(PACKAGES[name]) is None:
            raise ConfigurationError(
                f"callbacks: {name} needs the package {PACKAGES[name]}: pip install 'searcher[{name}]'"
            )


@dataclass(eq=False)
class Run:
    """One trial, as far as the integrations look at a trial of Tune."""

    trial: Trial
    trackers: Trackers
    reported: int = 0
    """The last epoch, or step, that was told."""
    config: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        trial = self.trial
        given = {
            name: ", ".join(map(str, value)) if isinstance(value, tuple) else value
            for name, value in trial.configuration.given().items()
        }
        self.config = {
            "sweep": self.trackers.sweep, "strategy": trial.strategy, "trial_id": trial.trial_id,
            "task": trial.task, "kind": str(trial.kind), "seed": trial.seed, "length": trial.length, **given,
        }  # fmt: skip

    def __str__(self) -> str:
        return f"{self.trial.strategy}_{self.trial.trial_id}"

    @property
    def evaluated_params(self) -> dict[str, Any]:
        return self.config

    @property
    def experiment_dir_name(self) -> str:
        return self.trackers.sweep

    @property
    def local_path(self) -> str:
        return str(Path(FOLDER, self.trackers.sweep, self.trial.strategy, self.trial.trial_id).resolve())

    def init_local_path(self) -> None:
        Path(self.local_path).mkdir(parents=True, exist_ok=True)


@contextmanager
def told(sink: Sink, trackers: Trackers | None, histories: Mapping[str, History]) -> Iterator[Sink]:
    """A sink that tells the trackers what the given one has taken; its end waits until all is told.

    Args:
        sink: called first; what it raises, nobody is told.
        histories: by strategy; they are to have each record after the sink, as in `run_strategies`.

    Raises:
        ExecutionError: a tracker cannot be set up.
    """
    if trackers is None or not trackers.names:
        yield sink
        return
    teller = _Teller(trackers, histories)

    def take(records: Iterable[Record]) -> None:
        records = list(records)
        sink(records)
        teller.take(records)

    try:
        yield take
    finally:
        teller.close()


class _Teller:
    """Turns records into calls of the integrations, in order, made by a thread.

    A trial that was begun by an earlier process starts its run anew, with the epochs that are stored. An
    integration that fails is dropped with a warning: the results are in the store, and training goes on.
    """

    def __init__(self, trackers: Trackers, histories: Mapping[str, History]) -> None:
        self._trackers = trackers
        self._histories = histories
        self._runs: dict[tuple[str, str], Run] = {}
        self._integrations = {name: _integration(name, trackers) for name in trackers.names}
        self._calls: queue.SimpleQueue[Callable[[LoggerCallback], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._call, name="experiment trackers", daemon=True)
        self._thread.start()

    def take(self, records: Sequence[Record]) -> None:
        for record in records:
            key = (record.strategy, record.trial_id)
            if key not in self._runs:
                running = self._histories[record.strategy].running
                trial = record.trial if isinstance(record, TrialRecord) else running.get(record.trial_id)
                if trial is None:
                    continue  # a late word of a trial that has ended
                self._runs[key] = self._begin(trial)
            if isinstance(record, TrialRecord):
                self._end(self._runs.pop(key), record)
            else:
                self._report(self._runs[key], record)

    def close(self) -> None:
        for run in self._runs.values():  # the sweep was interrupted
            self._calls.put(lambda integration, run=run: integration.log_trial_end(run, failed=True))  # type: ignore[misc]
        self._calls.put(lambda integration: integration.on_experiment_end(trials=[]))
        self._calls.put(None)
        self._thread.join()

    def _begin(self, trial: Trial) -> Run:
        history = self._histories[trial.strategy]
        run = Run(trial, self._trackers)
        self._calls.put(lambda integration: integration.log_trial_start(run))
        earlier: list[EpochRecord | StepRecord] = [*history.steps(trial), *history.epochs(trial)]
        for stored in earlier:
            self._report(run, stored)
        return run

    def _report(self, run: Run, record: EpochRecord | StepRecord) -> None:
        number = record.epoch if isinstance(record, EpochRecord) else record.step
        if number > run.reported:  # else it was trained again, from a checkpoint, with the same result
            run.reported = number
            self._result(run, number, _metrics(record))

    def _end(self, run: Run, record: TrialRecord) -> None:
        self._result(run, max(run.reported, 1), _summary(record))
        failed = record.status is Status.FAILED
        self._calls.put(lambda integration: integration.log_trial_end(run, failed=failed))

    def _result(self, run: Run, number: int, metrics: Mapping[str, float | None]) -> None:
        result = {name: value for name, value in metrics.items() if value is not None}
        result["training_iteration"] = number
        self._calls.put(lambda integration: integration.log_trial_result(number, run, dict(result)))

    def _call(self) -> None:
        while (call := self._calls.get()) is not None:
            for name, integration in list(self._integrations.items()):
                try:
                    call(integration)
                except Exception as error:  # whatever a foreign service comes up with
                    del self._integrations[name]
                    log.warning("callbacks: %s is told no more, after: %s", name, _first_line(error))


def _metrics(record: EpochRecord | StepRecord) -> dict[str, float | None]:
    if isinstance(record, StepRecord):
        names = ("train_loss", "test_loss", "lr", "momentum", "batch_size", "memory")
        return {**{name: getattr(record, name) for name in names}, "step_seconds": record.seconds}
    measured = ("train_loss", "test_loss", "test_accuracy", "lr", "momentum")
    return {**{name: getattr(record, name) for name in measured}, **record.extra}


def _summary(record: TrialRecord) -> dict[str, float | None]:
    names = ("best_epoch", "best_test_loss", "best_test_accuracy", "holdout_loss", "holdout_accuracy",
             "epochs", "samples", "seconds")  # fmt: skip
    return {name: getattr(record, name) for name in names}


def _integration(name: str, trackers: Trackers) -> LoggerCallback:
    try:
        integration = _MAKERS[name](trackers)
        integration.setup()
    except Exception as error:  # whatever a foreign service comes up with
        raise ExecutionError(f"callbacks: {name} cannot be set up: {_first_line(error)}") from error
    return integration


def _tensorboard(trackers: Trackers) -> LoggerCallback:
    from ray.tune.logger import TBXLoggerCallback

    class TensorBoard(TBXLoggerCallback):  # type: ignore[misc]  # Ray is untyped
        def log_trial_start(self, trial: Run) -> None:
            for old in Path(trial.local_path).glob("events.out.tfevents.*"):
                old.unlink()
            super().log_trial_start(trial)

    return TensorBoard()


def _mlflow(trackers: Trackers) -> LoggerCallback:
    import mlflow
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    class MLflow(MLflowLoggerCallback):  # type: ignore[misc]
        def log_trial_start(self, trial: Run) -> None:
            found = mlflow.search_runs(
                [self.mlflow_util.experiment_id],
                f"tags.trial_name = '{trial}'",
                output_format="list",
            )
            for old in found:
                if old.data.tags.get("results") == trackers.results:
                    mlflow.delete_run(old.info.run_id)
            super().log_trial_start(trial)

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # else it tells of each table that it makes
    return MLflow(mlflow.get_tracking_uri(), experiment_name=trackers.sweep, tags={"results": trackers.results})


def _wandb(trackers: Trackers) -> LoggerCallback:
    from ray.air.integrations.wandb import WandbLoggerCallback

    class Wandb(WandbLoggerCallback):  # type: ignore[misc]
        def log_trial_start(self, trial: Run) -> None:
            trial.init_local_path()
            super().log_trial_start(trial)

    return Wandb(project=os.environ.get("WANDB_PROJECT", "searcher"), group=trackers.sweep)


_MAKERS = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
