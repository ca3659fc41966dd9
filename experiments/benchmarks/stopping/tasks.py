"""The tasks whose full curves are recorded: most over-fit, some have wrong labels, one cannot over-fit.

The parameters of the default rule were chosen on the sweeps of `TUNED_ON`, every second task by name; those of the
others and of `validation.py` were only replayed, also when `margin` and `hopeless` were last changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_classification,
    make_friedman1,
    make_friedman3,
)
from torch import nn

from searcher.training.builtin import digits, mnist1d
from searcher.training.data import TensorSplit, stratified_split
from searcher.training.tasks import Task


@dataclass(frozen=True)
class Recorded:
    """A task, the length of its runs in epochs, its optimizer, and the learning rates that are tried."""

    make: Callable[[], Task]
    epochs: int
    lr: tuple[float, float]
    optimizer: str = "sgd"


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, outputs),
    )


def with_wrong_labels(split: TensorSplit, fraction: float, classes: int = 10) -> TensorSplit:
    """A fraction of the labels replaced by random ones, the same at every call."""
    random = np.random.default_rng(0)
    labels = split.targets.numpy().copy()
    wrong = random.random(len(labels)) < fraction
    labels[wrong] = random.integers(0, classes, wrong.sum())
    return TensorSplit(split.inputs, torch.from_numpy(labels))


def signals_mlp() -> Task:
    base = mnist1d()
    return Task(lambda: mlp(40, 256, 10), base.train, base.test, base.holdout, base.loss)


def signals_small() -> Task:
    """A network too small to over-fit."""
    base = mnist1d()
    return Task(lambda: mlp(40, 8, 10), base.train, base.test, base.holdout, base.loss)


def signals_noisy() -> Task:
    """The convolutional network of `mnist1d`; three of ten training labels are random."""
    base = mnist1d()
    return Task(base.model, with_wrong_labels(base.train, 0.3), base.test, base.holdout, base.loss)


def digits_noisy() -> Task:
    """360 training images, a fifth of their labels random."""
    data = load_digits()
    images = (data.images / 16.0).astype(np.float32)
    train, test, holdout = stratified_split(images, data.target, test=0.4, holdout=0.4)
    return Task(lambda: mlp(64, 128, 10), with_wrong_labels(train, 0.2), test, holdout, nn.functional.cross_entropy)


def friedman() -> Task:
    """Regression of Friedman's first function, 300 training samples with noise of standard deviation 2."""
    inputs, targets = make_friedman1(1500, n_features=10, noise=2.0, random_state=0)
    return regression(inputs, targets, train=300)


def diabetes() -> Task:
    """Regression of scikit-learn's diabetes progression, 221 training samples."""
    return regression(*load_diabetes(return_X_y=True), train=221)


def cancer_noisy() -> Task:
    """Breast cancer, 284 training samples, a fifth of their labels random."""
    data = load_breast_cancer()
    inputs = ((data.data - data.data.mean(0)) / data.data.std(0)).astype(np.float32)
    train, test, holdout = stratified_split(inputs, data.target, test=0.25, holdout=0.25)
    train = with_wrong_labels(train, 0.2, classes=2)
    return Task(lambda: mlp(30, 128, 2), train, test, holdout, nn.functional.cross_entropy)


def clusters() -> Task:
    """Three classes of two clusters each in 30 dimensions, 400 training samples, one label in ten random."""
    return _clusters(2000, lambda: mlp(30, 128, 3), test=0.4, holdout=0.4)


def clusters_linear() -> Task:
    """The same from 4,000 training samples and with a linear model, which cannot over-fit."""
    return _clusters(8000, lambda: nn.Linear(30, 3), test=0.25, holdout=0.25)


def _clusters(samples: int, model: Callable[[], nn.Module], test: float, holdout: float) -> Task:
    inputs, labels = make_classification(samples, 30, n_informative=8, n_classes=3, flip_y=0.1, random_state=0)
    splits = stratified_split(inputs.astype(np.float32), labels, test=test, holdout=holdout)
    return Task(model, *splits, nn.functional.cross_entropy)


