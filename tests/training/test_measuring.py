"""What is measured of a task is remembered and decides; compiled steps are the same steps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_fused import TOLERANCES, alone, curves, fused, noisy, trial
from torch import nn

from searcher.algorithms.packing import Packing
from searcher.records import PRECISIONS
from searcher.training import measuring
from searcher.training.measuring import packing_for
from searcher.training.stack import Stack, rates_of
from searcher.training.tasks import Task

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEARCHER_DATA", str(tmp_path))
    torch.set_num_threads(1)
    return tmp_path


def test_a_group_is_measured_once_and_its_speeds_decide(folder: Path) -> None:
    first = packing_for(noisy(), trial(), CPU, 5_000, 1)
    assert "ms alone" in first.reason
    file = folder / "speeds.json"
    ((key, speeds),) = json.loads(file.read_text()).items()
    assert speeds["width"] == 16
    assert 0 < speeds["fused"] < 1
    assert 0 < speeds["alone"] < 1
    for alone_, fused_, expected in ((1.0, 0.1, 16), (0.1, 1.0, 1)):
        file.write_text(json.dumps({key: {**speeds, "alone": alone_, "fused": fused_, "compiled": 10.0}}))
        assert packing_for(noisy(), trial(), CPU, 5_000, 1).width == expected
        assert list(json.loads(file.read_text())) == [key]
    packing_for(noisy(), trial(optimizer="adamw"), CPU, 5_000, 1)
    packing_for(noisy(), trial(precision="bf16-mixed"), CPU, 5_000, 1)
    assert len(json.loads(file.read_text())) == 3


def test_little_work_is_not_measured(folder: Path) -> None:
    assert packing_for(noisy(), trial(), CPU, 3_999, 1).reason == "there is too little to train"
    assert not list(folder.iterdir())


def test_why_a_model_cannot_be_fused_is_remembered(folder: Path) -> None:
    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.linear(inputs)
            return out if out.sum().item() > 0 else -out

    plain = noisy()
    task = Task(Looks, plain.train, plain.test, plain.holdout, plain.loss)
    packing = packing_for(task, trial(), CPU, 5_000, 1)
    assert not packing.fused
    assert packing.reason.startswith("cannot be fused: ")
    assert ".item()" in packing.reason
    (speeds,) = json.loads((folder / "speeds.json").read_text()).values()
    assert ".item()" in speeds["fault"]


def test_a_folder_that_takes_no_file_is_no_obstacle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").write_text("")
    monkeypatch.setenv("SEARCHER_DATA", str(folder / "file"))
    assert "ms alone" in packing_for(noisy(), trial(), CPU, 5_000, 1).reason


def test_without_a_compiler_everything_works(folder: Path) -> None:
    """In a process of its own: PyTorch looks for a compiler once."""
    program = """
from test_fused import *
from searcher.training.measuring import has_compiler, packing_for

torch.set_num_threads(1)
assert not has_compiler(torch.device("cpu"))
packing = packing_for(noisy(), trial(), torch.device("cpu"), 10**9, 1)  # so much that compiling would surely pay
assert not packing.compiled and "compiled" not in packing.reason, packing
# A batch that was to be compiled all the same is trained one by one.
trials = [trial(seed=seed, length=1) for seed in range(2)]
assert curves(fused(noisy(), trials, Packing(2, True, ""))) == curves(alone(noisy(), trials))
"""
    surroundings = {
        "CXX": "/nowhere/g++",
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled"),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    subprocess.run([sys.executable, "-c", program], env=os.environ | surroundings, check=True)


def test_a_step_that_cannot_be_compiled_is_not_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def broken(*arguments: object) -> None:
        tried.append(arguments)
        raise RuntimeError("the compiler stumbles")

    monkeypatch.setattr(measuring, "has_compiler", lambda device: True)
    monkeypatch.setattr(measuring, "stack_for", broken)
    for _ in range(2):
        assert not packing_for(noisy(), trial(), CPU, 10**9, 1).compiled
    assert len(tried) == 1


def test_carriers_share_the_compiling_and_choose_alike(folder: Path) -> None:
    """Two processes and batches of two sizes: each compiles one while the other does. The code is not run."""
    program = """
