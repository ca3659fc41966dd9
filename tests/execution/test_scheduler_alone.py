"""OverfitScheduler by itself: what it refuses, what it keeps, what it knows of other trials."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from searcher.algorithms.stopping import Observation, Overfit, decide
from searcher.errors import ConfigurationError, ExecutionError
from searcher.execution.scheduler import OverfitScheduler
from searcher.records import Verdict

REPORTS = 40
TURNING = [1 + 0.05 * abs(i - 10) for i in range(REPORTS)]
FALLING = [2 * 0.9**i for i in range(REPORTS)]
ALONE = {"hopeless": None}


def expected_stop(test: list[float]) -> int:
    rule, history = Overfit(hopeless=None), [Observation(i + 1, FALLING[i], v) for i, v in enumerate(test)]
    return next(i for i in range(1, len(test) + 1) if decide(history[:i], rule).stops)


def fake_trial(name: str, best: float | None = None) -> Any:
    """What the scheduler asks of a Tune trial."""
    analysis = {} if best is None else {"test_loss": {"min": best}}
    return SimpleNamespace(trial_id=name, metric_analysis=analysis, is_finished=lambda: False)


def result(epoch: int, test: float, train: float | None = None) -> dict[str, Any]:
    return {"training_iteration": epoch, "train_loss": 0.9**epoch if train is None else train, "test_loss": test}


def test_ten_thousand_trials_leave_nothing_behind_but_the_decisions() -> None:
    """Their reports come in turns; each trial is judged as if it were alone, and forgotten when it ends."""
    scheduler, stop = OverfitScheduler(ALONE), expected_stop(TURNING)
    trials = [fake_trial(str(i)) for i in range(10_000)]
    kept = trials[:100]
    for trial in trials:
        scheduler.on_trial_add(None, trial)
        scheduler.on_trial_result(None, trial, result(1, TURNING[0], train=FALLING[0]))
    for i in range(1, stop):
        verdicts = {scheduler.on_trial_result(None, t, result(i + 1, TURNING[i], train=FALLING[i])) for t in kept}
        assert verdicts == {"STOP" if i + 1 == stop else "CONTINUE"}
    assert len(scheduler._states) == 10_000
    for trial in trials:
        scheduler.on_trial_complete(None, trial, {})
    assert not scheduler._states
    assert set(scheduler.decisions) == {trial.trial_id for trial in kept}


def test_what_others_have_reached_makes_an_over_fitting_trial_hopeless() -> None:
    scheduler = OverfitScheduler()
    leader, other = fake_trial("leader"), fake_trial("other")
    scheduler.on_trial_result(None, leader, result(1, 0.5))
    for i, value in enumerate(TURNING):
        if scheduler.on_trial_result(None, other, result(i + 1, value)) == "STOP":
            break
    epoch, decision = scheduler.decisions["other"]
    assert decision.verdict is Verdict.HOPELESS
    assert decision.reason.endswith("another trial reached 0.5")
    assert epoch == i + 1 < expected_stop(TURNING)


def test_a_finished_trial_of_an_earlier_run_counts_as_reached() -> None:
    scheduler = OverfitScheduler()
    finished = fake_trial("finished", best=0.5)
    finished.is_finished = lambda: True
    scheduler.on_trial_add(None, finished)
    for i, value in enumerate(TURNING):
        scheduler.on_trial_result(None, fake_trial("other"), result(i + 1, value))
    assert scheduler.decisions["other"][1].verdict is Verdict.HOPELESS


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"training_iteration": 1, "train_loss": 1.0}, "the test loss 'test_loss' is missing in a report of t"),
        (
            {"training_iteration": 1, "train_loss": "low", "test_loss": 1.0},
            "the training loss 'train_loss' is 'low'",
        ),
        ({"training_iteration": 1, "train_loss": None, "test_loss": 1.0}, "is None, not a number"),
    ],
)
def test_a_report_that_cannot_be_judged_is_refused(given, text) -> None:
    with pytest.raises(ExecutionError, match=text):
        OverfitScheduler().on_trial_result(None, fake_trial("t"), given)


def test_a_base_that_is_no_scheduler_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="base: must be a ray.tune TrialScheduler, got 'asha'"):
        OverfitScheduler(base="asha")  # type: ignore[arg-type]
