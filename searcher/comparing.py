"""Compares stored sweeps: reads their trials from the results, and refuses what cannot be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searcher.algorithms.choice import Target
from searcher.algorithms.comparison import Entrant, compare
from searcher.algorithms.costs import Price
from searcher.compared import Compared
from searcher.errors import ConfigurationError
from searcher.records import TrialRecord
from searcher.results.query import Results as StoredResults
from searcher.results.rows import to_records
from searcher.results.schema import DATA_SETS
from searcher.sweep import parse_sweep

if TYPE_CHECKING:
    import pandas as pd

_TRIALS = DATA_SETS["trials"]
_COLUMNS = [column.name for column in _TRIALS.columns]


class Results(StoredResults):
    """A results folder that can also compare the strategies of a sweep."""

    def compare(
        self, *sweeps: str, target: str | Target | None = None, price: str | Price | None = None
    ) -> Compared:
        """Compares the strategies of a sweep, or of several, by what they reached and what that cost.

        Args:
            sweeps: their names; of several, strategies are called `sweep/strategy`.
            target: of cost-to-target, e.g. `test_accuracy=0.98`; by default the grid's best.
            price: of a GPU or a CPU core for an hour, e.g. `2.5/gpu-hour`; adds money to the cost.

        Raises:
            NothingFoundError: no such sweep, or none of its trials has ended yet.
            ConfigurationError: the target or the price is not one, no sweep is named or one twice, or the sweeps
                were run on different tasks or splits.
        """
        if not sweeps or len(set(sweeps)) < len(sweeps):
            raise ConfigurationError(f"sweeps: name one or more, each once, got {', '.join(sweeps) or 'none'}")
        rows = [self.sweeps(sweep=name).iloc[0] for name in sweeps]
        for row in rows[1:]:
            _check_same(rows[0], row)
        cost = Price.parse(price) if isinstance(price, str) else price
        entrants: dict[str, Entrant] = {}
        records: list[TrialRecord] = []
        for name, row in zip(sweeps, rows, strict=True):
            stored = parse_sweep(row["text"])
            hourly = None if cost is None else cost.of_a_trial(stored.resources.cpu, stored.resources.gpu)
            present = set(self.trials(sweep=name, columns=["strategy"])["strategy"])
            for entry in stored.strategies:
                label = entry.label if len(sweeps) == 1 else f"{name}/{entry.label}"
                entrants[label] = Entrant(entry.kind, tuple(stored.seeds), hourly)
                if entry.label in present:
                    records.extend(self._ended(name, entry.label, label))
        comparison = compare(
            records,
            entrants,
            train_size=int(rows[0]["train_size"]),
            target=Target.parse(target) if isinstance(target, str) else target,
        )
        unfinished = [
            f"sweep '{name}' is {row['status']}: this is what was measured so far"
            for name, row in zip(sweeps, rows, strict=True)
            if row["status"] != "completed"
        ]
        return Compared(", ".join(sweeps), replace(comparison, notes=(*comparison.notes, *unfinished)))

    def _ended(self, sweep: str, strategy: str, label: str) -> Iterator[TrialRecord]:
        """The trials of a strategy, under the label that it has in the comparison."""
        table = self.trials(sweep=sweep, strategy=strategy, columns=_COLUMNS, to="arrow")
        for record in to_records(table, _TRIALS, label):
            if isinstance(record, TrialRecord):
                yield record


def _check_same(one: pd.Series[Any], other: pd.Series[Any]) -> None:
    """Numbers on different data, or different splits of it, say nothing of each other."""
    pair = f"sweeps '{one['sweep']}' and '{other['sweep']}' cannot be compared"
    if one["task"] != other["task"]:
        raise ConfigurationError(f"{pair}: their tasks differ, '{one['task']}' and '{other['task']}'")
    if one["split_digest"] != other["split_digest"]:
        raise ConfigurationError(f"{pair}: they were run on different splits of task '{one['task']}'")


def open_results(root: str | Path = "results") -> Results:
    """Opens a results folder, local or on object storage; also one that is being written. Reads nothing yet."""
    return Results(root)


__all__ = ["Compared", "Results", "open_results"]
