"""Stored sweeps for the tests of the report, written through the store from records made up here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from searcher.algorithms.schedules import complete, values
from searcher.records import (
    Configuration,
    EpochRecord,
    Kind,
    Record,
    Status,
    StepRecord,
    Trial,
    TrialRecord,
)
from searcher.results.rows import SweepRow
from searcher.results.store import Store
from searcher.sweep import Sweep, parse_sweep

HOSTILE = "<img src=x onerror=\"document.title='broken'\"></script><b>&amp; 'reason'"
"""A reason that breaks out of every place in a page that does not escape it."""

TRAIN_SIZE = 100


def sample(name: str = "demo", rates: tuple[float, ...] = (0.01, 0.1, 1.0), **changes: Any) -> Sweep:
    grid = {"lr": list(rates), "weight_decay": [0, 1e-3], "batch_size": 20, "schedule": "step"}
    return parse_sweep(
        {
            "name": name,
            "task": "digits",
            "epochs": 8,
            "seeds": [0, 1],
            "strategies": [{"grid": grid}, {"one_cycle": {"weight_decay": [1e-3, 0], "batch_size": 20}}],
        }
        | changes
    )


def store(root: Path, sweep: Sweep, records: list[Record], **changes: Any) -> None:
    given: dict[str, Any] = {
        "name": sweep.name,
        "task": sweep.task,
        "text": sweep.to_yaml(),
        "seeds": tuple(sweep.seeds),
        "resources": "{}",
        "train_size": TRAIN_SIZE,
        "test_size": 20,
        "holdout_size": 20,
        "split_digest": "abc",
        "machine": "a machine <of> ours",
        "git_revision": "0123456789abcdef+",
        "searcher_version": "0.1.0",
        "torch_version": "2.13.0",
        "ray_version": "2.60.0",
        "python_version": "3.11.7",
    }
    with Store(root).begin(SweepRow(**given | changes)) as writer:
        writer.write(records)


def demo_records(sweep: Sweep, epochs: int | None = None) -> list[Record]:
    """A grid of which one trial over-fits and is stopped, one diverges and one fails, and a one-cycle strategy."""
    length = epochs or sweep.epochs
    spec = sweep.strategies[0].spec
    clock = _clock()
    grid = [
        _trial(sweep, "grid", _configuration(lr=lr, weight_decay=weight_decay, schedule="step"), seed, length)
        for lr in spec.lr
        for weight_decay in spec.weight_decay
        for seed in sweep.seeds
    ]
    endings = {
        grid[2].trial_id: (length * 5 // 8, Status.STOPPED_OVERFIT, HOSTILE),
        grid[-2].trial_id: (2, Status.DIVERGED, "test loss inf"),
        grid[-1].trial_id: (0, Status.FAILED, "RuntimeError: out of memory"),
    }
    records: list[Record] = []
    for trial in grid:
        ending = endings.get(trial.trial_id, (length, Status.COMPLETED, ""))
        records += _run(trial, next(clock), *ending)
    for weight_decay in (1e-3, 0.0):
        configuration = _configuration(
            lr=10.0, weight_decay=weight_decay, schedule="range_exponential", div_factor=1e5
        )
        trial = _trial(sweep, "one_cycle", configuration, 0, 80, Kind.RANGE_TEST)
        records += _range_test(trial, next(clock))
    for seed in sweep.seeds:
        configuration = _configuration(
            lr=0.2, weight_decay=1e-3, schedule="one_cycle", momentum_schedule="cyclical", momentum_low=0.85
        )
        trial = _trial(sweep, "one_cycle", configuration, seed, length // 2)
        records += _run(trial, next(clock), length // 2, Status.COMPLETED, "")
    return records


def _configuration(**given: Any) -> Configuration:
    return complete(Configuration(momentum=0.95, batch_size=20, **given))


def _trial(
    sweep: Sweep, strategy: str, configuration: Configuration, seed: int, length: int, kind: Kind = Kind.TRAIN
) -> Trial:
    return Trial(
        task=sweep.task,
        strategy=strategy,
        configuration=configuration,
        seed=seed,
        length=length,
        kind=kind,
        reason=f"proposed <because> of {configuration.lr:g}",
    )


def _run(trial: Trial, at: float, epochs: int, status: Status, reason: str) -> list[Record]:
    """A curve of so many epochs: lowest at a rate of 0.2 and with weight decay; infinite at its end if diverged."""
    hyper = trial.configuration
    floor = 0.05 + math.log10(hyper.lr / 0.2) ** 2 / 10 + (0 if hyper.weight_decay else 0.05) + trial.seed / 1000
    lr, momentum = values(hyper, trial.length + 1)
    records: list[Record] = []
    ending = TrialRecord(
        trial=trial, status=status, status_reason=reason, device="cpu", node="node-1", started=at, finished=at + 20
    )
    for number in range(1, epochs + 1):
        loss = floor + 2 * math.exp(-number)
        if status is Status.DIVERGED and number == epochs:
            loss = math.inf
        epoch = EpochRecord(
            trial_id=trial.trial_id, strategy=trial.strategy, epoch=number, step=5 * number,
            samples=TRAIN_SIZE * number, seconds=0.1 * number, train_loss=loss * 0.9, test_loss=loss,
            test_accuracy=1 / (1 + loss), lr=lr[number], momentum=momentum[number], lr_left=1.0, lr_low=0.1,
            time=at + number,
        )  # fmt: skip
        records.append(epoch)
        ending = ending.after(epoch)
    if ending.best_test_accuracy is not None:
        ending = replace(ending, holdout_accuracy=ending.best_test_accuracy - 0.01, holdout_loss=floor)
    return [*records, ending]


def _range_test(trial: Trial, at: float) -> list[Record]:
    records: list[Record] = []
    for number in range(trial.length):
        lr = 1e-4 * 1e5 ** (number / (trial.length - 1))
        loss = 2.3 - 1.5 * math.exp(-(math.log10(lr / 0.3) ** 2)) + (50.0 if lr > 3 else 0.0)
        step = number + 1
        records.append(
            StepRecord(
                trial_id=trial.trial_id, strategy=trial.strategy, step=step, samples=20 * step, lr=lr,
                momentum=0.9, train_loss=loss,
            )
        )  # fmt: skip
    steps = trial.length
    return [
        *records,
        TrialRecord(
            trial=trial, status=Status.DIVERGED, status_reason="the loss left its minimum for good", steps=steps,
            samples=20 * steps, seconds=0.5, device="cpu", node="node-1", started=at, finished=at + 1,
        ),
    ]  # fmt: skip


def _clock() -> Iterator[float]:
    at = 1_700_000_000.0
    while True:
        yield at
        at += 30
