"""Tasks of MNIST-1D (Greydanus, arXiv 2011.14439): 5,000 generated signals of 40 points, ten classes."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from torch import nn

from searcher.training.builtin.kept import kept
from searcher.training.builtin.packages import missing
from searcher.training.data import stratified_split
from searcher.training.tasks import Task


def mnist1d() -> Task:
    """The signals with a 1-D CNN."""
    signals, labels = _signals()
    train, test, holdout = stratified_split(signals[:, None], labels)  # [5000, 1, 40]
    return Task(_cnn, train, test, holdout, nn.functional.cross_entropy)


def mnist1d_mlp() -> Task:
    """The signals with a multilayer perceptron of the width that the data set's authors chose; it over-fits."""
    signals, labels = _signals()
    train, test, holdout = stratified_split(signals[:, None], labels)  # [5000, 1, 40]
    return Task(_mlp, train, test, holdout, nn.functional.cross_entropy)


def _signals() -> tuple[np.ndarray, np.ndarray]:
    """Inputs `[5000, 40]` and labels `[5000]`."""
    try:
        release = version("mnist1d")
    except ImportError as error:
        raise missing("mnist1d") from error
    arrays = kept(f"mnist1d-{release}-numpy-{np.__version__}", _generate)
    return arrays["signals"], arrays["labels"]


def _generate() -> dict[str, np.ndarray]:
    from mnist1d.data import get_dataset_args, make_dataset

    state = np.random.get_state()  # the generator of the package seeds NumPy's global one
    try:
        data = make_dataset(get_dataset_args())
    finally:
        np.random.set_state(state)
    return {
        "signals": np.concatenate([data["x"], data["x_test"]]).astype(np.float32),
        "labels": np.concatenate([data["y"], data["y_test"]]).astype(np.int64),
    }


def _cnn() -> nn.Module:
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


def _mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),  # [n, 40]
        nn.Linear(40, 100),
        nn.ReLU(),
        nn.Linear(100, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )
