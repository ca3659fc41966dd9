"""The one-cycle method: what it proposes from which history, played on made-up curves."""

import math
from dataclasses import replace

import pytest

from searcher.algorithms.schedules import values
from searcher.algorithms.strategies.one_cycle import OneCycle, next_exponent
from searcher.records import History, Kind, Status, StepRecord, TaskInfo, Trial, TrialRecord
from searcher.sweep import OneCycleSpec

TASK = TaskInfo("made-up", train_size=1000, test_size=200, holdout_size=200)
INF = math.inf


def strategy(**changes: object) -> OneCycle:
    spec = OneCycleSpec.model_validate({"batch_size": 50, "weight_decay": [1e-3, 0.0]} | changes)
    return OneCycle("one_cycle", spec, task=TASK, seeds=(0, 1, 2), epochs=20)


def loss_at(rate: float, best_rate: float) -> float:
    """A bowl over the logarithm of the rate."""
    return 0.1 + 0.1 * math.log10(rate / best_rate) ** 2


def finish(history: History, trial: Trial, best_rate: float) -> None:
    """Measures a trial on a made-up task: range tests fall until rate 1, cycles are best at `best_rate`."""
    history.start(trial)
    if trial.kind is Kind.RANGE_TEST:
        lrs, momenta = values(trial.configuration, trial.length)
        penalty = 0.0 if trial.configuration.weight_decay else 0.2
        for step, (lr, momentum) in enumerate(zip(lrs, momenta, strict=True), start=1):
            loss = 0.3 + penalty + 0.5 * abs(math.log10(lr))
            history.add(
                StepRecord(
                    trial_id=trial.trial_id, strategy="one_cycle", step=step, samples=50 * step,
                    lr=lr, momentum=momentum, train_loss=loss,
                )
            )  # fmt: skip
    loss = loss_at(trial.configuration.lr, best_rate)
    history.add(TrialRecord(trial=trial, status=Status.COMPLETED, best_epoch=trial.length, best_test_loss=loss))


def play(method: OneCycle, best_rate: float) -> tuple[History, list[Trial]]:
    history, trials = History(), []
    while proposed := method.propose(history, 3):
        for trial in proposed:
            finish(history, trial, best_rate)
        trials += proposed
    return history, trials


@pytest.mark.parametrize("best_rate", [0.02, 0.1, 0.5])
def test_it_finds_the_peak_by_walking_and_trains_every_seed_there(best_rate: float) -> None:
    _, trials = play(strategy(), best_rate)
    assert [trial.kind for trial in trials[:2]] == [Kind.RANGE_TEST] * 2
    final = trials[-3:]
    assert [trial.seed for trial in final] == [0, 1, 2]
    assert {trial.length for trial in final} == {20}
    assert len({trial.configuration_id for trial in final}) == 1
    # Within a factor of two: the walk's step.
    assert abs(math.log2(final[0].configuration.lr / best_rate)) <= 1
    assert {trial.configuration.weight_decay for trial in final} == {1e-3}
    assert {trial.length for trial in trials[2:-3]} == {5}
    assert all(trial.reason for trial in trials)


def test_the_same_history_gives_the_same_proposals_in_a_new_process() -> None:
    """Cut anywhere: a strategy built anew and fed the records goes on as the first would have."""
    _, trials = play(strategy(), 0.1)
    for cut in range(len(trials)):
        history = History()
        for trial in trials[:cut]:
            finish(history, trial, 0.1)
        proposed = strategy().propose(history, 100)
        assert proposed
        assert {trial.trial_id for trial in proposed} <= {trial.trial_id for trial in trials[cut:]}


def test_it_waits_for_what_is_running() -> None:
    method, history = strategy(), History()
    for trial in method.propose(history, 2):
        history.start(trial)
    assert method.propose(history, 2) == []


def test_a_cycle_is_the_papers() -> None:
    _, trials = play(strategy(div_factor=20.0), 0.1)
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


def test_a_peak_that_diverges_is_not_chosen() -> None:
    method, history = strategy(), History()
    while proposed := method.propose(history, 1):
        finish(history, proposed[0], 0.1)
        if proposed[0].kind is Kind.TRAIN and proposed[0].length == 5 and proposed[0].configuration.lr > 0.2:
            record = history.finished[proposed[0].trial_id]
            history.add(replace(record, status=Status.DIVERGED, best_epoch=None, best_test_loss=None))
    assert max(record.trial.configuration.lr for record in history if record.trial.length == 20) < 0.2


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({}, 1),
        ({1: 0.5}, 2),
        ({1: 0.5, 2: 0.4}, 3),  # downhill to smaller rates
        ({1: 0.4, 2: 0.5}, 0),  # downhill to larger ones
        ({1: 0.5, 2: 0.4, 3: 0.45}, None),  # enclosed
        ({0: 0.6, 1: 0.4, 2: 0.5}, None),
        ({1: INF, 2: INF}, 3),  # nothing trains yet
        ({1: INF, 2: INF, 3: 0.2}, 4),
        ({**dict.fromkeys(range(1, 9), INF)}, None),  # nothing trains at all
        ({-1: 0.1, 0: 0.2, 1: 0.3, 2: 0.4}, None),  # the end of the walk
    ],
)
def test_the_walk(losses: dict[int, float], expected: int | None) -> None:
    assert next_exponent(losses) == expected


def test_the_plan_is_an_estimate_of_the_right_size() -> None:
    method = strategy()
    history, trials = play(method, 0.1)
    plan = method.plan()
    assert not plan.exact
    epochs = sum(trial.length if trial.kind is Kind.TRAIN else trial.length * 50 / 1000 for trial in trials)
    assert plan.epochs == pytest.approx(epochs, rel=0.25)
    assert len(history.finished) == len(trials)
