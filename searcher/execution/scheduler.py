"""A Ray Tune scheduler that stops trials which over-fit. It needs nothing else of this package."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.result import EXPR_RESULT_FILE, RESULT_DUPLICATE, TRAINING_ITERATION
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.utils import flatten_dict

from searcher.algorithms.stopping import Leaders, Observation, rule_from
from searcher.algorithms.stopping.base import Rule
from searcher.errors import ConfigurationError, ExecutionError, nearest
from searcher.records import Decision

log = logging.getLogger(__name__)

CARRIER = "carrier/"
"""Prefix of the counts `trials`, `stopped` and `finished` in the flattened report of a carrier."""


class OverfitScheduler(TrialScheduler):  # type: ignore[misc]
    """Stops a Tune trial as soon as a rule finds that it over-fits or has diverged.

        Tuner(trainable, tune_config=TuneConfig(scheduler=OverfitScheduler(), ...))

    where the trainable reports its training and test losses. What it decided is in `decisions` and in the log
    of `searcher.execution.scheduler`. A report with an iteration that was judged before (a trial that was
    started again, or paused) changes nothing.

    Tune never saves the state of a scheduler. A trial's state is a fold over its reports, so after
    `Tuner.restore` it is rebuilt from the `result.json` that Tune keeps of each trial; where Tune writes none
    (its loggers are switched off) the rule begins anew with the next report.

    By default the rule also looks at what other trials have reached, as ASHA does, so that which trials stop
    depends on their timing; `{"hopeless": None}` as the rule judges each trial by itself alone.

    A carrier of this package trains several trials in one Tune trial and asks the rule for each of them
    itself. It reports `{"carrier": {"trials": n, "stopped": k, "finished": m}}`, and is stopped when no
    trial is left to train.

    Args:
        rule: a rule, its name, or its name and parameters, see `searcher.algorithms.stopping.rule_from`.
        train_metric, test_metric: the losses in the trainable's reports; `a/b` for `{"a": {"b": ...}}`.
        lr_metric, lr_left_metric, lr_low_metric: the learning rate, and the largest and the smallest still
            to come as fractions of it (both 1 for a constant rate). Used where they are reported; without them
            the default rule allows for a rate that may yet fall to nothing, so that it stops fewer trials.
        base: the scheduler that decides for trials which the rule lets run, ASHA for example; None: FIFO.
        history: by Tune's trial id, reports of earlier runs that Tune itself does not know of.

    Raises:
        ConfigurationError: the rule or a parameter of it is unknown or out of its range.
        ExecutionError: a report lacks one of the two losses, or it is not a number (Tune ends the run with it, as
            the text of a `TuneError`).
    """

    def __init__(
        self,
        rule: str | bool | Mapping[str, Any] | Rule = "default",
        train_metric: str = "train_loss",
        test_metric: str = "test_loss",
        lr_metric: str = "lr",
        lr_left_metric: str = "lr_left",
        lr_low_metric: str = "lr_low",
        base: TrialScheduler | None = None,
        history: Mapping[str, Sequence[Observation]] | None = None,
    ) -> None:
        super().__init__()
        if base is not None and not isinstance(base, TrialScheduler):
            raise ConfigurationError(f"base: must be a ray.tune TrialScheduler, got {base!r}")
        self.rule = rule_from(rule)
        self.decisions: dict[str, tuple[int, Decision]] = {}
        """By Tune's trial id: the iteration at which the rule stopped the trial, and its decision."""
        self._losses = (train_metric, test_metric)
        self._rates = (lr_metric, lr_left_metric, lr_low_metric)
        self._base = base or FIFOScheduler()
        self._states: dict[str, Any] = {}
        self._leaders = Leaders()
        for trial_id, observations in (history or {}).items():
            for observation in observations:
                self._judge(trial_id, observation)

    @property
    def metric(self) -> str | None:
        metric: str | None = self._base.metric
        return metric

    @property
    def supports_buffered_results(self) -> bool:
        return bool(self._base.supports_buffered_results)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return bool(self._base.set_search_properties(metric, mode, **spec))

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """A new trial; or a restored one, whose reports are judged again."""
        best = trial.metric_analysis.get(self._losses[1], {}).get("min")
        if best is not None:
            self._leaders.add(trial.trial_id, best)
            if not trial.is_finished() and trial.trial_id not in self._states:
                for result in _reported(trial):
                    self._judge(trial.trial_id, self._observe(trial, result))
        self._base.on_trial_add(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        self._base.on_trial_error(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """The rule's STOP, else what the base scheduler says. `result` is flat, as Tune passes it."""
        if CARRIER + "trials" in result:
            done = result[CARRIER + "stopped"] + result[CARRIER + "finished"]
            stops = done >= result[CARRIER + "trials"]
        elif _ended_without_report(result):
            stops = False
        else:
            stops = self._judge(trial.trial_id, self._observe(trial, result)).stops
        if stops:
            return str(TrialScheduler.STOP)
        return str(self._base.on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        self._states.pop(trial.trial_id, None)
        self._base.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        self._states.pop(trial.trial_id, None)
        self._base.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        return self._base.choose_trial_to_run(tune_controller)

    def debug_string(self) -> str:
        return f"OverfitScheduler: {len(self.decisions)} trials stopped. {self._base.debug_string()}"

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the state is recomputed from the reports (and Tune does not call this)."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see `save`."""

    def _observe(self, trial: Trial, result: Mapping[str, Any]) -> Observation:
        values = []
        for role, name in zip(("training", "test"), self._losses, strict=True):
            value = _number(result.get(name))
            if value is None:
                reported = sorted(key for key in result if "/" not in key or not key.startswith("config/"))
                got = "is missing" if name not in result else f"is {result[name]!r}, not a number"
                raise ExecutionError(
                    f"OverfitScheduler: the {role} loss '{name}' {got} in a report of {trial.trial_id}; "
                    f"it reported {', '.join(reported)}.{nearest(name, reported)}"
                )
            values.append(value)
        rates = [_number(result.get(name)) for name in self._rates]
        return Observation(int(result[TRAINING_ITERATION]), *values, *rates)

    def _judge(self, trial_id: str, observation: Observation) -> Decision:
        state = self._states.get(trial_id) or self.rule.start()
        state, decision = self.rule.judge(state, observation, self._leaders.best_without(trial_id))
        self._states[trial_id] = state
        self._leaders.add(trial_id, observation.test_loss)
        if decision.stops and trial_id not in self.decisions:
            self.decisions[trial_id] = (observation.epoch, decision)
            log.info("trial %s is stopped at %d: %s", trial_id, observation.epoch, decision.reason)
        return decision


def _reported(trial: Trial) -> Iterator[dict[str, Any]]:
    """The reports of a restored trial, flat, from the file in which Tune's JSON logger keeps them."""
    path = f"{trial.storage.trial_fs_path}/{EXPR_RESULT_FILE}"
    try:
        with trial.storage.storage_filesystem.open_input_stream(path) as file:
            lines = file.readall().decode().splitlines()
    except FileNotFoundError:
        log.warning("trial %s: %s is not there, so its reports so far are forgotten", trial.trial_id, path)
        return
    for line in lines:
        try:
            yield flatten_dict(json.loads(line))
        except json.JSONDecodeError:  # the last line, if the process died within it
            return


def _ended_without_report(result: Mapping[str, Any]) -> bool:
    """Tune passes a last result again when a trial returns: an empty one if it had reported nothing."""
    return bool(result.get("done")) and (RESULT_DUPLICATE in result or TRAINING_ITERATION not in result)


def _number(value: Any) -> float | None:
    """A float from a number or from an array or tensor of one element."""
    if value is None or isinstance(value, bool | str):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
