"""How fast a task's trials are trained alone and in a batch on this machine: measured once, then remembered.

The measurements stand in `speeds.json` in the data folder (see `searcher.training.builtin.packages`), by the
machine, the versions, the model and the group. A carrier that measures holds a lock, so that carriers which begin
together choose alike; while it compiles, which takes far longer, it holds none but that of the code. Where the
folder takes no file, every process measures for itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from searcher.algorithms.packing import (
    LEAST_STEPS,
    WORKING_BYTES,
    Packing,
    Speeds,
    choose,
    compiling_may_pay,
    one_by_one,
    widest,
)
from searcher.records import FULL_PRECISION, Trial
from searcher.training.ahead import BeingCompiled, processor
from searcher.training.builtin.packages import data_folder
from searcher.training.data import TensorSplit
from searcher.training.loop import Run, device_name, seeded
from searcher.training.stack import Stack, rates_of, stack_for
from searcher.training.tasks import Task

log = logging.getLogger(__name__)

ROUND_SECONDS = 0.01
"""How long one round of a measurement takes, at least a step; the fastest of `ROUNDS` counts."""

ROUNDS = 30

LONGEST_STEP = 0.05
"""Seconds. A model whose step alone takes longer fills the processor, and would take minutes to compile."""


def packing_for(
    task: Task, trial: Trial, device: torch.device, steps: int, workers: int, *, compile_always: bool = False
) -> Packing:
    """How the trials of this one's group are to be trained here; measured if that is not remembered.

    Args:
        trial: any of the group.
        steps: that the sweep as a whole makes for the group.
        workers: carriers at a time.
        compile_always: measures the compiled step even where so few steps would not repay compiling it.
    """
    if steps < LEAST_STEPS:
        return one_by_one("there is too little to train")
    if not isinstance(task.train, TensorSplit) or not isinstance(task.test, TensorSplit):
        return one_by_one("cannot be fused: its splits are data sets that a loader reads, not tensors")
    key = _key(task, trial, device)
    with _memory() as known:
        speeds = Speeds(**known[key]) if key in known else _measure(task, trial, device)
        known[key] = asdict(speeds)
    pays = speeds.alone < LONGEST_STEP and compiling_may_pay(steps, speeds, workers)
    if (pays or compile_always) and not speeds.fault and speeds.compiled is None and has_compiler(device):
        began = time.perf_counter()
        stack = _compiled(task, trial, device, speeds.width)
        compiling = time.perf_counter() - began
        with _memory() as known:
            speeds = Speeds(**known.get(key, asdict(speeds)))
            if speeds.compiled is None:  # no other carrier was faster
                step = _step(stack, _batches(task, trial)[0]) if stack else None
                compiled = _seconds(step, device) / speeds.width if step else math.inf
                speeds = replace(speeds, compiled=compiled, compiling=compiling)
            known[key] = asdict(speeds)
    return choose(speeds, steps, workers)


def has_compiler(device: torch.device) -> bool:
    """Whether `torch.compile` can make machine code: on a CPU it needs a C++ compiler, `$CXX` or the system's."""
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    return device.type == "cuda" or shutil.which(compiler) is not None


def _measure(task: Task, trial: Trial, device: torch.device) -> Speeds:
    with seeded(trial.seed, device):
        run = Run(task, trial, device)
    assert isinstance(task.train, TensorSplit)
    inputs, targets = (part[: trial.configuration.batch_size] for part in task.train.on(device))
    free = torch.cuda.mem_get_info(device)[0] // 8 if device.type == "cuda" else WORKING_BYTES
    width = widest(_working_bytes(run, inputs, targets), free)
    alone = _seconds(lambda: run.step(inputs, targets, 1e-6, 0.9), device)
    try:
        stack = Stack(task, trial.configuration.optimizer, width, device, precision=trial.configuration.precision)
        return Speeds(width, alone, _seconds(_step(stack, len(inputs)), device) / width)
    except Exception as error:  # whatever a user's model does that cannot be batched
        fault = " ".join(str(error).split())[:300] or type(error).__name__
        return Speeds(width, alone, fault=fault)


