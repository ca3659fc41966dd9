"""For each claim, how its verdict is read from what was measured. The numbers decide; nobody tunes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from evidence import (
    FAILS,
    HOLDS,
    MARGIN,
    OPEN,
    Evidence,
    Finding,
    exceeds,
    percent,
    plain,
    points,
    reaches,
    together,
)

from searcher.algorithms.intervals import estimate
from searcher.algorithms.range_test import analyse


def super_convergence(found: Evidence) -> Finding:
    """Holds if one cycle reaches the long run and a conventional run of its own length does not."""
    verdict = reaches(found.difference("one_cycle", "conventional"))
    if verdict == HOLDS and reaches(found.difference("short", "conventional")) == HOLDS:
        verdict = OPEN  # reached, but not by virtue of the cycle
    numbers = [
        f"{name} {percent(found.holdout(name))} in {found.epochs_spent(name):.0f} epochs" for name in found.chosen
    ]
    numbers.append(f"one cycle against conventional {points(found.difference('one_cycle', 'conventional'))}")
    numbers.append(f"short against conventional {points(found.difference('short', 'conventional'))}")
    return Finding(verdict, tuple(numbers), found.holdout("one_cycle").n)


USABLE = 0.02
"""A rate is usable while its mean test accuracy is at most this much below that of the best rate."""


def range_test(found: Evidence) -> Finding:
    """Holds if the range tests' maximum is within a factor of two of the largest usable rate of a cycle, and a
    start at a tenth and at a twentieth of the peak is as good as one at a third or a hundredth."""
    usable = found.trials[found.trials.strategy == "usable"]
    tests = found.frame("trials").query("kind == 'range_test'")
    steps = found.frame("steps").query("strategy == 'method'").sort_values("step")
    ratios = []
    for sweep, trials in usable.groupby("sweep", observed=True):
        accuracy = trials.set_index("lr").best_test_accuracy.where((trials.status == "completed").to_numpy(), 0)
        largest = accuracy[accuracy >= accuracy.max() - USABLE].index.max()
        identity = tests[tests.sweep == sweep].sort_values("started").trial_id.iloc[0]
        curve = steps[(steps.sweep == sweep) & (steps.trial_id == identity)]
        ratios.append(np.log2(analyse(curve.lr.tolist(), curve.train_loss.tolist()).lr_at_minimum / largest))
    octaves = estimate(ratios)
    assert octaves is not None
    within = (
        HOLDS
        if octaves.low >= -1 and octaves.high <= 1
        else FAILS
        if octaves.low > 1 or octaves.high < -1
        else OPEN
    )
    starts = {"a tenth": "usable", "a twentieth": "start_20"}
    others = max(("start_3", "start_100"), key=lambda name: found.holdout(name).mean)
    good = [reaches(found.difference(name, others)) for name in starts.values()]
    low, high = 2**octaves.low, 2**octaves.high
    numbers = [
        f"range test's maximum / largest usable rate: {2**octaves.mean:.2g} (interval {low:.2g} to {high:.2g})"
    ]
    numbers += [f"start at {name} {percent(found.holdout(label))}" for name, label in starts.items()]
    numbers.append(f"best other start ({others.replace('start_', 'a 1/')}) {percent(found.holdout(others))}")
    return Finding(together([within, together(good)]), tuple(numbers), octaves.n)


def cyclical_momentum(found: Evidence) -> Finding:
    """Holds if cyclical momentum reaches each of the others."""
    others = [name for name in found.chosen if name != "cyclical"]
    differences = {name: found.difference("cyclical", name) for name in others}
    verdicts = [reaches(one) for one in differences.values()]
    verdict = FAILS if FAILS in verdicts else together(verdicts)
    numbers = [f"cyclical {percent(found.holdout('cyclical'))}"]
    numbers += [f"against {name.replace('_', ' ')} {points(one)}" for name, one in differences.items()]
    return Finding(verdict, tuple(numbers), found.holdout("cyclical").n)


def momentum_range_test(found: Evidence) -> Finding:
    """Holds (it is not useful) if the momentum it finds, that of its lowest training loss, trains worse than the
    best constant one or is only where the ramp ends; does not hold if that momentum is as good as the best."""
    epochs = found.frame("epochs").query("strategy == 'range_test'")
    lowest = epochs.loc[epochs.groupby("trial_id").train_loss.idxmin()]
    suggested = estimate(lowest.momentum.tolist())
    assert suggested is not None
    at_the_end = bool((lowest.epoch == epochs.epoch.max()).mean() >= 0.5)
    constant = found.trials[found.trials.strategy == "constant"].pivot_table(
        index="seed", columns="momentum", values="holdout_accuracy"
    )
    nearest = min(constant.columns, key=lambda momentum: abs(momentum - suggested.mean))
    best = found.chosen["constant"].momentum.iloc[0]
    loss = estimate((constant[nearest] - constant[best]).dropna().tolist())
    assert loss is not None
    verdict = HOLDS if at_the_end or loss.high < -MARGIN else FAILS if loss.low >= -MARGIN else OPEN
    numbers = (
        f"its lowest loss is at momentum {plain(suggested)}" + (", where the ramp ends" if at_the_end else ""),
        f"the best constant momentum is {best:g}",
        f"training at {nearest:g} instead: {points(loss)}",
    )
    return Finding(verdict, numbers, suggested.n)


def rate_regularizes(found: Evidence) -> Finding:
    """Holds if, over the rates that train, the best weight decay falls: its slope against the rate, both in
    orders of magnitude, is below zero with its whole interval."""
    slopes, best = [], []
    for _, trials in found.trials.groupby("seed"):
        losses = trials.pivot_table(index="lr", columns="weight_decay", values="best_test_loss")
        accuracy = trials.pivot_table(index="lr", columns="weight_decay", values="best_test_accuracy").max(axis=1)
        losses = losses[accuracy >= accuracy.max() - 0.1]
        best.append(losses.idxmin(axis=1))
        slope_of = np.polyfit(np.log10(losses.index), np.log10(best[-1]), 1)[0]
        slopes.append(round(float(slope_of), 9))  # where nothing changes it is 0, and not rounding's -1e-16
    slope = estimate(slopes)
    assert slope is not None
    verdict = HOLDS if slope.high < 0 else FAILS if slope.low >= 0 else OPEN
    typical = pd.concat([np.log10(one) for one in best], axis=1).median(axis=1)
    numbers = (
        f"slope of the best weight decay against the rate {plain(slope, 2)} (orders of magnitude)",
        "median best weight decay: " + ", ".join(f"{10**wd:.0e} at lr {lr:g}" for lr, wd in typical.items()),
    )
    return Finding(verdict, numbers, slope.n)


def weight_decay_by_range_tests(found: Evidence) -> Finding:
    """Holds if the method's choice reaches that of full training over the same weight decays."""
    return _against(found, "method", "full")


