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
from searcher.execution.loading import check_workers
from searcher.execution.packaged import MARK
from searcher.execution.reaching import connected
from searcher.execution.resources import check_resources
from searcher.progress import StrategyProgress
from searcher.records import History, Record
from searcher.results.owner import claim
from searcher.sweep import Sweep, load_sweep


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
        resources = study.resources_of(sweep)
        check_resources(resources)
        check_workers(sweep.task, folder, resources)
        claim(sweep.results, owner)
        found = study.run(sweep, folder, mode=mode, observer=Teller())
    tell("done")
    print(found.compare(sweep.name).text(width=100))
    print(f"\nresults: {results}")


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
