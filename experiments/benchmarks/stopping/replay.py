"""Replays every recorded sweep under every rule, and draws the table and the picture of it.

    python experiments/benchmarks/stopping/replay.py                    # what is missing in outcomes.csv, then both
    python experiments/benchmarks/stopping/replay.py friedman-cosine    # these sweeps only, anew
    python experiments/benchmarks/stopping/replay.py --ours             # the default rule only, anew

`outcomes.csv` has a row for each sweep and rule, `outcomes.md` is the table; the picture is
`docs/stopping-regret.png`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from tasks import TASKS, TUNED_ON
from validation import VALIDATION

from searcher.algorithms.replay import Curve
from searcher.replaying import ALONE, Spec, read_curves, replay_table

HERE = Path(__file__).parent
OUTCOMES = HERE / "outcomes.csv"
ORDERS, RESAMPLES = 2, 200
PEERS = ("Tune ASHA", "Tune median", "Tune plateau", "Optuna median", "Optuna patient")
DEFAULTS = ("default", "default, each trial by itself")
GROUPS = {
    "tuned on": TUNED_ON,
    "not tuned on": sorted(set(TASKS) - set(TUNED_ON)),
    "validation": sorted(VALIDATION),
}
MARKS = (0.02, 0.05, 0.1, 0.2)
ENDS_ABOVE = 0.1
"""A trial over-fits that ends by this fraction above its lowest test loss, means of 3 epochs both."""
BEYOND_NOISE = 4.0
"""Or that ends above it by so many widths of the noise of such a difference."""
MOST, HARDLY = 0.5, 0.125
"""A sweep over-fits where at least the first fraction of its trials do; nothing does where at most the second."""


def families(epochs: int) -> dict[str, list[Spec]]:
    """Each rule over the range of its main parameter; grace periods are fractions of a run."""
    shares = [max(1, round(share * epochs)) for share in (0.1, 0.25, 0.5, 0.75)]
    return {
        "default": ["default"],
        "default, each trial by itself": [ALONE],
        "GL (Prechelt)": [{"rule": "gl", "alpha": alpha} for alpha in (5, 20)],
        "PQ (Prechelt)": [{"rule": "pq", "alpha": alpha} for alpha in (0.5, 2)],
        "UP (Prechelt)": [{"rule": "up", "s": s} for s in (1, 2, 3)],
        "patience": [{"rule": "patience", "reports": n} for n in (5, 10, 20)],
        "Tune ASHA": [
            "tune_asha",
            *({"rule": "tune_asha", "grace_period": g, "reduction_factor": 2} for g in shares[1:]),
        ],
        "Tune median": [{"rule": "tune_median", "grace_period": g} for g in shares[:3]],
        "Tune plateau": [{"rule": "tune_plateau", "std": std} for std in (0.01, 0.001)],
        "Optuna median": [{"rule": "optuna_median", "n_warmup_steps": g} for g in shares[1:3]],
        "Optuna patient": [{"rule": "optuna_patient", "patience": 20}],
    }


def main() -> None:
    matplotlib.use("Agg")
    asked = sys.argv[1:]
    known = pd.read_csv(OUTCOMES) if OUTCOMES.exists() else pd.DataFrame({"sweep": [], "family": []})
    ours_anew = "--ours" in asked
    asked = [name for name in asked if name != "--ours"]
    known = known[~known["sweep"].isin(asked)]
    if ours_anew:
        known = known[~known["family"].isin(DEFAULTS)]
    for peers in (False, True):  # which take ten times as long
        for path in sorted((HERE / "curves").glob("*.parquet")):
            missing = [
                family
                for family in families(100)
                if (family in PEERS) == peers and family not in set(known["family"][known["sweep"] == path.stem])
            ]
            if (asked and path.stem not in asked) or not missing:
                continue
            known = pd.concat([known, measure(path, missing)])
            known.to_csv(OUTCOMES, index=False, float_format="%.5g")
            print(path.stem, "peers" if peers else "ours", flush=True)
    known = described(known)
    tables = (table(known), by_meaning(known), by_mark(known), by_group(known), by_sweep(known))
    (HERE / "outcomes.md").write_text("\n".join(tables))
    draw(known, HERE.parents[2] / "docs" / "stopping-regret.png")


def measure(path: Path, wanted: Sequence[str]) -> pd.DataFrame:
    curves = read_curves(path)
    given = [
        (family, variant, spec)
        for family, specs in families(len(curves[0].observations)).items()
        if family in wanted
        for variant, spec in enumerate(specs)
    ]
    frame = replay_table(curves, [spec for *_, spec in given], orders=ORDERS, resamples=RESAMPLES)
    frame.insert(0, "sweep", path.stem)
    frame.insert(1, "family", [family for family, *_ in given])
    frame.insert(2, "variant", [variant for _, variant, _ in given])
    return frame


def described(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The outcomes with what each sweep's full curves say of it.

    That is the fraction of the trials that over-fit by `ENDS_ABOVE`, the same by other marks (see `MARKS`), and
    the fraction of the epochs that could be saved.
    """
    rows = []
    for sweep in outcomes["sweep"].unique():
        curves = read_curves(HERE / "curves" / f"{sweep}.parquet")
        marks = {f"above {100 * mark:.0f} %": overfitting(curves, mark) for mark in MARKS}
        rows.append(
            {
                "sweep": sweep,
                "over_fitting": overfitting(curves, ENDS_ABOVE),
                "possible": possible(curves),
                "wasted": wasted(curves),
                "above noise": beyond_noise(curves),
                "truly": beyond_noise(curves, learning=True),
                **marks,
            }
        )
    there = [name for name in rows[0] if name != "sweep" and name in outcomes]
    return outcomes.drop(columns=there).merge(pd.DataFrame(rows), on="sweep")


