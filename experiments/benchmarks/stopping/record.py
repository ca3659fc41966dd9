"""Records full curves: every task under every schedule, 32 random configurations, never stopped.

    python experiments/benchmarks/stopping/record.py                   # every sweep that is missing
    python experiments/benchmarks/stopping/record.py friedman-cosine   # these only

One Parquet file a sweep under `curves/`, with a row for each epoch of each trial. A file that exists is left
alone, so the command goes on where it was interrupted. Besides the test split, the holdout split is measured
at every epoch: replay needs it at the epoch whose weights a stopped trial would have kept.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tasks import TASKS, Recorded
from torch import nn
from validation import VALIDATION

from searcher.algorithms.schedules import complete
from searcher.algorithms.stopping import Never
from searcher.records import Configuration, EpochRecord, Record, Trial
from searcher.training.loop import evaluate, run_trial
from searcher.training.tasks import Task

TRIALS = 32
SCHEDULES = ("constant", "step", "cosine", "one_cycle")
CURVES = Path(__file__).parent / "curves"
CPU = torch.device("cpu")


def main() -> None:
    torch.set_num_threads(1)
    CURVES.mkdir(exist_ok=True)
    tasks = {**TASKS, **VALIDATION}
    names = sys.argv[1:] or [f"{task}-{schedule}" for task in tasks for schedule in SCHEDULES]
    for name in names:
        path = CURVES / f"{name}.parquet"
        if path.exists():
            continue
        task, _, schedule = name.partition("-")
        clock = time.perf_counter()
        table = record_sweep(tasks[task], task, schedule)
        temporary = path.with_suffix(".part")
        pq.write_table(table, temporary, compression="zstd")
        temporary.rename(path)
        print(f"{name}: {TRIALS} trials in {time.perf_counter() - clock:.0f} s", flush=True)


def record_sweep(recorded: Recorded, name: str, schedule: str) -> pa.Table:
    task = recorded.make()
    random = np.random.default_rng([len(name), *name.encode(), *schedule.encode()])
    rows: list[dict[str, Any]] = []
    for number in range(TRIALS):
        configuration = draw(recorded, schedule, random)
        trial = Trial(
            task=name, strategy="random", configuration=configuration, seed=number, length=recorded.epochs
        )
        rows += [{"trial": number, **row} for row in curve(task, trial)]
    floats = [column for column in rows[0] if column not in ("trial", "epoch")]
    fields = [("trial", pa.int16()), ("epoch", pa.int16()), *((column, pa.float32()) for column in floats)]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def draw(recorded: Recorded, schedule: str, random: np.random.Generator) -> Configuration:
    low, high = recorded.lr
    return complete(
        Configuration(
            lr=float(math.exp(random.uniform(math.log(low), math.log(high)))),
            momentum=float(random.uniform(0.8, 0.95)),
            weight_decay=float(random.choice([0.0, 1e-4, 1e-3])),
            batch_size=int(random.choice([32, 128])),
            schedule=schedule,
            optimizer=recorded.optimizer,
        )
    )


def curve(task: Task, trial: Trial) -> Iterator[dict[str, Any]]:
    """The rows of one trial. The factory keeps the model, so that each epoch is measured on the holdout
    too.
    """
    models: list[nn.Module] = []
    rows: list[dict[str, Any]] = []

    def keep() -> nn.Module:
        models.append(task.model())
        return models[-1]

    def emit(record: Record) -> None:
        if isinstance(record, EpochRecord):
            loss, accuracy = evaluate(task, models[-1], task.holdout, CPU)
            rows.append(
                {
                    "epoch": record.epoch,
                    "train_loss": record.train_loss,
                    "test_loss": record.test_loss,
                    "test_accuracy": record.test_accuracy,
                    "holdout_loss": loss,
                    "holdout_accuracy": accuracy,
                    "lr": record.lr,
                    "lr_left": record.lr_left,
                    "lr_low": record.lr_low,
                }
            )

    watched = Task(keep, task.train, task.test, task.holdout, task.loss, task.accuracy)
    run_trial(watched, trial, Never(), emit, CPU)
    yield from rows


if __name__ == "__main__":
    main()
