"""Runs the trials of all strategies of a sweep through Ray Tune."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune import FailureConfig, PlacementGroupFactory, RunConfig, TuneConfig, TuneError, Tuner

from searcher.algorithms.strategies.base import Strategy
from searcher.errors import SearcherError
from searcher.execution.carrier import Load, carry
from searcher.execution.own_ray import environment
from searcher.execution.packaged import portable
from searcher.execution.packer import Memory, Packer
from searcher.execution.pruning import PruningScheduler
from searcher.execution.reaching import connected
from searcher.execution.resources import Resources, carriers_at_once, check_resources
from searcher.execution.room import Room
from searcher.execution.scheduler import OverfitScheduler
from searcher.execution.search import Proposals, ProposalSearch, RecordCallback, Sink
from searcher.execution.trackers import Trackers, told
from searcher.records import History
from searcher.training.checkpoints import CHECKPOINT_EVERY, Vault


@dataclass(frozen=True, kw_only=True)
class Survival:
    """What is done about deaths.

    Attributes:
        max_failures: how often in a row a trial may fail, without getting further, and be started again.
        vault: where the trials' checkpoints are kept; None: nowhere, so trials start again from their start.
        checkpoint_every: seconds between two checkpoints of a trial.
        resumed: whether an earlier run may have left checkpoints.
        notes: where it is kept how trials are packed; None: nowhere.
    """

    max_failures: int
    vault: Vault | None = None
    checkpoint_every: float = CHECKPOINT_EVERY
    resumed: bool = False
    notes: Vault | None = None


def run_strategies(
    strategies: Mapping[str, Strategy],
    histories: Mapping[str, History],
    sink: Sink,
    *,
    task: str,
    folder: str,
    digest: str,
    stop: Any,
    resources: Resources,
    survival: Survival,
    trackers: Trackers | None = None,
    fuse: str = "auto",
    address: str | None = None,
) -> None:
    """Trains what the strategies propose until they are done; blocks.

    Args:
        strategies: by label.
        histories: by label; updated with every record. On a resume they hold what was measured before.
        sink: given every record before a strategy learns of it; what it raises ends the run.
        task, folder: see `searcher.training.tasks.load_task`.
        digest: of the task's splits: a process where they are others ends the run.
        stop: the stopping rule, see `searcher.algorithms.stopping.rule_from`.
        survival: what is done when processes and nodes die.
        trackers: experiment trackers, which are told what the sink has taken.
        fuse: off: every trial is trained alone; auto: in one batch with others, where that pays; compiled: the
            same, and its step is compiled whatever that takes.
        address: of a Ray cluster; None: RAY_ADDRESS where it is set, else a Ray of our own on this machine.

    Raises:
        ExecutionError: Ray cannot be reached, no node has the resources that a trial needs, or a tracker
            cannot be set up.
        TaskError: in a process that trains, the task does not load, or its data are others.
        KeyboardInterrupt: Ctrl-C; everything reported so far is with the sink.
    """
    with (
        environment(),
        connected(address),
        told(sink, trackers, histories) as sink,
        tempfile.TemporaryDirectory(prefix="searcher-tune-") as scratch,
    ):
        check_resources(resources)
        device = "gpu" if resources.gpu else f"{max(1, int(resources.cpu))} threads"
        memory = Memory(survival.notes, device) if survival.notes else None
        packer = Packer(strategies, carriers_at_once(resources), fuse != "off", memory)
        proposals = Proposals(strategies, histories, sink, survival.max_failures, packer, survival.resumed)
        room = Room(resources.bundle(), resources.max_concurrent)
        pruning = PruningScheduler(strategies, histories, room)
        load = Load(
            trials=(),
            task=task,
            folder=portable(folder),
            digest=digest,
            stop=stop,
            cpu=resources.cpu,
            gpu=resources.gpu,
            vault=survival.vault,
            checkpoint_every=survival.checkpoint_every,
            workers=packer.workers,
            compile_always=fuse == "compiled",
        )
        search = ProposalSearch(proposals, pruning, packer, load, room)
        tuner = Tuner(
            tune.with_resources(carry, PlacementGroupFactory([resources.bundle()])),
            tune_config=TuneConfig(
                search_alg=search,
                scheduler=OverfitScheduler(rule=stop, base=pruning),
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=RunConfig(
                name="tune",
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=0),
                callbacks=[RecordCallback(proposals, search)],
                verbose=0,
            ),
        )
        try:
            with _our_errors():
                tuner.fit()
        finally:
            room.leave()


@contextmanager
def _our_errors() -> Iterator[None]:
    """What our callback and the sink raise comes out as it was raised: Tune makes a traceback's text of it."""
    ours: BaseException | None = None
    try:
        yield
    except TuneError as error:
        ours = error
        while ours is not None and not isinstance(ours, SearcherError):
            ours = ours.__cause__ or ours.__context__
        if ours is None:
            raise
    if ours is not None:
        raise ours