def larger_batch(found: Evidence) -> Finding:
    """Holds if the larger batch reaches the smaller one's quality and takes less time."""
    quality = _against(found, "large", "small")
    seconds = {name: float(found.chosen[name].seconds.median()) for name in ("small", "large")}
    faster = seconds["large"] < seconds["small"]
    verdict = quality.verdict if faster else FAILS
    batches = " and ".join(f"{found.chosen[name].batch_size.iloc[0]}" for name in ("small", "large"))
    ratio = f"batches of {batches}: {seconds['small'] / seconds['large']:.1f} times as fast (median of n)"
    return Finding(verdict, (*quality.numbers, ratio), quality.n)


def early_diagnosis(found: Evidence) -> Finding:
    """Holds if agreement beyond chance (Cohen's kappa) is above 0.6 with its whole interval over seeds."""
    from searcher.algorithms.diagnosis import diagnose

    trials = found.trials.set_index("trial_id")
    rows = []
    for identity, curve in found.frame("epochs").sort_values("epoch").groupby("trial_id"):
        train, test = curve.train_loss.tolist(), curve.test_loss.tolist()
        quarter = max(1, trials.length[identity] // 4)
        early, late = (diagnose(train[:end], test[:end]).fit for end in (quarter, len(train)))
        rows.append((trials.seed[identity], str(early), str(late)))
    frame = pd.DataFrame(rows, columns=["seed", "early", "late"])
    agreement = estimate([float((group.early == group.late).mean()) for _, group in frame.groupby("seed")])
    kappa = estimate([_kappa(group) for _, group in frame.groupby("seed")])
    assert agreement is not None
    assert kappa is not None
    verdict = HOLDS if kappa.low > 0.6 else FAILS if kappa.high < 0.6 else OPEN
    late = ", ".join(f"{share:.0%} {fit}" for fit, share in frame.late.value_counts(normalize=True).items())
    numbers = (f"agreement {percent(agreement)}", f"kappa {plain(kappa, 2)}", f"at the end: {late}")
    return Finding(verdict, numbers, kappa.n)


def _kappa(frame: pd.DataFrame) -> float:
    by_chance = float((frame.early.value_counts(normalize=True) * frame.late.value_counts(normalize=True)).sum())
    agreed = float((frame.early == frame.late).mean())
    return 1.0 if by_chance == 1 else (agreed - by_chance) / (1 - by_chance)


def annihilation(found: Evidence) -> Finding:
    """Holds if a run with annihilation exceeds one without."""
    differences = {name: found.difference(name, "without") for name in ("tenth", "fifth")}
    best = max(differences, key=lambda name: differences[name].mean)
    numbers = [f"without {percent(found.holdout('without'))}"]
    numbers += [f"a {name} of the run {points(one)}" for name, one in differences.items()]
    return Finding(exceeds(differences[best]), tuple(numbers), differences[best].n)


def _against(found: Evidence, name: str, reference: str) -> Finding:
    difference = found.difference(name, reference)
    numbers = [f"{one} {percent(found.holdout(one))}" for one in (reference, name)]
    numbers.append(f"difference {points(difference)}")
    return Finding(reaches(difference), tuple(numbers), difference.n)


JUDGES: Mapping[str, Callable[[Evidence], Finding]] = {
    judge.__name__: judge
    for judge in (
        super_convergence,
        range_test,
        cyclical_momentum,
        momentum_range_test,
        rate_regularizes,
        weight_decay_by_range_tests,
        larger_batch,
        early_diagnosis,
        annihilation,
    )
}
