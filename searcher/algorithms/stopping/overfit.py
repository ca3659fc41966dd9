"""The default rule: over-fitting told apart from noise and from a learning rate that has still to come down."""

from __future__ import annotations

from dataclasses import dataclass

from searcher.algorithms.stopping.base import (
    WATCHING,
    Observation,
    State,
    already_known,
    is_count,
    is_number,
    require,
)
from searcher.algorithms.stopping.curve import LEVEL, WINDOW, Curve
from searcher.records import Decision, Verdict

UNSETTLED = Decision(Verdict.CONTINUE, "the learning rate is within a cycle: a rise may yet be repaired")

LEARNING = 0.05
"""The training loss goes on falling where it is lower by this fraction than at the lowest test loss."""

UNDONE = 0.5
"""But not while more than this fraction of its fall since then is undone: in a spike."""

MEMORIZED = 0.75
"""The fraction of `noise` that is asked for where no training loss is left."""

BEHIND = 2.0
"""Widths of the noise of its difference that a rise must have in a trial which another has left behind."""

LUCK = 2.0
"""Widths of the noise by which a lucky report can be better than the level."""

FADES, SPIKE = 0.9, 0.5
"""A rise is not counted below the first fraction of the last one: it passes; nor below the second of the highest
one, of which the first is kept a report: it was a spike."""

FEW = 5
"""Bends that the noise must have been measured from."""

COLLAPSE, COLLAPSE_NOISE = 0.1, 3.0
"""A training has collapsed where both levels are above their lowest by this fraction and so many widths."""

COLLAPSED, COLLAPSED_HOPELESS = 10, 5
"""Collapsed reports in a row that stop a trial, and that stop one which another trial has left behind."""

RELEARNS = 0.05
"""A collapse in which the training level falls by this fraction is none: they are counted anew."""

LONG = 0.05
"""Reports in a row are at least this fraction of those so far: what is brief grows with the run."""

NOTHING = Curve()


@dataclass(frozen=True, slots=True)
class OverfitState(State):
    """The curve, and for how many reports in a row each criterion has held.

    Attributes:
        rise, top: the last rise of the test level above its lowest, and the highest one, fading.
        collapsed_at: the training level from which a collapse is counted.
    """

    curve: Curve = NOTHING
    rising: int = 0
    behind: int = 0
    rise: float = 0.0
    top: float = 0.0
    collapsed: int = 0
    collapsed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Overfit:
    """Stops a trial whose test loss rises while its training loss falls, when nothing to come repairs it.

    A level is the mean of a loss over 3 reports; w is the width of the test loss's noise, estimated from the
    curve itself, and v that of the difference between two levels; f is the fraction of the learning rate that
    has still to fall. What this fall repairs is in proportion to the noise that the rate makes: `repair` f w.
    But a network that the rate holds back has its training loss left, and one that has memorized the samples does
    not lose them when the rate falls: h is the fraction of the training level at the lowest test level that is
    still there. The rise of the test level above its lowest, while the training level has fallen by 5 % since,
    shows that the trial is

        overfit    above (3 + h) / 4 `noise` v + `repair` f h w + `margin` of the minimum, at `rises` reports in
                   a row;
        hopeless   above 2 v + `margin` of the minimum, at 2 reports in a row, where another trial holds a loss
                   that this one would not reach by the fall and by luck (2 w); its own is worse by a fraction
                   of `hopeless`.

    A trial has `diverged` if a loss is not finite, or if both levels are 10 % and 3 v above their lowest at 10
    reports in a row (5 where another trial has left it behind), in which the training level does not fall by 5 %,
    and the learning rate has settled.

    A spike is no over-fitting: a report at which the rise is a tenth less than at the last is not counted, a rise
    below half of an earlier one (which fades by a tenth a report) is none, nor is one while half of the training
    level's fall is undone; and reports in a row are at least a twentieth of those so far.

    A report that is the trial's best so far never ends it. Nothing is judged while the learning rate is still
    to rise, nor within a cycle (it has risen, and more than `settled` of its peak has still to fall): there the
    test loss rises by design.

    Attributes:
        rises: reports in a row that stop a trial.
        noise: how far the test level must have risen, in widths of the noise of its difference. With 4, of
            curves of 100 reports of pure noise, a tenth of the loss wide, about 2 in 100 are stopped if half of
            the training loss is left, and 13 in 100 if none is (200 curves of each).
        margin: and beyond that, as a fraction of the minimum's size.
        repair: what a fall of the learning rate to nothing is taken to repair, in widths of the noise.
        settled: the fall to come, as a fraction of the largest learning rate so far, that no longer matters.
        hopeless: how much worse than another trial's best, as a fraction; None: never look at other trials.
    """

    rises: int = 3
    noise: float = 4.0
    margin: float = 0.01
    repair: float = 8.0
    settled: float = 0.02
    hopeless: float | None = 0.01

    def __post_init__(self) -> None:
        require(is_count(self.rises), "overfit", "rises", "a whole number of at least 1", self.rises)
        for name in ("noise", "margin", "repair"):
            value = getattr(self, name)
            require(is_number(value) and value >= 0, "overfit", name, "a number of at least 0", value)
        ok = is_number(self.settled) and 0 <= self.settled <= 1
        require(ok, "overfit", "settled", "a fraction from 0 to 1", self.settled)
        ok = self.hopeless is None or (is_number(self.hopeless) and self.hopeless >= 0)
        require(ok, "overfit", "hopeless", "a fraction of at least 0, or none", self.hopeless)

    def start(self) -> OverfitState:
        return OverfitState()

    def judge(
        self, state: OverfitState, observation: Observation, best_elsewhere: float | None = None
    ) -> tuple[OverfitState, Decision]:
        if (known := already_known(state, observation)) is not None:
            return known
        curve = state.curve.after(observation)
        fall = curve.rate.fall_to_come(observation)
        left = curve.rate.of_peak(fall)
        if curve.test_noise.bends < FEW or curve.best_epoch == observation.epoch:
            return OverfitState(observation.epoch, WATCHING, curve), WATCHING
        if left > 1 or (curve.rate.in_cycle and left > self.settled):
            return OverfitState(observation.epoch, UNSETTLED, curve), UNSETTLED

        rise = curve.test_level - curve.low
        top = max(rise, FADES * state.top)
        width = curve.test_noise.width_at(curve.rate.now or 1.0)
        repaired = self.repair * fall * width * curve.held
        over_fits = _is_learning(curve) and rise >= SPIKE * top
        behind = self._is_behind(curve, repaired, best_elsewhere)
        margin = self.margin * abs(curve.best)
        noise = self.noise * (MEMORIZED + (1 - MEMORIZED) * curve.held)
        needed = noise * LEVEL * width + repaired + margin
        noticed = rise > BEHIND * LEVEL * curve.test_noise.width + margin
        one = rise >= FADES * state.rise
        rising = state.rising + one if over_fits and rise > needed else 0
        losing = state.behind + one if over_fits and behind and noticed else 0
        collapsed, collapsed_at = _collapsed(state, curve, rise) if left <= self.settled else (0, 0.0)

        decision, long = WATCHING, LONG * curve.reports
        if rising >= max(self.rises, long):
            decision = Decision(Verdict.OVERFIT, f"overfit: {_facts(curve, observation, left)}")
        elif losing >= max(2, long):
            facts = f"{_facts(curve, observation, left)}; another trial reached {best_elsewhere:.4g}"
            decision = Decision(Verdict.HOPELESS, f"hopeless: {facts}")
        elif collapsed >= max(COLLAPSED_HOPELESS if behind else COLLAPSED, long):
            decision = Decision(Verdict.DIVERGED, f"diverged: {_collapse(curve, observation, collapsed)}")
        counts = (rising, losing, rise, top, collapsed, collapsed_at)
        return OverfitState(observation.epoch, decision, curve, *counts), decision

    def _is_behind(self, curve: Curve, repaired: float, best_elsewhere: float | None) -> bool:
        """Whether another trial holds what this one would not reach even by the fall of its rate and by luck."""
        if self.hopeless is None or best_elsewhere is None:
            return False
        bar = best_elsewhere + self.hopeless * abs(best_elsewhere)
        within_reach = min(curve.low, curve.test_level - repaired) - LUCK * curve.test_noise.width
        return min(within_reach, curve.best) > bar


