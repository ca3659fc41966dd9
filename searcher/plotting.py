"""Pictures of range tests: a file by matplotlib, and a curve of characters for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from searcher.algorithms.range_test import RangeTest
from searcher.errors import ConfigurationError


def terminal_curve(
    rates: Sequence[float], losses: Sequence[float], *, mark: float, width: int = 72, height: int = 12
) -> str:
    """Losses against rates on a logarithmic axis, `height` lines of `width` characters; `|` at the marked rate."""
    logs = [math.log10(rate) for rate in rates]
    low, high = min(losses), max(losses)
    margin = 10
    columns = width - margin

    def column(log: float) -> int:
        share = (log - logs[0]) / (logs[-1] - logs[0]) if logs[-1] > logs[0] else 0.0
        return min(max(round(share * (columns - 1)), 0), columns - 1)

    def row(loss: float) -> int:
        return round((high - loss) / (high - low) * (height - 1)) if high > low else height - 1

    canvas = [[" "] * columns for _ in range(height)]
    for line in canvas:
        line[column(math.log10(mark))] = "|"
    for log, loss in zip(logs, losses, strict=True):
        if math.isfinite(loss):
            canvas[row(loss)][column(log)] = "*"
    labels = {0: f"{high:.3g}", height - 1: f"{low:.3g}"}
    lines = [
        f"{labels.get(number, ''):>{margin - 2}}  {''.join(line).rstrip()}" for number, line in enumerate(canvas)
    ]
    left, right = f"{rates[0]:.0e}", f"{rates[-1]:.0e}"
    return "\n".join([*lines, " " * margin + left + right.rjust(columns - len(left))])


def draw_range_tests(
    tests: Mapping[int, RangeTest], rates: Mapping[str, float], chosen: str, loss: str, path: str | Path
) -> None:
    """Draws the losses of every seed, raw and smoothed, and the rate of each rule.

    Args:
        rates: by rule.
        chosen: the rule that is drawn as the suggestion.
        path: its ending says the format: `.png`, `.pdf` or `.svg`.
    """
    from matplotlib.figure import Figure

    if Path(path).suffix not in (".png", ".pdf", ".svg"):
        raise ConfigurationError(f"plot: must end in .png, .pdf or .svg, got '{path}'")
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for seed, test in tests.items():
        (line,) = axes.plot(test.lr, test.smoothed, label=f"seed {seed}")
        axes.plot(test.lr, test.loss, color=line.get_color(), alpha=0.25, linewidth=0.8)
    for rule, rate in rates.items():
        bold = rule == chosen
        axes.axvline(rate, color="black", linewidth=1.5 if bold else 0.6, linestyle="-" if bold else ":")
        axes.text(
            rate, 1.0, rule, rotation=90, va="top", ha="right", fontsize=8, transform=axes.get_xaxis_transform()
        )
    highest = max(float(test.smoothed.max()) for test in tests.values())
    lowest = min(float(test.smoothed.min()) for test in tests.values())
    margin = 0.2 * (highest - lowest)
    if margin > 0:
        axes.set_ylim(lowest - margin, highest + margin)
    axes.set(
        xscale="log", xlabel="learning rate", ylabel=loss, title=f"suggested peak of a cycle: {rates[chosen]:.3g}"
    )
    axes.legend()
    figure.savefig(path, dpi=120)