import os
import time
from pathlib import Path
from test_fused import *
from searcher.training import ahead
from searcher.training.measuring import packing_for

def compile_one(_, arguments, file):
    with open(folder / "compiled", "a") as told:
        print(os.getpid(), arguments[-2].shape[1], file=told)
    patience = time.monotonic() + 60
    while len((folder / "compiled").read_text().split()) < 4 and time.monotonic() < patience:
        time.sleep(0.01)  # until the other one compiles as well
    file.touch()

folder = Path(os.environ["SEARCHER_DATA"])
ahead._compile, ahead._loaded = compile_one, lambda file: lambda arguments: [torch.zeros(16)]
torch.set_num_threads(1)
print(packing_for(noisy(), trial(batch_size=24), torch.device("cpu"), 10**9, 2))
"""
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    running = [
        subprocess.Popen([sys.executable, "-c", program], env=surroundings, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [one.communicate(timeout=120)[0] for one in running]
    assert told[0] == told[1]
    assert "compiling took" in told[0]
    by, sizes = zip(*(line.split() for line in (folder / "compiled").read_text().splitlines()), strict=True)
    assert len(set(by)) == len(set(sizes)) == len(sizes) == 2


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_compiled_batch_has_the_curves_of_the_loop(precision: str, caplog: pytest.LogCaptureFixture) -> None:
    """Trials that begin at different times, of two lengths, with dropout and batch normalization."""
    task = noisy()
    trials = [trial(seed=seed, length=2 + seed % 2, batch_size=35, precision=precision) for seed in range(6)]
    together, one_by_one = curves(fused(task, trials, Packing(4, True, ""))), curves(alone(task, trials))
    assert "one after another" not in caplog.text
    assert together.keys() == one_by_one.keys()
    for key, expected in one_by_one.items():
        assert together[key] == pytest.approx(expected, rel=TOLERANCES[precision]), key


def test_the_function_that_becomes_a_cuda_graph_makes_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as `torch.compile` traces it for a GPU, but run on a CPU operation by operation, which is quick."""
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda step, **_: compile_(step, dynamic=False, backend="aot_eager"))
    plain = noisy()
    task = Task(
        lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)),
        plain.train, plain.test, plain.holdout, plain.loss,
    )  # fmt: skip
    index = torch.arange(35).repeat(2, 1)
    rates = torch.tensor([rates_of(lr, 0.9, 1e-3, 1) for lr in (0.1, 0.3)]).T
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        stack = Stack(task, "sgd", 2, CPU, precision="bf16-mixed")
        if compiled:
            stack._step = stack._compiled()
        losses.append([stack.step(index, rates).tolist() for _ in range(4)])
    assert losses[1] == [pytest.approx(step, rel=5e-3) for step in losses[0]]
    assert losses[0][3] < losses[0][0]


def test_the_compiled_step_is_measured_where_it_may_pay(folder: Path) -> None:
    plain = noisy()
    task = Task(lambda: nn.Sequential(nn.Linear(6, 3)), plain.train, plain.test, plain.holdout, plain.loss)
    packing = packing_for(task, trial(batch_size=35), CPU, 5_000, 1)
    assert "compiled" not in packing.reason, "so few steps cannot repay it"
    packing = packing_for(task, trial(batch_size=35), CPU, 5_000, 1, compile_always=True)
    assert "compiling took" in packing.reason
    assert packing_for(task, trial(batch_size=35), CPU, 5_000, 1) == packing, "once compiled it is used"
    packing = packing_for(task, trial(batch_size=35), CPU, 10**9, 1)
    assert packing.compiled
    (speeds,) = json.loads((folder / "speeds.json").read_text()).values()
    assert 0 < speeds["compiled"] < speeds["fused"]
