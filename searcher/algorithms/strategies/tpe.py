"""Tree-structured Parzen estimators (Bergstra et al., NeurIPS 2011) as Optuna has them, with or without pruning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from searcher.algorithms.strategies.optuna_search import OptunaSearch
from searcher.algorithms.strategies.random import RandomSpace
from searcher.records import TaskInfo

# Below the one that says what to do where Optuna is missing.
from optuna.pruners import MedianPruner, NopPruner  # isort: skip
from optuna.samplers import TPESampler  # isort: skip


class TpeSpace(RandomSpace, Protocol):
    """What TPE searches."""

    @property
    def pruner(self) -> Literal["none", "median"]:
        """`median` ends a trial whose best test loss so far is above the median of the others at that epoch."""


class Tpe(OptunaSearch):
    """Optuna's `TPESampler` and, where asked for, its `MedianPruner`, both with Optuna's own defaults."""

    def __init__(self, label: str, spec: TpeSpace, *, task: TaskInfo, seeds: Sequence[int], epochs: int) -> None:
        super().__init__(
            label,
            spec,
            task=task,
            seeds=seeds,
            epochs=epochs,
            # The one change: it matters only where trials run side by side, who would else be alike.
            sampler=lambda seed: TPESampler(seed=seed, constant_liar=True),
            pruner=MedianPruner() if spec.pruner == "median" else NopPruner(),
        )
