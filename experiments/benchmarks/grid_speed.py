"""How long a grid takes with `searcher run`, and as Ray Tune's tutorial would write it: whole commands, in turns.

    python experiments/benchmarks/grid_speed.py --repeats 3
    python experiments/benchmarks/grid_speed.py --task mnist1d_mlp --against tutorial reuse --part 4

The 48-point grid of `digits` or the 256-point grid of `mnist1d_mlp`, one seed, 20 epochs, nothing stopped early.
`reuse`: the tutorial's form with `reuse_actors=True`. Of a grid that takes it many minutes Tune may train a part;
then trials per second are compared. Prints the wall time of each run and the ratio of each pair.
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

TUTORIAL = [sys.executable, str(HERE / "tune_tutorial.py")]
TUNE = {"tutorial": TUTORIAL, "reuse": [*TUTORIAL, "--reuse-actors"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--task", choices=JOBS, default="digits")
    parser.add_argument("--fuse", choices=["auto", "compiled", "off"], default="auto")
    parser.add_argument("--against", nargs="+", choices=["tutorial", "reuse"], default=["tutorial"])
    parser.add_argument("--part", type=int, default=1, help="Tune trains only every so many of the learning rates")
    arguments = parser.parse_args()

    space = JOBS[arguments.task]
    part = {**space, "lr": space["lr"][:: arguments.part]}
    grid = json.dumps({"task": arguments.task, "epochs": arguments.epochs, **part})
    share = len(part["lr"]) / len(space["lr"])
    ratios: dict[str, list[float]] = {way: [] for way in arguments.against}
    for repeat in range(arguments.repeats):
        theirs = {way: timed(TUNE[way] + [grid]) for way in arguments.against}
        with tempfile.TemporaryDirectory() as folder:
            ours = timed([sys.executable, "-m", "searcher.cli", "run", str(sweep_file(Path(folder), arguments))])
        print(f"{repeat + 1}: searcher {ours:.1f} s", end="")
        for way, seconds in theirs.items():
            ratios[way].append(seconds / share / ours)
            print(f"; {way} {seconds:.1f} s for {share:.0%} of the trials, ratio {ratios[way][-1]:.2f}", end="")
        print(flush=True)
    print(f"{os.cpu_count()} cores, {platform.machine()}; mean and standard deviation of the ratios:")
    for way, each in ratios.items():
        spread = statistics.stdev(each) if len(each) > 1 else float("nan")
        print(f"{way} {statistics.mean(each):.2f} +- {spread:.2f} (n = {len(each)}), lowest {min(each):.2f}")


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
