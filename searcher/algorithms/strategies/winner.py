"""Strategies that search with one seed and then train what they chose with the others.

A search over configurations sees each of them once. What it arrives at is then measured like the choice of any
other strategy, by its mean over the sweep's seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from searcher.algorithms.strategies.base import Plan
from searcher.records import Configuration, History, Status, TaskInfo, Trial, TrialRecord


class SearchOnce:
    """Searches with the first seed, `trials` configurations of up to `epochs`; then trains the winner on.

    The winner is the configuration with the lowest test loss of those that were trained to their end. Its runs
    with the other seeds are never pruned.
    """

    def __init__(self, label: str, task: TaskInfo, seeds: Sequence[int], epochs: int, trials: int) -> None:
        self.label = label
        self.task = task
        self.seeds = tuple(seeds)
        self.epochs = epochs
        self.trials = trials

    def search(self, history: History, count: int) -> list[Trial]:
        """At most `count` new trials of the search, none of them in the history. Empty: it waits, or is done."""
        raise NotImplementedError

    def propose(self, history: History, count: int) -> list[Trial]:
        """See `Strategy.propose`."""
        proposals = self.search(history, count)
        if proposals or any(self.is_search(trial) for trial in history.running.values()):
            return proposals
        winner = self._winner(history)
        if winner is None:
            return []  # nothing was trained to its end: the records say why
        reason = f"the winner of {self.label}, test loss {winner.best_test_loss:.4g} with seed {self.seeds[0]}"
        others = [replace(winner.trial, seed=seed, reason=reason) for seed in self.seeds[1:]]
        return [trial for trial in others if trial not in history][: max(count, 0)]

    def is_search(self, trial: Trial) -> bool:
        """Whether the trial belongs to the search, and not to the winner's further seeds."""
        return trial.seed == self.seeds[0]

    def searched(self, history: History) -> list[TrialRecord]:
        """The trials of the search that have ended, in the order in which they were started."""
        ended = [record for record in history if self.is_search(record.trial)]
        return sorted(ended, key=lambda record: (record.started, record.trial_id))

    def plan(self) -> Plan:
        """See `Strategy.plan`: as if no trial were stopped before its end."""
        trials = self.trials + len(self.seeds) - 1
        epochs = trials * self.epochs
        return Plan(trials=trials, epochs=epochs, samples=epochs * self.task.train_size, exact=False)

    def trial(self, configuration: Configuration, reason: str) -> Trial:
        """A trial of the search."""
        return Trial(
            task=self.task.name,
            strategy=self.label,
            configuration=configuration,
            seed=self.seeds[0],
            length=self.epochs,
            reason=reason,
        )

    def _winner(self, history: History) -> TrialRecord | None:
        whole = (Status.COMPLETED, Status.STOPPED_OVERFIT)
        ended = [record for record in self.searched(history) if record.status in whole]
        return min(ended, key=_loss, default=None)


def _loss(record: TrialRecord) -> float:
    return math.inf if record.best_test_loss is None else record.best_test_loss
