"""The learning-rate range test alone: for a user's own model, or for a task, without a sweep.

    found = searcher.find_lr(model, (inputs, targets), loss)
    print(found)                # the rules side by side, the suggestion, the curve
    found.plot("lr.png")

What is suggested is the peak of a cycle. The model and the optimizer are copied for each run and never touched, and
the generators of random numbers are as they were.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from searcher.algorithms.range_test import (
    DEFAULT_RULE,
    SUGGESTIONS,
    DivergenceWatch,
    RangeTest,
    Suggestion,
    agreed,
    analyse,
)
from searcher.algorithms.schedules import ramp_exponential, ramp_linear
from searcher.errors import ConfigurationError, SearcherError, TaskError, nearest
from searcher.records import Configuration
from searcher.training.data import Batch, Split, as_split
from searcher.training.loop import EVALUATION_BATCH, endless, make_optimizer
from searcher.training.tasks import Task, load_task, told

Loss = Callable[[Tensor, Tensor], Tensor]
Start = Callable[[], tuple[nn.Module, torch.optim.Optimizer]]

RAMPS = {"exponential": ramp_exponential, "linear": ramp_linear}
RANGES = {"sgd": (1e-4, 10.0), "adamw": (1e-5, 1.0)}
"""The lowest and highest learning rate where none are given."""

STEPS = (60, 200)
"""The least and the most steps where none are given: otherwise one epoch."""

MEASUREMENTS = 40
"""How often the test loss is measured in a run, where it is measured."""


@dataclass(frozen=True)
class Found:
    """What range tests over several seeds measured, and what they suggest.

    Attributes:
        tests: by seed.
        measure: `train` or `test`: whose loss it is.
        ramp: `exponential` or `linear`.
        diverged: by seed, the learning rate at which the loss diverged; None where the ramp ended before.
    """

    tests: dict[int, RangeTest]
    measure: str
    ramp: str
    diverged: dict[int, float | None]

    @cached_property
    def suggestions(self) -> dict[str, Suggestion]:
        """For each rule what the seeds suggest together."""
        return {rule: agreed(list(self.tests.values()), rule) for rule in SUGGESTIONS}

    @property
    def lr(self) -> float:
        """The suggested peak of a cycle."""
        return self.suggestions[DEFAULT_RULE].lr

    @property
    def reason(self) -> str:
        """Why it is that one."""
        return self.suggestions[DEFAULT_RULE].reason

    def spread(self, rule: str) -> tuple[float, float]:
        """The lowest and the highest rate that a seed suggests by a rule."""
        rates = [test.suggestions[rule].lr for test in self.tests.values()]
        return min(rates), max(rates)

    def text(self, width: int = 72, height: int = 12) -> str:
        """The rules side by side, the suggestion with its reason, and the curve, for a terminal."""
        from searcher.plotting import terminal_curve

        lines = [f"{'rule':<12}{'rate':>10}{'over seeds':>22}"]
        for rule, suggestion in self.suggestions.items():
            low, high = self.spread(rule)
            lines.append(f"{rule:<12}{suggestion.lr:>10.3g}{f'{low:.3g} to {high:.3g}':>22}")
        curve = terminal_curve(*self.curve(), mark=self.lr, width=width, height=height)
        title = f"{self.measure} loss, smoothed, mean over {len(self.tests)} seeds, against the learning rate"
        return "\n".join([*lines, "", f"suggested peak of a cycle: {self.lr:.3g}: {self.reason}", "", title, curve])

    def curve(self) -> tuple[list[float], list[float]]:
        """The rates that every seed reached, and the mean of their smoothed losses there."""
        shortest = min(self.tests.values(), key=lambda test: len(test.lr))
        count = len(shortest.lr)
        mean = np.mean([test.smoothed[:count] for test in self.tests.values()], axis=0)
        return shortest.lr.tolist(), mean.tolist()

    def plot(self, path: str | Path) -> None:
        """Draws the curve of every seed and the rules into a PNG, PDF or SVG file."""
        from searcher.plotting import draw_range_tests

        rates = {rule: one.lr for rule, one in self.suggestions.items()}
        draw_range_tests(self.tests, rates, DEFAULT_RULE, f"{self.measure} loss", path)

    def __str__(self) -> str:
        return self.text()


def find_lr(
    model: nn.Module,
    data: Any,
    loss: Loss,
    *,
    optimizer: str | torch.optim.Optimizer = "sgd",
    momentum: float = 0.85,
    weight_decay: float = 0.0,
    batch_size: int = 64,
    low: float | None = None,
    high: float | None = None,
    ramp: str = "exponential",
    steps: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    test: Any = None,
) -> Found:
    """Runs range tests of a model and suggests the peak learning rate of a cycle.

    Args:
        model: is copied, and itself neither trained nor moved; the copies live on its device.
        data: a pair `(inputs, targets)` of tensors or arrays, a map-style data set, or a `DataLoader`.
        loss: `(output, target) -> scalar`, the mean over a batch.
        optimizer: `sgd`, `adamw`, or the model's own optimizer (copied; rates of its groups keep their ratios).
        momentum, weight_decay: of `sgd`; of `adamw` momentum is the first beta.
        batch_size: not used with a `DataLoader`.
        low, high: the ends of the ramp; by default 1e-4 to 10, with `adamw` 1e-5 to 1.
        ramp: `exponential` or `linear`.
        steps: of each run; by default an epoch, at least 60 and at most 200.
        seeds: one run for each: the order of the samples and dropout; the weights are the model's.
        test: measures the loss of this split (given as `data` is) instead of the mini-batches', every few steps.

    Raises:
        ConfigurationError: an option out of its range, or a model that cannot be copied.
        TaskError: data that are none of the above.
    """
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    name = optimizer if isinstance(optimizer, str) else "adamw" if "Adam" in type(optimizer).__name__ else "sgd"
    _check(name in RANGES, f"optimizer: must be sgd, adamw or an optimizer, got {name!r}.{nearest(name, RANGES)}")
    configuration = Configuration(
        lr=1.0,
        momentum=momentum,
        weight_decay=weight_decay,
        batch_size=batch_size,
        schedule=f"range_{ramp}",
        optimizer=name,
    )
    start = partial(_copied, model, None if isinstance(optimizer, str) else optimizer, configuration)
    return _find(
        start,
        _batches(data, "data", batch_size, device),
        loss,
        Ramp.of(ramp, low, high, name, steps, _steps_per_epoch(data, batch_size)),
        seeds,
        None if test is None else _batches(test, "test", EVALUATION_BATCH, device),
        device,
    )


def find_task_lr(
    task: Task | str,
    configuration: Configuration,
    *,
    low: float | None = None,
    high: float | None = None,
    ramp: str = "exponential",
    steps: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    measure: str = "train",
    device: torch.device | str = "cpu",
) -> Found:
    """As `find_lr` for a task: every seed starts from weights of its own.

    Args:
        task: or what names it, see `searcher.training.tasks.load_task`.
        configuration: its optimizer, momentum, weight decay and batch size are used.
        measure: `train`, the mini-batches' loss, or `test`, the test split's every few steps.

    Raises:
        ConfigurationError: an option out of its range.
        TaskError: the task's model or loss fails; with its error in one line.
    """
    _check(measure in ("train", "test"), f"measure: must be train or test, got {measure!r}")
    task = load_task(task) if isinstance(task, str) else task
    device = torch.device(device)
    size = configuration.batch_size

    def start() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = task.model().to(device)
        return model, make_optimizer(model, configuration)

    ramped = Ramp.of(ramp, low, high, configuration.optimizer, steps, -(-len(task.train) // size))
    test = partial(_once, task.test, device) if measure == "test" else None
    try:
        return _find(start, partial(_endless, task.train, size, device), task.loss, ramped, seeds, test, device)
    except SearcherError:
        raise
    except Exception as error:  # a user's model raises whatever it likes
        raise TaskError(f"task: it cannot be trained: {told(error)}") from error


@dataclass(frozen=True)
class Ramp:
    """The learning rate of every step."""

    name: str
    lr: tuple[float, ...]

    @classmethod
    def of(
        cls, name: str, low: float | None, high: float | None, optimizer: str, steps: int | None, epoch: int
    ) -> Ramp:
        """Checks what was given and fills in what was not; `epoch`: the steps of one."""
        _check(name in RAMPS, f"ramp: must be exponential or linear, got {name!r}.{nearest(name, RAMPS)}")
        usual = RANGES[optimizer]
        first, last = usual[0] if low is None else low, usual[1] if high is None else high
        _check(0 < first < last < float("inf"), f"low, high: must rise from above 0, got {first!r} and {last!r}")
        count = min(max(epoch, STEPS[0]), STEPS[1]) if steps is None else steps
        _check(count >= 10, f"steps: must be at least 10, got {count!r}")
        progress = np.arange(count, dtype=np.float64) / (count - 1)
        return cls(name, tuple(RAMPS[name](first, last)(progress).tolist()))


def _find(
    start: Start,
    batches: Callable[[int], Iterator[Batch]],
    loss: Loss,
    ramp: Ramp,
    seeds: Sequence[int],
    test: Callable[[int], Iterator[Batch]] | None,
    device: torch.device,
) -> Found:
    _check(len(seeds) > 0, "seeds: must be at least one, got none")
    tests: dict[int, RangeTest] = {}
    diverged: dict[int, float | None] = {}
    for seed in seeds:
        with _untouched(seed, device):
            rates, losses = _run(*start(), batches(seed), loss, ramp.lr, partial(test, seed) if test else None)
        tests[seed] = analyse(rates, losses)
        diverged[seed] = rates[-1] if rates[-1] < ramp.lr[-1] else None
    return Found(tests, "test" if test else "train", ramp.name, diverged)


def _run(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    loss: Loss,
    ramp: Sequence[float],
    test: Callable[[], Iterator[Batch]] | None,
) -> tuple[list[float], list[float]]:
    """The rates and the losses, up to the step at which the loss has diverged."""
    every = max(1, len(ramp) // MEASUREMENTS) if test else 1
    usual = [group["lr"] for group in optimizer.param_groups]
    watch = DivergenceWatch()
    rates, losses = [], []
    for step, lr in enumerate(ramp):
        inputs, targets = next(batches)
        model.train()
        for group, rate in zip(optimizer.param_groups, usual, strict=True):
            group["lr"] = lr * rate / max(usual)
        optimizer.zero_grad(set_to_none=True)
        value = loss(model(inputs), targets)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % every == 0:
            measured = value.item() if test is None else _mean_loss(model, loss, test())
            rates.append(lr)
            losses.append(measured)
            if watch.update(measured):
                break
    return rates, losses


@torch.no_grad()
def _mean_loss(model: nn.Module, loss: Loss, batches: Iterator[Batch]) -> float:
    model.eval()
    total, count = 0.0, 0
    for inputs, targets in batches:
        total += loss(model(inputs), targets).item() * len(inputs)
        count += len(inputs)
    return total / count


def _copied(
    model: nn.Module, optimizer: torch.optim.Optimizer | None, configuration: Configuration
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Both together, so that the copied optimizer holds the parameters of the copied model."""
    try:
        ours, theirs = copy.deepcopy((model, optimizer))
    except (RuntimeError, TypeError) as error:
        raise ConfigurationError(f"model: cannot be copied, and a test would change it: {error}") from error
    return ours, theirs or make_optimizer(ours, configuration)


