"""Dropout in a batch of trials: each slot drops what its trial alone would drop.

A trial alone draws its masks from torch's generator, seeded by the trial. Here each slot has a generator of its
own in the same state, which draws the same masks in the same order, and they are handed to the batched model
beside its buffers: so a trial's numbers do not depend on its neighbours.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from searcher.errors import SearcherError

_MASK = "searcher_mask"


class CannotFuse(SearcherError):
    """A model that cannot be trained in a batch; says why. Its trials are trained one after another."""


class DropoutMasks:
    """Draws the masks of a model's `nn.Dropout` modules, in the order in which the model uses them.

    Attributes:
        generators: by slot; a slot without one gets masks that drop nothing.
    """

    def __init__(self, model: nn.Module) -> None:
        self.generators: dict[int, torch.Generator] = {}
        self._rates = {name: part.p for name, part in model.named_modules() if type(part) is nn.Dropout and part.p}
        self._model = copy.deepcopy(model).train() if self._rates else model
        self._shapes: dict[int, list[tuple[str, torch.Size, tuple[int, ...]]]] = {}

    def hand_in(self, model: nn.Module) -> None:
        """Makes a copy of the model take its masks as buffers, by the names that `draw` gives them."""
        for name in self._rates:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, _Masked())

    def draw(self, batch: Tensor, width: int) -> dict[str, Tensor]:
        """By name, `[width, ...]`: the factors of every slot for its next batch; `batch` is any like it."""
        if not self._rates:
            return {}
        if len(batch) not in self._shapes:
            self._shapes[len(batch)] = self._probe(batch)
        shapes = self._shapes[len(batch)]
        masks: dict[str, list[Tensor]] = {f"{name}.{_MASK}": [] for name, _, _ in shapes}
        for slot in range(width):
            generator = self.generators.get(slot)
            for name, size, stride in shapes:
                mask = torch.empty_strided(size, stride, device=batch.device)
                keep = 1 - self._rates[name] if generator else 1.0
                masks[f"{name}.{_MASK}"].append(mask.bernoulli_(keep, generator=generator).div_(keep or 1.0))
        return {name: torch.stack(parts) for name, parts in masks.items()}

    def _probe(self, batch: Tensor) -> list[tuple[str, torch.Size, tuple[int, ...]]]:
        """The name, size and stride of the input of each dropout, in the order of their use."""
        seen: list[tuple[str, torch.Size, tuple[int, ...]]] = []

        def note(name: str, given: tuple[Any, ...]) -> None:
            seen.append((name, given[0].shape, given[0].stride()))

        hooks = [
            self._model.get_submodule(name).register_forward_pre_hook(lambda _, given, name=name: note(name, given))
            for name in self._rates
        ]
        with torch.no_grad(), torch.random.fork_rng(devices=[batch.device] if batch.is_cuda else []):
            self._model(batch)
        for hook in hooks:
            hook.remove()
        if len(seen) > len({name for name, _, _ in seen}):
            raise CannotFuse("it uses one dropout module more than once")
        return seen


class _Masked(nn.Module):
    """Stands where a dropout stood: multiplies with a mask that is handed in as a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer(_MASK, torch.ones((), device="meta"))

    def forward(self, inputs: Tensor) -> Tensor:
        mask: Tensor = getattr(self, _MASK)
        return inputs * mask.to(inputs.dtype)  # as a dropout of bfloat16 has it
