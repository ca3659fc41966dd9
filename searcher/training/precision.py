"""Automatic mixed precision: the forward pass and the loss in bfloat16 where PyTorch holds that to be safe.

As Micikevicius et al. (arXiv:1710.03740) have it, the weights, the optimizer's moments and its update stay float32.
bfloat16 has the exponents of float32 (Kalamkar et al., arXiv:1905.12322), so that no gradient need be scaled.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from searcher.records import FULL_PRECISION


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """The context in which a precision, one of `searcher.records.PRECISIONS`, has the forward pass made."""
    if precision == FULL_PRECISION:
        return nullcontext()
    # Without the cache of cast weights: it knows neither batches of models nor CUDA graphs.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def forward(
    model: Callable[[Tensor], Any],
    loss: Callable[[Any, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    precision: str,
) -> tuple[Any, Tensor]:
    """The model's output for a batch, and its loss, which is never left in bfloat16's three digits."""
    with autocast(precision, inputs.device):
        output = model(inputs)
        value = loss(output, targets)
    return output, value.float() if value.dtype is torch.bfloat16 else value


__all__ = ["autocast", "forward"]
