"""The job that runs a sweep: checks what can be checked, runs it, and tells how far it is."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from searcher import study
from searcher.algorithms.strategies.base import Plan
from searcher.cluster.messages import tell
from searcher.errors import TaskError
from searcher.execution.packaged import MARK, on_this_node, portable
from searcher.execution.runner import check_resources, connected
from searcher.progress import StrategyProgress
from searcher.records import History, Record
from searcher.results.owner import claim
from searcher.sweep import Sweep, load_sweep

LOOK_SECONDS = 20.0
"""How long a worker may take to say whether it can load the task; with none free by then, the trials say it."""


def run_sweep(mode: study.Mode, owner: str, results: str) -> None:
    """Runs the packed sweep.

    Raises:
        SearcherError: see `searcher.run`; told to the client before anything was trained where it can be.
    """
    root = Path.cwd()
    folder = root / json.loads((root / MARK).read_text())["sweep_folder"]
    sweep = load_sweep(root / f"{MARK}.sweep.yaml").model_copy(update={"results": _ready(results)})
    study.prepare(sweep, folder)
    with connected(None):
        check_workers(sweep, folder)
        claim(sweep.results, owner)
        tell("checked")
        found = study.run(sweep, folder, mode=mode, observer=Teller())
    tell("done")
    print(found.compare(sweep.name).text(width=100))
    print(f"\nresults: {results}")


def check_workers(sweep: Sweep, folder: Path) -> None:
    """Loads the task on a worker that has what a trial asks for.

    Raises:
        ExecutionError: no node has the resources.
        TaskError: the task does not load there.
    """
    import ray

    resources = study.resources_of(sweep)
    check_resources(resources)
    bundle = resources.bundle()
    look = ray.remote(_load_here).options(
        num_cpus=bundle.pop("CPU", 0), num_gpus=bundle.pop("GPU", 0), memory=bundle.pop("memory", None),
        resources=bundle, max_retries=0,
    )  # fmt: skip
    waiting = look.remote(sweep.task, portable(folder))
    done, _ = ray.wait([waiting], timeout=LOOK_SECONDS)
    if not done:
        ray.cancel(waiting, force=True)
    elif fault := ray.get(waiting):
        raise TaskError(fault)


def _load_here(task: str, folder: str) -> str:
    """What is wrong with the task on the node that runs this; empty: nothing."""
    import platform

    from searcher.errors import SearcherError
    from searcher.training.tasks import load_task

    try:
        load_task(task, on_this_node(folder))
    except SearcherError as error:
        return f"{error} (on node {platform.node()})"
    return ""


def _ready(results: str) -> str:
    """A folder below the home is made for this user alone; any other place is as its owner made it."""
    if not results.startswith("~"):
        return results
    home, *below = Path(results).expanduser().parts[len(Path.home().parts) :]
    private = Path.home() / home
    private.mkdir(mode=0o700, exist_ok=True)
    return str(private.joinpath(*below))


@dataclass
class Teller:
    """An observer of the run that tells its counts, every second at first, every ten when it is long."""

    progress: dict[str, StrategyProgress] = field(default_factory=dict)
    before: int = 0
    started: float = field(default_factory=time.monotonic)
    told: float = 0.0

    def begin(self, sweep: Sweep, plans: Mapping[str, Plan], histories: Mapping[str, History]) -> None:
        for label, plan in plans.items():
            self.progress[label] = StrategyProgress(plan)
            for record in histories[label]:
                self.progress[label].add(record)
        self.before = sum(one.samples for one in self.progress.values())
        self._tell()

    def record(self, record: Record) -> None:
        self.progress[record.strategy].add(record)
        now = time.monotonic()
        if now - self.told > min(10.0, max(1.0, (now - self.started) / 200)):
            self._tell()

    def end(self) -> None:
        self._tell()

    def _tell(self) -> None:
        self.told = time.monotonic()
        tell(
            "progress",
            elapsed=round(self.told - self.started, 1),
            before=self.before,
            strategies={label: one.snapshot() for label, one in self.progress.items()},
        )
