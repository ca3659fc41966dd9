"""What a report costs in the default rule and in its scheduler, with 10 to 10,000 trials under way.

    python experiments/benchmarks/stopping/cost.py

Processor time of one thread. Reports come from all trials in turns; the curves are noisy, so that none is stopped.
"""

from __future__ import annotations

import statistics
import time
from types import SimpleNamespace

import numpy as np

from searcher.algorithms.stopping import Observation, Overfit
from searcher.execution.scheduler import OverfitScheduler

REPORTS, REPEATS = 100_000, 5


def rule(trials: int) -> float:
    """Microseconds for each report."""
    default, test, train = Overfit(), *curves()
    states = [default.start() for _ in range(trials)]
    observations = [
        Observation(epoch + 1, train[epoch % 997], test[epoch % 997], 0.1, 1.0, 0.01)
        for epoch in range(REPORTS // trials)
    ]
    start = time.process_time()
    for observation in observations:
        for index in range(trials):
            states[index], _ = default.judge(states[index], observation, 0.5)
    return 1e6 * (time.process_time() - start) / REPORTS


def scheduler(trials: int) -> float:
    """Microseconds for each report, within `OverfitScheduler`."""
    tested, test, train = OverfitScheduler(), *curves()
    known = [SimpleNamespace(trial_id=str(index), metric_analysis={}) for index in range(trials)]
    results = [
        {
            "training_iteration": epoch + 1,
            "train_loss": train[epoch % 997],
            "test_loss": test[epoch % 997],
            "lr": 0.1,
            "lr_left": 1.0,
            "lr_low": 0.01,
        }
        for epoch in range(REPORTS // trials)
    ]
    for trial in known:
        tested.on_trial_add(None, trial)
    start = time.process_time()
    for result in results:
        for trial in known:
            tested.on_trial_result(None, trial, result)
    return 1e6 * (time.process_time() - start) / REPORTS


def curves() -> tuple[list[float], list[float]]:
    noise = np.random.default_rng(0).normal(0, 0.1, 997)
    return (1 + noise).tolist(), (1 + noise / 2).tolist()


def main() -> None:
    print(f"microseconds a report, median (least to most) of {REPEATS} runs of {REPORTS:,} reports")
    for name, measure in (("rule", rule), ("scheduler", scheduler)):
        for trials in (10, 1000, 10_000):
            times = [measure(trials) for _ in range(REPEATS)]
            spread = f"{statistics.median(times):5.1f} ({min(times):.1f} to {max(times):.1f})"
            print(f"{name:10} {trials:6} trials  {spread}")


if __name__ == "__main__":
    main()
