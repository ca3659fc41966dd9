"""Small records for the tests of the results."""

from __future__ import annotations

from collections import Counter
from typing import Any

from searcher.records import Configuration, EpochRecord, Kind, Status, StepRecord, Trial, TrialRecord
from searcher.results.query import open_results
from searcher.results.rows import SweepRow


def sweep_row(name: str = "demo", **changes: Any) -> SweepRow:
    values: dict[str, Any] = {
        "name": name,
        "task": "digits",
        "text": f"name: {name}\n",
        "seeds": (0, 1),
        "resources": "{}",
        "train_size": 100,
        "test_size": 20,
        "holdout_size": 20,
        "split_digest": "abc",
        "machine": "a machine",
        "git_revision": None,
        "searcher_version": "0.1.0",
        "torch_version": "2.13.0",
        "ray_version": "2.60.0",
        "python_version": "3.11.7",
    }
    return SweepRow(**values | changes)


def trial(seed: int = 0, strategy: str = "grid", kind: Kind = Kind.TRAIN, **changes: Any) -> Trial:
    values: dict[str, Any] = {
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "batch_size": 32,
        "schedule": "step",
    }
    return Trial(
        task="digits",
        strategy=strategy,
        configuration=Configuration(**values | changes),
        seed=seed,
        length=20,
        kind=kind,
        reason="because",
    )


def epoch(of: Trial, number: int, **changes: Any) -> EpochRecord:
    values: dict[str, Any] = {
        "trial_id": of.trial_id,
        "strategy": of.strategy,
        "epoch": number,
        "step": 4 * number,
        "samples": 100 * number,
        "seconds": 0.5 * number,
        "train_loss": 1 / number,
        "test_loss": 2 / number,
        "test_accuracy": 1 - 1 / (number + 1),
        "lr": 0.1,
        "momentum": 0.9,
        "lr_left": 1.0,
        "lr_low": 0.1,
        "time": 1_700_000_000.25 + number,
    }
    return EpochRecord(**values | changes)


def step(of: Trial, number: int, **changes: Any) -> StepRecord:
    values: dict[str, Any] = {
        "trial_id": of.trial_id,
        "strategy": of.strategy,
        "step": number,
        "samples": 32 * number,
        "lr": 0.001 * number,
        "momentum": 0.9,
        "train_loss": 2.5,
    }
    return StepRecord(**values | changes)


def ending(of: Trial, status: Status = Status.COMPLETED, **changes: Any) -> TrialRecord:
    values: dict[str, Any] = {
        "status_reason": "" if status is Status.COMPLETED else f"it is {status}",
        "epochs": 3,
        "steps": 12,
        "samples": 300,
        "seconds": 1.5,
        "device": "cpu",
        "node": "here",
        "started": 1_700_000_000.25,
        "finished": 1_700_000_009.75,
    }
    return TrialRecord(trial=of, status=status, **values | changes)


def keys(root: str) -> Counter[tuple[str, int]]:
    """How often each trial and epoch is stored."""
    epochs = open_results(root).epochs(columns=["trial_id", "epoch"])
    return Counter(zip(epochs["trial_id"], epochs["epoch"], strict=True))
