"""Reading all curves of 1,000 trials of 100 epochs, and their disk space: our store beside Ray Tune's files.

    python experiments/benchmarks/results/reading.py --trials 1000

Ray Tune runs the trials, which only report, and writes what it always writes. The same reports go through our
store. Then both are read, in turns: Tune's by its own `ExperimentAnalysis`, into a data frame for each trial; ours
by `open_results`, into one. `--keep FOLDER` keeps the files, and reads those that it finds there.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb  # noqa: F401 - as Ray's, our reader's libraries are imported before the clock runs
import ray
from ray import tune
from ray.tune import ExperimentAnalysis, RunConfig, TuneConfig, Tuner

from searcher import open_results
from searcher.records import Configuration, EpochRecord, Status, Trial, TrialRecord
from searcher.results.rows import SweepRow
from searcher.results.store import Store

EPOCHS = 100
READ_BY_TUNE = ("progress.csv", "result.json")


def curve(seed: int) -> list[dict[str, float]]:
    """What a trial reports: the columns of our `epochs`, as noisy as a real one's."""
    generator = random.Random(seed)
    return [
        {
            "epoch": epoch, "step": 30 * epoch, "samples": 1797 * epoch, "seconds": epoch * generator.random(),
            "train_loss": generator.random() / epoch, "test_loss": generator.random() / epoch,
            "test_accuracy": 1 - generator.random() / epoch, "lr": generator.random(), "momentum": 0.9,
            "lr_left": generator.random(), "lr_low": generator.random(), "time": time.time(),
        }
        for epoch in range(1, EPOCHS + 1)
    ]  # fmt: skip


def report(config: dict[str, Any]) -> None:
    for values in curve(config["seed"]):
        # Tune adds a `time_…` of its own to each; it keeps names that begin with `time` for itself.
        tune.report({name: value for name, value in values.items() if name != "time"})


def write_theirs(folder: Path, trials: int) -> None:
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    Tuner(
        report,
        param_space={"seed": tune.grid_search(list(range(trials)))},
        tune_config=TuneConfig(reuse_actors=True),
        run_config=RunConfig(name="tune", storage_path=str(folder), verbose=0),
    ).fit()
    ray.shutdown()


def write_ours(folder: Path, trials: int) -> None:
    row = SweepRow(
        name="reading", task="none", text="", seeds=(0,), resources="{}", train_size=1797, test_size=0,
        holdout_size=0, split_digest="", machine="", git_revision=None, searcher_version="", torch_version="",
        ray_version=ray.__version__, python_version="",
    )  # fmt: skip
    settings = Configuration(lr=0.1, momentum=0.9, weight_decay=0.0, batch_size=64, schedule="step")
    with Store(folder).begin(row) as sweep:
        for seed in range(trials):
            trial = Trial(task="none", strategy="grid", configuration=settings, seed=seed, length=EPOCHS)
            sweep.write(EpochRecord(trial_id=trial.trial_id, strategy="grid", **values) for values in curve(seed))  # type: ignore[arg-type]
            sweep.write([TrialRecord(trial=trial, status=Status.COMPLETED, epochs=EPOCHS)])


def read_theirs(folder: Path) -> int:
    frames = ExperimentAnalysis(str(folder / "tune")).trial_dataframes
    return sum(map(len, frames.values()))


def read_ours(folder: Path) -> int:
    return len(open_results(folder).epochs())


def megabytes(folder: Path, names: tuple[str, ...] | None = None) -> float:
    files = [file for file in folder.rglob("*") if file.is_file() and (names is None or file.name in names)]
    return sum(file.stat().st_size for file in files) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.keep or Path(scratch)
        theirs, ours = root / "theirs", root / "ours"
        for folder, write in ((theirs, write_theirs), (ours, write_ours)):
            if not folder.exists():
                started = time.perf_counter()
                write(folder, arguments.trials)
                print(f"{folder.name}: written in {time.perf_counter() - started:.0f} s", flush=True)
        ratios = []
        for repeat in range(arguments.repeats):
            seconds = []
            for folder, read in ((theirs, read_theirs), (ours, read_ours)):
                started = time.perf_counter()
                rows = read(folder)
                seconds.append(time.perf_counter() - started)
                assert rows == arguments.trials * EPOCHS, f"{folder} gives {rows} rows"
            ratios.append(seconds[0] / seconds[1])
            print(
                f"{repeat + 1}: ExperimentAnalysis {seconds[0]:.2f} s, ours {seconds[1]:.3f} s, "
                f"ratio {ratios[-1]:.0f}",
                flush=True,
            )
        spread = statistics.stdev(ratios) if len(ratios) > 1 else float("nan")
        sizes = megabytes(theirs), megabytes(theirs, READ_BY_TUNE), megabytes(ours)
    print(
        f"reading {rows:,} rows: ratio {statistics.mean(ratios):.0f} ± {spread:.0f} (mean and standard deviation, "
        f"n = {len(ratios)}), lowest {min(ratios):.0f}; disk: Tune {sizes[0]:.1f} MB ({sizes[1]:.1f} MB of it "
        f"progress.csv and result.json), ours {sizes[2]:.1f} MB, 1/{sizes[0] / sizes[2]:.1f} "
        f"(1/{sizes[1] / sizes[2]:.1f}); {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
