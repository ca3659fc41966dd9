"""A task whose training steps last STEP_SECONDS: as long as a test needs on a cluster; by default no time."""

import os
import time

import torch
from torch import nn

from searcher import Task, stratified_split


def make_task() -> Task:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(240) % 2
    inputs = torch.randn(240, 4, generator=generator) + 1.5 * targets[:, None]
    train, test, holdout = stratified_split(inputs, targets)  # 144 samples to train
    seconds = float(os.environ.get("STEP_SECONDS", "0"))

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            time.sleep(seconds)
        return nn.functional.cross_entropy(output, target)

    # With dropout and batch normalization a trial that goes on wrongly has another curve.
    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))

    return Task(model=model, train=train, test=test, holdout=holdout, loss=loss)
