"""Grid search: every combination of the listed values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from searcher.algorithms.schedules import complete
from searcher.algorithms.strategies.base import Listed
from searcher.records import Configuration, TaskInfo


class GridSpace(Protocol):
    """What a grid is made of."""

    def axes(self) -> Mapping[str, Sequence[Any]]:
        """For each hyper-parameter that varies its values."""

    def fixed(self) -> Mapping[str, Any]:
        """The hyper-parameters that all grid points share."""

    @property
    def epochs(self) -> int | None:
        """The length of its runs; None: that of the sweep."""


class Grid(Listed):
    """Every grid point with every seed. The last axis varies fastest.

    Raises:
        ConfigurationError: when a grid point that no training run can use is reached.
    """

    def __init__(self, label: str, spec: GridSpace, *, task: TaskInfo, seeds: Sequence[int], epochs: int) -> None:
        super().__init__(label, task, seeds, spec.epochs or epochs)
        self._axes = dict(spec.axes())
        self._fixed = dict(spec.fixed())

    def size(self) -> int:
        return math.prod(len(values) for values in self._axes.values())

    def configurations(self) -> Iterator[tuple[Configuration, str]]:
        for index, point in enumerate(itertools.product(*self._axes.values()), start=1):
            values = dict(zip(self._axes, point, strict=True))
            yield complete(Configuration(**values, **self._fixed)), f"grid point {index} of {self.size()}"