@contextmanager
def _untouched(seed: int, device: torch.device) -> Iterator[None]:
    """All generators of random numbers start from a seed inside, and are as they were after it."""
    ours, numpys = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(ours)
            np.random.set_state(numpys)


def _batches(data: Any, name: str, size: int, device: torch.device) -> Callable[[int], Iterator[Batch]]:
    if isinstance(data, torch.utils.data.DataLoader):
        return partial(_loaded, data, name, device)
    split = as_split(data, name)
    return partial(_endless, split, size, device) if name == "data" else partial(_once, split, device)


def _loaded(loader: Any, name: str, device: torch.device, seed: int) -> Iterator[Batch]:
    """The batches of a loader, of the training data without end. Its own generator is as it was afterwards."""
    generator = loader.generator
    before = None if generator is None else generator.get_state()
    if generator is not None:
        generator.manual_seed(seed)
    try:
        while True:
            count = 0
            for batch in loader:
                if not isinstance(batch, tuple | list) or len(batch) != 2:
                    raise TaskError(f"{name}: its loader gives {_described(batch)}; a batch is (inputs, targets)")
                inputs, targets = batch
                yield inputs.to(device), targets.to(device)
                count += 1
            if not count:
                raise TaskError(f"{name}: its loader gives no batch")
            if name != "data":
                return
    finally:
        if generator is not None:
            generator.set_state(before)


def _described(batch: Any) -> str:
    kind = type(batch).__name__
    return f"a {kind} of {len(batch)}" if hasattr(batch, "__len__") else f"a {kind}"


def _endless(split: Split, size: int, device: torch.device, seed: int) -> Iterator[Batch]:
    return endless(split, size, device, torch.Generator(device).manual_seed(seed))


def _once(split: Split, device: torch.device, _: int) -> Iterator[Batch]:
    return split.batches(EVALUATION_BATCH, device)


def _steps_per_epoch(data: Any, size: int) -> int:
    """Of a stream, whose loader knows no length, an epoch counts as longer than the longest run."""
    if isinstance(data, torch.utils.data.DataLoader):
        try:
            return len(data)
        except TypeError:
            return STEPS[1]
    return -(-len(as_split(data, "data")) // size)


def _check(right: bool, message: str) -> None:
    if not right:
        raise ConfigurationError(message)
