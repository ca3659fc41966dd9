"""The splits of a task: tensors that live on the training device, or a user's own `torch` data set.

A split is given as a pair `(inputs, targets)` of tensors or NumPy arrays whose first dimension counts the
samples, or as a map-style `torch.utils.data.Dataset` that yields such pairs. A pair is moved to the device once
and indexed by a permutation; a data set is read through a `DataLoader`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from searcher.errors import TaskError

Batch = tuple[Tensor, Tensor]


class Split(Protocol):
    """What the loop needs of a split."""

    def __len__(self) -> int: ...

    def batches(
        self, batch_size: int, device: torch.device, order: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Every sample once, in the split's order or, given a generator, in a random one.

        There are `ceil(len / batch_size)` batches whose sizes differ by at most one, so that no batch is left
        with the single sample that batch normalization refuses.
        """
        ...

    def digest(self) -> str:
        """A hash of the data, to tell whether two sweeps saw the same split."""
        ...


@dataclass(frozen=True)
class TensorSplit:
    """Inputs `[n, ...]` and targets `[n, ...]`, kept on each device that asked for them."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    @cached_property
    def _resident(self) -> dict[torch.device, Batch]:
        return {}

    def on(self, device: torch.device) -> Batch:
        """The whole split on a device; moved there at the first call."""
        if device not in self._resident:
            self._resident[device] = (self.inputs.to(device), self.targets.to(device))
        return self._resident[device]

    def batches(
        self, batch_size: int, device: torch.device, order: torch.Generator | None = None
    ) -> Iterator[Batch]:
        inputs, targets = self.on(device)
        count = math.ceil(len(self) / batch_size)
        if order is None:
            yield from zip(inputs.tensor_split(count), targets.tensor_split(count), strict=True)
            return
        for index in torch.randperm(len(self), generator=order, device=order.device).tensor_split(count):
            yield inputs[index], targets[index]

    def digest(self) -> str:
        text = hashlib.sha256()
        for part in (self.inputs, self.targets):
            text.update(f"{part.dtype} {tuple(part.shape)}".encode())
            text.update(part.contiguous().view(torch.uint8).numpy().tobytes())
        return text.hexdigest()[:16]


@dataclass(frozen=True)
class LoadedSplit:
    """A user's own data set, read by a `DataLoader` with `workers` processes (0: in the training process)."""

    dataset: Dataset[Any]
    workers: int = 0

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # map-style, checked in `as_split`

    def batches(
        self, batch_size: int, device: torch.device, order: torch.Generator | None = None
    ) -> Iterator[Batch]:
        count = math.ceil(len(self) / batch_size)
        # Drawn here and not by the loader, so that the order depends on the generator alone.
        index = torch.arange(len(self)) if order is None else torch.randperm(len(self), generator=order)
        loader: DataLoader[Any] = DataLoader(
            self.dataset,
            batch_sampler=[part.tolist() for part in index.tensor_split(count)],
            num_workers=self.workers,
            pin_memory=device.type == "cuda",
        )
        for inputs, targets in loader:
            yield inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)

    def digest(self) -> str:
        """Of the type, the length and the first sample: a data set may be too large to read for this."""
        text = f"{type(self.dataset).__qualname__} {len(self)} "
        inputs, target = self.dataset[0]
        return hashlib.sha256(text.encode() + repr((_shape(inputs), target)).encode()).hexdigest()[:16]


def as_split(given: Any, name: str, workers: int = 0) -> Split:
    """Makes a split of what a user gave, or raises `TaskError` naming the split and what is wrong with it."""
    if isinstance(given, TensorSplit | LoadedSplit):
        return given
    if isinstance(given, tuple | list) and len(given) == 2:
        inputs, targets = (_as_tensor(part, f"{name} {what}") for part, what in zip(given, _PARTS, strict=True))
        if len(inputs) != len(targets):
            raise TaskError(f"{name}: got {len(inputs)} inputs and {len(targets)} targets; they must be as many")
        if len(inputs) == 0:
            raise TaskError(f"{name}: got no samples; a split needs at least one")
        return TensorSplit(inputs, targets)
    if isinstance(given, Dataset) and hasattr(given, "__len__"):
        return LoadedSplit(given, workers)
    raise TaskError(
        f"{name}: got {type(given).__name__}; a split is a pair (inputs, targets) of tensors or arrays, "
        "or a map-style torch data set"
    )


def stratified_split(
    inputs: Any, targets: Any, *, test: float = 0.2, holdout: float = 0.2, seed: int = 0
) -> tuple[TensorSplit, TensorSplit, TensorSplit]:
    """Splits a labelled set into train, test and holdout with the same share of every class in each.

    Args:
        inputs: `[n, ...]`, tensor or array.
        targets: `[n]`, integer classes.
        test, holdout: fractions of the samples, each in (0, 1) and together below 1.
        seed: fixes who goes where; the same seed gives the same splits on every machine.

    Raises:
        TaskError: a fraction is out of its range, or inputs and targets differ in length.
    """
    if not (0 < test < 1 and 0 < holdout < 1 and test + holdout < 1):
        raise TaskError(f"test, holdout: got {test} and {holdout}; both must be above 0, together below 1")
    whole = as_split((inputs, targets), "data")
    assert isinstance(whole, TensorSplit)
    classes = whole.targets.numpy()
    random = np.random.default_rng(seed)
    # Each sample's rank within its class, from 0 to 1, decides: so each class is cut at the same fractions.
    rank = np.empty(len(classes))
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        rank[random.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    parts = (rank >= test + holdout, rank < test, (rank >= test) & (rank < test + holdout))
    indexes = [torch.from_numpy(np.flatnonzero(part)) for part in parts]
    train, watched, kept = (TensorSplit(whole.inputs[index], whole.targets[index]) for index in indexes)
    return train, watched, kept


_PARTS = ("inputs", "targets")


def _as_tensor(given: Any, name: str) -> Tensor:
    if isinstance(given, Tensor):
        return given.detach().cpu()
    if isinstance(given, np.ndarray):
        if given.dtype == np.float64:
            given = given.astype(np.float32)
        try:
            return torch.tensor(given)
        except TypeError as error:
            raise TaskError(f"{name}: {error}") from error
    raise TaskError(f"{name}: got {type(given).__name__}; must be a tensor or a NumPy array")


def _shape(sample: Any) -> Any:
    return tuple(sample.shape) if hasattr(sample, "shape") else type(sample).__name__
