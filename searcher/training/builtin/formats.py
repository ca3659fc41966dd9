"""The file formats of small image sets: CIFAR's batches of Python 2 pickles, and MNIST's IDX."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from searcher.errors import TaskError

Labelled = tuple[np.ndarray, np.ndarray]
"""Images `[n, channels, h, w]` of bytes, and labels `[n]`."""


def read_cifar(files: Sequence[Path], labels: bytes) -> Labelled:
    """Images `[n, 3, 32, 32]` and labels of CIFAR's batches, one after another.

    Args:
        labels: the key of the labels: `b"labels"`, or `b"fine_labels"` for CIFAR-100.

    Raises:
        TaskError: a file is missing, or is no such batch; nothing that it names is ever run.
    """
    images, numbers = [], []
    for file in files:
        try:
            with file.open("rb") as stream:
                batch = _ArraysOnly(stream, encoding="bytes").load()
            data = np.asarray(batch[b"data"], dtype=np.uint8)
            images.append(data.reshape(-1, 3, 32, 32))
            numbers.append(np.asarray(batch[labels], dtype=np.int64))
        except OSError as error:
            raise TaskError(f"{file}: {error.strerror}") from error
        except Exception as error:  # a damaged pickle raises whatever it likes
            raise TaskError(f"{file} is no batch of CIFAR: {type(error).__name__}: {error}") from error
        if len(numbers[-1]) != len(images[-1]):
            raise TaskError(f"{file}: got {len(images[-1])} images and {len(numbers[-1])} labels")
    return np.concatenate(images), np.concatenate(numbers)


class _ArraysOnly(pickle.Unpickler):
    """Builds the containers of Python and NumPy arrays of numbers, and refuses to look up anything else."""

    def find_class(self, module: str, name: str) -> Any:
        package, _, rest = module.partition(".")
        if package == "numpy":
            if (rest, name) in {("core.multiarray", "_reconstruct"), ("_core.multiarray", "_reconstruct")}:
                return _empty_array
            if (rest, name) == ("", "ndarray"):
                return np.ndarray
            if (rest, name) == ("", "dtype"):
                return _number_type
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _empty_array(kind: Any, shape: Any, dtype: Any) -> np.ndarray:
    """What NumPy's pickles start from, before the state of the array is set."""
    if kind is not np.ndarray:
        raise pickle.UnpicklingError(f"it asks for an array of {kind}")
    return np.ndarray((0,), dtype=np.uint8)


def _number_type(code: Any, *flags: Any) -> np.dtype[Any]:
    dtype = np.dtype(code.decode() if isinstance(code, bytes) else code)
    if dtype.kind not in "iufb":
        raise pickle.UnpicklingError(f"it asks for an array of {dtype}")
    return dtype


def read_idx(file: Path) -> np.ndarray:
    """An array of bytes from an IDX file: 0, 0, 8 (bytes), dimensions, each size in four bytes, then the data.

    Raises:
        TaskError: it is missing, or not of this form.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise TaskError(f"{file}: {error.strerror}") from error
    if content[:3] != b"\0\0\x08" or len(content) < 4 or not 1 <= content[3] <= 3:
        raise TaskError(
            f"{file} is no IDX file of bytes with one to three dimensions: it starts with {content[:4]!r}"
        )
    sizes = np.frombuffer(content, ">u4", count=min(content[3], (len(content) - 4) // 4), offset=4)
    start = 4 + 4 * content[3]
    if len(sizes) < content[3] or len(content) - start != np.prod(sizes, dtype=np.int64):
        raise TaskError(
            f"{file}: got {len(content)} bytes, which are not the {tuple(sizes.tolist())} that it announces"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes.tolist())
