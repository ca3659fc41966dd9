"""Cost-to-target: what each strategy had spent when it first held a configuration that reaches the target."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt
import pandas as pd

from searcher.algorithms.choice import Target
from searcher.algorithms.verdict import share
from searcher.report.figure import WIDTH, Figure, by_strategy, inline, listed, measured
from searcher.report.source import Source


@dataclass(frozen=True)
class CostToTarget:
    """One row for each strategy: what it spent in all, and up to the target; null where it never reached it.

    `low` and `high` hold 95 % of the shuffled orders of a strategy whose order means nothing.
    """

    frame: pd.DataFrame
    target: Target
    reference: str


def cost_to_target_of(source: Source) -> CostToTarget | None:
    """None where there is no target: the reference holds no configuration that ended well on every seed."""
    comparison = source.comparison
    if comparison.target is None:
        return None
    rows = [
        {
            "strategy": one.strategy,
            "to_target": one.cost_to_target,
            "low": one.cost_to_target_spread and one.cost_to_target_spread.low,
            "high": one.cost_to_target_spread and one.cost_to_target_spread.high,
            "in_all": one.cost.samples,
            "ratio": one.cost_to_target_ratio,
            "words": _words(one.cost_to_target, one.cost_to_target_ratio, comparison.reference),
        }
        for one in comparison.summaries
    ]
    frame = pd.DataFrame(rows).astype({"to_target": float, "low": float, "high": float, "ratio": float})
    return CostToTarget(frame, comparison.target, comparison.reference)


def figure_of(source: Source) -> Figure | None:
    cost = cost_to_target_of(source)
    return None if cost is None else draw_cost_to_target(cost)


def draw_cost_to_target(cost: CostToTarget) -> Figure:
    strategies = list(cost.frame["strategy"])
    scaled = measured([*cost.frame["to_target"], *cost.frame["low"], *cost.frame["in_all"]], "~s")
    y = alt.Y("strategy:N", sort=strategies, title=None, axis=alt.Axis(labelFontSize=13, ticks=False, domain=False))
    base = alt.Chart(inline(cost.frame)).encode(y=y, color=by_strategy(strategies)["color"].legend(None))
    reached = base.transform_filter("isValid(datum.to_target)")
    x = alt.X("to_target:Q", title="cost (training samples)", **scaled)
    tooltip = [
        alt.Tooltip("strategy:N"),
        alt.Tooltip("to_target:Q", title="cost to target", format=",.0f"),
        alt.Tooltip("low:Q", title="of shuffled orders 95 % from", format=",.0f"),
        alt.Tooltip("high:Q", title="to", format=",.0f"),
        alt.Tooltip("in_all:Q", title="cost in all", format=","),
    ]
    span = reached.mark_rule(strokeWidth=5, opacity=0.4).encode(
        x=alt.X("low:Q", title="cost (training samples)", **scaled), x2="high:Q"
    )
    dots = reached.mark_point(size=170, filled=True, opacity=1).encode(
        x=x, shape=by_strategy(strategies)["shape"].legend(None), tooltip=tooltip
    )
    ends = base.mark_tick(thickness=3, size=22).encode(
        x=alt.X("in_all:Q", title="cost (training samples)", **scaled), tooltip=tooltip
    )
    words = base.mark_text(align="left", baseline="bottom", dy=-13, fontSize=12).encode(
        x=alt.X("at:Q", **scaled), text="words:N", color=alt.value("#222")
    )
    words = words.transform_calculate(at="isValid(datum.to_target) ? datum.to_target : datum.in_all")
    missed = list(cost.frame.loc[cost.frame["to_target"].isna(), "strategy"])
    return Figure(
        key="cost-to-target",
        title="Cost to the target",
        caption=(
            "The mark: training samples that each strategy had spent when it first held a configuration whose mean "
            f"test {cost.target.metric} over all seeds reaches {cost.target.value:.4g} ({cost.target.origin}). "
            "The upright tick: what it spent in all. For a grid and a random search the mark is the mean over all "
            "orders of their configurations and the bar holds 95 % of shuffled ones."
        ),
        chart=alt.layer(span, ends, dots, words).properties(width=WIDTH, height=max(2, len(strategies)) * 62),
        table=cost.frame.drop(columns="words"),
        notes=(f"{listed(missed)} never reached the target.",) if missed else (),
    )


def _words(cost: float | None, ratio: float | None, reference: str) -> str:
    if cost is None:
        return "not reached"
    words = f"{cost:,.0f}"
    return words if ratio is None else f"{words}: {share(ratio).replace('its cost', f'that of {reference}')}"
