"""The one-cycle method: what it proposes from which history, played on made-up curves."""

import math
from dataclasses import replace

import pytest
from algorithms.made_up import Made, play, ramp, strategy

from searcher.algorithms.diagnosis import Fit, diagnose
from searcher.algorithms.schedules import values
from searcher.algorithms.strategies.one_cycle.budget import Budget
from searcher.algorithms.strategies.one_cycle.measurements import Outcome
from searcher.algorithms.strategies.one_cycle.moves import Moves, Point
from searcher.algorithms.strategies.one_cycle.peak import next_exponents
from searcher.errors import ConfigurationError
from searcher.records import History, Kind, Status, Trial, TrialRecord

INF = math.inf


def finals(trials: list[Trial]) -> list[Trial]:
    """The cycles of the last configuration that was trained."""
    return [trial for trial in trials if trial.configuration_id == trials[-1].configuration_id]


@pytest.mark.parametrize("peak", [0.05, 0.3, 1.2])
@pytest.mark.parametrize("decay", [3e-4, 1e-3, 1e-2])
def test_it_walks_to_the_peak_moves_to_the_decay_and_trains_every_seed_there(peak: float, decay: float) -> None:
    _, trials = play(strategy(budget={"epochs": 400}), Made(peak, decay))
    chosen = finals(trials)
    assert sorted(trial.seed for trial in chosen) == [0, 1, 2]
    # Within the step of a walk: a factor of two in the peak, half a power of ten in the decay.
    assert abs(math.log2(chosen[0].configuration.lr / peak)) <= 1
    assert abs(math.log10(chosen[0].configuration.weight_decay / decay)) <= 0.55
    assert chosen[0].length == 20
    assert all(trial.reason for trial in trials)


def test_range_tests_come_first_the_chosen_decay_with_three_seeds() -> None:
    _, trials = play(strategy(), Made())
    tests = [(trial.configuration.weight_decay, trial.seed) for trial in trials if trial.kind is Kind.RANGE_TEST]
    assert tests == [(1e-3, 0), (0.0, 0), (1e-3, 1), (1e-3, 2)]
    assert {trial.length for trial in trials[:4]} == {24}, "24 steps of 50: four range tests cost five epochs"


@pytest.mark.parametrize(("best", "expected"), [(3, 3), (5, 5), (10, 10), (20, 20)])
def test_a_cycle_is_lengthened_while_that_helps(best: int, expected: int) -> None:
    _, trials = play(strategy(budget={"epochs": 400}), Made(epochs=best))
    assert finals(trials)[0].length == expected


@pytest.mark.parametrize(
    ("doubling", "over_fits", "expected"),
    [(0.004, False, 20), (0.007, False, 10), (0.02, False, 5), (0.004, True, 5)],
)
def test_a_longer_cycle_is_kept_where_it_does_no_harm(doubling: float, over_fits: bool, expected: int) -> None:
    # The best length is 5 epochs, with a loss of 0.1: up to 0.11 is a matter of luck, unless it over-fits.
    made = Made(epochs=5, doubling=doubling, over_fits=over_fits)
    _, trials = play(strategy(budget={"epochs": 400}), made)
    assert trials[-1].length == expected


@pytest.mark.parametrize("grows", [0.0, 0.5, 1.0])
def test_a_longer_cycle_finds_the_higher_peak_that_it_likes(grows: float) -> None:
    """Within the default budget, although the walk sees the best peak of 3 epochs only."""
    _, trials = play(strategy(), Made(peak=0.4, grows=grows))
    assert 0.5 <= finals(trials)[0].configuration.lr / 0.4 <= 2
    assert finals(trials)[0].length == 20


def test_at_each_longer_length_a_higher_peak_and_more_decay_compete() -> None:
    _, trials = play(strategy(), Made(peak=0.4, grows=1.0))
    climbed = [trial for trial in trials if trial.kind is Kind.TRAIN and trial.length in (5, 10)]
    reasons = [trial.reason.split(":")[0] for trial in climbed]
    assert "tries a longer cycle, 5 epochs" in reasons
    assert "tries a higher peak, twice the rate, as a longer cycle may like another one" in reasons
    assert "tries more weight decay, 0.01, as a longer cycle may like another one" in reasons


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        (1e-3, [1e-2, 3.2e-3, 3.2e-3]),  # a whole step loses at 5 epochs, and half of one at each longer length
        (1e-2, [1e-2, 1e-1]),  # it wins, and the next one loses
    ],
)
def test_the_exponent_of_the_weight_decay_is_bisected(best: float, expected: list[float]) -> None:
    _, trials = play(strategy(), Made(peak=0.4, decay=best))
    climbed = [one for one in trials if one.kind is Kind.TRAIN and "tries more weight decay" in one.reason]
    assert [one.configuration.weight_decay for one in climbed][: len(expected)] == expected


