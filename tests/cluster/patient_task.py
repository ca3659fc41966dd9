"""A task whose epochs last a second for as long as the file exists that SLOWLY names, and otherwise no time.

So a test disturbs trials in their midst however slow its machine is, and does not wait for their end. It sleeps
when it is evaluated, once an epoch for a trial or for a whole batch of them, and not in its steps, whose speed is
measured before any training.
"""

import os
import time
from pathlib import Path

import torch
from torch import nn

from searcher import Task, stratified_split


def make_task() -> Task:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(240) % 2
    inputs = torch.randn(240, 4, generator=generator) + 1.5 * targets[:, None]
    train, test, holdout = stratified_split(inputs, targets)  # 144 samples to train
    slowly = Path(os.environ.get("SLOWLY", "/nowhere"))

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        end = time.monotonic() + 1.0
        while not torch.is_grad_enabled() and slowly.exists() and time.monotonic() < end:
            time.sleep(0.05)
        return nn.functional.cross_entropy(output, target)

    # With dropout and batch normalization a trial that goes on wrongly has another curve.
    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))

    return Task(model=model, train=train, test=test, holdout=holdout, loss=loss)