def _working_bytes(run: Run, inputs: Tensor, targets: Tensor) -> int:
    """What training one trial takes: weights, gradients, moments, and what the backward pass needs of a batch."""
    parameters = list(run.model.parameters())
    saved: dict[int, int] = {}

    def note(value: Tensor) -> Tensor:
        saved[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        run.step(inputs, targets, 1e-6, 0.9)
    for value in [*parameters, inputs, targets]:
        saved.pop(value.untyped_storage().data_ptr(), None)
    moments = 2 if isinstance(run.optimizer, torch.optim.AdamW) else 1
    return sum(saved.values()) + (2 + moments) * sum(int(value.nbytes) for value in parameters)


def _compiled(task: Task, trial: Trial, device: torch.device, width: int) -> Stack | None:
    """The stack that the trials will use, with its step compiled for every size of their batches; None if it
    cannot be."""
    configuration = trial.configuration
    try:
        stack = stack_for(task, configuration.optimizer, width, device, True, configuration.precision)
        others = []
        for size in _batches(task, trial):
            try:
                stack.prepare(size, wait=False)
            except BeingCompiled:  # by another carrier: first what is left to do here
                others.append(size)
        for size in others:
            stack.prepare(size)
        return stack
    except Exception as error:
        log.warning("the step cannot be compiled: %s", " ".join(str(error).split())[:300])
        return None


def _batches(task: Task, trial: Trial) -> list[int]:
    """The sizes of an epoch's batches, one or two, the larger first."""
    count = math.ceil(len(task.train) / trial.configuration.batch_size)
    return sorted({math.ceil(len(task.train) / count), len(task.train) // count}, reverse=True)


def _step(stack: Stack, batch: int) -> Callable[[], object]:
    index = torch.arange(batch, device=stack.device).repeat(stack.width, 1)
    rates = torch.tensor(rates_of(1e-6, 0.9, 0.0, 1), device=stack.device)[:, None].repeat(1, stack.width)
    return lambda: stack.step(index, rates)


def _seconds(step: Callable[[], object], device: torch.device) -> float:
    """Of one step: the mean of the fastest round.

    Of a single thread its processor time is taken, so that what else runs on the machine does not count.
    """
    clock = time.thread_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter

    def timed(count: int) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        began = clock()
        for _ in range(count):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (clock() - began) / count

    timed(2)
    count = max(1, min(100, int(ROUND_SECONDS / max(timed(1), 1e-9))))
    return min(timed(count) for _ in range(ROUNDS))


def _key(task: Task, trial: Trial, device: torch.device) -> str:
    assert isinstance(task.train, TensorSplit)
    with seeded(trial.seed, device):
        model = task.model()
    shapes = [(name, tuple(value.shape)) for name, value in model.state_dict().items()]
    identity = (
        f"ahead {WORKING_BYTES} {processor()} {os.cpu_count()} {torch.get_num_threads()} {device_name(device)} "
        f"{torch.__version__} "
        f"{model} {shapes} {tuple(task.train.inputs.shape[1:])} {task.train.inputs.dtype} "
        f"{getattr(task.loss, '__qualname__', task.loss)} "
        f"{trial.configuration.batch_size} {trial.configuration.optimizer}"
        f"{'' if trial.configuration.precision == FULL_PRECISION else trial.configuration.precision}"
    )
    return hashlib.sha256(identity.encode()).hexdigest()[:24]


@contextmanager
def _memory() -> Iterator[dict[str, dict[str, Any]]]:
    """What is remembered, by key; what it holds at the end is remembered. Others wait meanwhile."""
    file = data_folder() / "speeds.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = open(file.with_suffix(".lock"), "w")  # noqa: SIM115  # closed below, which also unlocks it
    except OSError as error:
        log.warning("speeds are not remembered: %s", error)
        yield {}
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            known = json.loads(file.read_text())
        except (OSError, ValueError):
            known = {}
        before = json.dumps(known)
        yield known
        if json.dumps(known) != before:
            temporary = file.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text(json.dumps(known, indent=1))
            temporary.replace(file)


__all__ = ["has_compiler", "packing_for"]
