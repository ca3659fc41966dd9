"""Draws the cost benchmark's table and picture from `measured.parquet`: `python .../search_cost/table.py`.

    choice              the trial of the lowest test loss that was trained to its end
    quality             its holdout accuracy
    cost                training samples of all trials of a strategy, whatever became of them
    cost to the target  what a strategy has spent when it first holds the test accuracy of one-cycle's choice; for
                        grid and random search the mean over all orders of their trials. Where not every search
                        gets there, it is the expected cost of searching again until one does: what all have spent
                        divided by how many reached it (the ERT of arXiv:1603.08785); where none did, all that they
                        spent is a lower bound of it, marked with <=

Means over seeds, each of which is a whole search; half widths of 95 % intervals of differences paired by seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from searcher.algorithms.intervals import Estimate, estimate

FOLDER = Path(__file__).parent
MEASURED, AGAIN = FOLDER / "measured.parquet", FOLDER / "again.parquet"
PAGE = FOLDER.parents[1] / "README.md"
BEGIN, END = "<!-- search cost: written by benchmarks/search_cost/table.py -->", "<!-- end of search cost -->"
OURS, STANDARD = "one_cycle", "grid"
ANY_ORDER = ("grid", "random")
WHOLE = ("completed", "stopped_overfit")
GOALS = {"grid": (1 / 40, "cost"), "random": (1 / 10, "to the target"), "asha": (1 / 5, "to the target"),
         "tpe_median": (1 / 5, "to the target")}  # fmt: skip
"""The fraction of its cost that one-cycle is to need at most."""
MARGIN = 0.005
"""How far the holdout accuracy of one-cycle's choice may be below that of the grid's."""


@dataclass(frozen=True)
class Search:
    """What one strategy found on one task with one seed."""

    trials: pd.DataFrame

    @property
    def choice(self) -> pd.Series:
        runs = self.trials[(self.trials.kind == "train") & self.trials.status.isin(WHOLE)]
        return runs.loc[runs.best_test_loss.idxmin()]

    @property
    def cost(self) -> int:
        return int(self.trials.samples.sum())

    def cost_to(self, accuracy: float, any_order: bool) -> tuple[float, bool]:
        """Samples spent up to the first trial that holds a test accuracy, and whether there is one."""
        trials = self.trials.sort_values("finished")
        hits = ((trials.best_test_accuracy >= accuracy) & trials.status.isin(WHOLE)).to_numpy()
        samples = trials.samples.to_numpy()
        if not hits.any():
            return float(samples.sum()), False
        if any_order:
            # Each of m hits is as likely to be the first; a miss stands before all of them in 1 of m + 1 orders.
            return float(samples[~hits].sum() / (hits.sum() + 1) + samples[hits].mean()), True
        return float(samples[: int(np.argmax(hits)) + 1].sum()), True


@dataclass(frozen=True)
class Row:
    """One strategy on one task, over seeds. Ratios are one-cycle's cost as a fraction of this strategy's."""

    task: str
    strategy: str
    epochs: float
    holdout: Estimate
    difference: Estimate | None
    ratio: float
    ratio_to_target: float
    reached: int
    n: int


def rows(measured: pd.DataFrame) -> Iterator[Row]:
    for task, trials in measured.groupby("task"):
        searches = {
            strategy: {int(seed): Search(some) for seed, some in group.groupby("search_seed")}
            for strategy, group in trials.groupby("strategy")
        }
        if not {OURS, STANDARD} <= searches.keys():
            continue  # not measured yet
        ours, standard = searches[OURS], searches[STANDARD]
        for strategy in [OURS, *(name for name in GOALS if name in searches)]:
            theirs = searches[strategy]
            seeds = sorted(theirs.keys() & ours.keys() & standard.keys())
            quality = {seed: float(theirs[seed].choice.holdout_accuracy) for seed in seeds}
            reference = {seed: float(standard[seed].choice.holdout_accuracy) for seed in seeds}
            targets = {seed: float(ours[seed].choice.best_test_accuracy) for seed in seeds}
            spent, reached = _spent(theirs, targets, strategy in ANY_ORDER)
            own, _ = _spent(ours, targets, any_order=False)
            cost, our_cost = (float(np.mean([some[seed].cost for seed in seeds])) for some in (theirs, ours))
            holdout = estimate(list(quality.values()))
            assert holdout is not None
            yield Row(
                task=str(task),
                strategy=strategy,
                epochs=cost / int(trials.train_size.iloc[0]),
                holdout=holdout,
                difference=estimate([quality[seed] - reference[seed] for seed in seeds]),
                ratio=our_cost / cost,
                ratio_to_target=own / spent,
                reached=reached,
                n=len(seeds),
            )


def _spent(searches: Mapping[int, Search], targets: Mapping[int, float], any_order: bool) -> tuple[float, int]:
    """The expected samples to a target, or a lower bound of it, and how many of the searches reached theirs."""
    spent = [searches[seed].cost_to(accuracy, any_order) for seed, accuracy in targets.items()]
    reached = sum(is_there for _, is_there in spent)
    return sum(samples for samples, _ in spent) / max(reached, 1), reached


def lines(found: list[Row]) -> Iterator[str]:
    yield (
        "| task | strategy | cost (epochs) | holdout accuracy | against the grid (points) "
        "| one-cycle's cost as a fraction | to the same target | n |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for row in found:
        bound = (
            ""
            if row.reached == row.n
            else f" ({'<=: ' if not row.reached else ''}{row.reached} of {row.n} reach it)"
        )
        ratios = ("", "") if row.strategy == OURS else (_share(row.ratio), _share(row.ratio_to_target) + bound)
        against = "" if row.strategy == STANDARD else _points(row.difference)
        half = "" if row.holdout.half_width is None else f" ± {100 * row.holdout.half_width:.1f}"
        yield (
            f"| `{row.task}` | {row.strategy} | {row.epochs:,.0f} | {100 * row.holdout.mean:.1f}{half} % "
            f"| {against} | {ratios[0]} | {ratios[1]} | {row.n} |"
        )
    yield ""
    yield "| against | one-cycle's cost as a fraction, median over tasks | wanted | |"
    yield "| --- | --- | --- | --- |"
    for strategy, (goal, which) in GOALS.items():
        mine = [row for row in found if row.strategy == strategy]
        ratios = [row.ratio if which == "cost" else row.ratio_to_target for row in mine]
        if ratios:
            median = float(np.median(ratios))
            met = "met" if median <= goal else "not met"
            yield f"| {strategy}, {which} | {_share(median)} | {_share(goal)} | {met} |"
    worst = min(
        (row.difference for row in found if row.strategy == OURS and row.difference), key=lambda one: one.mean
    )
    met = "met" if worst.mean >= -MARGIN else "not met"
    yield f"| grid, holdout accuracy on the worst task | {_points(worst)} points | -0.5 points | {met} |"


def trained_anew(again: pd.DataFrame) -> Iterator[str]:
    """The two choices with seeds that no search used; the wider of the intervals over searches and over seeds."""
    yield "| task | one-cycle's choices, trained anew | the grid's | difference (points) | searches, seeds |"
    yield "| --- | --- | --- | --- | --- |"
    worst = None
    for task, runs in again.groupby("task"):
        means = runs.groupby("strategy").holdout_accuracy.mean()
        differences = []
        for pairs in ("search_seed", "seed"):
            by_pair = runs.pivot_table(index=pairs, columns="strategy", values="holdout_accuracy")
            differences.append(estimate((by_pair[OURS] - by_pair[STANDARD]).tolist()))
        difference = max((one for one in differences if one), key=lambda one: one.half_width or 0.0)
        worst = difference if worst is None or difference.mean < worst.mean else worst
        yield (
            f"| `{task}` | {100 * means[OURS]:.1f} % | {100 * means[STANDARD]:.1f} % "
            f"| {_points(difference)} | {runs.search_seed.nunique()}, {runs.seed.nunique()} |"
        )
    met = "met" if worst and worst.mean >= -MARGIN else "not met"
    yield f"| the worst: {_points(worst)} points, wanted -0.5 | | | {met} | |"


def picture(found: list[Row], file: Path) -> None:
    """Quality against cost, one panel for each task."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullLocator

    tasks = list(dict.fromkeys(row.task for row in found))
    figure, panels = plt.subplots(
        1, len(tasks), figsize=(1.4 + 3.6 * len(tasks), 3.4), squeeze=False, layout="constrained"
    )
    markers = dict(zip([OURS, *GOALS], "*os^D", strict=True))
    for panel, task in zip(panels[0], tasks, strict=True):
        for row in (row for row in found if row.task == task):
            panel.errorbar(
                row.epochs, 100 * row.holdout.mean, 100 * (row.holdout.half_width or 0), capsize=3,
                fmt=markers[row.strategy], markersize=12 if row.strategy == OURS else 6, label=row.strategy,
            )  # fmt: skip
        panel.set(title=task, xscale="log", xlabel="cost (epochs)", ylim=(None, min(panel.get_ylim()[1], 100.5)))
        panel.set_xlim(40, 10_000)
        panel.set_xticks(ticks := [100, 300, 1000, 3000, 10000], [f"{tick:,}" for tick in ticks])
        panel.xaxis.set_minor_locator(NullLocator())
    panels[0][0].set_ylabel("holdout accuracy (%), 95 % interval")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    figure.savefig(file, dpi=110)


def _share(ratio: float) -> str:
    return f"1/{1 / ratio:.0f}" if ratio <= 0.2 else f"1/{1 / ratio:.1f}" if ratio < 1 else f"{ratio:.1f}"


def _points(value: Estimate | None) -> str:
    if value is None:
        return ""
    return f"{100 * value.mean:+.1f}" + ("" if value.half_width is None else f" ± {100 * value.half_width:.1f}")


def main() -> None:
    found = list(rows(pd.read_parquet(MEASURED)))
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    table = "\n".join([*lines(found), "", *trained_anew(pd.read_parquet(AGAIN))])
    image = "![quality against cost](benchmarks/search_cost/cost.png)"
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n\n{image}\n{END}{after}")
    picture(found, FOLDER / "cost.png")


if __name__ == "__main__":
    main()
