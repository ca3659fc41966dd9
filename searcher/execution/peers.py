"""The stopping rules of Ray Tune and Optuna as judges of a replay: their own classes, given recorded curves."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.stopper import TrialPlateauStopper

from searcher.algorithms.replay import Judge
from searcher.algorithms.stopping import Observation
from searcher.errors import ConfigurationError, nearest

EPOCH, LOSS = "training_iteration", "test_loss"


class _TuneTrial:
    """What a Tune scheduler asks of a trial: an identity that can be a key."""

    def __init__(self, name: str) -> None:
        self.trial_id = name


class TuneSchedulerJudge:
    """A scheduler of Ray Tune; no trial is ever waiting, so it has none to pause for."""

    def __init__(self, scheduler: TrialScheduler) -> None:
        self._scheduler = scheduler
        self._controller = SimpleNamespace(get_live_trials=list)
        self._trials: dict[str, _TuneTrial] = {}

    def stops(self, trial: str, observation: Observation) -> bool:
        if trial not in self._trials:
            self._trials[trial] = _TuneTrial(trial)
            self._scheduler.on_trial_add(self._controller, self._trials[trial])
        verdict = self._scheduler.on_trial_result(self._controller, self._trials[trial], _result(observation))
        return bool(verdict == TrialScheduler.STOP)

    def ended(self, trial: str, observation: Observation) -> None:
        self._scheduler.on_trial_complete(self._controller, self._trials[trial], _result(observation))


class TuneStopperJudge:
    """A stopper of Ray Tune, which sees each trial alone."""

    def __init__(self, stopper: Callable[[str, dict[str, Any]], bool]) -> None:
        self._stopper = stopper

    def stops(self, trial: str, observation: Observation) -> bool:
        return bool(self._stopper(trial, _result(observation)))

    def ended(self, trial: str, observation: Observation) -> None:
        """Nothing to tell."""


class OptunaJudge:
    """A pruner of Optuna within a study that is kept in memory."""

    def __init__(self, pruner: Any) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(direction="minimize", pruner=pruner)
        self._pruned_state = optuna.trial.TrialState.PRUNED
        self._trials: dict[str, Any] = {}
        self._pruned: set[str] = set()

    def stops(self, trial: str, observation: Observation) -> bool:
        if trial not in self._trials:
            self._trials[trial] = self._study.ask()
        self._trials[trial].report(_loss(observation), observation.epoch - 1)  # Optuna counts steps from 0
        if pruned := self._trials[trial].should_prune():
            self._pruned.add(trial)
        return bool(pruned)

    def ended(self, trial: str, observation: Observation) -> None:
        if trial in self._pruned:
            self._study.tell(self._trials[trial], state=self._pruned_state)
        else:
            self._study.tell(self._trials[trial], _loss(observation))


def _asha(epochs: int, **parameters: Any) -> Judge:
    return TuneSchedulerJudge(
        AsyncHyperBandScheduler(time_attr=EPOCH, metric=LOSS, mode="min", **{"max_t": epochs, **parameters})
    )


def _median(epochs: int, **parameters: Any) -> Judge:
    given = {"grace_period": 1, **parameters}
    return TuneSchedulerJudge(MedianStoppingRule(time_attr=EPOCH, metric=LOSS, mode="min", **given))


def _plateau(epochs: int, **parameters: Any) -> Judge:
    return TuneStopperJudge(TrialPlateauStopper(metric=LOSS, **parameters))


def _optuna_median(epochs: int, **parameters: Any) -> Judge:
    from optuna.pruners import MedianPruner

    return OptunaJudge(MedianPruner(**parameters))


def _optuna_patient(epochs: int, **parameters: Any) -> Judge:
    from optuna.exceptions import ExperimentalWarning
    from optuna.pruners import PatientPruner

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return OptunaJudge(PatientPruner(None, **{"patience": 10, **parameters}))


PEERS: Mapping[str, Callable[..., Judge]] = {
    "tune_median": _median,
    "tune_asha": _asha,
    "tune_plateau": _plateau,
    "optuna_median": _optuna_median,
    "optuna_patient": _optuna_patient,
}


def peer_from(name: str, parameters: Mapping[str, Any], epochs: int) -> Callable[[], Judge]:
    """Makes judges of a peer, with its own defaults where no parameter is given (ASHA's max_t: the epochs).

    Raises:
        ConfigurationError: there is no such peer, Optuna is not installed, or it refuses the parameters.
    """
    if name not in PEERS:
        raise ConfigurationError(f"rule: no peer {name!r}; known: {', '.join(PEERS)}.{nearest(name, PEERS)}")

    def make() -> Judge:
        try:
            return PEERS[name](epochs, **parameters)
        except ImportError as error:
            raise ConfigurationError(f"rule {name}: needs the extra searcher[peers]: {error}") from error
        except (TypeError, ValueError, AssertionError) as error:
            raise ConfigurationError(f"rule {name}: {parameters}: {error}") from error

    make()
    return make


def _loss(observation: Observation) -> float:
    return observation.test_loss if math.isfinite(observation.test_loss) else 1e30


def _result(observation: Observation) -> dict[str, Any]:
    return {EPOCH: observation.epoch, LOSS: _loss(observation)}
