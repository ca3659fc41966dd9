"""Runs the cost benchmark, what is missing of it: `python experiments/benchmarks/search_cost/run.py [TASK ...]`.

One sweep for each task and seed, in which every strategy searches anew. Hours on two cores: it may be interrupted
at any time, and the next call goes on; `--minutes` begins no further sweep after so many minutes. What the table
needs of a sweep that is complete goes to `measured.parquet`, which is kept; the full results stay in `results`.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import pandas as pd

import searcher
from searcher.errors import NothingFoundError, SearcherError
from searcher.execution.runner import connected
from searcher.progress import Progress

FOLDER = Path(__file__).parent
MEASURED = FOLDER / "measured.parquet"
RESULTS = "experiments/benchmarks/search_cost/results"
SEEDS = range(5)
KEPT = [
    "task", "search_seed", "train_size", "strategy", "kind", "trial_id", "lr", "momentum", "weight_decay",
    "batch_size", "length", "status", "epochs", "samples", "seconds", "best_test_loss", "best_test_accuracy",
    "holdout_accuracy", "finished",
]  # fmt: skip


def is_complete(sweep: str) -> bool:
    try:
        (status,) = searcher.open_results(RESULTS).sweeps(sweep=sweep)["status"]
    except NothingFoundError:
        return False
    return bool(status == "completed")


def run_sweep(task: str, seed: int) -> None:
    """Begins a sweep, or goes on with it, and keeps what the table needs of it."""
    name = f"{task}-{seed}"
    print(f"{name}: seed {seed + 1} of {len(SEEDS)}", flush=True)
    sweep = searcher.load_sweep(FOLDER / f"{task}.yaml", [f"name={name}", f"seeds=[{seed}]"])
    searcher.run(sweep, FOLDER, mode="resume", observer=Progress())
    keep(task, seed)


def keep(task: str, seed: int) -> None:
    """Puts the trials of a sweep into the file that is kept, in place of those of an earlier run."""
    results, name = searcher.open_results(RESULTS), f"{task}-{seed}"
    trials = results.trials(sweep=name)
    size = int(results.sweeps(sweep=name)["train_size"].iloc[0])
    rows = trials.assign(search_seed=seed, train_size=size)[KEPT].astype({"strategy": str})
    if MEASURED.exists():
        kept = pd.read_parquet(MEASURED)
        rows = pd.concat([kept[(kept.task != task) | (kept.search_seed != seed)], rows])
    rows = rows.sort_values(["task", "search_seed", "strategy", "finished"], ignore_index=True)
    unfinished = MEASURED.with_suffix(".tmp")
    rows.to_parquet(unfinished, compression="zstd")
    unfinished.replace(MEASURED)


def main() -> None:
    tasks = sorted(file.stem for file in FOLDER.glob("*.yaml"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(tasks))
    parser.add_argument("--minutes", type=float, default=float("inf"))
    asked = parser.parse_args()
    if unknown := set(asked.tasks) - set(tasks):
        parser.error(f"there is no task {', '.join(sorted(unknown))} here; there are {', '.join(tasks)}")
    os.chdir(FOLDER.parents[2])
    deadline = time.monotonic() + 60 * asked.minutes
    try:
        with connected(None):  # one Ray for all sweeps
            # Seed by seed, so that a table of all tasks can be drawn early.
            for seed in SEEDS:
                for task in asked.tasks or tasks:
                    if not is_complete(f"{task}-{seed}") and time.monotonic() < deadline:
                        run_sweep(task, seed)
    except KeyboardInterrupt:
        parser.exit(130, "interrupted: what was measured is kept, and the next call goes on\n")
    except SearcherError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
