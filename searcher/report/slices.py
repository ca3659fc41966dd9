"""Slices: the best test loss of each training run against each hyper-parameter that the sweep varied."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from searcher.records import Configuration, Kind
from searcher.report.curves import some_of
from searcher.report.figure import Figure, by_strategy, inline, measured
from searcher.report.source import Source

RUNS = 2_000
"""Drawn at most."""

FEW = 8
"""With so many values or fewer, each stands at a place of its own."""

COLUMNS = 3
NAMES = tuple(field.name for field in dataclasses.fields(Configuration))


@dataclass(frozen=True)
class Slices:
    """One row for each training run: strategy, trial_id, chosen, test_loss, and a column for each of `varied`.

    `table` holds, for each hyper-parameter and value (or third of its range), how many runs there were and how
    low they came.
    """

    frame: pd.DataFrame
    varied: tuple[str, ...]
    table: pd.DataFrame
    notes: tuple[str, ...]


def slices_of(source: Source) -> Slices | None:
    """None where no hyper-parameter has two values among the training runs that measured a test loss."""
    runs = [
        one
        for one in source.all_records
        if one.trial.kind is Kind.TRAIN and one.best_test_loss is not None and math.isfinite(one.best_test_loss)
    ]
    shown = some_of(runs, source.chosen, RUNS)
    rows = [
        {
            "strategy": one.strategy,
            "trial_id": one.trial_id,
            "chosen": "yes" if one.trial_id in source.chosen else "no",
            "seed": one.trial.seed,
            "test_loss": one.best_test_loss,
            **{name: _plain(getattr(one.trial.configuration, name)) for name in NAMES},
        }
        for one in shown
    ]
    if not rows:
        return None
    frame = pd.DataFrame(rows)
    varied = tuple(name for name in NAMES if frame[name].nunique() > 1)
    if not varied:
        return None
    left = len(runs) - len(shown)
    note = f"{len(shown):,} of {len(runs):,} runs are drawn, at equal distances in the order of their test loss."
    kept = frame[["strategy", "trial_id", "chosen", "seed", "test_loss", *varied]]
    return Slices(kept, varied, _table(kept, varied), (note,) if left else ())


def figure_of(source: Source) -> Figure | None:
    slices = slices_of(source)
    return None if slices is None else draw_slices(slices, list(source.records))


def draw_slices(slices: Slices, strategies: Sequence[str]) -> Figure:
    picked = alt.selection_point(fields=["strategy"], bind="legend", name="picked_strategy")
    panels = [
        _panel(slices, name, strategies, picked, index % COLUMNS == 0) for index, name in enumerate(slices.varied)
    ]
    panels[0] = panels[0].add_params(picked)
    chart = alt.concat(*panels, columns=COLUMNS, spacing=22).resolve_scale(color="shared", shape="shared")
    return Figure(
        key="hyper-parameters",
        title="Hyper-parameters",
        caption=(
            "Best test loss of each training run against each hyper-parameter that differs between runs, the "
            "others being what they were. Colour and shape tell the strategy; large marks are chosen "
            "configurations. Click a strategy in the legend to pick it out."
        ),
        chart=chart,
        table=slices.table,
        notes=slices.notes,
    )


def _panel(slices: Slices, name: str, strategies: Sequence[str], picked: alt.Parameter, first: bool) -> alt.Chart:
    frame = slices.frame.dropna(subset=[name])
    axis = _axis(frame[name], name)
    if _stand_apart(frame[name]):
        frame = frame.assign(**{name: frame[name].map(_short)})
    y = alt.Y("test_loss:Q", title="best test loss" if first else None, **measured(slices.frame["test_loss"]))
    chart: alt.Chart = (
        alt.Chart(inline(frame[["strategy", "trial_id", "chosen", "seed", "test_loss", name]]))
        .mark_point(strokeWidth=1.6, filled=False)
        .encode(
            x=axis,
            y=y,
            size=alt.condition("datum.chosen == 'yes'", alt.value(190), alt.value(34)),
            opacity=alt.condition(picked, alt.value(0.85), alt.value(0.06)),
            tooltip=["strategy:N", "trial_id:N", "seed:Q", "test_loss:Q", f"{name}:N"],
            **by_strategy(strategies, filled=False),
        )
        .properties(width=225, height=190)
    )
    return chart


def _stand_apart(values: pd.Series[Any]) -> bool:
    """Whether the values have places of their own on an axis, rather than a scale."""
    return values.nunique() <= FEW or not pd.api.types.is_numeric_dtype(values)


def _axis(values: pd.Series[Any], name: str) -> alt.X:
    title = name.replace("_", " ")
    known = sorted(values.unique())
    if _stand_apart(values):
        return alt.X(f"{name}:O", title=title, sort=[_short(value) for value in known], axis=alt.Axis(labelAngle=0))
    if known[0] == 0 and known[-1] / known[1] > 5:
        # A decay of 0 beside others of several magnitudes.
        scale = alt.Scale(type="symlog", constant=float(known[1]), nice=False, padding=12)
        return alt.X(f"{name}:Q", title=title, scale=scale, axis=alt.Axis(format="~g", tickCount=4))
    return alt.X(f"{name}:Q", title=title, **measured(known))


def _table(frame: pd.DataFrame, varied: Sequence[str]) -> pd.DataFrame:
    rows = []
    for name in varied:
        values = frame[name].dropna()
        groups = values.map(_short)
        if not _stand_apart(values):
            cut = pd.qcut(values, 3, duplicates="drop")
            groups = cut.map(lambda third: f"{third.left:.3g} to {third.right:.3g}").astype(str)
        order = dict.fromkeys(groups[values.sort_values().index])
        for group in order:
            losses = frame.loc[groups.index[groups == group], "test_loss"]
            rows.append(
                {
                    "hyper-parameter": name,
                    "value": group,
                    "runs": len(losses),
                    "lowest test loss": losses.min(),
                    "median test loss": losses.median(),
                }
            )
    return pd.DataFrame(rows)


def _plain(value: Any) -> Any:
    return str(list(value)) if isinstance(value, tuple) else value


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
