"""The tables of a report, as text that is ready to stand in a cell."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from searcher.algorithms.intervals import Estimate
from searcher.algorithms.verdict import factor
from searcher.records import Configuration, Kind, Status, TrialRecord
from searcher.report.curves import some_of
from searcher.report.figure import number
from searcher.report.source import Source

ROWS = 2_000
"""Of a table at most."""


@dataclass(frozen=True)
class Cell:
    """What is shown, and what a column is sorted by."""

    text: str
    key: str | float


@dataclass(frozen=True)
class Table:
    """Columns, each with whether it holds numbers, and rows of as many cells."""

    columns: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


def table_of(frame: pd.DataFrame, note: str = "") -> Table:
    """At most `ROWS` rows of a frame; says so where it has more."""
    numeric = [pd.api.types.is_numeric_dtype(frame[name]) for name in frame]
    if len(frame) > ROWS:
        note = f"{note} The first {ROWS:,} of {len(frame):,} rows.".strip()
    rows = tuple(
        tuple(_cell(value, is_number) for value, is_number in zip(row, numeric, strict=True))
        for row in frame.head(ROWS).itertuples(index=False, name=None)
    )
    return Table(tuple(zip(map(str, frame.columns), numeric, strict=True)), rows, note)


def comparison_table(source: Source) -> Table:
    """The comparison: one row for each strategy."""
    comparison = source.comparison
    rows = [
        {
            "strategy": one.strategy,
            "trials": one.trials,
            "cost (samples)": one.cost.samples,
            "in epochs": one.cost.epochs,
            "device-seconds": one.cost.device_seconds,
            f"cost, by {comparison.reference}'s": _share(one.cost_ratio),
            "test loss": one.test_loss,
            f"holdout {comparison.metric}": _interval(one.holdout),
            "seeds": one.seeds,
            "cost to target": None if one.cost_to_target is None else round(one.cost_to_target),
            f"to target, by {comparison.reference}'s": _share(one.cost_to_target_ratio),
        }
        for one in comparison.summaries
    ]
    return table_of(pd.DataFrame(rows).astype({"test loss": float, "cost to target": float}))


def chosen_table(source: Source) -> Table:
    """The chosen configurations, with the hyper-parameters that one of them has."""
    chosen = {one.strategy: one.configuration.given() for one in source.comparison.summaries if one.configuration}
    names = [name for name in _NAMES if any(name in values for values in chosen.values())]
    rows = [
        {"hyper-parameter": name.replace("_", " ")}
        | {strategy: _value(values.get(name)) for strategy, values in chosen.items()}
        for name in names
    ]
    return table_of(pd.DataFrame(rows, columns=["hyper-parameter", *chosen]))


def ended_table(source: Source) -> Table:
    """How the trials of each strategy ended."""
    rows = [
        {"strategy": one.strategy, "trials": one.trials}
        | {str(status).replace("_", " "): one.statuses.get(str(status), 0) for status in Status}
        for one in source.comparison.summaries
    ]
    return table_of(pd.DataFrame(rows))


def stopped_table(source: Source) -> Table:
    """The trials that were not completed, each with its reason; the last to go first where they are many."""
    stopped = [one for one in source.all_records if one.status is not Status.COMPLETED]
    rows = [
        {
            "strategy": one.strategy,
            "trial": one.trial_id,
            "ended as": str(one.status),
            "at epoch": one.epochs,
            "of": one.trial.length if one.trial.kind == "train" else None,
            "best epoch": one.best_epoch,
            "reason": one.status_reason,
        }
        for one in stopped
    ]
    columns = ["strategy", "trial", "ended as", "at epoch", "of", "best epoch", "reason"]
    frame = pd.DataFrame(rows, columns=columns)
    return table_of(frame.astype({"of": float, "best epoch": float}))


def trials_table(source: Source) -> Table:
    """The trials, the lowest test loss first, with the hyper-parameters in which training runs differ."""
    shown = some_of(source.all_records, source.chosen, ROWS)
    shown.sort(key=lambda one: (math.inf if one.best_test_loss is None else one.best_test_loss, one.trial_id))
    names = [name for name in _NAMES if name in _ALWAYS or _varies(name, shown)]
    note = ""
    if len(shown) < len(source.all_records):
        note = (
            f"{len(shown):,} of {len(source.all_records):,} trials, at equal distances in the order of their test "
            "loss, and the chosen ones. The results hold all of them."
        )
    has_accuracy = any(one.best_test_accuracy is not None for one in shown)
    return table_of(pd.DataFrame([_trial(one, names, has_accuracy) for one in shown]), note)


def provenance(source: Source) -> Mapping[str, str]:
    """Where the numbers are from, in words; the sweep file itself stands beside it."""
    row = source.row
    nodes = sorted({one.node for one in source.all_records if one.node})
    devices = sorted({one.device for one in source.all_records if one.device})
    sizes = f"{row['train_size']:,} train, {row['test_size']:,} test, {row['holdout_size']:,} holdout samples"
    return {
        "task": f"{row['task']} ({sizes})",
        "splits": f"digest {row['split_digest']}",
        "seeds": ", ".join(str(seed) for seed in row["seeds"]),
        "status": str(row["status"]),
        "started": _time(row["created"]),
        "finished": _time(row["finished"]),
        "started on": str(row["machine"]),
        "trained on": f"{', '.join(nodes) or 'unknown'} ({', '.join(devices) or 'unknown'})",
        "git revision": _revision(row["git_revision"]),
        "searcher": str(row["searcher_version"]),
        "torch": str(row["torch_version"]),
        "ray": str(row["ray_version"]),
        "Python": str(row["python_version"]),
    }


_NAMES = [field.name for field in dataclasses.fields(Configuration)]
_ALWAYS = ("lr", "momentum", "weight_decay", "batch_size", "schedule")


def _varies(name: str, records: Iterable[TrialRecord]) -> bool:
    configurations = [one.trial.configuration for one in records if one.trial.kind is Kind.TRAIN]
    return len({getattr(one, name) for one in configurations} - {None}) > 1


def _trial(one: TrialRecord, names: list[str], has_accuracy: bool) -> dict[str, Any]:
    accuracy = (
        {"test accuracy": _float(one.best_test_accuracy), "holdout accuracy": _float(one.holdout_accuracy)}
        if has_accuracy
        else {"holdout loss": _float(one.holdout_loss)}
    )
    return {
        "strategy": one.strategy,
        "trial": one.trial_id,
        "kind": str(one.trial.kind),
        "seed": one.trial.seed,
        "ended as": str(one.status),
        "epochs": one.epochs,
        "best epoch": _float(one.best_epoch),
        "test loss": _float(one.best_test_loss),
        **accuracy,
        **{name.replace("_", " "): _plain(getattr(one.trial.configuration, name)) for name in names},
        "samples": one.samples,
        "seconds": one.seconds,
        "proposed because": one.trial.reason,
    }


def _cell(value: Any, is_number: bool) -> Cell:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cell("–", math.inf if is_number else "")
    if is_number:
        plain = float(value)
        text = f"{int(plain):,}" if plain.is_integer() and abs(plain) < 1e15 else number(plain)
        return Cell(text, plain)
    return Cell(str(value), str(value))


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _value(value: Any) -> str:
    return number(value) if isinstance(value, float) else "–" if value is None else str(_plain(value))


def _plain(value: Any) -> Any:
    return ", ".join(f"{one:g}" for one in value) if isinstance(value, tuple) else value


def _interval(value: Estimate | None) -> str:
    if value is None:
        return "–"
    return f"{value.mean:.4f}" + (
        "" if value.half_width is None else f"\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{value.half_width:.4f}"
    )


def _share(ratio: float | None) -> str:
    return "–" if ratio is None else factor(ratio)


def _time(value: Any) -> str:
    return "not yet" if value is None or pd.isna(value) else f"{value:%Y-%m-%d %H:%M:%S} UTC"


def _revision(value: Any) -> str:
    if value is None or pd.isna(value):
        return "none: not in a repository"
    return f"{value[:-1]}, with uncommitted changes" if value.endswith("+") else str(value)
