"""The energy that a GPU draws, by NVML's own counter."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


class EnergyMeter:
    """The mean power of a device since this meter was made; None where NVML does not tell.

    NVML counts the energy of a whole GPU since its driver was loaded (Volta and later). It is reached through
    NVIDIA's `nvidia-ml-py` (`pip install 'searcher[energy]'`). A slice of a GPU (MIG) has no counter.
    """

    def __init__(self, device: torch.device) -> None:
        self._counter = _counter(device)
        self._joules = self._counter() if self._counter else 0.0
        self._started = time.perf_counter()

    def watts(self) -> float | None:
        seconds = time.perf_counter() - self._started
        if self._counter is None or not seconds:
            return None
        return (self._counter() - self._joules) / seconds


def _counter(device: torch.device) -> Callable[[], float] | None:
    """Reads the device's counter, in joules."""
    if device.type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000  # it counts millijoules
