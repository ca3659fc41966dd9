"""The combination of BOHB (Falkner et al., ICML 2018): a multivariate TPE inside the brackets of Hyperband.

From Optuna's classes, which differ from the paper in that halving is asynchronous, as in ASHA. Of the peers that
choose a configuration this one is meant to be the strongest: it has TPE's model, and successive halving without
having to guess the grace period. (Population-based training finds a schedule for one run and not a
configuration, so there would be nothing to train again with other seeds.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from searcher.algorithms.strategies.optuna_search import OptunaSearch
from searcher.algorithms.strategies.random import RandomSpace
from searcher.errors import ConfigurationError
from searcher.records import TaskInfo

# Below the one that says what to do where Optuna is missing.
from optuna.pruners import HyperbandPruner  # isort: skip
from optuna.samplers import TPESampler  # isort: skip


class BohbSpace(RandomSpace, Protocol):
    """What BOHB searches, and how it halves."""

    @property
    def grace_epochs(self) -> int:
        """Epochs that every trial gets in the bracket that halves earliest."""

    @property
    def reduction_factor(self) -> int:
        """One in so many goes on from each rung."""


class Bohb(OptunaSearch):
    """Optuna's `TPESampler(multivariate=True)` with its `HyperbandPruner`.

    Raises:
        ConfigurationError: the grace period is longer than a run.
    """

    def __init__(self, label: str, spec: BohbSpace, *, task: TaskInfo, seeds: Sequence[int], epochs: int) -> None:
        longest = spec.epochs or epochs
        if spec.grace_epochs > longest:
            raise ConfigurationError(
                f"{label}.grace_epochs: must be at most {longest}, the epochs of a run, got {spec.grace_epochs}"
            )
        super().__init__(
            label,
            spec,
            task=task,
            seeds=seeds,
            epochs=epochs,
            sampler=lambda seed: TPESampler(seed=seed, multivariate=True, constant_liar=True),
            pruner=HyperbandPruner(
                min_resource=spec.grace_epochs, max_resource=longest, reduction_factor=spec.reduction_factor
            ),
        )