def test_a_tie_goes_to_more_weight_decay_while_a_longer_cycle_follows() -> None:
    """As a longer cycle likes more of it: half-way between the two, both have the same loss."""
    _, trials = play(strategy(), Made(peak=0.4, decay=10**-2.5))
    climbed = [one for one in trials if one.kind is Kind.TRAIN and "tries a longer cycle" in one.reason]
    assert [(one.length, one.configuration.weight_decay) for one in climbed][:2] == [(5, 1e-3), (10, 1e-2)]


def test_a_peak_that_hardly_trains_in_a_short_cycle_is_not_tried_in_longer_ones() -> None:
    method, history, made = strategy(), History(), Made(grows=1.0)
    while proposed := method.propose(history, 1):
        made.finish(history, proposed[0])
        if proposed[0].kind is Kind.TRAIN and proposed[0].configuration.lr > 0.1:
            record = history.finished[proposed[0].trial_id]
            history.add(replace(record, best_test_loss=1.8 + 0.01 * record.trial.configuration.lr))
    high = {record.trial.length for record in history if record.trial.configuration.lr > 0.1}
    assert high & {3, 5, 10, 20} == {3}


@pytest.mark.parametrize(
    ("budget", "epochs", "made", "expected"),
    [
        (800, None, Made(epochs=1000), 60),  # a full run, and no more
        (800, 40, Made(epochs=1000), 40),  # the user's word stands
        (800, None, Made(epochs=5, doubling=-0.02), 40),  # it over-fits, and helps: two thirds, not stretched
        (210, None, Made(epochs=1000), 41),  # 86 spent until then, 123 for three seeds
    ],
)
def test_the_last_cycle_takes_what_the_budget_leaves(
    budget: int, epochs: int | None, made: Made, expected: int
) -> None:
    history, trials = play(strategy(budget={"epochs": budget}, epochs=epochs), made)
    assert max(trial.length for trial in trials if trial.kind is Kind.TRAIN) == expected
    assert sorted(trial.seed for trial in finals(trials)) == [0, 1, 2]
    assert sum(record.samples for record in history) <= 1000 * budget


def test_a_seed_that_does_not_train_halves_the_peak_for_all() -> None:
    _, trials = play(strategy(budget={"epochs": 400}), Made(brittle_seed=2))
    chosen = finals(trials)
    assert sorted(trial.seed for trial in chosen) == [0, 1, 2]
    assert chosen[0].configuration.lr <= 0.06
    assert "half the peak" in chosen[-1].reason


@pytest.mark.parametrize("budget", [{"epochs": 60}, {"samples": 90_000}, {"seconds": 70}])
def test_the_budget_is_never_exceeded(budget: dict[str, float]) -> None:
    history, trials = play(strategy(budget=budget), Made())
    records = list(history)
    spent = {
        "epochs": sum(record.samples for record in records) / 1000,
        "samples": sum(record.samples for record in records),
        "seconds": sum(record.seconds for record in records),
    }
    ((unit, amount),) = budget.items()
    assert spent[unit] <= amount
    assert sorted(trial.seed for trial in finals(trials)) == [0, 1, 2]


def test_money_is_seconds_at_a_price() -> None:
    seconds, money = {"seconds": 70}, {"money": 35, "price_per_hour": 1800}
    assert play(strategy(budget=money), Made())[1] == play(strategy(budget=seconds), Made())[1]


def test_a_budget_that_holds_no_search_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"one_cycle.budget.epochs: must be at least 17 .*got 10"):
        strategy(budget={"epochs": 10})


def test_the_same_history_gives_the_same_proposals_in_a_new_process() -> None:
    """Cut anywhere: a strategy built anew and fed the records goes on as the first would have."""
    made = Made()
    _, trials = play(strategy(), made)
    for cut in range(len(trials)):
        history = History()
        for trial in trials[:cut]:
            made.finish(history, trial)
        proposed = strategy().propose(history, 100)
        assert proposed
        assert {trial.trial_id for trial in proposed} <= {trial.trial_id for trial in trials[cut:]}


