"""Tasks: what is refused and how, the built-in ones, and a user's own file."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from searcher.errors import TaskError
from searcher.training.builtin import signals
from searcher.training.data import LoadedSplit, TensorSplit, as_split, stratified_split
from searcher.training.tasks import Task, load_task

CPU = torch.device("cpu")
PAIR = (torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
FILES = {
    "syntax.py": "def make_task(:\n",
    "raises.py": "def make_task():\n    raise ValueError('no such data')\n",
    "exits.py": "raise SystemExit(3)\n",
    "returns.py": "def make_task():\n    return 3\n",
    "needs.py": "import surely_not_installed\n",
}


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("digit", "got 'digit'; must be one of 'cifar10', .*'mnist1d', .*Did you mean 'digits'"),
        ("nowhere:make", "'nowhere:make' does not import: ModuleNotFoundError: No module named 'nowhere'"),
        ("./absent.py:make_task", "there is no file .*absent.py"),
        ("./syntax.py:make_task", "does not import: SyntaxError"),
        ("./exits.py:make_task", "does not import: SystemExit: 3"),
        (
            "./needs.py:make_task",
            "does not import: ModuleNotFoundError: No module named 'surely_not_installed'",
        ),
        ("./raises.py:make_task", r"make_task\(\) failed: ValueError: no such data \(raises.py, line 2\)"),
        ("./raises.py:make_tusk", "has no function 'make_tusk'. Did you mean 'make_task'"),
        ("./returns.py:make_task", r"returned int; must be a searcher.Task"),
    ],
)
def test_a_task_that_cannot_be_had_is_told_in_one_line(tmp_path: Path, reference: str, words: str) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(TaskError) as caught:
        load_task(reference, tmp_path)
    assert "\n" not in str(caught.value)
    assert re.search(words, str(caught.value))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": (torch.zeros(3, 2), torch.zeros(4))}, "train: got 3 inputs and 4 targets"),
        ({"test": (torch.zeros(0, 2), torch.zeros(0))}, "test: got no samples"),
        ({"holdout": 5}, "holdout: got int; a split is a pair"),
        ({"holdout": ([1, 2], [3, 4])}, "holdout inputs: got list; must be a tensor"),
        ({"model": nn.Linear(2, 2)}, "model: got Linear; must be a function that makes a fresh model"),
        ({"loss": 1}, "loss: got int; must be a function"),
        ({"train": (torch.zeros(4, 2), torch.zeros(4))}, "accuracy: the targets are torch.float32"),
    ],
)
def test_a_task_refuses_what_it_cannot_train(changes: dict, words: str) -> None:
    given = {
        "model": lambda: nn.Linear(2, 2),
        "train": PAIR,
        "test": PAIR,
        "holdout": PAIR,
        "loss": nn.functional.cross_entropy,
    }
    with pytest.raises(TaskError, match=words):
        Task(**(given | changes))


def test_doubles_become_floats_and_integers_stay() -> None:
    split = as_split((np.zeros((3, 2)), np.zeros(3, dtype=np.int64)), "train")
    assert isinstance(split, TensorSplit)
    assert (split.inputs.dtype, split.targets.dtype) == (torch.float32, torch.int64)


def test_the_built_in_splits_are_stratified_and_the_same_each_time() -> None:
    task = load_task("digits")
    info = task.info("digits")
    assert (info.train_size, info.test_size, info.holdout_size) == (1078, 359, 360)
    counts = [np.bincount(split.targets) for split in (task.train, task.test, task.holdout)]
    assert all(count.max() - count.min() <= 3 * len(counts) for count in counts)
    assert task.digest() == "0151aad534b0f24e"


def test_signals_are_generated_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCHER_DATA", str(tmp_path / "data"))
    generated = signals.mnist1d_mlp()
    (kept,) = (tmp_path / "data").iterdir()
    whole = kept.read_bytes()
    with monkeypatch.context() as without:
        without.setattr(signals, "_generate", lambda: pytest.fail("generated again"))
        assert signals.mnist1d_mlp().digest() == generated.digest() == "cfa19e852fe83619"
    kept.write_bytes(whole[:1000])
    assert signals.mnist1d_mlp().digest() == generated.digest()
    assert [file.stat().st_size for file in (tmp_path / "data").iterdir()] == [len(whole)]


def test_signals_need_no_folder_that_takes_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEARCHER_DATA", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(signals, "_generate", lambda: {"signals": np.zeros((50, 40)), "labels": np.arange(50) % 10})
    assert len(signals.mnist1d().train) == 30


def test_stratified_split_puts_every_sample_in_one_part() -> None:
    labels = torch.tensor([0] * 50 + [1] * 10)
    parts = stratified_split(torch.arange(60.0)[:, None], labels, test=0.2, holdout=0.3, seed=3)
    assert sorted(torch.cat([part.inputs for part in parts]).flatten().tolist()) == list(range(60))
    assert [np.bincount(part.targets).tolist() for part in parts] == [[25, 5], [10, 2], [15, 3]]


@pytest.mark.parametrize(("size", "batch", "sizes"), [(10, 4, [4, 3, 3]), (9, 4, [3, 3, 3]), (4, 8, [4])])
def test_batches_are_of_even_size_and_hold_every_sample(size: int, batch: int, sizes: list[int]) -> None:
    pair = (torch.arange(float(size))[:, None], torch.arange(size))
    tensors = as_split(pair, "train")
    loaded = as_split(TensorDataset(*pair), "train")
    assert isinstance(loaded, LoadedSplit)
    for split in (tensors, loaded):
        shuffled = list(split.batches(batch, CPU, torch.Generator().manual_seed(1)))
        assert [len(inputs) for inputs, _ in shuffled] == sizes
        assert sorted(torch.cat([targets for _, targets in shuffled]).tolist()) == list(range(size))
        in_order = torch.cat([targets for _, targets in split.batches(batch, CPU)])
        assert in_order.tolist() == list(range(size))


def test_a_data_set_and_its_tensors_come_in_the_same_order() -> None:
    pair = (torch.arange(10.0)[:, None], torch.arange(10))
    orders = [
        torch.cat([targets for _, targets in split.batches(4, CPU, torch.Generator().manual_seed(5))]).tolist()
        for split in (as_split(pair, "train"), as_split(TensorDataset(*pair), "train"))
    ]
    assert orders[0] == orders[1]
