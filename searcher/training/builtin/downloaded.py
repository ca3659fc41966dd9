"""Tasks of CIFAR-10, CIFAR-100 and MNIST, with the networks of the papers. They need a network, once.

The data are looked for in `data_folder()` as their authors distribute them, unpacked. Where they are not there,
torchvision downloads them (and checks their hashes) if it is installed. Photographs stay bytes on the device.

Splits: a tenth of the published training images, stratified and fixed by a seed, is the test split, by which
things are chosen, and the rest is the train split; the published test images are the holdout.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import nn

from searcher.errors import TaskError
from searcher.training.builtin.formats import Labelled, read_cifar, read_idx
from searcher.training.builtin.networks import ShiftAndFlip, Standardize, lenet, resnet, resnet9
from searcher.training.builtin.packages import FOLDER_VARIABLE, data_folder
from searcher.training.data import TensorSplit, as_split
from searcher.training.tasks import Task

TEST_SHARE = 0.1

# Mean and deviation of each channel of the training images.
_CIFAR10_COLOURS = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
_CIFAR100_COLOURS = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
_MNIST_GREY = ((0.1307,), (0.3081,))


def cifar10() -> Task:
    """CIFAR-10 with ResNet-56, as in 1708.07120 and 1803.09820: 60,000 photographs of 32 x 32, ten classes."""
    return _photographs(_cifar10(), lambda: resnet(9, 3, 10), _CIFAR10_COLOURS)


def cifar10_resnet9() -> Task:
    """CIFAR-10 with ResNet-9."""
    return _photographs(_cifar10(), lambda: resnet9(10), _CIFAR10_COLOURS)


def cifar100() -> Task:
    """CIFAR-100 with ResNet-56."""
    folder = _found("cifar-100-python", "CIFAR-100", lambda root: _download_cifar("CIFAR100", root))
    parts = read_cifar([folder / "train"], b"fine_labels"), read_cifar([folder / "test"], b"fine_labels")
    return _photographs(parts, lambda: resnet(9, 3, 100), _CIFAR100_COLOURS)


def mnist() -> Task:
    """MNIST with LeNet, as in 1803.09820: 70,000 digits of 28 x 28."""
    folder = _found("MNIST/raw", "MNIST", _download_mnist)
    parts = [
        (read_idx(folder / f"{name}-images-idx3-ubyte")[:, None], read_idx(folder / f"{name}-labels-idx1-ubyte"))
        for name in ("train", "t10k")
    ]
    train, test, holdout = _splits(parts[0], parts[1])
    model = lambda: nn.Sequential(Standardize(*_MNIST_GREY), lenet())  # noqa: E731
    return Task(model, train, test, holdout, nn.functional.cross_entropy)


def _cifar10() -> tuple[Labelled, Labelled]:
    folder = _found("cifar-10-batches-py", "CIFAR-10", lambda root: _download_cifar("CIFAR10", root))
    batches = [folder / f"data_batch_{number}" for number in range(1, 6)]
    return read_cifar(batches, b"labels"), read_cifar([folder / "test_batch"], b"labels")


def _photographs(
    parts: tuple[Labelled, Labelled],
    network: Callable[[], nn.Module],
    colours: tuple[tuple[float, ...], tuple[float, ...]],
) -> Task:
    train, test, holdout = _splits(*parts)
    model = lambda: nn.Sequential(Standardize(*colours), ShiftAndFlip(), network())  # noqa: E731
    return Task(model, train, test, holdout, nn.functional.cross_entropy)


def _splits(published: Labelled, holdout: Labelled) -> tuple[TensorSplit, TensorSplit, TensorSplit]:
    images, labels = published
    random = np.random.default_rng(0)
    is_test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        is_test[members[: round(TEST_SHARE * len(members))]] = True
    return (
        _split(images[~is_test], labels[~is_test], "train"),
        _split(images[is_test], labels[is_test], "test"),
        _split(*holdout, "holdout"),
    )


def _split(images: np.ndarray, labels: np.ndarray, name: str) -> TensorSplit:
    split = as_split((images, labels.astype(np.int64)), name)
    assert isinstance(split, TensorSplit)
    return split


def _found(place: str, title: str, download: Callable[[str], None]) -> Path:
    """The folder of a data set, downloaded where it is not there yet.

    A download goes to a folder of its own, which is renamed when it is whole: two processes may download at once.
    """
    folder = data_folder() / place
    if folder.is_dir():
        return folder
    try:
        import torchvision  # noqa: F401
    except ImportError as error:
        raise TaskError(
            f"there is no {title} in {folder}: unpack it there ({FOLDER_VARIABLE} names the folder of {place}), "
            "or let torchvision download it: pip install 'searcher[vision]'"
        ) from error
    data_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data_folder()) as scratch:
        try:
            download(scratch)
        except Exception as error:
            raise TaskError(f"{title} cannot be downloaded: {' '.join(str(error).split())}") from error
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            Path(scratch, place).rename(folder)
        except OSError as error:
            if not folder.is_dir():
                raise TaskError(f"{title} cannot be kept in {folder}: {error.strerror}") from error
    return folder


def _download_cifar(name: str, root: str) -> None:
    import torchvision
    from torchvision.datasets.utils import download_and_extract_archive

    # Not through its class, which would also read the files, by an unpickler that runs whatever they say.
    about = getattr(torchvision.datasets, name)
    download_and_extract_archive(about.url, root, filename=about.filename, md5=about.tgz_md5)


def _download_mnist(root: str) -> None:
    import torchvision

    torchvision.datasets.MNIST(root, download=True)
