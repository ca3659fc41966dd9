"""Writes small image sets in the formats in which CIFAR and MNIST are published."""

import io
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Pickles as Python 2 did, by which CIFAR's files were written: texts are bytes, names are the old ones."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_string(self, text: bytes | str) -> None:
        data = text if isinstance(text, bytes) else text.encode()
        short = len(data) < 256
        self.write((b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))) + data)
        self.memoize(text)

    dispatch[bytes] = dispatch[str] = save_string

    def save_global(self, what: Any, name: str | None = None) -> None:
        old = {"numpy._core.multiarray": "numpy.core.multiarray"}
        self.write(f"c{old.get(what.__module__, what.__module__)}\n{what.__name__}\n".encode())
        self.memoize(what)


def python2_pickle(value: Any) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def cifar_batch(images: np.ndarray, labels: np.ndarray, key: str = "labels") -> bytes:
    """Images `[n, 3, 32, 32]` as the rows of 3,072 bytes that they are in a batch."""
    return python2_pickle({
        "batch_label": "a batch",
        key: labels.tolist(),
        "data": images.reshape(len(images), -1),
        "filenames": [f"{number}.png" for number in range(len(images))],
    })  # fmt: skip


def idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def images_and_labels(count: int, classes: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """As many of each class; the brightness of an image tells its class."""
    random = np.random.default_rng(count)
    labels = np.arange(count) % classes
    noise = random.integers(0, 20, (count, *shape))
    bright = (labels * (200 // classes)).reshape(-1, *(1 for _ in shape))
    return (bright + noise).astype(np.uint8), labels


def write_cifar10(folder: Path, per_batch: int = 20) -> None:
    (folder / "cifar-10-batches-py").mkdir(parents=True)
    for number, name in enumerate(["test_batch", *(f"data_batch_{number}" for number in range(1, 6))]):
        images, labels = images_and_labels(per_batch + number, 10, (3, 32, 32))
        (folder / "cifar-10-batches-py" / name).write_bytes(cifar_batch(images, labels))


def write_cifar100(folder: Path, samples: int = 1000) -> None:
    (folder / "cifar-100-python").mkdir(parents=True)
    for name, count in {"train": samples, "test": 100}.items():
        images, labels = images_and_labels(count, 100, (3, 32, 32))
        (folder / "cifar-100-python" / name).write_bytes(cifar_batch(images, labels, "fine_labels"))


def write_mnist(folder: Path, samples: int = 100) -> None:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, count in {"train": samples, "t10k": 20}.items():
        images, labels = images_and_labels(count, 10, (28, 28))
        (raw / f"{name}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels.astype(np.uint8)))
