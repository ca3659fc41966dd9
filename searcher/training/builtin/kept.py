"""Arrays that take seconds to make and that every process needs: made once on a machine, then read from a file."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from searcher.training.builtin.packages import data_folder


def kept(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of a file in the data folder; made anew where it is not there or cannot be read.

    Args:
        name: of the file, with all that the arrays depend on.
    """
    file = data_folder() / f"{name}.npz"
    try:
        with np.load(file) as stored:
            return dict(stored)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        arrays = make()
    _keep(file, arrays)
    return arrays


def _keep(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes a file that is never seen half written. Where the folder takes none, the next process makes them."""
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
