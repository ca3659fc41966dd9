"""What writing the results costs a sweep: a fraction of its wall time.

    python experiments/benchmarks/results/writing.py --repeats 3

Runs a grid of the built-in task `digits` with the store's writer under a clock. Counted is what holds up the sweep
(beginning, handing over records, closing with its compaction), and the processor time of the thread that writes
in the background, as if each second of it were taken from training.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import ray

import searcher
from searcher.results.store import Store
from searcher.results.writer import SweepWriter

SWEEP = {
    "name": "writing",
    "task": "digits",
    "epochs": 20,
    "seeds": [0],
    "strategies": [
        {"grid": {"lr": [0.003, 0.01, 0.03, 0.1, 0.3, 1.0], "weight_decay": [0.0, 1e-4], "momentum": [0.9],
                  "batch_size": [32, 128], "schedule": "step"}}
    ],
    "stop": {"overfit": "off"},
}  # fmt: skip


class Clock:
    """Adds up the time that functions take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def wrap(self, name: str, function: Callable[..., Any], now: Callable[[], float]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = now()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + now() - started

        return timed


def measure() -> tuple[float, dict[str, float]]:
    """Wall time of one sweep, and the seconds of each part of its writing."""
    clock = Clock()
    parts = [(Store, "begin", time.perf_counter), (SweepWriter, "write", time.perf_counter),
             (SweepWriter, "close", time.perf_counter), (SweepWriter, "_run", time.thread_time)]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, ExitStack() as patches:
        for owner, name, now in parts:
            patches.enter_context(mock.patch.object(owner, name, clock.wrap(name, getattr(owner, name), now)))
        started = time.perf_counter()
        results = searcher.run(searcher.parse_sweep(SWEEP | {"results": str(Path(folder, "results"))}))
        wall = time.perf_counter() - started
        assert len(results.epochs()) == 24 * 20
    return wall, clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    ray.init("local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    fractions = []
    for repeat in range(arguments.repeats):
        wall, seconds = measure()
        fractions.append(sum(seconds.values()) / wall)
        parts = ", ".join(f"{name.strip('_')} {1000 * value:.0f} ms" for name, value in seconds.items())
        print(f"{repeat + 1}: sweep {wall:.1f} s; {parts}: {100 * fractions[-1]:.2f} %", flush=True)
    spread = statistics.stdev(fractions) if len(fractions) > 1 else float("nan")
    print(
        f"writing: {100 * statistics.mean(fractions):.2f} ± {100 * spread:.2f} % of the sweep's wall time "
        f"(mean and standard deviation, n = {len(fractions)}), highest {100 * max(fractions):.2f} %; "
        f"{os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