def friedman3() -> Task:
    """Regression of Friedman's third function, 200 training samples with noise of standard deviation 0.2."""
    inputs, targets = make_friedman3(1200, noise=0.2, random_state=0)
    return regression(inputs, targets, train=200)


def teacher() -> Task:
    """Five classes as a random network sees them, 300 training samples, a fifth of their labels random."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(1500, 20)).astype(np.float32)
    hidden = np.tanh(inputs @ random.normal(size=(20, 30)) / math.sqrt(20))
    labels = (hidden @ random.normal(size=(30, 5))).argmax(1)
    train, test, holdout = stratified_split(inputs, labels, test=0.4, holdout=0.4)
    train = with_wrong_labels(train, 0.2, classes=5)
    return Task(lambda: mlp(20, 128, 5), train, test, holdout, nn.functional.cross_entropy)


def sparse() -> Task:
    """Regression of three of 30 numbers, 250 training samples with noise of standard deviation 0.5."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(1250, 30))
    targets = np.sin(2 * inputs[:, 0]) + inputs[:, 1] * inputs[:, 2] + 0.5 * random.normal(size=1250)
    return regression(inputs, targets, train=250)


def wine() -> Task:
    """Wine, three classes, 89 training samples, three in twenty labels random; very small test splits."""
    data = load_wine()
    inputs = ((data.data - data.data.mean(0)) / data.data.std(0)).astype(np.float32)
    train, test, holdout = stratified_split(inputs, data.target, test=0.25, holdout=0.25)
    train = with_wrong_labels(train, 0.15, classes=3)
    return Task(lambda: mlp(13, 64, 3), train, test, holdout, nn.functional.cross_entropy)


def regression(inputs: np.ndarray, targets: np.ndarray, train: int) -> Task:
    """Standardized on the training samples; what is left over is halved into test and holdout."""
    order = np.random.default_rng(0).permutation(len(inputs))
    inputs, targets = inputs[order], targets[order, None]
    inputs = (inputs - inputs[:train].mean(0)) / inputs[:train].std(0)
    targets = (targets - targets[:train].mean()) / targets[:train].std()
    middle = train + (len(inputs) - train) // 2
    parts = [slice(0, train), slice(train, middle), slice(middle, None)]
    splits = [(inputs[part].astype(np.float32), targets[part].astype(np.float32)) for part in parts]
    return Task(lambda: mlp(inputs.shape[1], 64, 1), *splits, nn.functional.mse_loss, accuracy=None)


TASKS = {
    "signals_mlp": Recorded(signals_mlp, 60, (3e-3, 1.0)),
    "digits_noisy": Recorded(digits_noisy, 80, (3e-3, 1.0)),
    "friedman": Recorded(friedman, 80, (1e-3, 0.2)),
    "signals_small": Recorded(signals_small, 40, (3e-3, 1.0)),
    "signals_cnn": Recorded(mnist1d, 50, (3e-3, 0.5)),
    "signals_noisy": Recorded(signals_noisy, 50, (1e-4, 3e-2), optimizer="adamw"),
    "diabetes": Recorded(diabetes, 100, (1e-4, 3e-2), optimizer="adamw"),
    "digits_cnn": Recorded(digits, 30, (3e-3, 1.0)),
    "cancer_noisy": Recorded(cancer_noisy, 80, (3e-3, 1.0)),
    "clusters": Recorded(clusters, 60, (1e-4, 3e-2), optimizer="adamw"),
    "clusters_linear": Recorded(clusters_linear, 30, (3e-3, 1.0)),
    "friedman3": Recorded(friedman3, 120, (3e-3, 0.3)),
    "teacher": Recorded(teacher, 80, (3e-3, 0.5)),
    "sparse": Recorded(sparse, 100, (1e-4, 1e-2), optimizer="adamw"),
    "wine": Recorded(wine, 60, (3e-3, 0.3)),
}

TUNED_ON = sorted(TASKS)[1::2]
