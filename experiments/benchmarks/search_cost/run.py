"""Runs the cost benchmark, what is missing of it: `python experiments/benchmarks/search_cost/run.py [TASK ...]`.

One sweep for each task, seed and strategy, each a search of its own. Hours on two cores: it may be interrupted at
any time, and the next call goes on; `--minutes` begins no further sweep after so many minutes, `--only STRATEGY`
runs only that one, `--again STRATEGY` measures it once more where it was measured. What the table needs of a sweep
that is complete goes to `measured.parquet`, which is kept; the full results stay in `results`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from table import MEASURED

import searcher
from searcher.errors import SearcherError
from searcher.execution.runner import connected
from searcher.progress import Progress
from searcher.sweep import Sweep

FOLDER = Path(__file__).parent
RESULTS = "experiments/benchmarks/search_cost/results"
SEEDS = range(5)
KEY = ["task", "search_seed", "strategy"]
KEPT = [
    "task", "search_seed", "train_size", "strategy", "kind", "trial_id", "lr", "momentum", "weight_decay",
    "batch_size", "length", "status", "epochs", "samples", "seconds", "best_test_loss", "best_test_accuracy",
    "holdout_accuracy", "finished",
]  # fmt: skip


def sweeps_of(task: str, seed: int) -> dict[str, Sweep]:
    """By strategy, the sweep that searches with it and this seed."""
    whole = searcher.load_sweep(FOLDER / f"{task}.yaml", [f"seeds=[{seed}]"])
    return {
        one.label: whole.model_copy(update={"name": name_of(task, seed, one.label), "strategies": (one,)})
        for one in whole.strategies
    }


def name_of(task: str, seed: int, strategy: str) -> str:
    return f"{task}-{seed}-{strategy}"


def is_measured(task: str, seed: int, strategy: str) -> bool:
    if not MEASURED.exists():
        return False
    kept = pd.read_parquet(MEASURED, columns=KEY)
    return bool(((kept.task == task) & (kept.search_seed == seed) & (kept.strategy == strategy)).any())


def keep(task: str, seed: int, strategy: str) -> None:
    """Puts the trials of a sweep into the file that is kept, in place of those of an earlier run."""
    results, name = searcher.open_results(RESULTS), name_of(task, seed, strategy)
    trials = results.trials(sweep=name)
    size = int(results.sweeps(sweep=name)["train_size"].iloc[0])
    rows = trials.assign(search_seed=seed, train_size=size)[KEPT].astype({"strategy": str})
    if MEASURED.exists():
        kept = pd.read_parquet(MEASURED)
        others = (kept.task != task) | (kept.search_seed != seed) | (kept.strategy != strategy)
        rows = pd.concat([kept[others], rows])
    rows = rows.sort_values([*KEY, "finished"], ignore_index=True)
    unfinished = MEASURED.with_suffix(".tmp")
    rows.to_parquet(unfinished, compression="zstd")
    unfinished.replace(MEASURED)


def parser_of(text: str | None) -> tuple[argparse.ArgumentParser, list[str]]:
    """A parser of the tasks' names, and all tasks there are."""
    tasks = sorted(file.stem for file in FOLDER.glob("*.yaml"))
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(tasks))
    return parser, tasks


def chosen(asked: argparse.Namespace, tasks: list[str], parser: argparse.ArgumentParser) -> list[str]:
    """The tasks that were asked for, or all; ends the script where one of them is none."""
    if unknown := set(asked.tasks) - set(tasks):
        parser.error(f"there is no task {', '.join(sorted(unknown))} here; there are {', '.join(tasks)}")
    return asked.tasks or tasks


@contextmanager
def ended_in_one_line(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Ends the script in one line at Ctrl-C and at what is wrong with a sweep."""
    try:
        yield
    except KeyboardInterrupt:
        parser.exit(130, "interrupted: what was measured is kept, and the next call goes on\n")
    except SearcherError as error:
        parser.exit(2, f"{error}\n")


def main() -> None:
    parser, tasks = parser_of(__doc__)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    strategies = list(dict.fromkeys(strategy for task in tasks for strategy in sweeps_of(task, 0)))
    parser.add_argument("--only", choices=strategies)
    parser.add_argument("--again", choices=strategies)
    asked = parser.parse_args()
    wanted = chosen(asked, tasks, parser)
    os.chdir(FOLDER.parents[2])
    deadline = time.monotonic() + 60 * asked.minutes
    with ended_in_one_line(parser), connected(None):  # one Ray for all sweeps
        # Seed by seed, so that a table of all tasks can be drawn early.
        for seed, task in itertools.product(SEEDS, wanted):
            for strategy, sweep in sweeps_of(task, seed).items():
                again = strategy == asked.again
                if time.monotonic() > deadline or (asked.only or asked.again or strategy) != strategy:
                    continue
                if again or not is_measured(task, seed, strategy):
                    print(sweep.name, flush=True)
                    searcher.run(sweep, FOLDER, mode="overwrite" if again else "resume", observer=Progress())
                    keep(task, seed, strategy)


if __name__ == "__main__":
    main()
