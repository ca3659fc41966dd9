"""The range test of a user's own model: it finds a rate, and leaves everything as it was."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import searcher
from searcher.errors import ConfigurationError, SearcherError, TaskError
from searcher.finding import find_task_lr
from searcher.records import Configuration

LOSS = nn.functional.cross_entropy


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(400) % 2
    return torch.randn(400, 4, generator=generator) + 1.5 * targets[:, None], targets


class Net(nn.Module):
    """With batch normalization, dropout and a buffer that is not in the state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
        self.register_buffer("calls", torch.zeros(1), persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.body(inputs)


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def test_two_lines_find_a_rate_and_show_it(tmp_path: Path) -> None:
    found = searcher.find_lr(net(), data(), LOSS)
    assert 0.001 < found.lr < 10
    text = str(found)
    assert "suggested peak of a cycle" in text
    assert found.reason in text
    assert all(rule in text for rule in found.suggestions)
    assert max(map(len, text.splitlines()[-14:])) <= 72
    found.plot(tmp_path / "lr.png")
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigurationError, match=r"plot: must end in .png"):
        found.plot(tmp_path / "lr")


def test_model_optimizer_and_generators_are_as_they_were() -> None:
    model = net()
    model.eval()
    optimizer = torch.optim.SGD(
        [{"params": model.body[0].parameters(), "lr": 0.01}, {"params": model.body[4].parameters()}],
        lr=0.1,
        momentum=0.9,
    )
    inputs, targets = data()
    LOSS(model(inputs), targets).backward()
    optimizer.step()
    gradients = [one.grad.clone() for one in model.parameters() if one.grad is not None]
    weights = {name: value.clone() for name, value in [*model.named_parameters(), *model.named_buffers()]}
    buffers = [state["momentum_buffer"].clone() for state in optimizer.state.values()]
    drawn = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[union-attr]

    searcher.find_lr(model, (inputs, targets), LOSS, optimizer=optimizer, seeds=[0])

    assert not model.training
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        assert torch.equal(value, weights[name]), name
    for before, after in zip(gradients, [one.grad for one in model.parameters()], strict=True):
        assert torch.equal(before, after)
    for before, state in zip(buffers, optimizer.state.values(), strict=True):
        assert torch.equal(before, state["momentum_buffer"])
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.1]
    assert torch.equal(drawn[0], torch.get_rng_state())
    assert drawn[1:] == (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[union-attr]


class Stream(IterableDataset[Any]):
    """Pairs without a length."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return iter(zip(*data(), strict=True))


def test_a_loader_keeps_its_own_generator_and_may_have_no_length() -> None:
    generator = torch.Generator().manual_seed(7)
    before = generator.get_state()
    loader = DataLoader(TensorDataset(*data()), 50, shuffle=True, generator=generator)
    first, second = (searcher.find_lr(net(), loader, LOSS, seeds=[1], steps=40) for _ in range(2))
    assert torch.equal(generator.get_state(), before)
    assert first.tests[1].loss.tolist() == second.tests[1].loss.tolist()
    assert searcher.find_lr(net(), DataLoader(Stream(), 50), LOSS, seeds=[0]).tests[0].fell


def test_one_spike_moves_the_suggestion_little() -> None:
    calls = 0

    def spiked(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return LOSS(output, target) + (1000.0 if calls % 60 == 25 else 0.0)  # once in each run of 60 steps

    plain, other = (searcher.find_lr(net(), data(), loss) for loss in (LOSS, spiked))
    assert 0.8 < other.lr / plain.lr < 1.25


def test_where_every_rate_diverges_it_says_so() -> None:
    """A loss whose gradient is a billion times too large."""
    found = searcher.find_lr(
        net(), data(), lambda output, target: (1e9 * output.sum()) ** 2 + target.sum(), seeds=[0]
    )
    assert not found.tests[0].fell
    assert found.lr < 1e-4
    assert "never fell" in found.reason
    assert "the loss diverged" in found.reason
    assert found.diverged[0] is not None


@pytest.mark.parametrize("source", ["loader", "dataset", "test loss", "linear", "adamw"])
def test_other_data_losses_ramps_and_optimizers(source: str) -> None:
    pair = data()
    given = {
        "loader": lambda: searcher.find_lr(net(), DataLoader(TensorDataset(*pair), 50, shuffle=True), LOSS),
        "dataset": lambda: searcher.find_lr(net(), TensorDataset(*pair), LOSS, batch_size=50),
        "test loss": lambda: searcher.find_lr(net(), pair, LOSS, test=pair),
        "linear": lambda: searcher.find_lr(net(), pair, LOSS, ramp="linear", high=3.0, steps=100),
        "adamw": lambda: searcher.find_lr(net(), pair, LOSS, optimizer="adamw", momentum=0.9),
    }
    found = given[source]()
    assert any(test.fell for test in found.tests.values())
    assert found.measure == ("test" if source == "test loss" else "train")


def test_the_same_seeds_find_the_same() -> None:
    first, second = (searcher.find_lr(net(), data(), LOSS, seeds=[4]) for _ in range(2))
    assert first.tests[4].loss.tolist() == second.tests[4].loss.tolist()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"optimizer": "adam"}, "optimizer: must be sgd, adamw or an optimizer, got 'adam'. Did you mean 'adamw'"),
        ({"ramp": "exp"}, "ramp: must be exponential or linear, got 'exp'"),
        ({"low": 1.0, "high": 0.1}, "low, high: must rise from above 0, got 1.0 and 0.1"),
        ({"steps": 3}, "steps: must be at least 10, got 3"),
        ({"seeds": []}, "seeds: must be at least one"),
        ({"test": DataLoader(data()[0], 50)}, "test: its loader gives a Tensor of 50; a batch is "),
    ],
)
def test_what_is_wrong_is_named(option: dict[str, object], words: str) -> None:
    with pytest.raises(SearcherError, match=words):
        searcher.find_lr(net(), data(), LOSS, **option)


def test_a_task_that_cannot_be_trained_is_told_in_one_line() -> None:
    inputs, targets = data()
    wrong = searcher.Task(lambda: nn.Linear(5, 2), *[(inputs, targets)] * 3, LOSS)
    used = Configuration(lr=1.0, momentum=0.9, weight_decay=0.0, batch_size=50, schedule="constant")
    with pytest.raises(TaskError, match=r"task: it cannot be trained: RuntimeError: .*shapes"):
        find_task_lr(wrong, used)
