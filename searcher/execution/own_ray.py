"""A Ray of our own on this machine: it starts while PyTorch is imported, and its processes import that as well."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray
from ray.tune.execution import class_cache

from searcher.execution.reaching import start_here
from searcher.execution.resources import Resources
from searcher.execution.room import AHEAD

_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our store keeps the records
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours to handle
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # a sweep is resumed from our records, never from Tune's snapshot
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": str(AHEAD),  # `Room` says how many may wait; Tune's own limit for us is one
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",  # we start trials again, never Tune
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}

MOST_PRELOADED = 8
"""Ray starts a process for each CPU beforehand. More of them than this are not made to import PyTorch, each in a
few hundred MB, as a small sweep would not use them."""


@contextmanager
def environment(**more: str) -> Iterator[None]:
    """Tune's settings are ours inside, and afterwards again those of other sweeps in this process."""
    ours = _ENVIRONMENT | more
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def started_ahead(address: str | None, resources: Resources) -> Iterator[Callable[[], None]]:
    """A Ray of our own starts in a thread, and is stopped at the end. Yields a function that waits for it.

    Does nothing where there is a Ray already, here or at an address: `connected` is the way to that.

    Args:
        address: as that of `connected`.
        resources: of a carrier. Where there will be one for each CPU, Ray's processes import PyTorch as they start.
    """
    if ray.is_initialized() or address or os.environ.get("RAY_ADDRESS"):
        yield lambda: None
        return
    faults: list[BaseException] = []
    started, ended = threading.Event(), threading.Event()

    def start() -> None:
        try:
            start_here()
        except BaseException as error:
            faults.append(error)
        finally:
            started.set()
        ended.wait()  # on Linux Ray's processes end with the thread that started them

    def wait() -> None:
        started.wait()
        if faults:
            raise faults[0]

    filled = resources.cpu <= 1 and not resources.gpu and resources.max_concurrent is None
    preload = filled and (os.cpu_count() or 1) <= MOST_PRELOADED
    modules = {"RAY_preload_python_modules": "ray.tune,torch,searcher.execution.carrier"} if preload else {}
    with environment(PL_DISABLE_FORK="1", **modules), _inherited_environment():
        threading.Thread(target=start, name="ray", daemon=True).start()
        try:
            yield wait
        finally:
            started.wait()
            ray.shutdown()
            ended.set()


@contextmanager
def _inherited_environment() -> Iterator[None]:
    """Tune asks for actors with variables of ours, for which Ray starts new processes, while those that it started
    beforehand lie idle. The processes of a Ray of our own have inherited these variables."""
    before = class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = {}, set()
    try:
        yield
    finally:
        class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = before
