"""A carrier: one Ray Tune trial that trains one or several of our trials in one actor.

It reports records in batches, because every report is a round trip through the driver, and it asks the stopping
rule itself, because `tune.report` returns no answer. `OverfitScheduler` judges the carrier as a whole.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from ray import tune

from searcher.algorithms.packing import Packing
from searcher.algorithms.stopping import Rule, rule_from
from searcher.errors import SearcherError
from searcher.execution.device import device_for
from searcher.execution.notice import Notice
from searcher.execution.packaged import on_this_node
from searcher.records import EpochRecord, Kind, Record, Status, Trial, TrialRecord
from searcher.training.batch_probe import run_probe
from searcher.training.checkpoints import CHECKPOINT_EVERY, Checkpoints, Vault
from searcher.training.energy import EnergyMeter
from searcher.training.fused import run_trials
from searcher.training.loop import device_name, run_trial
from searcher.training.measuring import has_compiler, packing_for
from searcher.training.tasks import Task, load_task

REPORT_EVERY = 0.5
"""Seconds between two reports of a carrier; what was measured since the last is lost if its process is killed."""

REPORT_COST = 0.02
"""Seconds of the driver that a report may cost. However many carriers there are, together they make at most
1 / REPORT_COST = 50 reports a second: at the 7 to 13 ms measured for one, a third to two thirds of the driver."""

STORED_AFTER = 30.0
"""Seconds after which the driver has stored a record, even where storage refused meanwhile, or has ended by it. As
long a trial that has ended keeps its checkpoint."""

LOAD = "load"
"""The key of the `Load` in a carrier's Tune configuration."""

RECORDS = "records"
"""The key of the records in a carrier's report."""

SO_FAR = "so_far"
"""The key of the pair (last epoch, record that holds if the trial ends there) in a report of a judged trial."""

FAULT = "fault"
"""The key of what is wrong with the task on this node, in place of any records: the run ends by it."""

PACKING = "packing"
"""The key of the `Packing` of a carrier's trials in its first report."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a carrier carries.

    Attributes:
        task, folder: the task's reference, and where a relative one starts from, as `portable` makes it.
        digest: of the task's splits where the sweep was begun, see `Task.digest`.
        stop: the stopping rule as the sweep file gives it.
        cpu, gpu: the carrier's share; torch uses as many threads as it has whole CPUs.
        judged: its one trial may be pruned, so that every epoch but the last is reported at once.
        vault, checkpoint_every, begun: see `searcher.training.checkpoints.Checkpoints`.
        steps, workers, compile_always: see `searcher.training.measuring.packing_for`.
        packing: what was found so for others of the group, so that a sweep trains all of them alike wherever they
            go on; None: nothing yet.
    """

    trials: Sequence[Trial]
    task: str
    folder: str
    digest: str
    stop: Any
    cpu: float
    gpu: float
    judged: bool = False
    vault: Vault | None = None
    checkpoint_every: float = CHECKPOINT_EVERY
    begun: frozenset[str] = frozenset()
    steps: int = 0
    workers: int = 1
    compile_always: bool = False
    packing: Packing | None = None


def carry(config: dict[str, Any]) -> None:
    """The Tune trainable: trains the trials of `config["load"]`, together or one after another."""
    load: Load = config[LOAD]
    torch.set_num_threads(max(1, int(load.cpu)))
    try:
        device = device_for(load.gpu)
        task = load_task(load.task, on_this_node(load.folder))
    except SearcherError as error:
        # A node without the task, or the GPU, would fail one trial after another, faster than others train them.
        tune.report(_refusal(load, f"{error} (on node {platform.node()})"))
        return
    if task.digest() != load.digest:
        # Trials on other data are not comparable: none is trained.
        tune.report(_refusal(load, _other_data(load.task)))
        return
    checkpoints = Checkpoints(vault=load.vault, every=load.checkpoint_every, begun=load.begun, urgent=Notice())
    report = _Report(load, device, checkpoints)
    _train(task, load, rule_from(load.stop), report, device, checkpoints)
    report.send()


