"""A real probe, in a process of its own: it measures every size, and survives what a size does to its process."""

from pathlib import Path

import pytest

from searcher.algorithms.strategies.one_cycle.trials import Trials
from searcher.records import Record, Status, StepRecord, TaskInfo, TrialRecord
from searcher.sweep import OneCycleSpec
from searcher.training.batch_probe import run_probe

TASK = """
import os, torch
from torch import nn
from searcher import Task

def make_task():
    pair = (torch.randn(512, 3), torch.arange(512) % 2)
    def loss(output, target):
        if len(output) == {size} and torch.is_grad_enabled():
            {fault}
        return nn.functional.cross_entropy(output, target)
    return Task(lambda: nn.Linear(3, 2), pair, pair, pair, loss)
"""


def probed(folder: Path, size: int, fault: str) -> tuple[list[StepRecord], TrialRecord]:
    (folder / "probed.py").write_text(TASK.format(size=size, fault=fault))
    trials = Trials("x", OneCycleSpec(), TaskInfo("probed.py:make_task", 512, 512, 512), 128, 0)
    records: list[Record] = []
    ended = run_probe("probed.py:make_task", str(folder), trials.batch_probe(), records.append)
    assert records[-1] is ended
    return [record for record in records if isinstance(record, StepRecord)], ended


@pytest.mark.parametrize(
    ("fault", "held"),
    [
        ("raise torch.OutOfMemoryError('out of memory')", [32, 64]),
        ("os.kill(os.getpid(), 9)", [32, 64]),  # as the kernel does
    ],
)
def test_every_size_is_measured_until_one_is_too_much(tmp_path: Path, fault: str, held: list[int]) -> None:
    steps, ended = probed(tmp_path, 128, fault)
    assert [step.batch_size for step in steps] == [32, 64, 128]
    assert [step.batch_size for step in steps if step.seconds is not None] == held
    assert ended.status is Status.COMPLETED
    assert ended.samples == 4 * (32 + 64 + 128), "all that was tried is counted"
    assert "batch size" in ended.status_reason


def test_an_error_of_the_task_is_the_probes(tmp_path: Path) -> None:
    _, ended = probed(tmp_path, 32, "raise RuntimeError('a loss that cannot be')")
    assert ended.status is Status.FAILED
    assert ended.status_reason == "RuntimeError: a loss that cannot be"
