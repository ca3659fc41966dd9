"""Whether a worker can load a sweep's task, asked before anything is trained there."""

from __future__ import annotations

import platform
from pathlib import Path

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayError, WorkerCrashedError

from searcher.errors import SearcherError, TaskError
from searcher.execution.device import device_for
from searcher.execution.packaged import on_this_node, portable
from searcher.execution.resources import Resources
from searcher.execution.room import fitting
from searcher.training.tasks import load_task

LOOK_SECONDS = 20.0
"""How long a worker may take to say whether it can load the task; if it has not by then, the trials say it."""


def check_workers(task: str, folder: str | Path, resources: Resources) -> None:
    """Loads the task on a worker that has room for a carrier now; where none has, the first carrier says it.

    Args:
        task, folder: see `searcher.training.tasks.load_task`; a folder of this machine.

    Raises:
        TaskError: the task does not load there, or there is no GPU for it.
    """
    needed = resources.bundle()
    free = ray._private.state.available_resources_per_node().values()
    if not any(fitting(node, needed) for node in free):
        return
    look = ray.remote(_load_here).options(
        num_cpus=needed.pop("CPU", 0), num_gpus=needed.pop("GPU", 0), memory=needed.pop("memory", None),
        resources=needed, max_retries=0,
    )  # fmt: skip
    waiting = look.remote(task, portable(folder), resources.gpu)
    done, _ = ray.wait([waiting], timeout=LOOK_SECONDS)
    if not done:
        ray.cancel(waiting, force=True)
        return
    try:
        fault = ray.get(waiting)
    except (NodeDiedError, WorkerCrashedError, OutOfMemoryError):
        return  # nothing is known of the task: trials outlive nodes and processes that die
    except RayError as error:  # it has no `searcher`
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise TaskError(f"task: a worker cannot load '{task}': {lines[-1][:300]}") from error
    if fault:
        raise TaskError(fault)


def _load_here(task: str, folder: str, gpu: float) -> str:
    """What is wrong with the task, or the GPU, on the node that runs this; empty: nothing."""
    try:
        device_for(gpu)
        load_task(task, on_this_node(folder))
    except SearcherError as error:
        return f"{error} (on node {platform.node()})"
    return ""