def _refusal(load: Load, fault: str) -> dict[str, Any]:
    """The report of a carrier that trains nothing; its counts say to the scheduler that it is one of ours."""
    return {FAULT: fault, "carrier": {"trials": len(load.trials), "stopped": 0, "finished": 0}}


def _train(
    task: Task, load: Load, rule: Rule, report: _Report, device: torch.device, checkpoints: Checkpoints
) -> None:
    first = load.trials[0]
    if first.kind is Kind.BATCH_PROBE:
        for trial in load.trials:
            run_probe(load.task, load.folder, trial, report.add, device)
        return
    packing = load.packing
    if packing is None:
        packing = report.packing = packing_for(
            task, first, device, load.steps, load.workers, compile_always=load.compile_always
        )
    elif packing.compiled and not has_compiler(device):
        packing = replace(packing, compiled=False)
    if packing.fused:
        run_trials(task, load.trials, rule, report.add, device, packing, checkpoints)
    else:
        for trial in load.trials:
            run_trial(task, trial, rule, report.add, device, checkpoints)


def _other_data(task: str) -> str:
    return (
        f"task: '{task}' has other splits on {platform.node()} than where the sweep was begun; it must give the "
        "same data in every process: draw them from a generator with a seed, and read the same files on every node"
    )


def failed(trial: Trial, reason: str) -> TrialRecord:
    """The record of a trial that never got to train."""
    now = time.time()
    return TrialRecord(trial=trial, status=Status.FAILED, status_reason=reason, started=now, finished=now)


class _Report:
    """Collects records and reports them to Tune: at most every `REPORT_EVERY` seconds, or as a judge needs them."""

    def __init__(self, load: Load, device: torch.device, checkpoints: Checkpoints) -> None:
        self._load = load
        self._every = max(REPORT_EVERY, REPORT_COST * load.workers)
        self._meter = EnergyMeter(device)
        self._checkpoints = checkpoints
        self.packing: Packing | None = None
        """To be told to the driver, once."""
        self._counts = {"trials": len(load.trials), "stopped": 0, "finished": 0}
        self._waiting: list[Record] = []
        self._sent = time.monotonic()
        self._pruned: TrialRecord | None = None
        if load.judged:
            (trial,) = load.trials
            self._pruned = TrialRecord(
                trial=trial,
                status=Status.PRUNED,
                device=device_name(device),
                node=platform.node(),
                started=time.time(),
            )

    def add(self, record: Record) -> None:
        self._waiting.append(self._with_energy(record) if isinstance(record, TrialRecord) else record)
        if isinstance(record, TrialRecord):
            self._counts["stopped" if record.status is Status.STOPPED_OVERFIT else "finished"] += 1
        elif self._pruned and isinstance(record, EpochRecord):
            self._pruned = replace(self._pruned.after(record), finished=record.time)
            if record.epoch < self._pruned.trial.length:  # the last epoch ends the trial in any case
                self.send({SO_FAR: (record, self._with_energy(self._pruned))})
        elif time.monotonic() - self._sent > self._every:
            self.send()

    def _with_energy(self, record: TrialRecord) -> TrialRecord:
        """At the mean power of the device: trials in one batch share its time, and carriers the device."""
        watts = self._meter.watts()
        return record if watts is None else replace(record, energy=watts * record.seconds * min(self._load.gpu, 1))

    def send(self, more: Mapping[str, Any] | None = None) -> None:
        records, self._waiting, self._sent = self._waiting, [], time.monotonic()
        told, self.packing = {PACKING: self.packing} if self.packing else {}, None
        try:
            tune.report({RECORDS: records, "carrier": dict(self._counts), **told, **(more or {})})
        finally:
            # Returns, or is unwound by a stop, once the driver has the records. It may die before they are stored.
            for record in records:
                if isinstance(record, TrialRecord) and record.status is not Status.FAILED:
                    self._checkpoints.drop(record.trial_id, after=STORED_AFTER)
