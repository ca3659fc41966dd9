"""Asynchronous successive halving of random configurations (Li et al., arXiv:1810.05934), as Ray Tune does it.

This proposes the configurations. Which of them are pruned is decided by Tune's own `AsyncHyperBandScheduler`
in `searcher.execution.pruning`, from the test losses of all trials as they arrive: so with several carriers at
work the outcome depends on their timing, and only with one (`max_concurrent: 1`) is a sweep repeated exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from searcher.algorithms.strategies.random import Random, RandomSpace
from searcher.algorithms.strategies.winner import SearchOnce
from searcher.errors import ConfigurationError
from searcher.records import History, TaskInfo, Trial


class AshaSpace(RandomSpace, Protocol):
    """What ASHA draws from, and how it halves."""

    @property
    def grace_epochs(self) -> int:
        """Epochs that every trial gets."""

    @property
    def reduction_factor(self) -> float:
        """One in so many goes on from each rung; the rungs are at `grace_epochs * reduction_factor ** k` epochs."""


class Asha(SearchOnce):
    """Random configurations, most of which are given up early.

    Raises:
        ConfigurationError: the grace period is longer than a run, or as for random search.
    """

    def __init__(self, label: str, spec: AshaSpace, *, task: TaskInfo, seeds: Sequence[int], epochs: int) -> None:
        # Only the draws of random search, all with the first seed.
        self._drawn = Random(label, spec, task=task, seeds=seeds[:1], epochs=epochs)
        super().__init__(label, task, seeds, self._drawn.epochs, spec.trials)
        if spec.grace_epochs > self.epochs:
            raise ConfigurationError(
                f"{label}.grace_epochs: must be at most {self.epochs}, the epochs of a run, got {spec.grace_epochs}"
            )
        self.grace_epochs = spec.grace_epochs
        self.reduction_factor = spec.reduction_factor

    def search(self, history: History, count: int) -> list[Trial]:
        return self._drawn.propose(history, count)
