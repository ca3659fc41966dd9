"""Trains the choices of the grid and of one-cycle with seeds that no search used: `python .../again.py [TASK ...]`.

A search's own run of its choice tells of the choice and of luck alike: the grid's is the best of 96. Here each
configuration that one of the searches in `measured.parquet` chose is trained with further seeds, so that
configurations are compared. `--seeds N` takes so many. It may be interrupted, and goes on where it was; what the
table needs goes to `again.parquet`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pandas as pd
from run import FOLDER, RESULTS, SEEDS, chosen, ended_in_one_line, parser_of
from table import AGAIN, MEASURED, OURS, STANDARD, Search

import searcher
from searcher.execution.runner import connected
from searcher.progress import Progress
from searcher.sweep import Sweep
from searcher.sweep_entry import StrategyEntry

CHOSEN = ["lr", "momentum", "weight_decay", "batch_size", "length"]
KEPT = ["task", "strategy", "search_seed", "seed", "status", "best_test_loss", "holdout_accuracy"]


def choices(task: str) -> Iterator[pd.Series]:
    """The choice of each search of the two."""
    measured = pd.read_parquet(MEASURED)
    for _, trials in measured[(measured.task == task) & measured.strategy.isin([OURS, STANDARD])].groupby(
        ["strategy", "search_seed"]
    ):
        yield Search(trials).choice


def label(choice: pd.Series) -> str:
    """One name for one configuration, which several searches may have chosen."""
    return f"{choice.strategy}_" + "_".join(f"{choice[name]:g}" for name in CHOSEN)


def sweep_of(task: str, seeds: list[int]) -> Sweep:
    """The sweep that trains every configuration, each as a grid of one point."""
    whole = searcher.load_sweep(FOLDER / f"{task}.yaml", [f"seeds={seeds}", f"name={task}-again"])
    specs = {one.label: one.spec for one in whole.strategies}
    grids = {}
    for choice in choices(task):
        spec: Any = specs[choice.strategy]
        how = {"name": label(choice), "epochs": int(choice.length), "optimizer": spec.optimizer}
        if choice.strategy == OURS:
            low, _ = spec.momentum
            how |= {"schedule": "one_cycle", "momentum_schedule": spec.momentum_schedule, "momentum_low": low}
            how |= {"div_factor": spec.div_factor}
        else:
            how |= {"schedule": spec.schedule}
        grids[how["name"]] = how | {name: [choice[name].item()] for name in CHOSEN if name != "length"}
    strategies = tuple(StrategyEntry.model_validate({"grid": grid}) for grid in grids.values())
    return whole.model_copy(update={"strategies": strategies})


def keep(task: str) -> None:
    """Puts a task's runs into the file that is kept, a row for each search, seed and choice."""
    trials = searcher.open_results(RESULTS).trials(sweep=f"{task}-again").astype({"strategy": str})
    rows = [
        trials[trials.strategy == label(choice)].assign(
            task=task, search_seed=choice.search_seed, strategy=choice.strategy
        )
        for choice in choices(task)
    ]
    found = pd.concat(rows)[
        ["task", "search_seed", "strategy", "seed", "status", "best_test_loss", "holdout_accuracy"]
    ]
    if AGAIN.exists():
        kept = pd.read_parquet(AGAIN)
        found = pd.concat([kept[kept.task != task], found])
    found.sort_values(KEPT[:4], ignore_index=True).to_parquet(AGAIN, compression="zstd")


def main() -> None:
    parser, tasks = parser_of(__doc__)
    parser.add_argument("--seeds", type=int, default=10, metavar="N")
    asked = parser.parse_args()
    wanted = chosen(asked, tasks, parser)
    os.chdir(FOLDER.parents[2])
    seeds = [max(SEEDS) + 1 + number for number in range(asked.seeds)]
    with ended_in_one_line(parser), connected(None):
        for task in wanted:
            searcher.run(sweep_of(task, seeds), FOLDER, mode="resume", observer=Progress())
            keep(task)


if __name__ == "__main__":
    main()
