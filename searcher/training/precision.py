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
from torch.nn import functional
from torch.overrides import TorchFunctionMode

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


_IN_FLOAT32 = {
    functional.batch_norm,
    functional.instance_norm,
    functional.layer_norm,
    functional.scaled_dot_product_attention,
}


class BatchedAutocast(TorchFunctionMode):
    """Lets `vmap` batch under autocast what it cannot where bfloat16 meets float32 in it: that is made in float32.

    Alone these functions take bfloat16 beside weights in float32, and compute in float32 as well; so the difference
    is in rounding. On a GPU autocast itself makes layer normalization in float32, and leaves its output so.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in _IN_FLOAT32:
            return func(*args, **kwargs)
        first = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        if func is functional.layer_norm and first.device.type == "cuda":
            return func(*args, **kwargs)
        with torch.autocast(first.device.type, enabled=False):
            output = func(*map(_widened, args), **{name: _widened(value) for name, value in kwargs.items()})
        return output.to(torch.bfloat16 if func is functional.scaled_dot_product_attention else first.dtype)


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype is torch.bfloat16 else value


__all__ = ["BatchedAutocast", "autocast", "forward"]
