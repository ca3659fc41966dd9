"""What a strategy is: it proposes trials from what was measured so far, and says beforehand what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from searcher.errors import ConfigurationError, nearest
from searcher.records import Configuration, History, TaskInfo, Trial

KINDS: dict[str, str] = {
    "grid": "Grid",
    "random": "Random",
    "one_cycle": "OneCycle",
    "asha": "Asha",
    "tpe": "Tpe",
    "bohb": "Bohb",
}
"""The strategies: for each kind, which is also its module's name here, the class."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a strategy will do.

    Attributes:
        trials: training runs and range tests.
        epochs: epochs of all trials; those of a range test as its fraction of an epoch.
        samples: training samples processed by all trials.
        exact: False for an upper bound or an estimate, where proposals depend on results.
    """

    trials: int
    epochs: float
    samples: int
    exact: bool


class Strategy(Protocol):
    """A way of choosing configurations. The history is its only memory: it can be rebuilt at any time."""

    def propose(self, history: History, count: int) -> list[Trial]:
        """At most `count` trials that are neither finished nor running, in the order in which to train them.

        The same history gives the same proposals. An empty list means wait while a trial of the strategy is
        running, and done when none is.
        """

    def plan(self) -> Plan:
        """What the strategy will do in all, from the start."""


class Listed:
    """A strategy whose configurations are known beforehand, all of them trained for `epochs` with each seed.

    The seeds of a configuration follow one another: configurations are chosen by their mean over seeds, so
    when a sweep ends early, those that were reached are complete.
    """

    def __init__(self, label: str, task: TaskInfo, seeds: Sequence[int], epochs: int) -> None:
        self.label = label
        self.task = task
        self.seeds = tuple(seeds)
        self.epochs = epochs
        # What follows only saves time. It belongs to one history: with another, everything starts anew.
        self._history: History | None = None
        self._rest: Iterator[Trial] = iter(())
        self._unfinished: list[Trial] = []

    def size(self) -> int:
        """How many configurations there are."""
        raise NotImplementedError

    def configurations(self) -> Iterator[tuple[Configuration, str]]:
        """The configurations, completed, in the order in which to train them, each with its reason."""
        raise NotImplementedError

    def trials(self) -> Iterator[Trial]:
        """Every trial, in the order in which to train them."""
        for configuration, reason in self.configurations():
            for seed in self.seeds:
                yield Trial(
                    task=self.task.name,
                    strategy=self.label,
                    configuration=configuration,
                    seed=seed,
                    length=self.epochs,
                    reason=reason,
                )

    def propose(self, history: History, count: int) -> list[Trial]:
        """See `Strategy.propose`. Its time goes with the trials running and those proposed, not with all."""
        if history is not self._history:
            self._history, self._rest, self._unfinished = history, self.trials(), []
        self._unfinished = [trial for trial in self._unfinished if history.result(trial) is None]
        proposals = [trial for trial in self._unfinished if trial not in history][: max(count, 0)]
        while len(proposals) < count and (trial := next(self._rest, None)) is not None:
            if history.result(trial) is None:
                self._unfinished.append(trial)
                if trial not in history:
                    proposals.append(trial)
        return proposals

    def plan(self) -> Plan:
        """See `Strategy.plan`; exact, but for the trials that will be stopped."""
        trials = self.size() * len(self.seeds)
        epochs = trials * self.epochs
        return Plan(trials=trials, epochs=epochs, samples=epochs * self.task.train_size, exact=True)


def strategy_from(
    kind: str, label: str, spec: Any, *, task: TaskInfo, seeds: Sequence[int], epochs: int
) -> Strategy:
    """Builds the strategy of a kind.

    Args:
        kind: one of `KINDS`.
        label: the strategy's name in this sweep.
        spec: what the sweep file says of it; each class tells what it reads of it.
        epochs: the length of a full training run.

    Raises:
        ConfigurationError: an unknown kind, or a spec that no run can use.
    """
    if kind not in KINDS:
        raise ConfigurationError(
            f"strategy: must be one of {', '.join(KINDS)}, got {kind!r}.{nearest(kind, KINDS)}"
        )
    # Imported by name and late: a kind may need what others can do without.
    module = import_module(f"searcher.algorithms.strategies.{kind}")
    strategy: Strategy = getattr(module, KINDS[kind])(label, spec, task=task, seeds=seeds, epochs=epochs)
    return strategy
