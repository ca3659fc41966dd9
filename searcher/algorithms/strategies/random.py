"""Random search (Bergstra & Bengio, JMLR 13, 2012): each hyper-parameter is drawn from its distribution."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from searcher.algorithms.schedules import complete
from searcher.algorithms.strategies.base import Listed
from searcher.errors import ConfigurationError
from searcher.records import Configuration, TaskInfo


@dataclass(frozen=True, slots=True)
class Uniform:
    """Any number from low to below high, each as likely as another."""

    low: float
    high: float

    def draw(self, random: np.random.Generator) -> float:
        return float(random.uniform(self.low, self.high))


@dataclass(frozen=True, slots=True)
class LogUniform:
    """Any number from low (above 0) to high, each order of magnitude as likely as another."""

    low: float
    high: float

    def draw(self, random: np.random.Generator) -> float:
        value = math.exp(random.uniform(math.log(self.low), math.log(self.high)))
        return min(max(value, self.low), self.high)  # exp(log(x)) may leave the bounds by a rounding


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the values, each as likely as another; of a single value, that one."""

    values: Sequence[Any]

    def draw(self, random: np.random.Generator) -> Any:
        return self.values[int(random.integers(len(self.values)))]


Distribution = Uniform | LogUniform | Choice


class RandomSpace(Protocol):
    """What random search draws from."""

    @property
    def trials(self) -> int:
        """How many configurations to draw."""

    def distributions(self) -> Mapping[str, Distribution]:
        """For each hyper-parameter its distribution."""

    def fixed(self) -> Mapping[str, Any]:
        """The hyper-parameters that all configurations share."""

    @property
    def epochs(self) -> int | None:
        """The length of its runs; None: that of the sweep."""


class Random(Listed):
    """`trials` configurations that differ, each with every seed.

    The draws follow from the sweep's first seed and the strategy's label alone, so they are the same in every
    run, and a larger number of trials begins with the same configurations.

    Raises:
        ConfigurationError: more trials asked for than there are configurations; or, when it is reached, a
            configuration that no training run can use.
    """

    def __init__(self, label: str, spec: RandomSpace, *, task: TaskInfo, seeds: Sequence[int], epochs: int) -> None:
        super().__init__(label, task, seeds, spec.epochs or epochs)
        self._trials = spec.trials
        # Sorted: the order in which a file names its hyper-parameters must not change what is drawn.
        self._distributions = dict(sorted(spec.distributions().items()))
        self._fixed = dict(spec.fixed())
        check_trials(self._trials, self._distributions)

    def size(self) -> int:
        return self._trials

    def configurations(self) -> Iterator[tuple[Configuration, str]]:
        random = np.random.default_rng([self.seeds[0], *self.label.encode()])
        drawn: set[tuple[Any, ...]] = set()
        while len(drawn) < self._trials:
            point = tuple(distribution.draw(random) for distribution in self._distributions.values())
            if point in drawn:
                continue
            drawn.add(point)
            values: dict[str, Any] = dict(zip(self._distributions, point, strict=True))
            reason = f"random draw {len(drawn)} of {self._trials}"
            yield complete(Configuration(**values, **self._fixed)), reason


def check_trials(trials: int, distributions: Mapping[str, Distribution]) -> None:
    """Refuses more trials than there are configurations, where every distribution is a choice.

    Raises:
        ConfigurationError: names both numbers.
    """
    if all(isinstance(distribution, Choice) for distribution in distributions.values()):
        possible = math.prod(
            len(set(choice.values)) for choice in distributions.values() if isinstance(choice, Choice)
        )
        if trials > possible:
            raise ConfigurationError(
                f"trials: must be at most {possible}, as many as the choices make, got {trials}"
            )
