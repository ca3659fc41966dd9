"""ASHA, TPE and BOHB: what they propose, from a history that a simulated training writes."""

import sys
from dataclasses import replace
from statistics import median
from types import SimpleNamespace

import pytest

from searcher.algorithms.strategies.base import Strategy, strategy_from
from searcher.errors import ConfigurationError
from searcher.execution.pruning import AshaJudge, Judge
from searcher.records import EpochRecord, History, Status, TaskInfo, Trial, TrialRecord
from searcher.sweep import parse_sweep

TASK = TaskInfo("quadratic", 100, 20, 20)
EPOCHS = 9
SPACE = {
    "trials": 24,
    "lr": {"loguniform": [1e-3, 1.0]},
    "weight_decay": {"choice": [0.0, 1e-4]},
    "momentum": {"uniform": [0.8, 0.99]},
    "batch_size": {"choice": [32, 128]},
    "schedule": "constant",
}
KINDS = [("asha", {}), ("tpe", {}), ("tpe", {"pruner": "median"}), ("bohb", {})]


def build(kind: str, seeds: tuple[int, ...] = (3, 4), **changes: object) -> Strategy:
    data = {
        "name": "s", "task": "digits", "epochs": EPOCHS, "seeds": list(seeds),
        "strategies": [{kind: SPACE | changes}],
    }  # fmt: skip
    (entry,) = parse_sweep(data).strategies
    return strategy_from(kind, kind, entry.spec, task=TASK, seeds=seeds, epochs=EPOCHS)


def loss_of(trial: Trial, epoch: int) -> float:
    """Falls towards a floor that is lowest at lr 0.1."""
    lr = trial.configuration.lr
    return (lr - 0.1) ** 2 + 0.01 * trial.configuration.momentum + 0.5 / epoch


def train(strategy: Strategy, history: History, trial: Trial, clock: float, diverges: bool = False) -> None:
    """One trial after another, as one carrier would; the strategy's judge may end it."""
    judge = AshaJudge(strategy, history) if trial.strategy == "asha" else strategy
    history.start(trial)
    record = TrialRecord(trial=trial, status=Status.COMPLETED, started=clock)
    for number in range(1, trial.length + 1):
        epoch = EpochRecord(
            trial_id=trial.trial_id, strategy=trial.strategy, epoch=number, step=number, samples=100 * number,
            seconds=1.0, train_loss=0.0, test_loss=float("nan") if diverges else loss_of(trial, number),
            test_accuracy=None, lr=1.0, momentum=0.9, lr_left=1.0, lr_low=1.0, time=clock,
        )  # fmt: skip
        history.add(epoch)
        record = record.after(epoch)
        searched = strategy.is_search(trial)  # type: ignore[attr-defined]
        reason = (
            judge.judge(trial, epoch) if isinstance(judge, Judge) and searched and number < trial.length else None
        )
        if diverges or reason:
            status = Status.DIVERGED if diverges else Status.PRUNED
            record = replace(record, status=status, status_reason=reason or "not finite")
            break
    history.add(record)


def search(strategy: Strategy, history: History, stop_after: int = 1000) -> list[Trial]:
    proposed: list[Trial] = []
    while len(proposed) < stop_after and (trials := strategy.propose(history, 1)):
        proposed += trials
        train(strategy, history, trials[0], clock=float(len(history.finished)))
    return proposed


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_the_search_has_one_seed_and_its_winner_all(kind: str, changes: dict[str, object]) -> None:
    history = History()
    proposed = search(build(kind, **changes), history)
    assert [trial.seed for trial in proposed] == [3] * 24 + [4]
    ended = [history.finished[trial.trial_id] for trial in proposed]
    whole = [record for record in ended[:-1] if record.status is Status.COMPLETED]
    best = min(whole, key=lambda record: record.best_test_loss or 0)
    assert proposed[-1].configuration == best.trial.configuration
    assert abs(best.trial.configuration.lr - 0.1) < 0.05
    assert ended[-1].status is Status.COMPLETED
    pruned = sum(record.status is Status.PRUNED for record in ended)
    assert (pruned == 0) == (kind == "tpe" and not changes)
    assert all(record.status_reason for record in ended if record.status is Status.PRUNED)


@pytest.mark.parametrize(("kind", "changes"), KINDS)
@pytest.mark.parametrize("killed_after", [1, 12, 23])
def test_rebuilt_from_its_history_it_goes_on_the_same(kind: str, changes: dict, killed_after: int) -> None:
    undisturbed = search(build(kind, **changes), History())
    history = History()
    first = search(build(kind, **changes), history, stop_after=killed_after)
    again = History()
    for trial in reversed(first):  # a store gives them back in an order of its own
        for epoch in history.epochs(trial):
            again.add(epoch)
        again.add(history.finished[trial.trial_id])
    rest = search(build(kind, **changes), again)
    assert [trial.trial_id for trial in first + rest] == [trial.trial_id for trial in undisturbed]


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_asked_again_it_proposes_the_same(kind: str, changes: dict[str, object]) -> None:
    strategy, history = build(kind, **changes), History()
    three = strategy.propose(history, 3)
    assert strategy.propose(history, 3) == three
    assert len({trial.trial_id for trial in three}) == 3
    history.start(three[0])
    assert strategy.propose(history, 2) == three[1:]


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")  # in Tune's ASHA
@pytest.mark.parametrize("kind", ["asha", "tpe", "bohb"])
def test_where_everything_diverges_there_is_no_winner(kind: str) -> None:
    strategy, history = build(kind, trials=5), History()
    for clock in range(5):
        train(strategy, history, strategy.propose(history, 1)[0], clock, diverges=True)
    assert strategy.propose(history, 1) == []


def test_tpe_learns_from_what_it_is_told() -> None:
    losses = [loss_of(trial, EPOCHS) for trial in search(build("tpe", seeds=(3,), trials=40), History())]
    assert median(losses[10:]) < median(losses[:10])  # the first ten are drawn at random


def test_asha_halves_as_tune_does() -> None:
    """Rungs at 1, 2, 4, 8 epochs; a loss above the better half of those that were there before ends a trial."""
    strategy = build("asha", reduction_factor=2)
    judge = AshaJudge(strategy, History())
    trials = strategy.propose(History(), 3)
    verdicts = [
        [judge.judge(trial, SimpleNamespace(epoch=epoch, test_loss=loss)) is None for epoch in (1, 2, 3)]
        for trial, loss in zip(trials, (2.0, 1.0, 3.0), strict=True)
    ]
    assert verdicts == [[True, True, True], [True, True, True], [False, False, True]]


@pytest.mark.parametrize("kind", ["asha", "bohb"])
def test_a_grace_period_longer_than_a_run_is_refused(kind: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{kind}.grace_epochs: must be at most 9.*got 10"):
        build(kind, grace_epochs=10)


def test_a_strategy_may_have_runs_of_its_own_length() -> None:
    for kind in ("random", "asha", "tpe", "bohb"):
        (trial,) = build(kind, epochs=2).propose(History(), 1)
        assert trial.length == 2


@pytest.mark.parametrize("kind", ["tpe", "bohb"])
def test_without_optuna_it_says_what_to_install(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("optuna_search", "tpe", "bohb"):
        monkeypatch.delitem(sys.modules, f"searcher.algorithms.strategies.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigurationError, match=r"tpe and bohb need optuna: pip install 'searcher\[peers\]'"):
        build(kind)
