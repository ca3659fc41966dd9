"""The learning-rate range tests, and the rates that were chosen after them."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from searcher.algorithms.range_test import SUGGESTIONS, RangeTest, analyse
from searcher.records import Kind, TrialRecord
from searcher.report.figure import COLOURS, DASHES, WIDTH, Figure, decimal_ticks, inline
from searcher.report.source import Source

POINTS = 300
"""Drawn at most of each range test's steps, raw and smoothed each."""


@dataclass(frozen=True)
class RangeTests:
    """What the range tests measured.

    Attributes:
        points: strategy, trial_id, weight_decay (as text), lr, loss, and `smoothed` up to the divergence.
        minima: for each test the rate of its lowest smoothed loss.
        chosen: for each strategy the largest rate of its chosen configuration.
        table: one row for each test: what each rule suggests.
    """

    points: pd.DataFrame
    minima: pd.DataFrame
    chosen: pd.DataFrame
    table: pd.DataFrame
    notes: tuple[str, ...]


def range_tests_of(source: Source) -> RangeTests | None:
    """None where no strategy ran a range test that has steps."""
    steps = dict(iter(source.steps.groupby("trial_id", sort=False)))
    tests = [one for one in source.all_records if one.trial.kind is Kind.RANGE_TEST and one.trial_id in steps]
    if not tests:
        return None
    read = {
        one.trial_id: analyse(list(steps[one.trial_id]["lr"]), list(steps[one.trial_id]["train_loss"]))
        for one in tests
    }
    points = pd.concat([_points(one, steps[one.trial_id], read[one.trial_id]) for one in tests], ignore_index=True)
    measured = sum(len(steps[one.trial_id]) for one in tests)
    minima = [
        {**_about(one), "lr": read[one.trial_id].lr_at_minimum, "smoothed": read[one.trial_id].min_loss}
        for one in tests
    ]
    strategies = {one.strategy for one in tests}
    chosen = [
        {"strategy": one.strategy, "lr": one.configuration.lr, "words": f"chosen: {one.configuration.lr:.4g}"}
        for one in source.comparison.summaries
        if one.strategy in strategies and one.configuration is not None
    ]
    left = measured - len(points)
    return RangeTests(
        points=points,
        minima=pd.DataFrame(minima),
        chosen=pd.DataFrame(chosen, columns=["strategy", "lr", "words"]),
        table=pd.DataFrame([_row(one, read[one.trial_id]) for one in tests]),
        notes=(f"{len(points):,} of {measured:,} steps are drawn, at equal distances.",) if left else (),
    )


def figure_of(source: Source) -> Figure | None:
    tests = range_tests_of(source)
    return None if tests is None else draw_range_tests(tests)


def draw_range_tests(tests: RangeTests) -> Figure:
    strategies = list(dict.fromkeys(tests.points["strategy"]))
    columns = 1 if len(strategies) == 1 else 2
    width = WIDTH // columns - 70 * (columns - 1)
    panels = [_panel(tests, strategy, width) for strategy in strategies]
    return Figure(
        key="range-tests",
        title="Range tests",
        caption=(
            "Training loss of each step of each learning-rate range test, while the rate rises: points as "
            "measured, lines smoothed up to where the loss diverged, a ring at the lowest smoothed loss. Losses "
            "above the chart are drawn at its top edge. The upright line is the largest rate of the configuration "
            "that the strategy chose."
        ),
        chart=alt.concat(*panels, columns=columns, spacing=28).resolve_scale(color="shared", strokeDash="shared"),
        table=tests.table,
        notes=tests.notes,
    )


def _panel(tests: RangeTests, strategy: str, width: int) -> alt.LayerChart | alt.FacetChart:
    points, minima, chosen = (
        frame[frame["strategy"] == strategy].drop(columns="strategy")
        for frame in (tests.points, tests.minima, tests.chosen)
    )
    decays = sorted(set(tests.points["weight_decay"]), key=float)
    scale = alt.Scale(domain=decays, range=[COLOURS[index % len(COLOURS)] for index in range(len(decays))])
    legend = alt.Legend(symbolOpacity=1, symbolType="stroke", symbolSize=260)
    colour = alt.Color("weight_decay:N", title="weight decay", scale=scale, legend=legend)
    dash = alt.StrokeDash(
        "weight_decay:N",
        title="weight decay",
        legend=legend,
        scale=alt.Scale(domain=decays, range=[DASHES[index % len(DASHES)] for index in range(len(decays))]),
    )
    start = float(points["smoothed"].max())
    low, top = float(points["smoothed"].min()), float(min(points["loss"].max(), 1.6 * start))
    y = alt.Scale(domain=[max(0.0, low - 0.08 * (top - low)) if low >= 0 else low, top], nice=False, clamp=True)
    x = alt.X("lr:Q", title="learning rate", scale=alt.Scale(type="log", nice=False)).axis(
        format="~g", values=decimal_ticks(float(points["lr"].min()), float(points["lr"].max()))
    )
    tooltip = ["weight_decay:N", alt.Tooltip("lr:Q", format=".3g"), "loss:Q", "smoothed:Q"]
    base = alt.Chart(inline(points)).encode(x=x, color=colour)
    raw = base.mark_circle(size=14, opacity=0.35).encode(
        y=alt.Y("loss:Q", title="training loss", scale=y), tooltip=tooltip
    )
    lines = base.mark_line(strokeWidth=2.2).encode(
        y=alt.Y("smoothed:Q", scale=y), detail="trial_id:N", strokeDash=dash
    )
    rings = (
        alt.Chart(inline(minima))
        .mark_point(size=130, strokeWidth=2.5, filled=False)
        .encode(x=x, y=alt.Y("smoothed:Q", scale=y), color=colour, tooltip=["weight_decay:N", "lr:Q", "smoothed:Q"])
    )
    layers: list[alt.Chart] = [raw, lines, rings]
    if len(chosen):
        layers.append(alt.Chart(inline(chosen)).mark_rule(strokeWidth=2, color="#111").encode(x=x))
        layers.append(
            alt.Chart(inline(chosen))
            .mark_text(align="right", baseline="top", dx=-6, fontSize=12, fontWeight=600, color="#111")
            .encode(x=x, y=alt.value(4), text="words:N")
        )
    return alt.layer(*layers).properties(width=width, height=300, title=strategy)


def _about(record: TrialRecord) -> dict[str, str]:
    decay = record.trial.configuration.weight_decay
    return {"strategy": record.strategy, "trial_id": record.trial_id, "weight_decay": f"{decay:.4g}"}


def _points(record: TrialRecord, steps: pd.DataFrame, read: RangeTest) -> pd.DataFrame:
    smoothed = np.full(len(steps), np.nan)
    smoothed[: len(read.smoothed)] = read.smoothed
    frame = pd.DataFrame({"lr": steps["lr"], "loss": steps["train_loss"], "smoothed": smoothed})
    kept = np.unique(np.linspace(0, len(frame) - 1, min(POINTS, len(frame))).round().astype(int))
    return frame.iloc[kept].assign(**_about(record))


def _row(record: TrialRecord, read: RangeTest) -> dict[str, object]:
    return {
        "strategy": record.strategy,
        "weight decay": record.trial.configuration.weight_decay,
        "batch size": record.trial.configuration.batch_size,
        "seed": record.trial.seed,
        "steps": record.steps,
        "lowest loss": read.min_loss,
        **{f"rate: {rule}": read.suggestions[rule].lr for rule in SUGGESTIONS if rule in read.suggestions},
        "ended as": str(record.status),
        "reason": record.status_reason or record.trial.reason,
    }
