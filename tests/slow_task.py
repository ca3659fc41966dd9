"""The tiny task with a loss that takes its time, and much of it when an epoch is evaluated while a file `slowly` is
beside this one: so a sweep can be disturbed in its midst on any machine."""

import time
from pathlib import Path

import torch
from tiny_task import make_task as make_tiny_task
from torch import nn

from searcher import Task


def make_task() -> Task:
    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        slowly = not torch.is_grad_enabled() and Path(__file__).with_name("slowly").exists()
        time.sleep(0.15 if slowly else 0.005)
        return nn.functional.cross_entropy(output, target)

    tiny = make_tiny_task()
    return Task(tiny.model, tiny.train, tiny.test, tiny.holdout, loss)
