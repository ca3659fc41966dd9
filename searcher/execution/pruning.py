"""Pruning: whether a trial goes on is decided while it runs, by what other trials of its strategy have reached.

Such a decision needs the reports of all trials in one place, so it is a Tune scheduler that takes it. A carrier
of a judged trial reports every epoch at once, together with the record that holds if the trial is ended there: a
carrier that Tune stops has no more to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from searcher.algorithms.strategies.asha import Asha
from searcher.algorithms.strategies.base import Strategy
from searcher.execution.carrier import LOAD, SO_FAR, Load
from searcher.execution.room import Room
from searcher.records import EpochRecord, History, Trial


@runtime_checkable
class Judge(Protocol):
    """Decides about running trials; some strategies are one themselves."""

    def judge(self, trial: Trial, epoch: EpochRecord) -> str | None:
        """The reason to end the trial here, or None. Given the epochs of a trial in order, but not the last."""


class PruningScheduler(FIFOScheduler):  # type: ignore[misc]  # Ray is untyped
    """Asks the judge of a trial's strategy at every epoch; trials that nobody judges go on.

    Meant as the `base` of `OverfitScheduler`, which ends the carriers that have nothing left to train.

    Args:
        strategies, histories: by label. Tune never saves the state of a scheduler: it follows from these.
        room: what the sweep may occupy.
    """

    def __init__(self, strategies: Mapping[str, Strategy], histories: Mapping[str, History], room: Room) -> None:
        super().__init__()
        self._room = room
        self.given_back: set[str] = set()
        """By Tune's trial id: the carriers that were stopped to make room for other sweeps."""
        self.reasons: dict[str, str] = {}
        """By Tune's trial id: why a carrier was stopped."""
        self._searches: dict[str, Any] = dict(strategies)
        self._judges: dict[str, Judge] = {}
        for label, strategy in strategies.items():
            if isinstance(strategy, Asha):
                self._judges[label] = AshaJudge(strategy, histories[label])
            elif isinstance(strategy, Judge):
                self._judges[label] = strategy

    def judges(self, trial: Trial) -> bool:
        """Whether this trial may be pruned: it belongs to the search of a strategy that prunes."""
        return trial.strategy in self._judges and self._searches[trial.strategy].is_search(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> TuneTrial | None:
        """Called in every round of Tune's loop. Tune keeps a process for the next carrier, and with it its
        resources; where other sweeps wait for them they are given back. It has no public way to say so.
        """
        controller = tune_controller._tune_controller
        if self._room.full and not controller._pending_trials:
            controller._cleanup_cached_actors(force_all=True)
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        if self._room.gives_back():
            self.given_back.add(trial.trial_id)
            return str(TrialScheduler.STOP)
        load: Load = trial.config[LOAD]
        if not load.judged or SO_FAR not in result:
            return str(TrialScheduler.CONTINUE)
        (ours,) = load.trials
        epoch, _ = result[SO_FAR]
        reason = self._judges[ours.strategy].judge(ours, epoch)
        if reason is None:
            return str(TrialScheduler.CONTINUE)
        self.reasons[trial.trial_id] = reason
        return str(TrialScheduler.STOP)


class AshaJudge:
    """Tune's own ASHA, with one bracket, as is Tune's default; what the history holds has been shown to it."""

    def __init__(self, strategy: Asha, history: History) -> None:
        self._scheduler = AsyncHyperBandScheduler(
            time_attr="epoch",
            metric="test_loss",
            mode="min",
            max_t=strategy.epochs,
            grace_period=strategy.grace_epochs,
            reduction_factor=strategy.reduction_factor,
        )
        self._known: set[str] = set()
        for record in strategy.searched(history):
            for epoch in history.epochs(record.trial)[: record.trial.length - 1]:
                self.judge(record.trial, epoch)

    def judge(self, trial: Trial, epoch: EpochRecord) -> str | None:
        tune_trial = SimpleNamespace(trial_id=trial.trial_id)  # all that this scheduler reads of one
        if trial.trial_id not in self._known:
            self._known.add(trial.trial_id)
            self._scheduler.on_trial_add(None, tune_trial)
        result = {"epoch": epoch.epoch, "test_loss": epoch.test_loss}
        if self._scheduler.on_trial_result(None, tune_trial, result) != TrialScheduler.STOP:
            return None
        return (
            f"ASHA: test loss {epoch.test_loss:.4g} at epoch {epoch.epoch} is not among the best that came so far"
        )
