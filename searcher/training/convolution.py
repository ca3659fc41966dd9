"""Convolutions that a batch of models can share, as matrix products.

`vmap` makes a grouped convolution of many small ones, which on a CPU is slower than they are one by one, and
whose rounding depends on the slot. A matrix product for each model is neither.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

LARGEST_KERNEL = 25
"""Elements of a kernel; with more of them the patches take more memory than they save time."""


class MatrixConvolution(nn.Module):
    """Computes what an `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d` computes, with its parameters."""

    def __init__(self, convolution: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        self.weight = convolution.weight
        self.bias = convolution.bias
        self._kernel = convolution.kernel_size
        self._stride = convolution.stride
        self._dilation = convolution.dilation
        assert not isinstance(convolution.padding, str)
        self._padding = [side for pad in reversed(convolution.padding) for side in (pad, pad)]

    def forward(self, inputs: Tensor) -> Tensor:
        """`[n, channels, ...]` to `[n, filters, ...]`."""
        # Channels last, so that each patch is made of copies of whole rows of channels.
        padded = nn.functional.pad(inputs.movedim(1, -1), [0, 0, *self._padding])
        sizes = [
            (length - dilation * (kernel - 1) - 1) // stride + 1
            for length, kernel, stride, dilation in zip(
                padded.shape[1:-1], self._kernel, self._stride, self._dilation, strict=True
            )
        ]
        shifted = []  # [n, *sizes, channels] for each element of the kernel
        for place in itertools.product(*(range(kernel) for kernel in self._kernel)):
            part = padded
            for axis, offset in enumerate(place):
                first, stride = offset * self._dilation[axis], self._stride[axis]
                last = first + (sizes[axis] - 1) * stride + 1
                part = part[(slice(None),) * (1 + axis) + (slice(first, last, stride),)]
            shifted.append(part)
        weight = self.weight.flatten(2).transpose(1, 2).flatten(1)  # [filters, kernel * channels]
        patches = torch.stack(shifted, -2).reshape(-1, weight.shape[1])
        output = nn.functional.linear(patches, weight, self.bias)
        return output.view(len(inputs), *sizes, -1).movedim(-1, 1)


def replace_convolutions(model: nn.Module) -> bool:
    """Puts a `MatrixConvolution` in the place of each plain convolution; True if there was any."""
    found = False
    for name, part in list(model.named_modules()):
        if type(part) not in (nn.Conv1d, nn.Conv2d, nn.Conv3d) or not name:
            continue
        plain = part.groups == 1 and part.padding_mode == "zeros" and not isinstance(part.padding, str)
        if plain and math.prod(part.kernel_size) <= LARGEST_KERNEL:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, MatrixConvolution(part))
            found = True
    return found
