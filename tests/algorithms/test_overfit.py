"""The default rule: each criterion on curves whose verdict is known, and what must hold on any curve."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.algorithms.stopping import Observation, Overfit, decide
from searcher.algorithms.stopping.curve import Noise
from searcher.errors import ConfigurationError
from searcher.records import Decision, Verdict

Losses = Sequence[float]
REPORTS = 60
FALLING = [0.9**i for i in range(REPORTS)]
HALVING = [1 - 0.5 * i / REPORTS for i in range(REPORTS)]
"""A training loss that goes on falling, and of which much is left."""
FLAT = [1.0] * REPORTS
TURNING = [1 + 0.05 * abs(i - 20) for i in range(REPORTS)]
"""Its minimum, 1, is at epoch 21."""


def noise(width: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, width, REPORTS)


def observed(test: Losses, train: Losses = FALLING, lr: Callable[[int], float] | None = None) -> list[Observation]:
    """A curve; its learning rate as a function of the report, constant unless given."""
    rates = [0.1 if lr is None else lr(i) for i in range(len(test))]
    return [
        Observation(
            epoch=i + 1,
            train_loss=float(train[i]),
            test_loss=float(test[i]),
            lr=rates[i],
            lr_left=max(rates[i + 1 :], default=0) / rates[i],
            lr_low=min(rates[i + 1 :], default=0) / rates[i],
        )
        for i in range(len(test))
    ]


def ends(history: Sequence[Observation], rule: Overfit | None = None, elsewhere: float | None = None):
    """The verdict and the epoch at which the rule stops, or `continue` and the last epoch."""
    rule = rule or Overfit()
    state = rule.start()
    for observation in history:
        state, decision = rule.judge(state, observation, elsewhere)
        if decision.stops:
            break
    return decision.verdict, observation.epoch, decision.reason


def test_the_margin_and_the_reports_in_a_row_count_from_the_lowest_level() -> None:
    # Levels are means of 3: 1.1, 1.0667, 1.1, 1.2, 1.3 at epochs 11 to 15 of a curve with its minimum 1 at 11 and
    # slopes of 0.1; the lowest is 1.0667 at 12. Above it by more than 0.05: from epoch 14 on.
    test = [1 + 0.1 * abs(i - 10) for i in range(20)]
    blunt = {"noise": 0.0, "repair": 0.0, "margin": 0.05}
    assert ends(observed(test), Overfit(rises=1, **blunt))[:2] == (Verdict.OVERFIT, 14)
    assert ends(observed(test), Overfit(rises=3, **blunt))[:2] == (Verdict.OVERFIT, 16)


@pytest.mark.parametrize(
    ("test", "train", "verdict"),
    [
        (TURNING, FALLING, Verdict.OVERFIT),
        (TURNING, FLAT, Verdict.CONTINUE),  # the training loss does not go on falling: this is no over-fitting
        (FALLING, FALLING, Verdict.CONTINUE),
        (FLAT, FALLING, Verdict.CONTINUE),  # nothing has risen
        (TURNING + noise(0.1), FALLING, Verdict.OVERFIT),
    ],
)
def test_a_rise_is_over_fitting_where_training_goes_on_and_noise_does_not_explain_it(test, train, verdict) -> None:
    assert ends(observed(test, train))[0] is verdict


def test_pure_noise_is_rarely_called_over_fitting() -> None:
    stopped = sum(ends(observed(1 + noise(0.1, seed), HALVING))[0] is not Verdict.CONTINUE for seed in range(200))
    assert stopped <= 12


def test_a_rise_that_the_rest_of_the_schedule_can_repair_does_not_count() -> None:
    """Under a large rate the test loss is noisy and rises; when the rate falls it ends below all it was."""
    rough = [1 + max(0.0, i - 15) * 0.008 for i in range(40)] + noise(0.08)[:40]
    test = [*rough, *([0.7] * 20)]
    assert ends(observed(test, HALVING, lambda i: 0.1 if i < 40 else 0.001))[0] is Verdict.CONTINUE
    verdict, epoch, _ = ends(observed(test, FALLING, lambda i: 0.1 if i < 40 else 0.001))
    assert verdict is Verdict.OVERFIT  # what is memorized is not forgotten when the rate falls
    assert epoch < 40
    smooth = [*TURNING[:40], *TURNING[40:]]
    assert ends(observed(smooth, lr=lambda i: 0.1 if i < 40 else 0.001))[0] is Verdict.OVERFIT


def cycle(i: int) -> float:
    """1cycle: up for 25 reports, down for 25, then far below its start."""
    return 0.01 + 0.09 * (1 - abs(i - 25) / 25) if i <= 50 else 0.01 / 10 ** ((i - 50) / 5)


def test_within_a_cycle_nothing_is_judged() -> None:
    _, epoch, reason = ends(observed(TURNING, lr=cycle)[:51])
    assert (epoch, reason) == (51, "the learning rate is within a cycle: a rise may yet be repaired")
    verdict, epoch, _ = ends(observed(TURNING, lr=cycle))
    assert verdict is Verdict.OVERFIT
    assert epoch > 51


def test_a_warm_up_is_no_cycle() -> None:
    def rate(i: int) -> float:
        return 0.02 * (i + 1) if i < 4 else 0.1 * (1 - (i - 4) / REPORTS)

    assert ends(observed(TURNING, lr=rate))[0] is Verdict.OVERFIT
    assert ends(observed(TURNING, lr=rate))[1] < 40


def test_a_rate_that_is_not_reported_may_yet_fall() -> None:
    def hidden(test: Losses, train: Losses) -> list[Observation]:
        return [Observation(o.epoch, o.train_loss, o.test_loss) for o in observed(test, train)]

    assert ends(hidden(TURNING, HALVING))[0] is Verdict.OVERFIT
    rough = TURNING + noise(0.25)
    known = ends(observed(rough, HALVING))
    assert known[0] is Verdict.OVERFIT
    assert ends(hidden(rough, HALVING))[1] > known[1]


def test_a_trial_that_over_fits_behind_another_is_hopeless_sooner() -> None:
    test = TURNING + noise(0.02)
    alone = ends(observed(test))
    behind = ends(observed(test), elsewhere=0.8)
    assert alone[0] is Verdict.OVERFIT
    assert behind[0] is Verdict.HOPELESS
    assert behind[1] < alone[1]
    assert behind[2].endswith("another trial reached 0.8")
    assert ends(observed(test), elsewhere=0.99) == alone  # so near a lucky report could reach
    assert ends(observed(test), Overfit(hopeless=None), elsewhere=0.8) == alone
    assert ends(observed(FALLING), elsewhere=1e-9)[0] is Verdict.CONTINUE  # behind, but still learning


def test_a_training_that_collapsed_has_diverged_unless_the_rate_has_to_fall() -> None:
    both = [2.3 - 0.1 * i for i in range(12)] + [2.3] * 48
    verdict, epoch, reason = ends(observed(both, both))
    assert verdict is Verdict.DIVERGED
    assert "training loss 2.3" in reason
    assert ends(observed(both, both), elsewhere=0.5)[1] == epoch - 5
    assert ends(observed(both, both, lr=lambda i: 0.1 if i < 59 else 0.001))[0] is Verdict.CONTINUE


@pytest.mark.parametrize("both", [True, False])
def test_a_spike_is_survived(both) -> None:
    """200 reports under a constant rate; the losses triple at report 100 and take twenty to come down again."""
    falling = np.array([0.3 + 0.985**i for i in range(200)])
    spike = 1 + 2 * np.array([0.0 if i < 100 else 0.85 ** (i - 100) for i in range(200)])
    test, train = falling * spike, falling**2 * (spike if both else 1.0)
    assert ends(observed(test, train))[0] is Verdict.CONTINUE
    assert ends(observed(test, train), elsewhere=0.01)[0] is Verdict.CONTINUE


def test_the_reason_can_be_checked_by_a_person() -> None:
    _, epoch, reason = ends(observed(TURNING))
    level = np.mean(TURNING[epoch - 3 : epoch])
    assert f"test loss {level:.4g} at epoch {epoch} (mean of 3 reports) is" in reason
    assert f"{100 * (level - 1):.0f} % above its minimum 1 at epoch 21" in reason
    fell = 1 - np.mean(FALLING[epoch - 3 : epoch]) / FALLING[20]
    assert f"training loss fell {100 * fell:.0f} % since, lr has 0 % left to fall" in reason


def test_the_width_of_the_noise_is_that_which_made_the_curve() -> None:
    """Along a straight trend, of which bends have no part."""
    values = 3 - 0.1 * np.arange(4000) + np.random.default_rng(0).normal(0, 0.25, 4000)
    estimate = Noise()
    widths = []
    for first, second, third in zip(values, values[1:], values[2:], strict=False):
        estimate = estimate.after((first, second, third), 1.0)
        widths.append(estimate.width_at(0.0))
    assert np.mean(widths[50:]) == pytest.approx(0.25, rel=0.05)


curves = st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.01, 10)), min_size=1, max_size=60)


@given(curve=curves, unit=st.sampled_from([0.25, 8.0, 1024.0]))
def test_the_unit_of_the_losses_does_not_matter(curve, unit) -> None:
    test, train = [a for a, _ in curve], [b for _, b in curve]
    scaled = ends(observed([unit * a for a in test], [unit * b for b in train]), elsewhere=unit * 0.5)
    assert scaled[:2] == ends(observed(test, train), elsewhere=0.5)[:2]


@given(curve=curves, unit=st.sampled_from([0.25, 8.0]), other=st.sampled_from([0.5, 1024.0]))
def test_each_loss_may_have_a_unit_of_its_own(curve, unit, other) -> None:
    test, train = [a for a, _ in curve], [b for _, b in curve]
    scaled = ends(observed([unit * a for a in test], [other * b for b in train]))
    assert scaled[:2] == ends(observed(test, train))[:2]


@pytest.mark.parametrize("lowest", [-2.0, -0.01, 0.0, 0.01])
def test_a_loss_may_be_negative_or_near_zero(lowest) -> None:
    """As a Gaussian's log-likelihood is: its rise is told by the noise, where a fraction of it means little."""
    test = [lowest + value - 1 for value in TURNING] + noise(0.02)
    train = [-2 - 0.05 * i for i in range(REPORTS)]
    verdict, epoch, reason = ends(observed(test, train))
    assert verdict is Verdict.OVERFIT
    assert 21 < epoch < 40
    assert "nan" not in reason
    assert ends(observed(lowest + noise(0.02), train))[0] is Verdict.CONTINUE