def test_how_many_are_trained_at_once_changes_nothing() -> None:
    alone, together = (play(strategy(), Made(), at_once=count)[1] for count in (1, 8))
    assert {trial.trial_id for trial in alone} == {trial.trial_id for trial in together}


def test_it_waits_for_what_is_running() -> None:
    method, history = strategy(), History()
    for trial in method.propose(history, 2):
        history.start(trial)
    assert method.propose(history, 2) == []


def test_a_cycle_is_the_papers() -> None:
    _, trials = play(strategy(div_factor=20.0), Made())
    lr, momentum = values(trials[-1].configuration, 1001)
    peak = trials[-1].configuration.lr
    assert lr[0] == pytest.approx(peak / 20)
    assert max(lr) == pytest.approx(peak)
    assert lr[-1] < lr[0] / 10
    assert (momentum[0], min(momentum), momentum[-1]) == pytest.approx((0.95, 0.85, 0.95))


def test_range_tests_that_fail_end_the_method() -> None:
    method, history = strategy(), History()
    for trial in method.propose(history, 10):
        history.add(TrialRecord(trial=trial, status=Status.FAILED, status_reason="no memory"))
    assert method.propose(history, 10) == []


def test_where_nothing_trains_the_ramp_is_moved_once() -> None:
    method, history = strategy(), History()
    tests = method.propose(history, 10)
    for trial in tests:
        for record in ramp(trial)[:6]:
            history.add(replace(record, train_loss=1.0 if record.step < 6 else math.nan))
        history.add(TrialRecord(trial=trial, status=Status.COMPLETED))
    lower = method.propose(history, 10)
    assert [trial.configuration.lr for trial in lower] == [0.01, 0.01]
    assert "nothing trained" in lower[0].reason


@pytest.mark.parametrize(
    ("optimizer", "climbs", "expected"),
    [
        ("sgd", True, 0.061),  # noise up to rate 0.61, where it diverges: a tenth of that
        ("adamw", True, 0.0061),  # the same steps of its own ramp
        ("adamw", False, 0.1),  # never: a tenth of the ramp's end
    ],
)
def test_where_noise_hides_what_was_learned_the_walk_starts_below_the_divergence(
    optimizer: str, climbs: bool, expected: float
) -> None:
    method, history = strategy(optimizer=optimizer), History()
    while (proposed := method.propose(history, 10)) and proposed[0].kind is Kind.RANGE_TEST:
        for trial in proposed:
            for record in ramp(trial):
                noise = 1 + 0.5 * (-1) ** record.step
                high = climbs and record.step > 17
                history.add(replace(record, train_loss=10.0 ** (record.step - 16) if high else noise))
            history.add(TrialRecord(trial=trial, status=Status.COMPLETED))
    assert {record.trial.configuration.lr for record in history} == {10.0 if optimizer == "sgd" else 1.0}
    assert proposed[0].configuration.lr == pytest.approx(expected, rel=0.02)


def test_a_peak_that_diverges_is_not_chosen() -> None:
    method, history, made = strategy(), History(), Made()
    while proposed := method.propose(history, 1):
        made.finish(history, proposed[0])
        if proposed[0].kind is Kind.TRAIN and proposed[0].configuration.lr > 0.2:
            record = history.finished[proposed[0].trial_id]
            history.add(replace(record, status=Status.DIVERGED, best_epoch=None, best_test_loss=None))
    assert max(record.trial.configuration.lr for record in history if record.trial.length == 20) < 0.2


@pytest.mark.parametrize(
    ("highest", "loss", "trained"),
    [
        (2.0, 0.1, True),  # never above the loss before any training
        (3.8, 0.1, True),  # above it by 1.8, less than the 1.9 that it learned
        (4.0, 0.1, False),
        (1e27, 0.0, False),  # huge weights that happen to be right on every test sample
        (2.2, 1.95, True),  # it learned nothing, and rose by no more than the noise
        (2.4, 1.95, False),
        (1.0, INF, False),
    ],
)
def test_a_cycle_that_lost_more_than_it_ever_learned_did_not_train(
    highest: float, loss: float, trained: bool
) -> None:
    trial = strategy().propose(History(), 1)[0]
    outcome = Outcome(trial, loss, 1.0, None, diagnose([2.0, 1.0], [2.0, 1.0]), highest)
    judged = outcome.judged(untrained=2.0, noise=0.3)
    assert judged.trained is trained
    assert (judged == outcome) is (trained or loss == INF)
    # The same in another unit, and with a constant added to the loss.
    other = Outcome(trial, 7 * loss + 5, 7.0, None, outcome.diagnosis, 7 * highest + 5)
    assert other.judged(untrained=19.0, noise=2.1).trained is trained