def _is_learning(curve: Curve) -> bool:
    """Whether the training level has fallen since the lowest test level, and is not in a spike."""
    fallen = curve.low_train - curve.train_level
    return fallen > LEARNING * abs(curve.low_train) and fallen >= UNDONE * (curve.low_train - curve.train_low)


def _collapsed(state: OverfitState, curve: Curve, rise: float) -> tuple[int, float]:
    """For how many reports in a row the training has collapsed without learning anew, and from which level."""
    level, train_rise = curve.train_level, curve.train_level - curve.train_low
    if (
        train_rise <= COLLAPSE * abs(curve.train_low) + COLLAPSE_NOISE * LEVEL * curve.train_noise.width
        or rise <= COLLAPSE * abs(curve.best) + COLLAPSE_NOISE * LEVEL * curve.test_noise.width
    ):
        return 0, 0.0
    if not state.collapsed or level < state.collapsed_at - RELEARNS * abs(state.collapsed_at):
        return 1, level
    return state.collapsed + 1, max(level, state.collapsed_at)


def _facts(curve: Curve, observation: Observation, left: float) -> str:
    test, train, best = curve.test_level, curve.train_level, curve.best
    above = f"{_percent(test - best, best)} above its minimum" if best else "above its minimum"
    fell = f"fell {_percent(curve.best_train - train, curve.best_train)}" if curve.best_train else "fell"
    rate = "is not reported" if observation.lr is None else f"has {100 * left:.0f} % left to fall"
    return (
        f"test loss {test:.4g} at epoch {observation.epoch} (mean of {WINDOW} reports) is {above} {best:.4g} "
        f"at epoch {curve.best_epoch}, noise {curve.test_noise.width:.2g}, training loss {fell} since, lr {rate}"
    )


def _collapse(curve: Curve, observation: Observation, reports: int) -> str:
    return (
        f"training loss {curve.train_level:.4g} and test loss {curve.test_level:.4g} at epoch {observation.epoch} "
        f"(means of {WINDOW} reports) have been far above their lowest, {curve.train_low:.4g} and "
        f"{curve.low:.4g}, for {reports} reports"
    )


def _percent(difference: float, of: float) -> str:
    return f"{100 * difference / abs(of):.0f} %"