def rates(kind: str) -> Callable[[int], float]:
    return {"constant": lambda i: 0.1, "falling": lambda i: 0.1 * 0.9**i, "cycle": cycle}[kind]


steps = st.lists(st.floats(-1, 1).map(lambda v: round(v, 3)), min_size=1, max_size=60)
kinds = st.sampled_from(["constant", "falling", "cycle"])


@given(
    steps=steps, kind=kinds, start=st.sampled_from([-5.0, 0.0, 5.0, 1e6]), elsewhere=st.sampled_from([None, -1e9])
)
def test_the_best_report_so_far_never_ends_a_trial(steps, kind, start, elsewhere) -> None:
    """Losses that wander anywhere, negative ones too; a rule as eager as it can be made."""
    test = (start + np.cumsum(steps)).tolist()
    eager = Overfit(rises=1, noise=0, margin=0, repair=0)
    for rule in (Overfit(), eager):
        verdict, epoch, _ = ends(observed(test, lr=rates(kind)), rule, elsewhere)
        assert verdict is Verdict.CONTINUE or test[epoch - 1] > min(test[: epoch - 1])


@given(steps=steps, train=steps, kind=kinds, start=st.sampled_from([-5.0, 0.0, 5.0, 1e6]))
def test_a_test_loss_that_never_rises_is_never_stopped(steps, train, kind, start) -> None:
    """Whatever the training loss does, and however far ahead another trial is."""
    test = (start - np.cumsum(np.abs(steps))).tolist()
    trained = (start + np.cumsum([*train, *[0.0] * len(test)])).tolist()[: len(test)]
    assert ends(observed(test, trained, rates(kind)), elsewhere=-1e9)[0] is Verdict.CONTINUE