def overfitting(curves: Sequence[Curve], mark: float) -> float:
    """The fraction of the trials that end by a fraction `mark` above their lowest test loss."""
    return float(np.mean([level[-1] > np.min(level) + mark * abs(np.min(level)) for level in levels(curves)]))


def beyond_noise(curves: Sequence[Curve], learning: bool = False) -> float:
    """The fraction of the trials that end above their lowest test loss by more than their noise explains.

    Its width is taken from the median size of the bends x[t] - 2 x[t-1] + x[t-2] of the test loss: for independent
    noise of width s that is 0.674 sqrt(6) s. The width of the difference of two means of 3 is sqrt(2 / 3) s.

    Args:
        learning: and whose training loss is lower at the end than there, means of 3 both: what over-fitting means.
    """
    found = []
    for curve, level, train in zip(curves, levels(curves), levels(curves, "train_loss"), strict=True):
        losses = np.nan_to_num([o.test_loss for o in curve.observations], nan=1e300)
        bends = np.abs(np.diff(losses, 2)) if len(losses) > 2 else np.zeros(1)
        width = float(np.median(bends)) / (0.674 * 6**0.5) * (2 / 3) ** 0.5
        risen = level[-1] > np.min(level) + BEYOND_NOISE * width
        found.append(risen and (not learning or train[-1] < train[np.argmin(level)]))
    return float(np.mean(found))


def wasted(curves: Sequence[Curve], grace: int = 5) -> float:
    """The fraction of all epochs that come later than `grace` after the best epoch of their trial: by hindsight."""
    late = [max(0, len(c.observations) - c.best(len(c.observations)) - 1 - grace) for c in curves]
    return sum(late) / sum(len(curve.observations) for curve in curves)


def possible(curves: Sequence[Curve]) -> float:
    """The fraction of all epochs after the lowest test loss of trials that over-fit, means of 3 epochs both.

    No rule can save more without stopping what does not over-fit, or what has yet to reach its best.
    """
    ends = [
        1 - (int(np.argmin(level)) + 3) / (len(level) + 2) if level[-1] > np.min(level) else 0.0
        for level in levels(curves)
    ]
    return float(np.mean(ends))


def levels(curves: Sequence[Curve], loss: str = "test_loss") -> list[np.ndarray]:
    """Means of 3 successive losses of each trial; infinite where one is not finite."""
    losses = [np.array([getattr(o, loss) for o in curve.observations]) for curve in curves]
    return [np.convolve(np.nan_to_num(loss, nan=1e300), np.ones(3) / 3, "valid") for loss in losses]


def kind(outcomes: pd.DataFrame) -> pd.Series:
    """Of each row's sweep: `1cycle`, `over-fits` (half of the trials), `does not` (an eighth), `some do`."""
    kinds = by_share(outcomes["over_fitting"])
    return kinds.mask(outcomes["sweep"].str.endswith("one_cycle"), "1cycle")


def by_share(share: pd.Series) -> pd.Series:
    """By the fraction of a sweep's trials that over-fit: `over-fits`, `does not`, `some do`."""
    kinds = np.select([share >= MOST, share <= HARDLY], ["over-fits", "does not"], "some do")
    return pd.Series(kinds, share.index)


