"""Which rule reads the peak of a cycle off a range test best? Each rule's rate is trained, and compared.

    python experiments/benchmarks/range_rules.py [TASK ...]

For each task: `find_task_lr` with three seeds; then, for each rule, a cycle of `EPOCHS` epochs that peaks at its
rate, with the same three seeds. Printed are the rate and the mean best test loss, as a multiple of the best rule's;
a seed whose loss is not finite makes it infinite.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import numpy as np
import torch

from searcher.algorithms.range_test import SUGGESTIONS
from searcher.algorithms.schedules import complete
from searcher.algorithms.stopping import rule_from
from searcher.finding import find_task_lr
from searcher.records import Configuration, Trial
from searcher.training.loop import run_trial
from searcher.training.tasks import Task, load_task

EPOCHS = 10
SEEDS = (0, 1, 2)
BATCH_SIZE = 64


def cycle(task: Task, name: str, configuration: Configuration, seed: int) -> float:
    trial = Trial(task=name, strategy="rules", configuration=configuration, seed=seed, length=EPOCHS)
    record = run_trial(task, trial, rule_from("off"), lambda _: None)
    return math.inf if record.best_test_loss is None else record.best_test_loss


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    print(f"{'task':<20}" + "".join(f"{rule:>22}" for rule in SUGGESTIONS))
    for name in names:
        task = load_task(name)
        optimizer = "adamw" if "transformer" in name else "sgd"
        usual = Configuration(
            lr=1.0,
            momentum=0.95,
            momentum_low=0.85,
            momentum_schedule="cyclical",
            weight_decay=1e-4,
            batch_size=BATCH_SIZE,
            schedule="one_cycle",
            optimizer=optimizer,
        )
        tested = Configuration(
            lr=1.0,
            momentum=0.85,
            weight_decay=1e-4,
            batch_size=BATCH_SIZE,
            schedule="constant",
            optimizer=optimizer,
        )
        rates = {rule: one.lr for rule, one in find_task_lr(task, tested, seeds=SEEDS).suggestions.items()}
        losses = {
            rule: float(np.mean([cycle(task, name, complete(replace(usual, lr=rate)), seed) for seed in SEEDS]))
            for rule, rate in rates.items()
        }
        best = min(losses.values())
        cells = [f"{rates[rule]:.3g}: {losses[rule] / best:.2f}" for rule in SUGGESTIONS]
        print(f"{name:<20}" + "".join(f"{cell:>22}" for cell in cells), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["digits", "mnist1d", "mnist1d_mlp", "names_transformer"])
