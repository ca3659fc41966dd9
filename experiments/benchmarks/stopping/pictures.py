"""Draws docs/stopping.png: three recorded curves, and where each rule stops them.

python experiments/benchmarks/stopping/pictures.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from searcher.algorithms.replay import Curve, RuleJudge, stops
from searcher.algorithms.stopping import rule_from
from searcher.replaying import read_curves

HERE = Path(__file__).parent
PICTURE = HERE.parents[2] / "docs" / "stopping.png"
SHOWN = {
    "It over-fits: a constant rate": ("signals_mlp-constant", "13"),
    "It is noisy until the rate falls, then the best of all": ("signals_mlp-step", "31"),
    "It rises by design: 1cycle": ("signals_mlp-one_cycle", None),
}
RULES = {"default": "C2", "up": "C3", "gl": "C4", "pq": "C6", "patience": "C5"}


def main() -> None:
    figure, panels = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for axes, (title, (sweep, trial)) in zip(panels, SHOWN.items(), strict=True):
        curves = read_curves(HERE / "curves" / f"{sweep}.parquet")
        best = min(curves, key=lambda curve: curve.loss(len(curve.observations)))
        curve = best if trial is None else next(one for one in curves if one.trial == trial)
        axes.set_title(title, fontsize=10)
        draw(axes, curve)
    panels[0].set_ylabel("loss")
    panels[0].legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.12, 1.0))
    figure.savefig(PICTURE, dpi=100)


def draw(axes: Axes, curve: Curve) -> None:
    epochs = [o.epoch for o in curve.observations]
    test = [o.test_loss for o in curve.observations]
    axes.plot(epochs, test, "C1", label="test loss")
    axes.plot(epochs, [o.train_loss for o in curve.observations], "C0", label="training loss")
    rates = [o.lr or 0.0 for o in curve.observations]
    axes.fill_between(epochs, [0.25 * max(test) * rate / max(rates) for rate in rates], color="0.9", label="rate")
    for height, (name, colour) in enumerate(RULES.items()):
        (made,) = stops([curve], RuleJudge(rule_from(name)), [0])
        said = f"{name}: {made}" if made < len(epochs) else f"{name}: never"
        axes.axvline(made, color=colour, lw=1.2, ls="--" if made < len(epochs) else "")
        axes.annotate(
            said,
            (0.98, 0.94 - 0.06 * height),
            xycoords="axes fraction",
            color=colour,
            ha="right",
            fontsize=9,
            backgroundcolor="w",
        )
    axes.plot(curve.best(len(epochs)) + 1, min(test), "k.", label="lowest test loss")
    axes.set_xlabel("epoch")
    axes.set_ylim(0, 1.45 * max(test))  # room for what is said


if __name__ == "__main__":
    main()
