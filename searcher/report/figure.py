"""A figure: a chart, the words that stand for it, and the table behind it; and what all charts share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import altair as alt
import pandas as pd

from searcher.records import Status

WIDTH = 860
"""Of a chart that fills the page, in pixels."""

COLOURS = ("#0072b2", "#c14b00", "#00785a", "#a5327a", "#3d3d3d", "#7a6200", "#5b3fa8", "#8f1d2c")
"""Apart from one another for the colour-blind, and at least 4.5 : 1 against white."""

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
DASHES = ([1, 0], [8, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 4], [1, 3], [12, 3, 2, 3, 2, 3])

STATUS_COLOURS = {
    Status.COMPLETED: "#0072b2",
    Status.STOPPED_OVERFIT: "#c14b00",
    Status.PRUNED: "#7a6200",
    Status.DIVERGED: "#a5327a",
    Status.FAILED: "#1a1a1a",
    Status.INTERRUPTED: "#6b6b6b",
}
STATUS_SHAPES = {
    Status.COMPLETED: "circle",
    Status.STOPPED_OVERFIT: "cross",
    Status.PRUNED: "triangle-down",
    Status.DIVERGED: "triangle-up",
    Status.FAILED: "square",
    Status.INTERRUPTED: "diamond",
}


@dataclass(frozen=True)
class Figure:
    """What the page and the pictures are made of.

    Attributes:
        key: the picture's file name without its suffix, and the chart's id on the page.
        caption: what the chart shows and how to read it; it stands in for the chart where it cannot be seen.
        table: the numbers behind the chart.
        notes: what the chart does not show, or shows otherwise than it was measured.
    """

    key: str
    title: str
    caption: str
    chart: alt.TopLevelMixin
    table: pd.DataFrame
    notes: tuple[str, ...] = ()

    @cached_property
    def specification(self) -> dict[str, Any]:
        """The chart in Vega-Lite, with the look that all charts share."""
        specification: dict[str, Any] = self.chart.to_dict()
        specification["config"] = THEME
        specification["background"] = "white"
        return specification


THEME: dict[str, Any] = {
    "font": "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif",
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": 600,
        "labelColor": "#333",
        "titleColor": "#222",
        "gridColor": "#e4e4e4",
        "domainColor": "#888",
        "tickColor": "#888",
        "labelOverlap": True,
        "titlePadding": 8,
    },
    "legend": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": 600,
        "labelLimit": 260,
        "symbolStrokeWidth": 2,
        "symbolSize": 90,
        "orient": "top",
        "titleOrient": "left",
        "columns": 8,
    },
    "title": {"fontSize": 13, "fontWeight": 600, "anchor": "start", "color": "#222", "offset": 8},
    "view": {"stroke": None},
    "line": {"clip": True},
}


def inline(frame: pd.DataFrame) -> alt.InlineData:
    """The frame as the data of a chart: CSV, a third of the size of JSON records; five digits are enough to draw.

    What is not finite is left out of a chart.
    """
    kinds = {
        str(name): "number" if pd.api.types.is_numeric_dtype(frame[name]) else "string" for name in frame.columns
    }
    finite = frame.replace([math.inf, -math.inf], math.nan)
    text = finite.to_csv(index=False, float_format="%.5g")
    return alt.InlineData(values=text, format=alt.CsvDataFormat(type="csv", parse=kinds))


def by_strategy(strategies: Sequence[str], filled: bool = True) -> dict[str, Any]:
    """The encodings by which a strategy is told from another: colour and shape, the same in every chart.

    Args:
        filled: the chart's marks are.
    """
    return {
        "color": alt.Color(
            "strategy:N",
            title="strategy",
            legend=alt.Legend(symbolOpacity=1, symbolDash=[1, 0], symbolStrokeWidth=0 if filled else 2),
            scale=alt.Scale(domain=list(strategies), range=_repeated(COLOURS, len(strategies))),
        ),
        "shape": alt.Shape(
            "strategy:N",
            title="strategy",
            scale=alt.Scale(domain=list(strategies), range=_repeated(SHAPES, len(strategies))),
        ),
    }


def dashed_by_strategy(strategies: Sequence[str]) -> alt.StrokeDash:
    return alt.StrokeDash(
        "strategy:N",
        legend=None,
        scale=alt.Scale(domain=list(strategies), range=_repeated(DASHES, len(strategies))),
    )


def measured(values: Iterable[float | None], form: str = "~g") -> dict[str, Any]:
    """The scale and the axis of a quantity: logarithmic where its values are above 0 and span a factor of 5."""
    given = [value for value in values if value is not None and math.isfinite(value)]
    if given and min(given) > 0 and max(given) / min(given) > 5:
        ticks = alt.Axis(format=form, values=decimal_ticks(min(given) / 2, max(given) * 2))
        return {"scale": alt.Scale(type="log", nice=False, padding=12), "axis": ticks}
    return {
        "scale": alt.Scale(type="linear", zero=False, nice=True, padding=12),
        "axis": alt.Axis(format=form, tickCount=6),
    }


def decimal_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten from low to high; of more than three powers only the 1."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 2_000 else (1,)
    return [tick for power in powers for step in steps if low <= (tick := float(f"{step}e{power}")) <= high]


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))


def number(value: float | None) -> str:
    """As a person writes it: four digits, and a dash for what is not there."""
    return "–" if value is None or math.isnan(value) else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _repeated(values: Sequence[Any], count: int) -> list[Any]:
    return [values[index % len(values)] for index in range(count)]
