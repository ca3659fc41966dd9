"""What a carrier trains on."""

from __future__ import annotations

import os

import torch

from searcher.errors import ExecutionError

LOGICAL = "SEARCHER_LOGICAL_GPUS"
"""The variable in a node's environment that says that its GPUs are only counted, to rehearse on a machine without:
what Ray gives a GPU is then trained on the CPU."""


def device_for(gpu: float) -> torch.device:
    """The CPU, or the GPU that Ray gave this process a share of.

    Raises:
        ExecutionError: torch sees no GPU here, so that each trial would fail.
    """
    if not gpu:
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if os.environ.get(LOGICAL):
        return torch.device("cpu")
    raise ExecutionError(
        f"resources.gpu: torch {torch.__version__} sees no GPU where Ray counts one: it may be a torch without "
        "CUDA, or a driver that does not fit; searcher cluster doctor looks at all nodes"
    )
