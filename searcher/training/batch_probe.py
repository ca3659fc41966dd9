"""Probes for the batch size, in a process of its own: what a batch of each size takes in time and in memory.

A probe may run out of memory, or be killed for it, and what it leaves in a device's memory is no other trial's:
so a child process (`python -m searcher.training.batch_probe`) loads the task, trains whole optimizer steps at each
size and evaluates once, and prints one line of JSON for each size, before it and after it.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import torch

from searcher.algorithms.batch_size import choose_batch_size, fits, sizes_up_to
from searcher.records import Configuration, Status, StepRecord, Trial, TrialRecord
from searcher.training.course import Emit
from searcher.training.loop import EVALUATION_BATCH, device_name, endless, make_optimizer, seeded
from searcher.training.precision import forward
from searcher.training.tasks import Task, load_task

LONGEST = 300.0
"""Seconds after which a probe is given up; the sizes tried until then count."""


def run_probe(task: str, folder: str, trial: Trial, emit: Emit, device: torch.device | str = "cpu") -> TrialRecord:
    """Runs a probe and says how it ended; every record is also given to `emit`, one StepRecord for each size.

    Args:
        task, folder: see `searcher.training.tasks.load_task`: the child loads the task itself.
        trial: its configuration's batch size is the largest to try, its length the steps timed at each size.
        device: where the model and the splits live.
    """
    device = torch.device(device)
    record = TrialRecord(
        trial=trial,
        status=Status.FAILED,
        device=device_name(device),
        node=platform.node(),
        started=time.time(),
    )
    clock = time.perf_counter()
    tried: list[StepRecord] = []
    error = ""
    for line in _lines_of_child(task, folder, trial, device):
        if "error" in line:
            error = line["error"]
            continue
        step = StepRecord(
            trial_id=trial.trial_id,
            strategy=trial.strategy,
            step=len(tried) + 1,
            lr=trial.configuration.lr,
            momentum=trial.configuration.momentum,
            **line,
        )
        tried.append(step)
        emit(step)
    chosen = choose_batch_size(tried, trial.configuration.batch_size)
    record = replace(
        record,
        status=Status.FAILED if chosen is None else Status.COMPLETED,
        status_reason=chosen[1] if chosen else error or "the device holds not even one sample at a time",
        steps=trial.length * len(tried),
        samples=tried[-1].samples if tried else 0,
        seconds=time.perf_counter() - clock,
        finished=time.time(),
    )
    emit(record)
    return record


def _lines_of_child(task: str, folder: str, trial: Trial, device: torch.device) -> Iterator[dict[str, Any]]:
    """What the child measured, size by size; a size during which it died counts as one that was too much."""
    order = {
        "task": task,
        "folder": folder,
        "configuration": asdict(trial.configuration),
        "seed": trial.seed,
        "steps": trial.length,
        "device": str(device),
        "threads": torch.get_num_threads(),
    }
    process = subprocess.run(
        [sys.executable, "-m", "searcher.training.batch_probe"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    lines = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    trying: dict[str, Any] | None = None
    for line in lines:
        trying = line.get("trying")
        if trying is None:
            yield line
    if trying is not None:
        yield trying
    elif process.returncode and not any("error" in line for line in lines):
        words = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
        yield {"error": f"the probe's process failed: {words[-1]}"}


def probe_sizes(
    task: Task, configuration: Configuration, steps: int, device: torch.device
) -> Iterator[dict[str, Any]]:
    """Tries each size, the rising powers of two; where not even the first fits, the falling ones.

    Yields `{"trying": ...}`, what a size is taken for if the process dies at it, and then what it measured.
    """
    samples = 0
    sizes = sizes_up_to(configuration.batch_size)
    first = sizes[0]
    started = time.perf_counter()
    while sizes:
        size = sizes.pop(0)
        samples += size * (steps + 1)
        base = {"batch_size": size, "samples": samples}
        yield {"trying": base | {"train_loss": math.nan, "seconds": None, "memory": 1.0}}
        measured = base | _measure(task, replace(configuration, batch_size=size), steps, device)
        yield measured
        held = fits(StepRecord(trial_id="", strategy="", step=1, lr=1.0, momentum=0.0, **measured))
        if not held:
            sizes = [size // 2] if 1 < size <= first else []
        if time.perf_counter() - started > LONGEST:
            return


def _measure(task: Task, configuration: Configuration, steps: int, device: torch.device) -> dict[str, Any]:
    """One step to warm up, `steps` timed ones, and one batch of an evaluation."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    try:
        model = task.model().to(device)
        optimizer = make_optimizer(model, configuration)
        batches = endless(task.train, configuration.batch_size, device, torch.Generator(device).manual_seed(0))
        times = []
        for _ in range(steps + 1):
            clock = time.perf_counter()
            inputs, targets = next(batches)
            model.train()
            optimizer.zero_grad(set_to_none=True)
            _, loss = forward(model, task.loss, inputs, targets, configuration.precision)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            value = loss.item()  # waits for the device
            times.append(time.perf_counter() - clock)
        model.eval()
        with torch.no_grad():
            inputs, targets = next(iter(task.test.batches(EVALUATION_BATCH, device)))
            forward(model, task.loss, inputs, targets, configuration.precision)
        memory = _used(device) if cuda else None
    except (torch.OutOfMemoryError, MemoryError):
        return {"train_loss": math.nan, "seconds": None, "memory": 1.0}
    return {"train_loss": value, "seconds": sorted(times[1:])[steps // 2], "memory": memory}


def _used(device: torch.device) -> float:
    """The largest fraction of the memory in use, that of other processes on the device included."""
    free, total = torch.cuda.mem_get_info(device)
    others = total - free - torch.cuda.memory_reserved(device)
    return float(others + torch.cuda.max_memory_reserved(device)) / total


def main() -> None:
    """The child: reads its order from standard input, prints what it measured, or one error."""
    order = json.loads(sys.stdin.read())
    torch.set_num_threads(order["threads"])
    device = torch.device(order["device"])
    given = order["configuration"]
    given["milestones"] = tuple(given["milestones"]) if given["milestones"] else None
    try:
        task = load_task(order["task"], order["folder"])
        with seeded(order["seed"], device):
            for line in probe_sizes(task, Configuration(**given), order["steps"], device):
                print(json.dumps(line), flush=True)
    except Exception as error:
        text = " ".join(str(error).split()) or "no message"
        print(json.dumps({"error": f"{type(error).__name__}: {text}"}), flush=True)


if __name__ == "__main__":
    main()
