"""Tasks of MNIST-1D (Greydanus, arXiv 2011.14439): 5,000 generated signals of 40 points, ten classes."""

from __future__ import annotations

import os
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from torch import nn

from searcher.training.builtin.packages import data_folder, missing
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
    """Inputs `[5000, 40]` and labels `[5000]`, generated once: it takes seconds, and every process needs them."""
    try:
        release = version("mnist1d")
    except ImportError as error:
        raise missing("mnist1d") from error
    file = data_folder() / f"mnist1d-{release}-numpy-{np.__version__}.npz"
    try:
        with np.load(file) as stored:
            return stored["signals"], stored["labels"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        signals, labels = _generate()  # not there yet, or not readable
    _keep(file, signals=signals, labels=labels)
    return signals, labels


def _generate() -> tuple[np.ndarray, np.ndarray]:
    from mnist1d.data import get_dataset_args, make_dataset

    state = np.random.get_state()  # the generator of the package seeds NumPy's global one
    try:
        data = make_dataset(get_dataset_args())
    finally:
        np.random.set_state(state)
    signals = np.concatenate([data["x"], data["x_test"]]).astype(np.float32)
    labels = np.concatenate([data["y"], data["y_test"]]).astype(np.int64)
    return signals, labels


def _keep(file: Path, **arrays: np.ndarray) -> None:
    """Writes a file that is never seen half written. Where the folder takes none, the next process generates."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]  # its stub confuses them with allow_pickle
        os.replace(temporary, file)
    except OSError:
        Path(temporary).unlink(missing_ok=True)


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
