"""What a report is made of, read from the results once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from searcher.algorithms.comparison import Comparison, StrategySummary
from searcher.comparing import Compared, Results
from searcher.errors import NothingFoundError
from searcher.records import TrialRecord
from searcher.results.rows import to_records
from searcher.results.schema import TRIALS
from searcher.sweep import Sweep, parse_sweep

if TYPE_CHECKING:
    import pandas as pd

_EPOCH_COLUMNS = ("trial_id", "strategy", "epoch", "train_loss", "test_loss", "test_accuracy", "lr", "momentum")
_STEP_COLUMNS = ("trial_id", "strategy", "step", "lr", "train_loss")


@dataclass(frozen=True)
class Source:
    """One sweep as it is stored.

    Attributes:
        row: the sweep's row of `sweeps`, by column.
        compared: its comparison.
        records: every trial that ended, by strategy, in the order of the sweep file.
        epochs, steps: data frames, in the order of trial and epoch (step).
    """

    row: Mapping[str, Any]
    compared: Compared
    records: Mapping[str, Sequence[TrialRecord]]
    epochs: pd.DataFrame
    steps: pd.DataFrame

    @property
    def name(self) -> str:
        return self.compared.sweep

    @property
    def comparison(self) -> Comparison:
        return self.compared.comparison

    @cached_property
    def sweep(self) -> Sweep:
        return parse_sweep(self.row["text"])

    @cached_property
    def summaries(self) -> Mapping[str, StrategySummary]:
        return {one.strategy: one for one in self.comparison.summaries}

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        return {entry.label: entry.kind for entry in self.sweep.strategies}

    @cached_property
    def all_records(self) -> list[TrialRecord]:
        return [record for records in self.records.values() for record in records]

    @cached_property
    def chosen(self) -> frozenset[str]:
        """The trial_ids of every strategy's chosen configuration."""
        wanted = {one.configuration_id for one in self.comparison.summaries if one.configuration_id}
        return frozenset(one.trial_id for one in self.all_records if one.trial.configuration_id in wanted)


def read_source(results: Results, sweep: str, target: str | None = None) -> Source:
    """Reads what a report shows.

    Raises:
        NothingFoundError: no such sweep, or none of its trials has ended yet.
        ResultsError: the results cannot be read.
        ConfigurationError: the target is not one.
    """
    row = results.sweeps(sweep=sweep).iloc[0].to_dict()
    labels = [entry.label for entry in parse_sweep(row["text"]).strategies]
    stored = results.trials(sweep=sweep, columns=["strategy"])["strategy"]
    if not len(stored):
        raise NothingFoundError(f"sweep '{sweep}': none of its trials has ended yet, so there is nothing to report")
    columns = [column.name for column in TRIALS.columns]
    records = {
        label: _ended(
            to_records(results.trials(sweep=sweep, strategy=label, columns=columns, to="arrow"), TRIALS, label)
        )
        for label in labels
        if label in set(stored)
    }
    return Source(
        row=row,
        compared=results.compare(sweep, target=target),
        records={label: records.get(label, []) for label in labels},
        epochs=results.epochs(sweep=sweep, columns=_EPOCH_COLUMNS).sort_values(["trial_id", "epoch"]),
        steps=results.steps(sweep=sweep, columns=_STEP_COLUMNS).sort_values(["trial_id", "step"]),
    )


def _ended(records: Any) -> list[TrialRecord]:
    trials = [record for record in records if isinstance(record, TrialRecord)]
    return sorted(trials, key=lambda one: (one.finished, one.trial_id))