def summary(outcomes: pd.DataFrame) -> pd.DataFrame:
    """By rule: the mean fraction saved in each kind of sweep, the mean and the worst regret over all sweeps."""
    outcomes = outcomes.assign(kind=kind(outcomes))
    keys = ["family", "variant"]
    saved = outcomes.pivot_table("saved", keys, "kind")
    regret = outcomes.groupby(keys)["loss_regret"].agg(["mean", "max"])
    lost = outcomes.groupby(keys)["loss_regret"].apply(lambda values: int((values > 0.01).sum()))
    names = {"max": "worst_regret", "mean": "mean_regret"}
    return saved.join(regret.rename(columns=names)).join(lost.rename("sweeps_lost"))


def table(outcomes: pd.DataFrame) -> str:
    """The summary of all rules, in Markdown."""
    rows = summary(outcomes)
    names = outcomes.drop_duplicates(["family", "variant"]).set_index(["family", "variant"])["rule"]
    kinds = ["over-fits", "some do", "does not", "1cycle"]
    counts = outcomes.drop_duplicates("sweep").pipe(kind).value_counts()
    heads = [f"{name} ({counts.get(name, 0)})" for name in kinds]
    lines = [
        f"| rule | {' | '.join(heads)} | worst regret | mean regret | sweeps with more than 1 % |",
        "| --- |" + " ---: |" * 7,
    ]
    for family in families(100):
        for key, row in rows[rows.index.get_level_values("family") == family].iterrows():
            label = family if family.startswith("default") else f"{family}: {names[key]}"
            saved = " | ".join(f"{100 * row[name]:.0f} %" if name in row else "" for name in kinds)
            lines.append(
                f"| {label} | {saved} | {100 * row['worst_regret']:.1f} % | {100 * row['mean_regret']:.1f} % "
                f"| {row['sweeps_lost']:.0f} |"
            )
    return "\n".join(lines) + "\n"


def by_mark(outcomes: pd.DataFrame) -> str:
    """The default rule where sweeps over-fit and where they do not, by each mark of what does; without 1cycle."""
    lines = [
        "| a trial over-fits that ends higher by | over-fits | saved | hindsight | some do | saved "
        "| does not | saved |"
    ]
    lines += ["| --- |" + " ---: |" * 7]
    rows = outcomes[(outcomes["family"] == DEFAULTS[0]) & ~outcomes["sweep"].str.endswith("one_cycle")]
    noise = f"{BEYOND_NOISE:.0f} widths of its noise"
    names = {"truly": f"{noise}, training loss lower", "above noise": noise}
    for column in [*names, *(f"above {100 * mark:.0f} %" for mark in MARKS)]:
        kinds = by_share(rows[column])
        yes, some, no = (rows[kinds == which] for which in ("over-fits", "some do", "does not"))
        lines.append(
            f"| {names.get(column, column.removeprefix('above '))} | {len(yes)} sweeps | {mean(yes['saved'])} "
            f"| {mean(yes['wasted'])} | {len(some)} sweeps | {mean(some['saved'])} "
            f"| {len(no)} sweeps | {mean(no['saved'])} |"
        )
    return "\n".join(lines) + "\n"


def mean(fractions: pd.Series) -> str:
    return f"{100 * fractions.mean():.1f} %" if len(fractions) else ""


def meant(outcomes: pd.DataFrame) -> pd.DataFrame:
    """By rule: the mean fraction saved by what over-fitting means (without 1cycle), the worst regret of all."""
    rows = outcomes[~outcomes["sweep"].str.endswith("one_cycle")]
    keys = ["family", "variant"]
    saved = rows.assign(kind=by_share(rows["truly"])).pivot_table("saved", keys, "kind")
    return saved.join(outcomes.groupby(keys)["loss_regret"].max().rename("worst_regret"))


def by_meaning(outcomes: pd.DataFrame) -> str:
    """Every rule by what over-fitting means: beyond the noise, while the training loss falls; without 1cycle."""
    rows = meant(outcomes)
    names = outcomes.drop_duplicates(["family", "variant"]).set_index(["family", "variant"])["rule"]
    lines = ["| rule, by meaning | over-fits | some do | does not | worst regret of all sweeps |"]
    lines += ["| --- |" + " ---: |" * 4]
    for family in families(100):
        for key, row in rows[rows.index.get_level_values("family") == family].iterrows():
            label = family if family.startswith("default") else f"{family}: {names[key]}"
            means = " | ".join(f"{100 * row[name]:.1f} %" for name in ("over-fits", "some do", "does not"))
            lines.append(f"| {label} | {means} | {100 * row['worst_regret']:.1f} % |")
    return "\n".join(lines) + "\n"


