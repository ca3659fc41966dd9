"""Quality against cost: where each strategy ended, and what it held on the way there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from searcher.algorithms.choice import Metric, Target, candidates
from searcher.algorithms.comparison import LISTED
from searcher.records import TrialRecord
from searcher.report.figure import WIDTH, Figure, by_strategy, dashed_by_strategy, inline, listed, measured
from searcher.report.source import Source

ORDERS = 400
"""Shuffled orders of a grid's or a random search's configurations, from which its band is drawn."""

POINTS = 120
"""Costs at which a band is drawn."""


@dataclass(frozen=True)
class Quality:
    """Where each strategy ended: one row for each, `low` and `high` are the interval over seeds."""

    frame: pd.DataFrame
    metric: Metric
    seeds: int


def quality_of(source: Source) -> Quality:
    rows = [
        {
            "strategy": one.strategy,
            "samples": one.cost.samples,
            "epochs": one.cost.epochs,
            "device_seconds": one.cost.device_seconds,
            "holdout": None if one.holdout is None else one.holdout.mean,
            "low": None if one.holdout is None else _finite(one.holdout.low),
            "high": None if one.holdout is None else _finite(one.holdout.high),
            "seeds": one.seeds,
        }
        for one in source.comparison.summaries
    ]
    frame = pd.DataFrame(rows).astype({"holdout": float, "low": float, "high": float})
    return Quality(frame, source.comparison.metric, len(source.sweep.seeds))


def quality_figure(source: Source) -> Figure | None:
    """None where no strategy has a holdout metric."""
    quality = quality_of(source)
    return draw_quality(quality) if quality.frame["holdout"].notna().any() else None


def draw_quality(quality: Quality) -> Figure:
    shown = quality.frame.dropna(subset=["holdout"]).copy()
    strategies = list(quality.frame["strategy"])
    title = f"holdout {quality.metric}"
    ends = pd.concat([shown["holdout"], shown["low"], shown["high"]]).dropna()
    scaled = measured(ends, "~g" if quality.metric == "loss" else ".4~f")
    encodings = {
        **by_strategy(strategies),
        "x": alt.X("samples:Q", title="cost (training samples of all trials)", **measured(shown["samples"], "~s")),
        "tooltip": [
            alt.Tooltip("strategy:N"),
            alt.Tooltip("holdout:Q", title=title, format=".5f"),
            alt.Tooltip("low:Q", title="interval from", format=".5f"),
            alt.Tooltip("high:Q", title="to", format=".5f"),
            alt.Tooltip("samples:Q", format=","),
            alt.Tooltip("epochs:Q", format=",.1f"),
            alt.Tooltip("device_seconds:Q", title="device-seconds", format=",.1f"),
        ],
    }
    layers: list[alt.Chart] = []
    for strategy, offset in _offsets(shown).items():
        base = alt.Chart(inline(shown[shown["strategy"] == strategy]))
        layers += [
            base.mark_rule(strokeWidth=2.5, xOffset=offset).encode(
                y=alt.Y("low:Q", title=title, **scaled), y2="high:Q", x=encodings["x"], color=encodings["color"]
            ),
            base.mark_point(size=160, filled=True, opacity=1, xOffset=offset).encode(
                y=alt.Y("holdout:Q", title=title, **scaled), **encodings
            ),
        ]
    better = "up" if quality.metric == "accuracy" else "down"
    missing = [name for name in strategies if name not in set(shown["strategy"])]
    return Figure(
        key="quality-cost",
        title="Quality against cost",
        caption=(
            f"For each strategy the {title} of the configuration that it chose by test loss, against the training "
            f"samples of all its trials, range tests and stopped trials included. Bars are 95 % intervals of the "
            f"mean over seeds. Better is {better} and to the left. Strategies of about the same cost stand side by "
            "side."
        ),
        chart=alt.layer(*layers).properties(width=WIDTH, height=300),
        table=quality.frame,
        notes=(f"Not drawn, as no holdout {quality.metric} was measured: {listed(missing)}.",) if missing else (),
    )


def _offsets(shown: pd.DataFrame) -> dict[str, int]:
    """For each strategy a shift in pixels: those of about the same cost would hide one another."""
    placed: list[float] = []
    offsets = {}
    for strategy, samples in zip(shown["strategy"], shown["samples"], strict=True):
        cost = max(float(samples), 1.0)
        offsets[str(strategy)] = 16 * sum(abs(math.log(cost / other)) < 0.04 for other in placed)
        placed.append(cost)
    return offsets


@dataclass(frozen=True)
class Held:
    """What each strategy held after what cost.

    Attributes:
        frame: strategy, samples, the metric `held` (for shuffled orders the median of those that hold
            something), and `low` and `high`: the middle 95 % of the orders.
        shuffled: the strategies whose order means nothing, so that it was shuffled.
    """

    frame: pd.DataFrame
    metric: Metric
    target: Target | None
    shuffled: tuple[str, ...]


def held_of(source: Source) -> Held:
    comparison, seeds = source.comparison, source.sweep.seeds
    frames = []
    for label, records in source.records.items():
        walk = _shuffled if source.kinds[label] in LISTED else _in_order
        frame = walk(records, comparison.metric, seeds)
        frames.append(frame.assign(strategy=label))
    return Held(
        frame=pd.concat(frames, ignore_index=True)[["strategy", "samples", "held", "low", "high"]],
        metric=comparison.metric,
        target=comparison.target,
        shuffled=tuple(label for label in source.records if source.kinds[label] in LISTED),
    )


def _shuffled(records: Sequence[TrialRecord], metric: Metric, seeds: Sequence[int]) -> pd.DataFrame:
    """The best mean over seeds held, over random orders of the configurations; from one generator, seed 0."""
    trained = candidates(records)
    if not trained:
        return pd.DataFrame({"samples": [], "held": [], "low": [], "high": []}, dtype=float)
    sign = 1.0 if metric == "accuracy" else -1.0
    anything = Target(metric, -sign * math.inf, "anything")
    costs = np.array([one.samples for one in trained], dtype=np.float64)
    means = [one.mean(f"best_test_{metric}") if one.reaches(anything, seeds) else None for one in trained]
    values = np.array([-math.inf if mean is None else sign * mean for mean in means])
    generator = np.random.default_rng(0)
    orders = np.argsort(generator.random((ORDERS, len(trained))), axis=1)  # [orders, configurations]
    spent = np.cumsum(costs[orders], axis=1)
    best = np.maximum.accumulate(values[orders], axis=1)
    at = np.geomspace(max(costs[costs > 0].min(initial=costs.sum()), 1), max(costs.sum(), 1), POINTS)
    rows = []
    for cost in at:
        # The last configuration that was paid for by then; without one, nothing is held.
        last = (spent <= cost * (1 + 1e-9)).sum(axis=1) - 1
        reached = np.where(last >= 0, best[np.arange(ORDERS), np.maximum(last, 0)], -math.inf)
        usable = reached[np.isfinite(reached)]
        # The few lucky orders that hold something early would look better than the strategy is.
        if len(usable) < ORDERS / 2:
            continue
        low, held, high = sorted(sign * float(value) for value in np.quantile(usable, [0.025, 0.5, 0.975]))
        rows.append((float(cost), held, low, high))
    return pd.DataFrame(rows, columns=["samples", "held", "low", "high"])


def _in_order(records: Sequence[TrialRecord], metric: Metric, seeds: Sequence[int]) -> pd.DataFrame:
    """The best mean over seeds held, as trials ended: a configuration counts when its last seed has ended."""
    sign = 1.0 if metric == "accuracy" else -1.0
    anything = Target(metric, -sign * math.inf, "anything")
    means = {
        one.configuration_id: one.mean(f"best_test_{metric}")
        for one in candidates(records)
        if one.reaches(anything, seeds)
    }
    missing = {identity: set(seeds) for identity in means}
    spent, best, rows = 0, -math.inf, []
    for record in sorted(records, key=lambda one: (one.finished, one.started)):
        spent += record.samples
        left = missing.get(record.trial.configuration_id)
        if left is None:
            continue
        left.discard(record.trial.seed)
        value = means[record.trial.configuration_id]
        if not left and value is not None and sign * value > best:
            best = sign * value
            rows.append((float(spent), value))
    if rows and rows[-1][0] < spent:
        rows.append((float(spent), rows[-1][1]))
    frame = pd.DataFrame(rows, columns=["samples", "held"], dtype=float)
    return frame.assign(low=math.nan, high=math.nan)


def held_figure(source: Source) -> Figure | None:
    """None where no strategy holds a configuration that ended well on every seed."""
    held = held_of(source)
    return draw_held(held, list(source.records)) if len(held.frame) else None


def draw_held(held: Held, strategies: Sequence[str]) -> Figure:
    title = f"best test {held.metric} held"
    values = [*held.frame["held"], *([held.target.value] if held.target else [])]
    y_of = measured(values, "~g" if held.metric == "loss" else ".4~f")
    y_of["scale"] = y_of["scale"].copy()
    y_of["scale"].domain = _domain(values)
    y_of["scale"].nice = False
    x = alt.X("samples:Q", title="spent so far (training samples)", **measured(held.frame["samples"], "~s"))
    y = alt.Y("held:Q", title=title, **y_of)
    base = alt.Chart(inline(held.frame)).encode(x=x, color=by_strategy(strategies)["color"])
    band = base.mark_area(opacity=0.16, interpolate="step-after", clip=True).encode(
        y=alt.Y("low:Q", title=title, **y_of), y2="high:Q"
    )
    lines = base.mark_line(interpolate="step-after", strokeWidth=2.5, clip=True).encode(
        y=y, strokeDash=dashed_by_strategy(strategies)
    )
    marks = (
        base.transform_filter(
            alt.FieldOneOfPredicate("strategy", [s for s in strategies if s not in held.shuffled])
        )
        .mark_point(size=90, filled=True, opacity=1)
        .encode(
            y=y,
            shape=by_strategy(strategies)["shape"],
            tooltip=["strategy:N", alt.Tooltip("samples:Q", format=","), alt.Tooltip("held:Q", title=title)],
        )
    )
    layers: list[alt.Chart] = [band, lines, marks]
    if held.target is not None:
        goal = inline(pd.DataFrame({"value": [held.target.value], "words": [f"target {held.target.value:.4g}"]}))
        rule = alt.Chart(goal).mark_rule(strokeDash=[4, 4], color="#444").encode(y=alt.Y("value:Q", **y_of))
        words = alt.Chart(goal).mark_text(align="right", baseline="bottom", dy=-4, color="#333").encode(
            y=alt.Y("value:Q", **y_of), x=alt.value(WIDTH), text="words:N"
        )  # fmt: skip
        layers += [rule, words]
    orders = (
        f" For {listed(held.shuffled)} the order of the configurations means nothing: the line is the median and "
        f"the band the middle 95 % of {ORDERS} shuffled orders, from where half of them hold a configuration; the "
        "band may go on below the chart."
        if held.shuffled
        else ""
    )
    return Figure(
        key="held-cost",
        title="What was held on the way",
        caption=(
            f"The best test {held.metric}, as a mean over all seeds of one configuration, that a strategy held "
            f"after it had spent so many training samples.{orders} A strategy holds nothing before a configuration "
            "has ended well on every seed."
        ),
        chart=alt.layer(*layers).properties(width=WIDTH, height=300),
        table=_thinned(held.frame),
    )


def _thinned(frame: pd.DataFrame) -> pd.DataFrame:
    """Ten rows of each strategy, for the table; the first and the last among them."""
    pieces = [
        group.iloc[np.unique(np.linspace(0, len(group) - 1, 10).round().astype(int))]
        for _, group in frame.groupby("strategy", sort=False)
    ]
    return pd.concat(pieces, ignore_index=True) if pieces else frame


def _domain(values: Sequence[float]) -> list[float]:
    """From the lowest to the highest that is held, with some room; not as far as a band may reach."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low > 0 and high / low > 5:
        return [low / 1.15, high * 1.15]
    room = 0.08 * (high - low) or 0.01
    return [low - room, high + room]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
