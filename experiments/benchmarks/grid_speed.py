"""How long a grid takes with `searcher run`, and as Ray Tune's tutorial would write it: whole commands, in turns.

    python experiments/benchmarks/grid_speed.py --repeats 3

The 48-point grid of `digits` or the 256-point grid of `mnist1d_mlp`, one seed, 20 epochs, nothing stopped early.
Prints the wall time of each run and the ratio of each pair, its mean and its spread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

HERE = Path(__file__).parent
JOBS = {
    # 48 trials of a 2-D CNN, bound by arithmetic.
    "digits": {
        "lr": [0.003, 0.01, 0.03, 0.1, 0.3, 1.0],
        "weight_decay": [0.0, 1e-5, 1e-4, 1e-3],
        "momentum": [0.9],
        "batch_size": [32, 128],
    },
    # 256 trials of a multilayer perceptron, bound by everything but arithmetic.
    "mnist1d_mlp": {
        "lr": [round(0.003 * 10 ** (step / 8), 5) for step in range(16)],
        "weight_decay": [0.0, 1e-5, 1e-4, 1e-3],
        "momentum": [0.8, 0.85, 0.9, 0.95],
        "batch_size": [32],
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--task", choices=JOBS, default="digits")
    parser.add_argument("--fuse", choices=["auto", "off"], default="auto")
    parser.add_argument("--reuse-actors", action="store_true", help="let the tutorial reuse its actors")
    arguments = parser.parse_args()

    grid = json.dumps({"task": arguments.task, "epochs": arguments.epochs, **JOBS[arguments.task]})
    tutorial = [sys.executable, str(HERE / "tune_tutorial.py"), grid]
    tutorial += ["--reuse-actors"] if arguments.reuse_actors else []
    ratios = []
    for repeat in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as folder:
            theirs = timed(tutorial)
            ours = timed([sys.executable, "-m", "searcher.cli", "run", str(sweep_file(Path(folder), arguments))])
        ratios.append(theirs / ours)
        print(
            f"{repeat + 1}: tutorial {theirs:.1f} s, searcher {ours:.1f} s, ratio {ratios[-1]:.2f}",
            flush=True,
        )
    spread = statistics.stdev(ratios) if len(ratios) > 1 else float("nan")
    print(
        f"ratio {statistics.mean(ratios):.2f} +- {spread:.2f} (mean and standard deviation, n = {len(ratios)}), "
        f"lowest {min(ratios):.2f}; {os.cpu_count()} cores, {platform.machine()}"
    )


def sweep_file(folder: Path, arguments: argparse.Namespace) -> Path:
    sweep = {
        "name": "grid-speed",
        "task": arguments.task,
        "epochs": arguments.epochs,
        "seeds": [0],
        "strategies": [{"grid": {**JOBS[arguments.task], "schedule": "step"}}],
        "stop": {"overfit": "off"},
        "fuse": arguments.fuse,
        "results": str(folder / "results"),
    }
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(sweep))
    return path


def timed(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
