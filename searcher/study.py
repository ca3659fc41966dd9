"""Composition: a sweep's strategies are run, their records stored, and the results compared.

sweep -> strategies -> execution -> results -> comparison
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from searcher._version import __version__
from searcher.algorithms.strategies.base import Plan, Strategy, strategy_from
from searcher.comparing import Results, open_results
from searcher.errors import ResultsError
from searcher.records import History, Record, Status, TaskInfo, TrialRecord
from searcher.results.checkpoints import vault_of
from searcher.results.rows import SweepRow
from searcher.results.store import Store, SweepWriter, read_history
from searcher.sweep import Sweep, parse_sweep

if TYPE_CHECKING:
    from searcher.execution.resources import Resources
    from searcher.training.tasks import Task

Mode = Literal["new", "resume", "overwrite"]

OUTAGE_SECONDS = 20.0
"""Storage may refuse for so long before a run ends by it: less than what is left of a lease at any moment."""


class Observer(Protocol):
    """Watches a run, to show its progress. Called from the thread that runs the sweep."""

    def begin(self, sweep: Sweep, plans: Mapping[str, Plan], histories: Mapping[str, History]) -> None:
        """The run starts; the histories hold what an interrupted run left."""

    def record(self, record: Record) -> None:
        """A record was taken over by the store."""

    def end(self) -> None:
        """The run has ended, in whatever way."""


@dataclass(frozen=True)
class Prepared:
    """A sweep whose task was loaded and whose strategies were built, so that it is known to make sense."""

    sweep: Sweep
    folder: Path
    task: TaskInfo
    digest: str
    strategies: Mapping[str, Strategy]

    @property
    def plans(self) -> dict[str, Plan]:
        return {label: strategy.plan() for label, strategy in self.strategies.items()}


def prepare(sweep: Sweep, folder: str | Path = ".") -> Prepared:
    """Loads the task and builds the strategies; trains nothing.

    Args:
        sweep: what is to be run.
        folder: where a relative task reference starts from: the sweep file's folder.

    Raises:
        TaskError: the task cannot be had.
        ConfigurationError: a strategy cannot do what the sweep asks of it, or an experiment tracker's package is
            missing.
    """
    from searcher.training.reference import check_reference

    check_reference(sweep.task, folder)
    from searcher.execution.trackers import check_installed
    from searcher.training.tasks import load_task

    check_installed(sweep.callbacks)
    task: Task = load_task(sweep.task, folder)
    info = task.info(sweep.task)
    strategies = {
        entry.label: strategy_from(
            entry.kind, entry.label, entry.spec, task=info, seeds=sweep.seeds, epochs=sweep.epochs
        )
        for entry in sweep.strategies
    }
    return Prepared(sweep, Path(folder).resolve(), info, task.digest(), strategies)


def run(
    sweep: Sweep,
    folder: str | Path = ".",
    *,
    mode: Mode = "new",
    address: str | None = None,
    observer: Observer | None = None,
) -> Results:
    """Runs a sweep to its end and returns the results folder, opened.

    Args:
        sweep, folder: see `prepare`.
        mode: `new` refuses a name that is stored already; `resume` trains only what is missing; `overwrite`
            deletes what is stored under the name first.
        address: of a Ray cluster, see `searcher.execution.runner.run_strategies`.

    Raises:
        SearcherError: see `prepare`, the store and the runner.
        KeyboardInterrupt: Ctrl-C. What was measured is stored, and the sweep can be resumed.
    """
    from searcher.training.reference import check_reference

    check_reference(sweep.task, folder)
    if mode == "new":
        Store(sweep.results).refuse_stored(sweep.name)
    from searcher.execution.own_ray import started_ahead

    with started_ahead(address, resources_of(sweep)) as wait_for_ray:
        prepared = prepare(sweep, folder)
        _run(prepared, mode, address, observer, wait_for_ray)
    return open_results(sweep.results)


def _run(
    prepared: Prepared, mode: Mode, address: str | None, observer: Observer | None, wait_for_ray: Callable[[], None]
) -> None:
    from searcher.execution.runner import Survival, run_strategies
    from searcher.execution.trackers import Trackers

    wait_for_ray()
    sweep = prepared.sweep
    store = Store(sweep.results)
    if mode == "resume":
        _check_resumable(prepared)
    # A cluster that is not there, has no such nodes, or cannot load the task, leaves no sweep behind.
    reached = _reached(prepared, address) if address else nullcontext()
    with reached, store.begin(_row(prepared), mode=mode, patience=OUTAGE_SECONDS) as writer:
        stored = read_history(sweep.results, sweep.name, list(prepared.strategies)) if mode == "resume" else {}
        histories = {label: stored.get(label, History()) for label in prepared.strategies}
        vault = vault_of(sweep.results, sweep.name, writer.created)
        with _observed(observer, prepared, histories), _interruption_recorded(writer, histories):
            run_strategies(
                prepared.strategies,
                histories,
                lambda records: _take(records, writer, observer),
                task=sweep.task,
                folder=str(prepared.folder),
                digest=prepared.digest,
                stop=sweep.stop.overfit,
                resources=resources_of(sweep),
                survival=Survival(
                    max_failures=sweep.max_failures,
                    vault=vault,
                    checkpoint_every=sweep.checkpoint_every,
                    resumed=writer.resumed,
                    notes=replace(vault, suffix="json"),
                ),
                trackers=Trackers(names=sweep.callbacks, sweep=sweep.name, results=vault.root),
                fuse=sweep.fuse,
                address=address,
            )


@contextmanager
def _reached(prepared: Prepared, address: str) -> Iterator[None]:
    from searcher.execution.loading import check_workers
    from searcher.execution.reaching import connected
    from searcher.execution.resources import check_resources

    resources = resources_of(prepared.sweep)
    with connected(address):
        check_resources(resources)
        check_workers(prepared.sweep.task, prepared.folder, resources)
        yield


def resources_of(sweep: Sweep) -> Resources:
    """What one carrier of a sweep needs, as execution asks Ray for it."""
    from searcher.execution.resources import Resources

    spec = sweep.resources
    return Resources(
        cpu=spec.cpu,
        gpu=spec.gpu,
        memory=spec.memory,
        accelerator_type=spec.accelerator_type,
        max_concurrent=spec.max_concurrent,
    )


def _take(records: Iterable[Record], writer: SweepWriter, observer: Observer | None) -> None:
    records = list(records)
    writer.write(records)
    for record in records if observer else ():
        observer.record(record)  # type: ignore[union-attr]


@contextmanager
def _observed(observer: Observer | None, prepared: Prepared, histories: Mapping[str, History]) -> Iterator[None]:
    if observer is None:
        yield
        return
    observer.begin(prepared.sweep, prepared.plans, histories)
    try:
        yield
    finally:
        observer.end()


@contextmanager
def _interruption_recorded(writer: SweepWriter, histories: Mapping[str, History]) -> Iterator[None]:
    """Gives the trials that were running when the run broke off a row of their own, then lets it break off."""
    try:
        yield
    except BaseException:
        for history in histories.values():
            writer.write([_interrupted(history, trial_id) for trial_id in list(history.running)])
        raise


def _interrupted(history: History, trial_id: str) -> TrialRecord:
    trial = history.running[trial_id]
    record = TrialRecord(
        trial=trial,
        status=Status.INTERRUPTED,
        status_reason="the run was interrupted; a resume trains it again",
    )
    for epoch in history.epochs(trial):
        record = record.after(epoch)
    for step in history.steps(trial)[-1:]:
        record = replace(record, steps=step.step, samples=step.samples, last_train_loss=step.train_loss)
    return record


def _check_resumable(prepared: Prepared) -> None:
    """A sweep may be resumed with other resources or another results folder, but not as another sweep."""
    sweep = prepared.sweep
    if sweep.name not in Store(sweep.results).sweeps():
        return
    stored = open_results(sweep.results).sweeps(sweep=sweep.name).iloc[0]
    if changed := sweep.differences(parse_sweep(stored["text"])):
        raise ResultsError(
            f"sweep '{sweep.name}': its file has changed since it was run ({', '.join(changed)}); "
            "give it another name, or use --overwrite"
        )
    if stored["split_digest"] != prepared.digest:
        raise ResultsError(
            f"sweep '{sweep.name}': the data of task '{sweep.task}' have changed since it was run; "
            "give it another name, or use --overwrite"
        )


def _row(prepared: Prepared) -> SweepRow:
    sweep, task = prepared.sweep, prepared.task
    return SweepRow(
        name=sweep.name,
        task=sweep.task,
        text=sweep.to_yaml(),
        seeds=tuple(sweep.seeds),
        resources=sweep.resources.model_dump_json(exclude_none=True),
        train_size=task.train_size,
        test_size=task.test_size,
        holdout_size=task.holdout_size,
        split_digest=prepared.digest,
        machine=f"{platform.node()} {platform.machine()} {platform.system()}",
        git_revision=_git_revision(prepared.folder),
        searcher_version=__version__,
        torch_version=version("torch"),
        ray_version=version("ray"),
        python_version=".".join(map(str, sys.version_info[:3])),
    )


def _git_revision(folder: Path) -> str | None:
    """Of the folder that holds the sweep file, with `+` when it has uncommitted changes."""
    try:
        words = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
        found = subprocess.run(words, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


__all__ = ["Mode", "Observer", "Prepared", "open_results", "prepare", "resources_of", "run"]