@given(steps=steps, start=st.sampled_from([-5.0, 0.5, 5.0, 100.0, 1e6]))
def test_the_numbers_of_a_reason_are_those_of_the_curve(steps, start) -> None:
    test = (start + np.cumsum([*steps, *[0.1] * 30])).tolist()
    train = [2 * 0.9**i for i in range(len(test))]
    verdict, epoch, reason = ends(observed(test, train))
    if verdict is not Verdict.OVERFIT:
        return
    seen, level = test[:epoch], np.mean(test[epoch - 3 : epoch])
    best, at = min(seen), int(np.argmin(seen)) + 1
    shown = re.search(rf"test loss (\S+) at epoch {epoch} ", reason)
    assert shown
    assert float(shown[1]) == pytest.approx(level, rel=5.1e-4, abs=1e-9)  # four digits of it
    assert f"minimum {best:.4g} at epoch {at}, " in reason
    if best:
        above = re.search(r"is (\d+) % above", reason)
        assert above
        assert float(above[1]) == pytest.approx(100 * (level - best) / abs(best), abs=0.51)
    fell = (train[at - 1] - np.mean(train[epoch - 3 : epoch])) / train[at - 1]
    assert f"training loss fell {100 * fell:.0f} % since" in reason


@given(curve=curves, cut=st.integers(0, 60))
def test_what_is_remembered_is_a_fold_over_the_stored_curve(curve, cut) -> None:
    """After a crash the state is rebuilt from the stored part, and the verdict is as if nothing had happened."""
    history = observed([a for a, _ in curve], [b for _, b in curve])
    rule = Overfit()
    state = rule.start()
    for observation in history[:cut]:
        state, _ = rule.judge(state, observation)
    state = pickle.loads(pickle.dumps(state))
    decision = Decision(Verdict.CONTINUE, "nothing yet")
    for observation in history:
        state, decision = rule.judge(state, observation)
    assert decision == decide(history, rule)


def test_the_memory_does_not_grow_with_the_reports() -> None:
    rule = Overfit()
    state, sizes = rule.start(), {}
    for i in range(5000):
        state, _ = rule.judge(state, Observation(i + 1, 0.5 + 0.1 * (i % 2), 0.6 + 0.1 * (i % 3)))
        sizes[i] = len(pickle.dumps(state))
    assert abs(sizes[4999] - sizes[20]) < 20  # longer numbers, no more of them


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"rises": 0}, "overfit: rises must be a whole number of at least 1, got 0"),
        ({"noise": -1}, "overfit: noise must be a number of at least 0, got -1"),
        ({"settled": 2}, "overfit: settled must be a fraction from 0 to 1, got 2"),
        ({"hopeless": "no"}, "overfit: hopeless must be a fraction of at least 0, or none, got 'no'"),
    ],
)
def test_a_value_out_of_its_range_is_refused_by_name(parameters, text) -> None:
    with pytest.raises(ConfigurationError, match=text):
        Overfit(**parameters)
