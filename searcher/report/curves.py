"""Learning curves by how their trials ended, and where and why trials were stopped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import altair as alt
import numpy as np
import pandas as pd

from searcher.records import Kind, Status, TrialRecord
from searcher.report.figure import STATUS_COLOURS, STATUS_SHAPES, WIDTH, Figure, inline, measured
from searcher.report.source import Source

CURVES = 1_000
"""Drawn at most: more would hide one another."""

POINTS = 30_000
"""Drawn at most, so that the page stays small; but at least `LEAST` of each curve."""

LEAST = 12


@dataclass(frozen=True)
class Curves:
    """The curves to draw.

    Attributes:
        points: strategy, trial_id, status, epoch, test_loss, train_loss.
        ends: one row for each drawn trial that was not completed: its last epoch and the reason.
        table: one row for each drawn trial: its losses on the way.
        top: test losses above it are drawn at the top edge.
        notes: what was thinned, left out or cut, in numbers.
    """

    points: pd.DataFrame
    ends: pd.DataFrame
    table: pd.DataFrame
    strategies: tuple[str, ...]
    top: float
    notes: tuple[str, ...]


def curves_of(source: Source) -> Curves | None:
    """None where no training run has an epoch."""
    have = set(source.epochs["trial_id"])
    trained = [one for one in source.all_records if one.trial.kind is Kind.TRAIN and one.trial_id in have]
    if not trained:
        return None
    drawn = some_of(trained, source.chosen, CURVES)
    epochs = source.epochs[source.epochs["trial_id"].isin({one.trial_id for one in drawn})]
    most = max(LEAST, POINTS // len(drawn))
    kept = [thin(curve, most) for _, curve in epochs.groupby("trial_id", sort=False)]
    points = pd.concat(kept, ignore_index=True)
    shown = pd.DataFrame([_about(one, source) for one in drawn])
    points = points[["trial_id", "epoch", "test_loss", "train_loss"]].merge(shown, on="trial_id")
    top = _top(points, drawn)
    cut = points.loc[~(points["test_loss"] <= top), "trial_id"].nunique()
    points["test_loss"] = points["test_loss"].clip(upper=top).fillna(top)
    ends = points.sort_values("epoch").groupby("trial_id", sort=False).tail(1)
    return Curves(
        points=points.drop(columns="reason"),
        ends=ends[ends["status"] != str(Status.COMPLETED)],
        table=_table(epochs, drawn),
        strategies=tuple(label for label in source.records if label in set(points["strategy"])),
        top=top,
        notes=_notes(len(trained), len(drawn), len(epochs), len(points), most, cut, top),
    )


def some_of(records: Sequence[TrialRecord], chosen: frozenset[str], count: int) -> list[TrialRecord]:
    """All records, or where they are more than `count`: every k-th by best test loss, and all the chosen ones."""
    if len(records) <= count:
        return list(records)
    ranked = sorted(records, key=lambda one: (_or_inf(one.best_test_loss), one.trial_id))
    places = np.unique(np.linspace(0, len(ranked) - 1, count).round().astype(int))
    kept = {ranked[place].trial_id for place in places} | chosen
    return [one for one in records if one.trial_id in kept]


def thin(curve: pd.DataFrame, most: int) -> pd.DataFrame:
    """About `most` rows of a curve: its ends and, of equal stretches, the lowest and the highest test loss.

    So no spike and no minimum is lost, which every k-th row would lose.
    """
    if len(curve) <= most:
        return curve
    loss = curve["test_loss"].to_numpy(dtype=float)
    # One that is not finite is neither the lowest nor the highest, but may stand for a stretch that has no other.
    low, high = (np.where(np.isfinite(loss), loss, instead) for instead in (np.inf, -np.inf))
    kept = {0, len(loss) - 1}
    borders = np.linspace(0, len(loss), max(1, (most - 2) // 2) + 1).astype(int)
    for begin, end in pairwise(borders):
        kept |= {int(begin + low[begin:end].argmin()), int(begin + high[begin:end].argmax())}
    return curve.iloc[sorted(kept)]


def figure_of(source: Source) -> Figure | None:
    curves = curves_of(source)
    return None if curves is None else draw_curves(curves)


def draw_curves(curves: Curves) -> Figure:
    columns = 1 if len(curves.strategies) == 1 else 2
    statuses = [status for status in Status if str(status) in set(curves.points["status"])]
    colour = alt.Color(
        "status:N",
        title="ended as",
        legend=alt.Legend(symbolOpacity=1),
        scale=alt.Scale(domain=[str(one) for one in statuses], range=[STATUS_COLOURS[one] for one in statuses]),
    )
    shape = alt.Shape(
        "status:N",
        title="ended as",
        scale=alt.Scale(domain=[str(one) for one in statuses], range=[STATUS_SHAPES[one] for one in statuses]),
    )
    picked = alt.selection_point(fields=["status"], bind="legend", name="picked")
    finite = curves.points["test_loss"]
    positive = bool((finite > 0).all())
    scale = alt.Scale(
        type="log" if positive else "linear",
        domain=[float(finite.min()) * (0.93 if positive else 1), curves.top],
        nice=False,
    )
    width = WIDTH // columns - 45 * (columns - 1)
    panels = [_panel(curves, strategy, (colour, shape, scale), picked, width) for strategy in curves.strategies]
    panels[0] = panels[0].add_params(picked)
    chart = alt.concat(*panels, columns=columns, spacing=28).resolve_scale(color="shared", shape="shared")
    return Figure(
        key="learning-curves",
        title="Learning curves",
        caption=(
            "Test loss of each training run after each epoch, coloured by how the run ended. A filled mark stands "
            "where a run that was not completed ended; its reason is in the tooltip and in the table of stopped "
            "trials. The thick lines are the chosen configuration of each strategy. Click a word of the legend to "
            "pick those runs out."
        ),
        chart=chart,
        table=curves.table,
        notes=curves.notes,
    )


def _panel(
    curves: Curves,
    strategy: str,
    encodings: tuple[alt.Color, alt.Shape, alt.Scale],
    picked: alt.Parameter,
    width: int,
) -> alt.LayerChart | alt.FacetChart:
    colour, shape, scale = encodings
    # Many curves lie over one another: each of them is fainter and thinner (and so drawn several times faster).
    count = curves.points["trial_id"].nunique()
    opacity, thickness = max(0.2, min(0.75, 3 / math.sqrt(count))), 1.3 if count <= 300 else 0.5
    points = curves.points[curves.points["strategy"] == strategy].drop(columns="strategy")
    ends = curves.ends[curves.ends["strategy"] == strategy].drop(columns="strategy")
    axis = measured(curves.points["test_loss"])["axis"]
    y = alt.Y("test_loss:Q", title="test loss", scale=scale, axis=axis)
    last = int(points["epoch"].max())
    x = alt.X("epoch:Q", title="epoch", scale=alt.Scale(domain=[1, max(last, 2)], nice=False)).axis(
        format="~d", tickMinStep=1, tickCount=8
    )
    shown = ["trial_id:N", "status:N", "epoch:Q", "test_loss:Q", "train_loss:Q", "hyperparameters:N"]
    lines = [
        alt.Chart(inline(points[points["chosen"] == chosen]))
        .mark_line(clip=True, strokeWidth=width_of_line)
        .encode(
            x=x,
            y=y,
            color=colour,
            detail="trial_id:N",
            # Not `opacity`: that is drawn as a layer of its own for each line, which takes half a minute for many.
            strokeOpacity=alt.condition(picked, alt.value(line_opacity), alt.value(0.04)),
            tooltip=shown,
        )
        for chosen, width_of_line, line_opacity in (("no", thickness, opacity), ("yes", 3.2, 0.95))
    ]
    marks = (
        alt.Chart(inline(ends))
        .mark_point(filled=True, size=65)
        .encode(
            x=x,
            y=y,
            color=colour,
            shape=shape,
            opacity=alt.condition(picked, alt.value(0.95), alt.value(0.05)),
            tooltip=[*shown, "reason:N"],
        )
    )
    return alt.layer(*lines, marks).properties(width=width, height=270, title=strategy)


def _about(record: TrialRecord, source: Source) -> dict[str, str]:
    configuration = record.trial.configuration
    return {
        "trial_id": record.trial_id,
        "strategy": record.strategy,
        "status": str(record.status),
        "reason": record.status_reason,
        "chosen": "yes" if record.trial_id in source.chosen else "no",
        "hyperparameters": (
            f"lr {configuration.lr:.4g}, momentum {configuration.momentum:.3g}, weight decay "
            f"{configuration.weight_decay:.3g}, batch {configuration.batch_size}, seed {record.trial.seed}"
        ),
    }


def _top(points: pd.DataFrame, drawn: Sequence[TrialRecord]) -> float:
    """Where the chart ends: a diverging run must not press all others flat."""
    sound = {one.trial_id for one in drawn if one.status is not Status.DIVERGED}
    losses = points["test_loss"].replace([np.inf, -np.inf], np.nan)
    inside = losses[points["trial_id"].isin(sound)].dropna()
    inside = inside if len(inside) else losses.dropna()
    if not len(inside):
        return 1.0
    return float(min(losses.max(), 1.3 * inside.quantile(0.995)))


def _table(epochs: pd.DataFrame, drawn: Sequence[TrialRecord]) -> pd.DataFrame:
    curves = dict(iter(epochs.groupby("trial_id", sort=False)))
    rows = []
    for one in drawn:
        loss = curves[one.trial_id]["test_loss"].to_numpy(dtype=float)
        at = np.linspace(0, len(loss) - 1, 5).round().astype(int)
        rows.append(
            {
                "strategy": one.strategy,
                "trial": one.trial_id,
                "status": str(one.status),
                "epochs": one.epochs,
                **dict(zip(("first", "at 1/4", "at 1/2", "at 3/4", "last"), map(float, loss[at]), strict=True)),
                "lowest": one.best_test_loss,
                "at epoch": one.best_epoch,
            }
        )
    return pd.DataFrame(rows)


def _notes(trained: int, drawn: int, epochs: int, points: int, most: int, cut: int, top: float) -> tuple[str, ...]:
    notes = []
    if drawn < trained:
        notes.append(
            f"{drawn:,} of {trained:,} runs are drawn: those at equal distances in the order of their best test "
            "loss, and the chosen ones. The results hold all of them."
        )
    if points < epochs:
        notes.append(
            f"{points:,} of the {epochs:,} epochs of these runs are drawn: of each run about {most}, its ends and "
            "the lowest and the highest test loss of equal stretches."
        )
    if cut:
        notes.append(
            f"{cut:,} {'run has' if cut == 1 else 'runs have'} test losses above {top:.4g}, or not finite; they "
            "are drawn at the top edge."
        )
    return tuple(notes)


def _or_inf(value: float | None) -> float:
    return math.inf if value is None or math.isnan(value) else value
