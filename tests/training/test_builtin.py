"""The built-in tasks: their data, also in the formats of CIFAR and MNIST, and their networks."""

import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from training.image_files import (
    cifar_batch,
    idx,
    images_and_labels,
    python2_pickle,
    write_cifar10,
    write_cifar100,
    write_mnist,
)

from searcher.algorithms.schedules import complete
from searcher.algorithms.stopping import rule_from
from searcher.errors import TaskError
from searcher.records import Configuration, Status, Trial
from searcher.training.builtin import formats
from searcher.training.builtin.networks import ShiftAndFlip, Standardize, resnet, resnet9
from searcher.training.data import TensorSplit
from searcher.training.loop import run_trial
from searcher.training.tasks import BUILT_IN, Task, _load, load_task

DOWNLOADED = {
    "cifar10": write_cifar10,
    "cifar10_resnet9": write_cifar10,
    "cifar100": write_cifar100,
    "mnist": write_mnist,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Work this small only waits for its threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, and no task kept from before."""
    monkeypatch.setenv("SEARCHER_DATA", str(tmp_path))
    _load.cache_clear()
    return tmp_path


def epoch_of(task: Task, name: str, samples: int = 16) -> None:
    """One epoch of the loop over the first samples ends well."""
    few = [
        TensorSplit(split.inputs[:samples], split.targets[:samples])
        for split in (task.train, task.test)
        if isinstance(split, TensorSplit)
    ]
    small = Task(task.model, few[0], few[1], few[1], task.loss, task.accuracy)
    configuration = complete(
        Configuration(lr=0.01, momentum=0.9, weight_decay=0, batch_size=8, schedule="constant")
    )
    trial = Trial(task=name, strategy="s", configuration=configuration, seed=0, length=1)
    record = run_trial(small, trial, rule_from("off"), lambda _: None)
    assert (record.status, record.status_reason) == (Status.COMPLETED, "")


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name not in DOWNLOADED])
def test_the_offline_tasks_train(name: str) -> None:
    epoch_of(load_task(name), name)


@pytest.mark.parametrize(
    ("name", "sizes", "shape"),
    [
        # 20 + k images in batch k, the fewest classes of which have 11; a tenth of each class is for the test split
        ("cifar10", (104, 11, 20), (3, 32, 32)),
        ("cifar100", (900, 100, 100), (3, 32, 32)),
        ("mnist", (90, 10, 20), (1, 28, 28)),
    ],
)
def test_published_files_are_read_and_split(data: Path, name: str, sizes: tuple[int, ...], shape: tuple) -> None:
    DOWNLOADED[name](data)
    task = load_task(name)
    splits = [split for split in (task.train, task.test, task.holdout) if isinstance(split, TensorSplit)]
    assert tuple(len(split) for split in splits) == sizes
    assert {tuple(split.inputs.shape[1:]) for split in splits} == {shape}
    assert {split.inputs.dtype for split in splits} == {torch.uint8}
    for split in splits:  # each label is still with its image
        brightness = split.inputs.flatten(1).float().mean(1) - 9.5
        step = 200 // (100 if name == "cifar100" else 10)
        assert torch.equal((brightness / step).round().long(), split.targets)


def test_the_training_batches_are_all_read_and_the_test_batch_is_the_holdout(data: Path) -> None:
    write_cifar10(data)
    task = load_task("cifar10")
    assert isinstance(task.holdout, TensorSplit)
    images, labels = images_and_labels(20, 10, (3, 32, 32))
    assert np.array_equal(task.holdout.inputs, images)
    assert np.array_equal(task.holdout.targets, labels)


@pytest.mark.parametrize("name", DOWNLOADED)
def test_the_networks_of_the_papers_train(data: Path, name: str) -> None:
    DOWNLOADED[name](data)
    epoch_of(load_task(name), name, samples=4)


def test_without_data_and_torchvision_it_says_what_to_do(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(TaskError, match=r"no CIFAR-10 in .*cifar-10-batches-py.*SEARCHER_DATA.*pip install"):
        load_task("cifar10")


def torchvision_that(download: object) -> dict[str, ModuleType]:
    """Stands in for torchvision, of which only names are used: tests reach no network."""
    about = SimpleNamespace(url="https://example.org/cifar.tar.gz", filename="cifar.tar.gz", tgz_md5="0" * 32)
    vision, datasets, utils = (ModuleType(f"torchvision{part}") for part in ("", ".datasets", ".datasets.utils"))
    vision.datasets, datasets.utils, datasets.CIFAR10 = datasets, utils, about  # type: ignore[attr-defined]
    utils.download_and_extract_archive = download  # type: ignore[attr-defined]
    return {module.__name__: module for module in (vision, datasets, utils)}


def test_a_download_appears_when_it_is_whole(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(url: str, root: str, *, filename: str, md5: str) -> None:
        assert not (data / "cifar-10-batches-py").exists()
        write_cifar10(Path(root))

    for name, module in torchvision_that(download).items():
        monkeypatch.setitem(sys.modules, name, module)
    assert len(load_task("cifar10").holdout) == 20
    assert [path.name for path in data.iterdir()] == ["cifar-10-batches-py"]


def test_a_download_that_fails_leaves_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(url: str, root: str, **about: str) -> None:
        (Path(root) / "half").touch()
        raise RuntimeError("File not found or\ncorrupted.")

    for name, module in torchvision_that(download).items():
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(TaskError, match="CIFAR-10 cannot be downloaded: File not found or corrupted"):
        load_task("cifar10")
    assert list(data.iterdir()) == []


class Runs:
    def __reduce__(self) -> tuple:
        return os.system, ("touch pwned",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps(Runs()), "asks for posix.system"),
        (python2_pickle({"data": np.zeros((1, 3072), object), "labels": [0]}), "asks for an array of object"),
        (b"", "EOFError"),
        (cifar_batch(*images_and_labels(3, 3, (3, 32, 32)))[:-100], "is no batch of CIFAR"),
        (python2_pickle({"data": np.zeros((1, 3072), np.uint8)}), "KeyError: b'labels'"),
        (python2_pickle({"data": np.zeros((1, 3), np.uint8), "labels": [0]}), "cannot reshape"),
        (python2_pickle({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}), "got 2 images and 1 labels"),
    ],
)
def test_a_file_that_is_no_batch_of_arrays_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("batch").write_bytes(content)
    with pytest.raises(TaskError, match=words):
        formats.read_cifar([Path("batch")], b"labels")
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08", b"\0\0\x0d\1\0\0\0\1x", b"\0\0\x08\1\0\0", idx(np.zeros(3, np.uint8))[:-1]]
)
def test_a_file_that_is_no_idx_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(TaskError, match="file.* (is no IDX file|which are not)"):
        formats.read_idx(tmp_path / "file")


def layers_with_weights(network: nn.Module) -> int:
    return sum(isinstance(module, nn.Conv2d | nn.Linear) for module in network.modules())


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_residual_networks_are_the_published_ones() -> None:
    """He et al., table 6: ResNet-56 has 0.85 million parameters, ResNet-20 0.27; Page's ResNet-9 has 6.57."""
    assert (layers_with_weights(resnet(9, 3, 10)), parameters(resnet(9, 3, 10))) == (56, 853_018)
    assert (layers_with_weights(resnet(3, 3, 10)), parameters(resnet(3, 3, 10))) == (20, 269_722)
    assert (layers_with_weights(resnet9(10)), parameters(resnet9(10))) == (9, 6_573_120)


def test_a_transformer_does_not_see_what_it_predicts() -> None:
    model = load_task("names_transformer").model().eval()
    text = torch.randint(38, (1, 32), generator=torch.Generator().manual_seed(0))
    changed = text.clone()
    changed[0, 20] = (changed[0, 20] + 1) % 38
    with torch.no_grad():
        differs = (model(text) - model(changed)).abs().amax(1)[0] > 1e-6
    assert differs.tolist() == [False] * 20 + [True] * 12


def test_the_text_is_the_same_with_every_python() -> None:
    """Compared with Python 3.6 to 3.13."""
    assert load_task("names_transformer").digest() == "45969643ac5ed192"


def test_standardize_is_taken_of_bytes() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).view(1, 2, 1, 1)
    out = Standardize((0.5, 0.5), (0.25, 0.5))(images)
    assert out.flatten().tolist() == [-2.0, 1.0]


def test_shift_and_flip_moves_each_image_within_its_padding() -> None:
    image = torch.arange(1.0, 2 * 6 * 6 + 1).view(1, 2, 6, 6)
    padded = nn.functional.pad(image, (1, 1, 1, 1))
    whole = {tuple(padded[:, :, y : y + 6, x : x + 6].flatten().tolist()) for y in range(3) for x in range(3)}
    mirrored = {tuple(torch.tensor(one).view(2, 6, 6).flip(2).flatten().tolist()) for one in whole}
    torch.manual_seed(0)
    layer = ShiftAndFlip(padding=1)
    seen = {tuple(one.flatten().tolist()) for one in layer(image.expand(400, -1, -1, -1))}
    assert seen == whole | mirrored  # 18 of them
    assert torch.equal(layer.eval()(image), image)
