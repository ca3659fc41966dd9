"""The learning-rate and momentum schedules of the chosen configurations: as defined, and as they were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from searcher.algorithms.schedules import values
from searcher.report.figure import WIDTH, Figure, by_strategy, dashed_by_strategy, inline, measured
from searcher.report.source import Source

POINTS = 241
"""Of a line: fine enough for every corner of a schedule."""


@dataclass(frozen=True)
class Schedules:
    """The schedules of the chosen configurations.

    Attributes:
        lines: strategy, epoch (a fraction of one too), lr, momentum.
        measured: the same of one run of each, at the end of each epoch.
        table: one row for each strategy: the hyper-parameters of its schedule.
    """

    lines: pd.DataFrame
    measured: pd.DataFrame
    table: pd.DataFrame


def schedules_of(source: Source) -> Schedules | None:
    """None where no strategy has chosen a configuration."""
    lines, measured, rows = [], [], []
    for one in source.comparison.summaries:
        if one.configuration is None or one.length is None:
            continue
        lr, momentum = values(one.configuration, POINTS)
        epoch = np.linspace(0, one.length, POINTS)
        lines.append(pd.DataFrame({"strategy": one.strategy, "epoch": epoch, "lr": lr, "momentum": momentum}))
        runs = [
            record.trial_id
            for record in source.records[one.strategy]
            if record.trial.configuration_id == one.configuration_id
        ]
        epochs = source.epochs[source.epochs["trial_id"] == runs[0]]
        measured.append(epochs[["strategy", "epoch", "lr", "momentum"]])
        rows.append({"strategy": one.strategy, "epochs": one.length, **one.configuration.given()})
    if not lines:
        return None
    return Schedules(pd.concat(lines), pd.concat(measured), pd.DataFrame(rows))


def figure_of(source: Source) -> Figure | None:
    schedules = schedules_of(source)
    return None if schedules is None else draw_schedules(schedules, list(source.records))


def draw_schedules(schedules: Schedules, strategies: Sequence[str]) -> Figure:
    charts = [
        _chart(schedules, "lr", "learning rate", strategies),
        _chart(schedules, "momentum", "momentum", strategies),
    ]
    return Figure(
        key="schedules",
        title="Schedules",
        caption=(
            "Learning rate and momentum over the run, for the configuration that each strategy chose: the line is "
            "the schedule, the marks what one of its runs used in the last step of each epoch."
        ),
        chart=alt.vconcat(*charts, spacing=18).resolve_scale(color="shared", shape="shared"),
        table=schedules.table,
    )


def _chart(
    schedules: Schedules, name: str, title: str, strategies: Sequence[str]
) -> alt.LayerChart | alt.FacetChart:
    told = by_strategy(strategies)
    x = alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1))
    y = alt.Y(f"{name}:Q", title=title, **measured(schedules.lines[name]))
    lines = (
        alt.Chart(inline(schedules.lines[["strategy", "epoch", name]]))
        .mark_line(strokeWidth=2)
        .encode(x=x, y=y, color=told["color"], strokeDash=dashed_by_strategy(strategies))
    )
    marks = (
        alt.Chart(inline(schedules.measured[["strategy", "epoch", name]]))
        .mark_point(size=34, filled=True, opacity=1)
        .encode(x=x, y=y, tooltip=["strategy:N", "epoch:Q", f"{name}:Q"], **told)
    )
    return alt.layer(lines, marks).properties(width=WIDTH, height=190)
