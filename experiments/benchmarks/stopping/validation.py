"""Six tasks recorded to validate the default rule, never to tune it: longer runs, heavy tails, large rates.

They differ from those of `tasks.py` in what they train (a recurrent network, a likelihood that falls below zero),
in the length of the runs (80 to 200 epochs) and in rates so large that the loss is spiky.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits, make_friedman1, make_moons
from tasks import Recorded, mlp, regression, with_wrong_labels
from torch import Tensor, nn

from searcher.training.builtin import mnist1d
from searcher.training.data import TensorSplit, stratified_split
from searcher.training.tasks import Task


def heavy() -> Task:
    """Regression with Student's t noise (2.5 degrees of freedom), 300 training samples: outliers make it spiky."""
    random = np.random.default_rng(1)
    inputs = random.normal(size=(1500, 12))
    targets = np.cos(inputs[:, 0]) + np.abs(inputs[:, 1]) - inputs[:, 2] + random.standard_t(2.5, size=1500)
    return regression(inputs, targets, train=300)


def signals_wrong() -> Task:
    """A tiny convolutional network on 1,000 signals of MNIST-1D; four of ten training labels are random."""
    base = mnist1d()

    def network() -> nn.Module:
        return nn.Sequential(
            nn.Unflatten(1, (1, 40)),
            nn.Conv1d(1, 12, 5, stride=2),
            nn.ReLU(),
            nn.Conv1d(12, 24, 5, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24 * 7, 10),
        )

    train = TensorSplit(base.train.inputs[:1000].reshape(1000, 40), base.train.targets[:1000])
    test, holdout = (TensorSplit(s.inputs.reshape(len(s), 40), s.targets) for s in (base.test, base.holdout))
    return Task(network, with_wrong_labels(train, 0.4), test, holdout, nn.functional.cross_entropy)


def moons() -> Task:
    """Two moons among ten inputs, 200 training samples, a quarter of their labels random, under rates up to 3."""
    points, labels = make_moons(1000, noise=0.25, random_state=1)
    noise = np.random.default_rng(1).normal(size=(1000, 8))
    inputs = np.hstack([points, noise]).astype(np.float32)
    train, test, holdout = stratified_split(inputs, labels, test=0.4, holdout=0.4)
    train = with_wrong_labels(train, 0.25, classes=2)
    return Task(lambda: mlp(10, 128, 2), train, test, holdout, nn.functional.cross_entropy)


def hetero() -> Task:
    """A Gaussian of unknown mean and width for each sample, by its log-likelihood, which may be negative.

    300 training samples, whose noise grows with the first input from a standard deviation of 0.05 to 0.5.
    """
    random = np.random.default_rng(1)
    inputs = random.uniform(-1, 1, size=(1500, 6)).astype(np.float32)
    width = 0.05 + 0.45 * (inputs[:, 0] + 1) / 2
    targets = np.sin(3 * inputs[:, 1]) * inputs[:, 2] + width * random.normal(size=1500)
    parts = (slice(300), slice(300, 900), slice(900, None))
    pairs = [(inputs[part], targets[part, None].astype(np.float32)) for part in parts]

    def likelihood(output: Tensor, target: Tensor) -> Tensor:
        mean, log_width = output[:, :1], output[:, 1:].clamp(-6, 6)
        return (log_width + 0.5 * ((target - mean) / log_width.exp()) ** 2).mean()

    return Task(lambda: mlp(6, 64, 2), *pairs, likelihood, accuracy=None)


class Reader(nn.Module):
    """A recurrent network that reads an image of 8 x 8 row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(8, 48, batch_first=True)
        self.head = nn.Linear(48, 10)

    def forward(self, images: Tensor) -> Tensor:
        _, last = self.cell(images.reshape(len(images), 8, 8))
        return self.head(last[0])


def rows_gru() -> Task:
    """A recurrent network on 360 images, a quarter of their labels random."""
    data = load_digits()
    images = (data.images / 16.0).astype(np.float32)
    train, test, holdout = stratified_split(images, data.target, test=0.4, holdout=0.4)
    return Task(Reader, with_wrong_labels(train, 0.25), test, holdout, nn.functional.cross_entropy)


def friedman_small() -> Task:
    """Friedman's first function from 1,200 training samples by a network of eight units: hardly over-fits."""
    inputs, targets = make_friedman1(2800, n_features=10, noise=1.0, random_state=1)
    base = regression(inputs, targets, train=1200)
    return Task(lambda: mlp(10, 8, 1), base.train, base.test, base.holdout, base.loss, accuracy=None)


VALIDATION = {
    "heavy": Recorded(heavy, 150, (1e-4, 3e-2), optimizer="adamw"),
    "signals_wrong": Recorded(signals_wrong, 80, (1e-2, 1.0)),
    "moons": Recorded(moons, 200, (1e-2, 3.0)),
    "hetero": Recorded(hetero, 150, (1e-4, 3e-2), optimizer="adamw"),
    "rows_gru": Recorded(rows_gru, 80, (3e-4, 3e-2), optimizer="adamw"),
    "friedman_small": Recorded(friedman_small, 100, (3e-3, 0.5)),
}
