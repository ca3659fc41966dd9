"""The tiny task with a loss that takes its time."""

import time

import torch
from tiny_task import make_task as make_tiny_task
from torch import nn

from searcher import Task


def make_task() -> Task:
    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        time.sleep(0.005)
        return nn.functional.cross_entropy(output, target)

    tiny = make_tiny_task()
    return Task(tiny.model, tiny.train, tiny.test, tiny.holdout, loss)
