"""How the trials of a sweep are spread over carriers."""

from pathlib import Path

import pytest

from searcher import study
from searcher.algorithms.packing import Packing
from searcher.execution.packer import Packer
from searcher.records import History
from searcher.sweep import parse_sweep

HERE = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("trials", "workers", "width", "loads"),
    [
        (32, 2, 16, [16, 16]),
        (16, 3, 16, [6, 6, 4]),
        (64, 2, 16, [32, 16, 16]),
        (16, 3, 1, [6, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        (3, 8, 16, [1, 1, 1]),
    ],
)
def test_a_group_is_spread_over_the_workers(trials: int, workers: int, width: int, loads: list[int]) -> None:
    grid = {"lr": [0.001 * (1 + it) for it in range(trials)], "momentum": 0.9, "weight_decay": 0, "batch_size": 48}
    sweep = parse_sweep({
        "name": "packed", "task": "tiny_task.py:make_task", "epochs": 500, "seeds": [0],
        "strategies": [{"grid": grid | {"schedule": "step"}}],
    })  # fmt: skip
    history, packer = History(), Packer(study.prepare(sweep, HERE).strategies, workers, fuse=True)
    found = []
    while proposals := packer.proposals("grid", history):
        load = packer.load(proposals)
        packer.learn(load[0], Packing(width, False, "measured"))  # as the first carrier finds it
        found.append(len(load))
        for trial in load:
            history.start(trial)
    assert found == loads
