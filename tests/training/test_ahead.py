"""Code that is compiled ahead of time: what it computes, and for what it is taken again."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from searcher.training import ahead
from searcher.training.ahead import BeingCompiled, CannotCompile, machine_code


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ahead, "data_folder", lambda: tmp_path)
    return tmp_path / "steps"


def halve(weight: Tensor, inputs: Tensor) -> Tensor:
    weight.mul_(0.5)
    return torch.tanh(inputs @ weight)


def test_code_computes_what_the_function_does_in_place_and_is_compiled_once(
    steps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight, inputs = torch.randn(4, 3), torch.randn(5, 4)
    expected = weight.clone()
    result = halve(expected, inputs)

    def sample() -> Tensor:
        return halve(weight.clone(), inputs)

    (found,) = machine_code(halve, [weight, inputs], sample, "1")([weight, inputs])
    torch.testing.assert_close(found, result)
    torch.testing.assert_close(weight, expected)

    def refuse(*_: object) -> None:
        raise AssertionError("it is compiled already")

    monkeypatch.setattr(ahead, "_compile", refuse)
    weight.copy_(torch.ones(4, 3))
    (again,) = machine_code(halve, [weight, inputs], sample, "1")([weight, inputs])
    torch.testing.assert_close(again, torch.tanh(inputs.sum(1, keepdim=True) / 2).expand(5, 3))
    assert len(list(steps.glob("*.pt2"))) == 1


def test_other_shapes_constants_operations_or_versions_are_other_code(
    steps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Path] = []

    def compile_one(_: object, __: object, file: Path) -> None:
        compiled.append(file)
        file.touch()

    monkeypatch.setattr(ahead, "_compile", compile_one)
    monkeypatch.setattr(ahead, "_loaded", lambda file: file)
    one, longer = torch.ones(2), torch.ones(3)

    def code(argument: Tensor, factor: float = 2.0, version: str = "1") -> object:
        constant = torch.full((1,), factor)
        return machine_code(torch.abs, [argument], lambda: (argument * constant).exp(), version)

    first = code(one)
    assert code(torch.zeros(2)) == first, "what the arguments hold does not count"
    assert len({first, code(longer), code(one, 3.0), code(one, version="2")}) == 4
    assert machine_code(torch.abs, [one], lambda: (one * torch.full((1,), 2.0)).sin(), "1") != first
    assert len(compiled) == 5


def test_a_function_that_draws_numbers_in_python_is_refused(steps: Path) -> None:
    weight = torch.ones(2)
    with pytest.raises(CannotCompile, match="other operations at every call"):
        machine_code(torch.abs, [weight], lambda: weight * random.random(), "1")
    assert not steps.exists()


def test_of_two_processes_one_compiles_and_the_other_waits_for_it(steps: Path, tmp_path: Path) -> None:
    """The first that gets in dies as it compiles: the next one does it, and those after it take what it made."""
    program = """
import os, sys, time
from pathlib import Path
import torch
from searcher.training import ahead

place = Path(sys.argv[1])
ahead.data_folder = lambda: place

def compile_one(_, __, file):
    with open(place / "compiled", "a") as told:
        told.write(f"{os.getpid()}\\n")
    if len((place / "compiled").read_text().split()) == 1:
        os.kill(os.getpid(), 9)
    time.sleep(0.3)  # so that the others come meanwhile
    file.touch()

ahead._compile, ahead._loaded = compile_one, lambda file: file
(place / f"ready{os.getpid()}").touch()
while len(list(place.glob("ready*"))) < 3:
    time.sleep(0.01)
assert ahead.machine_code(torch.abs, [torch.ones(2)], lambda: torch.ones(2).abs(), "1").exists()
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    running = [subprocess.Popen(command) for _ in range(3)]
    codes = sorted(one.wait(timeout=120) for one in running)
    assert codes == [-9, 0, 0]
    assert len((tmp_path / "compiled").read_text().split()) == 2


def test_who_does_not_want_to_wait_for_another_process_is_told(
    steps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(_: object, __: object, file: Path) -> None:
        """Another attempt, while this one compiles: to a lock, another opening of its file is another process."""
        with pytest.raises(BeingCompiled):
            code(wait=False)
        file.touch()

    def code(wait: bool) -> object:
        return machine_code(torch.abs, [torch.ones(2)], lambda: torch.ones(2).abs(), "1", wait=wait)

    monkeypatch.setattr(ahead, "_compile", meanwhile)
    monkeypatch.setattr(ahead, "_loaded", lambda file: file)
    assert code(wait=False) == code(wait=True)
