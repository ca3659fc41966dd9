"""The built-in tasks. Their data come with a package or are generated, so they need no network.

Splits are fixed by a seed and stratified: a fifth is the test split, a fifth the holdout.
"""

from __future__ import annotations

import numpy as np
from torch import nn

from searcher.errors import TaskError
from searcher.training.data import stratified_split
from searcher.training.tasks import Task


def digits() -> Task:
    """scikit-learn's handwritten digits: 1,797 images of 8 x 8, ten classes; a 2-D CNN with batch norm."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise _missing("scikit-learn") from error
    data = load_digits()
    images = (data.images / 16.0).astype(np.float32)[:, None]  # [1797, 1, 8, 8]
    train, test, holdout = stratified_split(images, data.target)
    return Task(_digits_cnn, train, test, holdout, nn.functional.cross_entropy)


def mnist1d() -> Task:
    """MNIST-1D (Greydanus, arXiv 2011.14439): 5,000 generated signals of 40 points, ten classes; a 1-D CNN."""
    signals, labels = _mnist1d_arrays()
    train, test, holdout = stratified_split(signals[:, None], labels)  # [5000, 1, 40]
    return Task(_mnist1d_cnn, train, test, holdout, nn.functional.cross_entropy)


def _mnist1d_arrays() -> tuple[np.ndarray, np.ndarray]:
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as error:
        raise _missing("mnist1d") from error
    state = np.random.get_state()  # the generator of the package seeds NumPy's global one
    try:
        data = make_dataset(get_dataset_args())
    finally:
        np.random.set_state(state)
    signals = np.concatenate([data["x"], data["x_test"]]).astype(np.float32)
    labels = np.concatenate([data["y"], data["y_test"]]).astype(np.int64)
    return signals, labels


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


def _mnist1d_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 25, 5, stride=2, padding=1),  # [n, 25, 19]
        nn.ReLU(),
        nn.Conv1d(25, 25, 3, stride=2, padding=1),  # [n, 25, 10]
        nn.ReLU(),
        nn.Conv1d(25, 25, 3, stride=2, padding=1),  # [n, 25, 5]
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(125, 10),
    )


def _missing(package: str) -> TaskError:
    return TaskError(f"it needs {package}: pip install 'searcher[experiments]', or pip install {package}")
