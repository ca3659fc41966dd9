"""Tasks whose training takes its time without taking a processor: many of them run at once on a few cores."""

import time

import torch
from torch import nn

from searcher import Task, stratified_split


def _sleeping(seconds: float, samples: int) -> Task:
    """Two clouds of points and a small network whose every training step sleeps first."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(samples) % 2
    inputs = torch.randn(samples, 4, generator=generator) + 1.5 * targets[:, None]
    train, test, holdout = stratified_split(inputs, targets)

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            time.sleep(seconds)
        return nn.functional.cross_entropy(output, target)

    # Dropout and batch normalization: a trial that goes on wrongly after a death would give another curve.
    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))

    return Task(model=model, train=train, test=test, holdout=holdout, loss=loss)


def tenths() -> Task:
    """144 training samples, a tenth of a second a step."""
    return _sleeping(0.1, 240)


def twentieths() -> Task:
    """144 training samples, a twentieth of a second a step, be it of one trial or of a whole batch."""
    return _sleeping(0.05, 240)


def halves() -> Task:
    """24 training samples, half a second a step."""
    return _sleeping(0.5, 40)


def three_quarters() -> Task:
    """24 training samples, three quarters of a second a step."""
    return _sleeping(0.75, 40)


def seconds() -> Task:
    """24 training samples, a second a step."""
    return _sleeping(1.0, 40)