def by_group(outcomes: pd.DataFrame) -> str:
    """The default rule on the sweeps that it was tuned on, and on those that it was not."""
    lines = [
        "| sweeps | over-fits | saved | by itself | some do | does not | 1cycle | worst regret "
        "| by meaning over-fits | saved | by itself | does not | saved |",
        "| --- |" + " ---: |" * 12,
    ]
    outcomes = outcomes.assign(kind=kind(outcomes), task=outcomes["sweep"].str.split("-").str[0])
    for name, tasks in GROUPS.items():
        rows = outcomes[outcomes["task"].isin(tasks)]
        ours, single = (rows[rows["family"] == family] for family in DEFAULTS)
        over = ours["kind"] == "over-fits"
        means = []
        for which in ("some do", "does not", "1cycle"):
            saved = ours["saved"][ours["kind"] == which]
            means.append(f"{100 * saved.mean():.0f} % ({len(saved)})" if len(saved) else "")
        cycle = ours["sweep"].str.endswith("one_cycle")
        truly = by_share(ours["truly"])
        true, none = (truly == "over-fits") & ~cycle, (truly == "does not") & ~cycle
        alone = single["saved"][single["sweep"].isin(ours["sweep"][true])]
        lines.append(
            f"| {name} ({len(ours)}) | {over.sum()} | {100 * ours['saved'][over].mean():.0f} % "
            f"| {100 * single['saved'][single['kind'] == 'over-fits'].mean():.0f} % | {' | '.join(means)} "
            f"| {100 * ours['loss_regret'].max():.2f} % | {true.sum()} | {mean(ours['saved'][true])} "
            f"| {mean(alone)} | {none.sum()} | {mean(ours['saved'][none])} |"
        )
    return "\n".join(lines) + "\n"


def by_sweep(outcomes: pd.DataFrame) -> str:
    """The default rule sweep by sweep; `hindsight` stops each trial 5 epochs after its best one."""
    lines = [
        "| sweep | recorded as | 10 % higher | over-fit by meaning | hindsight | saved | by itself | regret "
        "| accuracy lost | cut short |",
        "| --- | --- |" + " ---: |" * 8,
    ]
    single = outcomes[outcomes["family"] == "default, each trial by itself"].set_index("sweep")
    group = {task: name for name, tasks in GROUPS.items() for task in tasks}
    for row in outcomes[outcomes["family"] == "default"].sort_values("sweep").itertuples():
        lost = "" if np.isnan(row.accuracy_regret) else f"{100 * row.accuracy_regret:.1f} points"
        interval = f"{100 * row.saved:.0f} % ({100 * row.saved_low:.0f} to {100 * row.saved_high:.0f})"
        lines.append(
            f"| {row.sweep} | {group[row.sweep.split('-')[0]]} | {100 * row.over_fitting:.0f} % "
            f"| {100 * row.truly:.0f} % "
            f"| {100 * row.wasted:.0f} % | {interval} "
            f"| {100 * single.saved[row.sweep]:.0f} % | {100 * row.loss_regret:.2f} % | {lost} "
            f"| {100 * row.winner_stopped:.0f} % |"
        )
    return "\n".join(lines) + "\n"


def draw(outcomes: pd.DataFrame, path: Path) -> None:
    """Savings where sweeps over-fit, against the worst regret of any sweep; the target lies left of the line."""
    import matplotlib.pyplot as plt

    rows = meant(outcomes)
    figure, axes = plt.subplots(figsize=(9.5, 5), layout="constrained")
    colours = iter(plt.colormaps["tab20"].colors)
    for family in families(100):
        points = rows[rows.index.get_level_values("family") == family]
        style = (
            {"marker": "*", "markersize": 14} if family.startswith("default") else {"marker": "o", "markersize": 5}
        )
        axes.plot(
            100 * points["worst_regret"],
            100 * points["over-fits"],
            label=family,
            lw=0.8,
            color=next(colours),
            **style,
        )
    axes.set_xscale("symlog", linthresh=1)
    axes.axvline(1, color="grey", lw=0.8, ls="--")
    axes.set_xlabel("best test loss of a sweep made worse by, %, the worst of all sweeps")
    axes.set_ylabel("epochs saved in sweeps that over-fit, mean, %")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
