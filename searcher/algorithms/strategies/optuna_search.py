"""A strategy whose proposals, and whose pruning, come from Optuna's own samplers and pruners.

The study lives in memory and follows from the history: what has ended is told to it before anything is asked of
it, and each proposal has a sampler of its own, seeded by the sweep's first seed and the proposal's number. With
another history (a resume) the study is built anew from what that holds. What is proposed depends on what has
ended by then, so only with one carrier at a time (`max_concurrent: 1`) is a sweep repeated exactly.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from searcher.algorithms.schedules import complete
from searcher.algorithms.strategies.random import Choice, Distribution, LogUniform, RandomSpace, Uniform
from searcher.algorithms.strategies.winner import SearchOnce
from searcher.errors import ConfigurationError
from searcher.records import Configuration, EpochRecord, History, Status, TaskInfo, Trial, TrialRecord

try:
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import TrialState
except ImportError as error:
    raise ConfigurationError(
        "strategies: tpe and bohb need optuna: pip install 'searcher[peers]', or pip install optuna"
    ) from error

Sampler = Callable[[int], BaseSampler]
"""Makes a sampler from a seed."""


class OptunaSearch(SearchOnce):
    """The search of `SearchOnce` by Optuna: minimizes the lowest test loss of a run.

    Args:
        sampler, pruner: Optuna's, in the form in which a user of Optuna would make them.
    """

    def __init__(
        self,
        label: str,
        spec: RandomSpace,
        *,
        task: TaskInfo,
        seeds: Sequence[int],
        epochs: int,
        sampler: Sampler,
        pruner: BasePruner,
    ) -> None:
        super().__init__(label, task, seeds, spec.epochs or epochs, spec.trials)
        drawn = dict(sorted(spec.distributions().items()))
        self._distributions = {name: _distribution(one) for name, one in drawn.items()}
        self._fixed = dict(spec.fixed())
        self._sampler = sampler
        self._pruner = pruner
        # Both follow from one history: with another, everything starts anew.
        self._history: History | None = None
        self._open: dict[str, _Open] = {}

    def search(self, history: History, count: int) -> list[Trial]:
        self._follow(history)
        waiting = [one.ours for one in self._open.values() if one.ours not in history]
        while len(waiting) < count and len(self._study.trials) < self.trials:
            ours = self._ask()
            if ours not in history:  # what is known already is told to the study at the next call
                waiting.append(ours)
        return waiting[: max(count, 0)]

    def judge(self, trial: Trial, epoch: EpochRecord) -> str | None:
        """Reports an epoch of a running trial to the pruner; returns the reason to end the trial, or None."""
        one = self._open[trial.trial_id]
        if not one.report(epoch) or not one.theirs.should_prune():
            return None
        pruner = type(self._pruner).__name__
        return f"{pruner}: test loss {epoch.test_loss:.4g} at epoch {epoch.epoch} is behind that of other trials"

    def _follow(self, history: History) -> None:
        """Brings the study to the state of the history."""
        if history is not self._history:
            self._history, self._open = history, {}
            self._study = _new_study(self.label, self._pruner)
            for record in self.searched(history):
                self._study.enqueue_trial(
                    {name: getattr(record.trial.configuration, name) for name in self._distributions}
                )
                self._ask()
                for epoch in history.epochs(record.trial)[: record.trial.length - 1]:
                    self.judge(record.trial, epoch)  # for the state that it leaves in the study
        for identity, one in list(self._open.items()):
            if (ended := history.result(one.ours)) is not None:
                del self._open[identity]
                self._tell(one, ended, history.epochs(one.ours))

    def _ask(self) -> Trial:
        number = len(self._study.trials)
        seed = np.random.SeedSequence([self.seeds[0], number]).generate_state(1)[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.sampler = self._sampler(int(seed))
        theirs = self._study.ask(self._distributions)
        known = len(self._study.get_trials(deepcopy=False, states=_ENDED))
        reason = f"asked of Optuna as {number + 1} of {self.trials}, with {known} results known"
        ours = self.trial(complete(Configuration(**theirs.params, **self._fixed)), reason)
        self._open[ours.trial_id] = _Open(ours, theirs)
        return ours

    def _tell(self, one: _Open, record: TrialRecord, epochs: Sequence[EpochRecord]) -> None:
        for epoch in epochs:
            one.report(epoch)
        match record.status:
            case Status.COMPLETED | Status.STOPPED_OVERFIT:
                self._study.tell(one.theirs, record.best_test_loss)
            case Status.PRUNED | Status.DIVERGED:
                # As users of Optuna do it: a value that is not finite would be left out, as a failure is.
                self._study.tell(one.theirs, state=TrialState.PRUNED)
            case _:
                self._study.tell(one.theirs, state=TrialState.FAIL)


@dataclass
class _Open:
    """A trial that has not ended: ours and Optuna's."""

    ours: Trial
    theirs: optuna.Trial
    reported: int = 0

    def report(self, epoch: EpochRecord) -> bool:
        """False for an epoch that was reported before: the trial was started again."""
        if epoch.epoch <= self.reported:
            return False
        self.reported = epoch.epoch
        self.theirs.report(epoch.test_loss, epoch.epoch)
        return True


_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def _new_study(name: str, pruner: BasePruner) -> optuna.Study:
    """A study in memory, without a line in the log. Hyperband assigns its brackets by a hash of the name."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(study_name=name, pruner=pruner)
    finally:
        optuna.logging.set_verbosity(level)


def _distribution(ours: Distribution) -> BaseDistribution:
    match ours:
        case Choice(values):
            return CategoricalDistribution(values)
        case Uniform(low, high):
            return FloatDistribution(low, high)
        case LogUniform(low, high):
            return FloatDistribution(low, high, log=True)