def test_a_peak_that_blew_up_is_not_chosen_however_low_its_test_loss() -> None:
    method, history, made = strategy(), History(), Made()
    while proposed := method.propose(history, 1):
        (trial,) = proposed
        made.finish(history, trial)
        if trial.kind is Kind.TRAIN and trial.configuration.lr > 0.1:
            history.add(replace(history.epochs(trial)[0], train_loss=1e9))
            history.add(replace(history.finished[trial.trial_id], best_test_loss=0.0))
    ends = [record.trial for record in history if record.trial.length == 20]
    assert sorted(trial.seed for trial in ends)[-3:] == [0, 1, 2]
    assert {trial.configuration.lr <= 0.1 for trial in ends} == {True}
    told = [record.trial.reason for record in history if "set aside: peak" in record.trial.reason]
    assert "diverged: the training loss rose to 1e+09" in told[0]


def test_where_the_budget_ends_before_a_peak_trained_the_final_cycles_go_on_downwards() -> None:
    method, history, made = strategy(), History(), Made()
    method.budget = Budget("epochs", 12)  # range tests and two short cycles
    while proposed := method.propose(history, 1):
        (trial,) = proposed
        made.finish(history, trial)
        if trial.kind is Kind.TRAIN and trial.configuration.lr > 0.3:
            history.add(replace(history.epochs(trial)[0], train_loss=1e9))
    cycles = [record.trial for record in history if record.trial.kind is Kind.TRAIN]
    assert sorted(trial.seed for trial in cycles)[-2:] == [2, 2]
    assert cycles[-1].configuration.lr <= 0.3
    assert "half the peak" in cycles[-1].reason


@pytest.mark.parametrize(
    ("fit", "first"),
    [
        (Fit.UNDER, "a longer cycle, 10 epochs"),
        (Fit.GOOD, "more weight decay, 0.01"),
        (Fit.OVER, "more weight decay, 0.01"),
        (Fit.DIVERGED, "a lower peak, half the rate"),
    ],
)
def test_the_diagnosis_says_what_is_tried_first(fit: Fit, first: str) -> None:
    moves = list(Moves("sgd", (5, 10, 20)).of(Point(0, 1e-3, level=0), fit))
    assert moves[0].words == first
    assert len({move.point for move in moves}) == len(moves)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({}, [0, 1]),
        ({0: 0.5}, [1]),
        ({0: 0.5, 1: 0.4}, [2]),  # downhill to smaller rates
        ({0: 0.4, 1: 0.5}, [-1]),  # downhill to larger ones
        ({0: 0.5, 1: 0.4, 2: 0.45}, []),  # enclosed
        ({-1: 0.6, 0: 0.4, 1: 0.5}, []),
        ({0: INF, 1: INF}, [2]),  # nothing trains yet
        ({0: INF, 1: INF, 2: 0.2}, [3]),
        (dict.fromkeys(range(9), INF), []),  # nothing trains at all
        ({-3: 0.1, -2: 0.2, -1: 0.3, 0: 0.4, 1: 0.5}, []),  # the end of the walk
    ],
)
def test_the_walk(losses: dict[int, float], expected: list[int]) -> None:
    assert next_exponents(losses) == expected


def test_the_plan_is_an_estimate_of_the_right_size() -> None:
    method = strategy()
    history, _ = play(method, Made())
    plan = method.plan()
    assert not plan.exact
    epochs = sum(record.samples for record in history) / 1000
    assert 0.4 < plan.epochs / epochs < 2.5


def test_where_a_longer_cycle_diverges_half_the_peak_is_tried_in_it() -> None:
    method, history, made = strategy(), History(), Made()
    while proposed := method.propose(history, 1):
        (trial,) = proposed
        made.finish(history, trial)
        if trial.kind is Kind.TRAIN and trial.length > 3 and trial.configuration.lr > 0.1:
            history.add(replace(history.epochs(trial)[-1], train_loss=INF, test_loss=INF))
            record = history.finished[trial.trial_id]
            history.add(replace(record, status=Status.DIVERGED, best_epoch=None, best_test_loss=None))
    ends = [record.trial for record in history if record.trial.length == 20 and record.status is Status.COMPLETED]
    assert sorted(trial.seed for trial in ends)[-3:] == [0, 1, 2]
    assert all(trial.configuration.lr <= 0.1 for trial in ends)
