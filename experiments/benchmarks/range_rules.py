"""Which rule reads the peak of a cycle off a range test best? Each rule's rate is trained, and compared.

    python experiments/benchmarks/range_rules.py [TASK ...]

For each task: `find_task_lr` with five seeds; then, for each rule, a cycle of `EPOCHS` epochs that peaks at its
rate, with the same five seeds. Printed are the rate, and the mean best test loss as a multiple of the best rule's;
below, over the tasks, the geometric mean of these multiples with its 95 % interval, and the largest. A seed without
a finite loss makes it infinite.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from searcher.algorithms.intervals import estimate
from searcher.algorithms.range_test import SUGGESTIONS
from searcher.algorithms.schedules import complete
from searcher.algorithms.stopping import rule_from
from searcher.finding import find_task_lr
from searcher.records import Configuration, Trial
from searcher.training.loop import run_trial
from searcher.training.tasks import Task, load_task

EPOCHS = 10
SEEDS = range(5)
BATCH_SIZE = 64

BUILT_IN = ("digits", "mnist1d", "mnist1d_mlp", "digits_resnet", "names_transformer")
OTHERS = ("digits_noisy", "signals_noisy", "friedman", "diabetes", "clusters")
"""Of the stopping rule's benchmark: few samples, wrong labels, regression."""

LOWER = "usable/4"
"""Not a rule that is offered: it shows whether going lower still would be better."""

RULES = (*SUGGESTIONS, LOWER)
ADAMW = ("names_transformer", "signals_noisy", "clusters")


def cycle(task: Task, name: str, configuration: Configuration, seed: int) -> float:
    trial = Trial(task=name, strategy="rules", configuration=configuration, seed=seed, length=EPOCHS)
    record = run_trial(task, trial, rule_from("off"), lambda _: None)
    return math.inf if record.best_test_loss is None else record.best_test_loss


def measure(task: Task, name: str) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """By rule, the rate that it suggests, and what a cycle that peaks there comes to."""
    plain = Configuration(
        lr=1.0,
        momentum=0.85,
        weight_decay=1e-4,
        batch_size=BATCH_SIZE,
        schedule="constant",
        optimizer="adamw" if name in ADAMW else "sgd",
    )
    cyclical = replace(plain, momentum=0.95, momentum_low=0.85, momentum_schedule="cyclical", schedule="one_cycle")
    found = find_task_lr(task, plain, seeds=SEEDS)
    rates = {rule: one.lr for rule, one in found.suggestions.items()}
    rates[LOWER] = rates["usable"] / 4
    losses = {
        rule: float(np.mean([cycle(task, name, complete(replace(cyclical, lr=rate)), seed) for seed in SEEDS]))
        for rule, rate in rates.items()
    }
    return rates, losses


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    print(f"| task | {' | '.join(RULES)} |\n| --- |{' --- |' * len(RULES)}", flush=True)
    multiples: dict[str, list[float]] = {rule: [] for rule in RULES}
    for name in names:
        place = f"{Path(__file__).parent}/stopping/tasks.py:{name}" if name in OTHERS else name
        rates, losses = measure(load_task(place), name)
        for rule in RULES:
            multiples[rule].append(losses[rule] / min(losses.values()))
        cells = [f"{rates[rule]:.2g}: {multiples[rule][-1]:.2f}" for rule in RULES]
        print(f"| `{name}` | {' | '.join(cells)} |", flush=True)
    means = {rule: estimate(np.log(some).tolist()) for rule, some in multiples.items()}
    cells = [f"{math.exp(one.mean):.2f} ({math.exp(one.low):.2f} to {math.exp(one.high):.2f})"
             if one else "" for one in means.values()]  # fmt: skip
    print(f"| geometric mean | {' | '.join(cells)} |")
    print(f"| largest | {' | '.join(f'{max(some):.2f}' for some in multiples.values())} |")


if __name__ == "__main__":
    main(sys.argv[1:] or [*BUILT_IN, *OTHERS])
