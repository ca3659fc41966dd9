"""The one-cycle method as a strategy: proposes what the method waits for, and says beforehand what it may cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from searcher.algorithms.batch_size import choose_batch_size, largest_useful
from searcher.algorithms.strategies.base import Plan
from searcher.algorithms.strategies.one_cycle.budget import Budget
from searcher.algorithms.strategies.one_cycle.measurements import Measurements, Waiting
from searcher.algorithms.strategies.one_cycle.method import RANGE_SEEDS, Search
from searcher.algorithms.strategies.one_cycle.trials import Trials
from searcher.errors import ConfigurationError
from searcher.records import History, TaskInfo, Trial

SHORTEST = 3
"""The least epochs of a cycle. The lengths are the longest, its half, its quarter and its eighth."""

LONGEST = 2 / 3
"""The longest cycle where the spec names none, as a fraction of a full run: a cycle needs fewer epochs. What the
budget leaves may stretch it up to a full run."""

CYCLES, FURTHER_CYCLES = 3.5, 2.0
"""The budget where none is given, in longest cycles: for one seed, and for each further one, of which its own final
cycle takes one and a half at most."""

SEARCH, CYCLES_TRIED = 3.5, 9
"""About what the search takes, for the plan: in longest cycles, and in trials."""


class OneCycle:
    """Built from what the sweep file says under `one_cycle`; `method` says what it does."""

    def __init__(self, label: str, spec: Any, *, task: TaskInfo, seeds: Sequence[int], epochs: int) -> None:
        self.label = label
        self.spec = spec
        self.task = task
        self.seeds = tuple(seeds)
        self.epochs = spec.epochs or max(1, round(epochs * LONGEST))
        self.full = spec.epochs or epochs
        self.lengths = lengths_of(self.epochs)
        self.largest_batch = largest_useful(task.train_size, self.epochs)
        self.budget = self._budget()

    def propose(self, history: History, count: int) -> list[Trial]:
        """See `Strategy.propose`."""
        measured = Measurements(history, self.budget, self.task.train_size)
        try:
            if (batch_size := self._batch_size(measured)) is not None:
                trials = self._trials(batch_size)
                Search(self.spec, self.seeds, self.lengths, self.full, trials, measured).carry_out()
        except Waiting as waiting:
            return [trial for trial in waiting.trials if trial not in history][: max(count, 0)]
        return []

    def plan(self) -> Plan:
        """An estimate: the walk and the moves are as long as what they find makes them."""
        others = len(self.seeds) - 1
        samples = self._samples_of_range_tests() + round((SEARCH + others) * self.epochs * self.task.train_size)
        if (most := self.budget.samples(self.task.train_size)) < samples:
            samples = int(most)
        trials = self._range_tests() + CYCLES_TRIED + others + (self.spec.batch_size == "auto")
        return Plan(trials, samples / self.task.train_size, samples, exact=False)

    def _batch_size(self, measured: Measurements) -> int | None:
        """The spec's, or what the probe finds; None where it found none: its record says why."""
        if self.spec.batch_size != "auto":
            return int(self.spec.batch_size)
        probe = self._trials(self.largest_batch).batch_probe()
        measured.records([probe])
        chosen = choose_batch_size(measured.history.steps(probe), self.largest_batch)
        return chosen[0] if chosen else None

    def _trials(self, batch_size: int) -> Trials:
        return Trials(self.label, self.spec, self.task, batch_size, self.seeds[0])

    def _range_tests(self) -> int:
        return len(self.spec.weight_decay) + RANGE_SEEDS - 1

    def _samples_of_range_tests(self) -> int:
        batch_size = self.largest_batch if self.spec.batch_size == "auto" else int(self.spec.batch_size)
        return self._range_tests() * self._trials(batch_size).range_steps() * batch_size

    def _budget(self) -> Budget:
        """The spec's, or what `CYCLES` says; refused where not even the shortest search fits.

        Raises:
            ConfigurationError: the budget is too small.
        """
        shortest = self.lengths[0] * self.task.train_size
        least = self._samples_of_range_tests() + (1 + len(self.seeds)) * shortest
        given = self.spec.budget
        if given is None:
            longest = self.epochs * self.task.train_size
            return Budget("samples", max((CYCLES + FURTHER_CYCLES * (len(self.seeds) - 1)) * longest, least))
        budget = Budget(given.unit, given.amount, given.price_per_hour or 0.0)
        if budget.samples(self.task.train_size) < least:
            needed = math.ceil(least / self.task.train_size) if given.unit == "epochs" else least
            raise ConfigurationError(
                f"{self.label}.budget.{given.unit}: must be at least {needed} (range tests, two short cycles and "
                f"one for each further seed), got {given.amount:g}"
            )
        return budget


def lengths_of(epochs: int) -> tuple[int, ...]:
    """The lengths that a cycle may have: an eighth, a quarter and a half of the longest, and the longest."""
    parts = {max(min(SHORTEST, epochs), round(epochs / part)) for part in (8, 4, 2, 1)}
    return tuple(sorted(parts))
