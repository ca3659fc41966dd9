"""A comparison to look at: as a table for a terminal, as a data frame, and as plain values for scripts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from searcher.algorithms.comparison import Comparison, StrategySummary
from searcher.algorithms.intervals import Estimate, Interval
from searcher.algorithms.verdict import factor
from searcher.records import FULL_PRECISION

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


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
            shown = [show(one) for one in self.comparison.summaries]
            if set(shown) != {"-"}:
                table.add_row(name, *shown)
        with console.capture() as captured:
            console.print(table)
            console.print()
            for line in self._lines():
                console.print(line, soft_wrap=True, markup=False)
            if self.comparison.sensitivity:
                console.print(
                    f"\n{self.comparison.reference} with fewer points, the mean over all choices of them:"
                )
                console.print(self._sizes())
        return captured.get().rstrip("\n")

    def document(self) -> dict[str, Any]:
        """All of it as plain values, for scripts: what cannot be said is None, and so is what is not finite."""
        return {"sweep": self.sweep, **_plain(dataclasses.asdict(self.comparison))}

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
            "  money": lambda one: "-" if one.cost.money is None else f"{one.cost.money:,.4g}",
            "  energy (kWh)": lambda one: "-" if one.cost.energy is None else f"{one.cost.energy / 3.6e6:,.3g}",
            f"  of {reference}'s": lambda one: _fraction(one.cost_ratio),
            "cost to target: samples": lambda one: _count(one.cost_to_target),
            "  95 % of orders": lambda one: _range(one.cost_to_target_spread, _count),
            f"  of {reference}'s ": lambda one: _fraction(one.cost_to_target_ratio),
            "  95 % of orders ": lambda one: _range(one.cost_to_target_ratio_spread, _fraction),
        }
        chosen = [one.configuration for one in self.comparison.summaries if one.configuration]
        mixed = ("precision",) if any(one.precision != FULL_PRECISION for one in chosen) else ()
        for name in ("lr", "momentum", "weight_decay", "batch_size", "schedule", "optimizer", *mixed):
            rows[f"chosen: {name}" if name == "lr" else f"  {name}"] = partial(_hyper_parameter, name)
        rows["test loss"] = lambda one: "-" if one.test_loss is None else f"{one.test_loss:.4f}"
        rows[f"holdout {self.comparison.metric}"] = lambda one: _interval(one.holdout)
        return rows

    def _sizes(self) -> Table:
        """What the reference would have reached with fewer points, and what the others cost then."""
        from rich.table import Table

        _, *others = sorted(self.comparison.summaries, key=lambda one: one.strategy != self.comparison.reference)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("points", "samples", "test loss", f"holdout {self.comparison.metric}"):
            table.add_column(name, justify="right")
        for other in others:
            table.add_column(f"{other.strategy} costs", justify="right", overflow="fold")
        for size in self.comparison.sensitivity:
            table.add_row(
                str(size.points),
                _count(size.samples),
                f"{size.test_loss:.4f}",
                "-" if size.holdout is None else f"{size.holdout:.4f}",
                *(_fraction(other.cost.samples / size.samples if size.samples else None) for other in others),
            )
        return table

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
            "energy": one.cost.energy,
            "cost_ratio": one.cost_ratio,
            "cost_ratio_low": one.cost_ratio_interval and one.cost_ratio_interval.low,
            "cost_ratio_high": one.cost_ratio_interval and one.cost_ratio_interval.high,
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
    return "-" if ratio is None else factor(ratio)


def _range(interval: Interval | None, show: Callable[[float | None], str]) -> str:
    low, high = (None, None) if interval is None else (show(interval.low), show(interval.high))
    return "-" if low == high else f"{low} to {high}"


def _count(samples: float | None) -> str:
    return "-" if samples is None else f"{samples:,.0f}"


def _hyper_parameter(name: str, one: StrategySummary) -> str:
    """Of the chosen configuration; "-" where no trial came to its end."""
    value = getattr(one.configuration, name, "-")
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
