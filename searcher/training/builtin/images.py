"""Tasks of scikit-learn's handwritten digits: 1,797 images of 8 x 8, ten classes."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from torch import nn

from searcher.training.builtin.kept import kept
from searcher.training.builtin.networks import resnet
from searcher.training.builtin.packages import missing
from searcher.training.data import TensorSplit, stratified_split
from searcher.training.tasks import Task


def digits() -> Task:
    """The digits with a 2-D CNN with batch normalization."""
    train, test, holdout = _digits_splits()
    return Task(_digits_cnn, train, test, holdout, nn.functional.cross_entropy)


def digits_resnet() -> Task:
    """The digits with a residual network of 10 layers with batch normalization."""
    train, test, holdout = _digits_splits()
    return Task(lambda: resnet(2, 1, 10, widths=(16, 32)), train, test, holdout, nn.functional.cross_entropy)


def _digits_splits() -> tuple[TensorSplit, TensorSplit, TensorSplit]:
    try:
        release = version("scikit-learn")
    except ImportError as error:
        raise missing("scikit-learn") from error
    arrays = kept(f"digits-{release}", _read)
    return stratified_split(arrays["images"], arrays["labels"])


def _read() -> dict[str, np.ndarray]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return {"images": (data.images / 16.0).astype(np.float32)[:, None], "labels": data.target}  # [1797, 1, 8, 8]


def _digits_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),  # [n, 16, 8, 8]
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),  # [n, 16, 4, 4]
        nn.Conv2d(16, 32, 3, padding=1, bias=False),  # [n, 32, 4, 4]
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),  # [n, 32, 2, 2]
        nn.Flatten(),
        nn.Linear(128, 10),
    )
