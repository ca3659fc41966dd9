"""The comparison of a stored sweep: read from the results, as a data frame and as a table to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searcher.algorithms.choice import Target
from searcher.algorithms.comparison import Comparison, StrategySummary, compare
from searcher.algorithms.intervals import Estimate
from searcher.algorithms.verdict import share
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
        self, sweep: str, *, target: str | Target | None = None, price_per_hour: float | None = None
    ) -> Compared:
        """Compares the strategies of a sweep by what they reached and what that cost.

        Args:
            sweep: its name.
            target: of cost-to-target, e.g. `test_accuracy=0.98`; by default the grid's best.
            price_per_hour: of one device, in any currency; adds money to the cost.

        Raises:
            NothingFoundError: no such sweep, or none of its trials has ended yet.
            ConfigurationError: the target or the price is not one.
        """
        row = self.sweeps(sweep=sweep).iloc[0]
        stored = parse_sweep(row["text"])
        kinds = {entry.label: entry.kind for entry in stored.strategies}
        present = set(self.trials(sweep=sweep, columns=["strategy"])["strategy"])
        records = [
            record
            for label in kinds
            if label in present
            for record in to_records(
                self.trials(sweep=sweep, strategy=label, columns=_COLUMNS, to="arrow"), _TRIALS, label
            )
            if isinstance(record, TrialRecord)
        ]
        comparison = compare(
            records,
            kinds,
            seeds=stored.seeds,
            train_size=int(row["train_size"]),
            target=Target.parse(target) if isinstance(target, str) else target,
            price_per_hour=price_per_hour,
        )
        return Compared(sweep, comparison)


def open_results(root: str | Path = "results") -> Results:
    """Opens a results folder, local or on object storage; also one that is being written. Reads nothing yet."""
    return Results(root)


@dataclass(frozen=True)
class Compared:
    """A comparison, ready to look at: printed, it is a table; `frame()` is for computing with it."""

    sweep: str
    comparison: Comparison

    def frame(self) -> pd.DataFrame:
        """One row for each strategy; costs are of all its trials, ratios are fractions of the reference's."""
        import pandas as pd

        return pd.DataFrame([self._record(summary) for summary in self.comparison.summaries])

    def text(self, width: int | None = None) -> str:
        """The table, the chosen configurations, the verdicts and the notes, for a terminal.

        Args:
            width: columns of the terminal; by default those of this one.
        """
        from rich.console import Console
        from rich.table import Table

        console = Console(width=width, highlight=False)
        # A column for each strategy: there are few of them, so it fits a terminal of 80 columns.
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("")
        for one in self.comparison.summaries:
            table.add_column(one.strategy, justify="right", overflow="fold")
        for name, show in self._rows().items():
            table.add_row(name, *(show(one) for one in self.comparison.summaries))
        with console.capture() as captured:
            console.print(table)
            console.print()
            for line in self._lines():
                console.print(line, soft_wrap=True, markup=False)
        return captured.get().rstrip("\n")

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        html: str = self.frame().to_html(index=False)
        return html

    def _rows(self) -> dict[str, Callable[[StrategySummary], str]]:
        """The rows of the table: their names, and what they show of a strategy."""
        reference = self.comparison.reference
        rows: dict[str, Callable[[StrategySummary], str]] = {
            "trials": lambda one: str(one.trials),
            "cost: samples": lambda one: f"{one.cost.samples:,}",
            "  epochs": lambda one: f"{one.cost.epochs:,.1f}",
            "  device-seconds": lambda one: f"{one.cost.device_seconds:,.1f}",
            f"  of {reference}'s": lambda one: _fraction(one.cost_ratio),
            "cost to target: samples": lambda one: _count(one.cost_to_target),
            f"  of {reference}'s ": lambda one: _fraction(one.cost_to_target_ratio),
        }
        for name in ("lr", "momentum", "weight_decay", "batch_size", "schedule", "optimizer"):
            rows[f"chosen: {name}" if name == "lr" else f"  {name}"] = partial(_hyper_parameter, name)
        rows["test loss"] = lambda one: "-" if one.test_loss is None else f"{one.test_loss:.4f}"
        rows[f"holdout {self.comparison.metric}"] = lambda one: _interval(one.holdout)
        return rows

    def _lines(self) -> list[str]:
        lines = [one.verdict for one in self.comparison.summaries if one.strategy != self.comparison.reference]
        if target := self.comparison.target:
            lines.append(f"target: test {target.metric} {target.value:.4g} ({target.origin})")
        return [*lines, *self.comparison.notes]

    def _record(self, one: StrategySummary) -> dict[str, Any]:
        holdout = one.holdout
        return {
            "strategy": one.strategy,
            "trials": one.trials,
            "samples": one.cost.samples,
            "epochs": one.cost.epochs,
            "device_seconds": one.cost.device_seconds,
            "money": one.cost.money,
            "cost_ratio": one.cost_ratio,
            **(one.configuration.given() if one.configuration else {}),
            "configuration_id": one.configuration_id,
            "seeds": one.seeds,
            "test_loss": one.test_loss,
            "test_accuracy": one.test_accuracy,
            f"holdout_{self.comparison.metric}": None if holdout is None else holdout.mean,
            "holdout_half_width": None if holdout is None else holdout.half_width,
            "cost_to_target": one.cost_to_target,
            "cost_to_target_ratio": one.cost_to_target_ratio,
            "verdict": one.verdict,
        }


def _interval(value: Estimate | None) -> str:
    if value is None:
        return "-"
    return f"{value.mean:.4f}" + ("" if value.half_width is None else f" ± {value.half_width:.4f}")


def _fraction(ratio: float | None) -> str:
    return "-" if ratio is None else share(ratio).removesuffix(" of its cost").replace("the same cost", "1")


def _count(samples: float | None) -> str:
    return "-" if samples is None else f"{samples:,.0f}"


def _hyper_parameter(name: str, one: StrategySummary) -> str:
    """Of the chosen configuration; "-" where no trial came to its end."""
    value = getattr(one.configuration, name, "-")
    return f"{value:.4g}" if isinstance(value, float) else str(value)
