"""A carrier: one Ray Tune trial that trains one or several of our trials in one actor.

It reports records in batches, because every report is a round trip through the driver, and it asks the stopping
rule itself, because `tune.report` returns no answer. `OverfitScheduler` judges the carrier as a whole.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from ray import tune

from searcher.algorithms.stopping import rule_from
from searcher.errors import SearcherError
from searcher.records import Record, Status, Trial, TrialRecord
from searcher.training.loop import run_trial
from searcher.training.tasks import load_task

REPORT_EVERY = 0.5
"""Seconds between two reports of a carrier; what was measured since the last is lost if its process is killed."""

LOAD = "load"
"""The key of the `Load` in a carrier's Tune configuration."""

RECORDS = "records"
"""The key of the records in a carrier's report."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a carrier carries.

    Attributes:
        task, folder: the task's reference, and where a relative one starts from.
        stop: the stopping rule as the sweep file gives it.
        cpu, gpu: the carrier's share; torch uses as many threads as it has whole CPUs.
    """

    trials: Sequence[Trial]
    task: str
    folder: str
    stop: Any
    cpu: float
    gpu: float


def carry(config: dict[str, Any]) -> None:
    """The Tune trainable: trains the trials of `config["load"]` one after another."""
    load: Load = config[LOAD]
    torch.set_num_threads(max(1, int(load.cpu)))
    device = torch.device("cuda" if load.gpu else "cpu")
    report = _Report(len(load.trials))
    try:
        task = load_task(load.task, load.folder)
        rule = rule_from(load.stop)
    except SearcherError as error:
        for trial in load.trials:
            report.add(failed(trial, str(error), node=platform.node()))
    else:
        for trial in load.trials:
            run_trial(task, trial, rule, report.add, device)
    report.send()


def failed(trial: Trial, reason: str, node: str = "") -> TrialRecord:
    """The record of a trial that never got to train."""
    now = time.time()
    return TrialRecord(
        trial=trial, status=Status.FAILED, status_reason=reason, node=node, started=now, finished=now
    )


@dataclass
class _Report:
    """Collects records and reports them to Tune, at most every `REPORT_EVERY` seconds."""

    trials: int
    stopped: int = 0
    finished: int = 0
    waiting: list[Record] = field(default_factory=list)
    sent: float = field(default_factory=time.monotonic)

    def add(self, record: Record) -> None:
        self.waiting.append(record)
        if isinstance(record, TrialRecord):
            self.finished += record.status is not Status.STOPPED_OVERFIT
            self.stopped += record.status is Status.STOPPED_OVERFIT
        elif time.monotonic() - self.sent > REPORT_EVERY:
            self.send()

    def send(self) -> None:
        records, self.waiting, self.sent = self.waiting, [], time.monotonic()
        counts = {"trials": self.trials, "stopped": self.stopped, "finished": self.finished}
        tune.report({RECORDS: records, "carrier": counts})
