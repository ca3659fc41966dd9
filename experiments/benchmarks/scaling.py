"""How many trials a minute one driver keeps going, and what each costs it.

    python experiments/benchmarks/scaling.py --workers 1 2 4 8 --each 30
    python experiments/benchmarks/scaling.py --workers 8 --trials 2000

The trials sleep instead of computing (two steps of a second each; --step 0.75 or 0.5 for shorter ones), so that
eight logical workers fit on two cores and what is measured is everything around the training: proposing, starting,
reporting, storing. For each number of workers: trials a minute between the first and the last trial's end, also as
a fraction of what that many workers would do that never waited (stricter than a multiple of one worker's rate); and
for each quarter of the run the processor seconds of the driver for 1,000 trials and its memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from searcher.records import History, Record, TrialRecord

HERE = Path(__file__).parent
STEPS = 2
TASKS = {1.0: "seconds", 0.75: "three_quarters", 0.5: "halves"}


class Meter:
    """An observer that reads the clock, this process's processor time and its memory at every trial's end."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float, float]] = []

    def begin(self, sweep: object, plans: object, histories: Mapping[str, History]) -> None: ...

    def record(self, record: Record) -> None:
        if isinstance(record, TrialRecord):
            used = resource.getrusage(resource.RUSAGE_SELF)
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            memory = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
            self.points.append((time.monotonic(), used.ru_utime + used.ru_stime, memory))

    def end(self) -> None: ...


def measure(workers: int, trials: int, step: float) -> dict[str, object]:
    """Runs one sweep in this process, on a Ray of its own."""
    import ray

    import searcher

    ray.init(
        "local",
        num_cpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=100_000_000,
    )
    random = {
        "trials": trials,
        "lr": {"loguniform": [1e-3, 1e-1]},
        "momentum": 0.9,
        "weight_decay": 0,
        "batch_size": 24,
    }
    meter = Meter()
    with tempfile.TemporaryDirectory() as folder:
        sweep = searcher.parse_sweep(
            {
                "name": "scaling",
                "task": f"./sleeping_tasks.py:{TASKS[step]}",
                "epochs": 2,
                "seeds": [0],
                "strategies": [{"random": random | {"schedule": "one_cycle"}}],
                "stop": {"overfit": "off"},
                "fuse": "off",
                "results": f"{folder}/results",
            }
        )
        began = time.monotonic()
        searcher.run(sweep, HERE, observer=meter)
        whole = time.monotonic() - began
    ray.shutdown()
    # The first trials wait for their processes to start, the last leave workers idle.
    steady = meter.points[workers:-workers] if len(meter.points) > 4 * workers else meter.points
    (first, *_), (last, *_) = steady[0], steady[-1]
    edges = [round(quarter * (len(steady) - 1) / 4) for quarter in range(5)]
    quarters = [(steady[a], steady[b], b - a) for a, b in itertools.pairwise(edges)]
    return {
        "workers": workers,
        "trials": len(meter.points),
        "whole_seconds": whole,
        "per_minute": 60 * (len(steady) - 1) / (last - first),
        "cpu_per_1000": [1000 * (end[1] - start[1]) / count for start, end, count in quarters],
        "memory": [end[2] for _, end, _ in quarters],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--each", type=int, default=30, help="trials for each worker")
    parser.add_argument("--trials", type=int, help="trials in all, instead of --each")
    parser.add_argument("--step", type=float, choices=list(TASKS), default=1.0, help="seconds of each step")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.trials, options.step)))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("workers trials  trials/min  of ideal    driver: CPU s per 1,000 trials   MiB, by quarters")
    for workers in options.workers:
        trials = options.trials or options.each * workers
        # A process for each, so that memory and processor time are its own.
        words = [
            sys.executable,
            __file__,
            "--one",
            str(workers),
            "--trials",
            str(trials),
            "--step",
            str(options.step),
        ]
        found = json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])
        ideal = found["per_minute"] / (workers * 60 / (STEPS * options.step))
        cpu = " ".join(f"{value:.0f}" for value in found["cpu_per_1000"])
        memory = " ".join(f"{value:.0f}" for value in found["memory"])
        print(
            f"{workers:7} {found['trials']:6} {found['per_minute']:11.1f} {ideal:10.1%}   {cpu:>24}   {memory}"
            f"   ({found['whole_seconds']:.0f} s in all)",
            flush=True,
        )


if __name__ == "__main__":
    main()
