"""What a stopping rule sees, what it must offer, and what all of them share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from searcher.errors import ConfigurationError
from searcher.records import Decision, Verdict


@dataclass(frozen=True, slots=True)
class Observation:
    """One report of a trial.

    Attributes:
        epoch: grows from report to report; a report that repeats an earlier epoch is ignored.
        train_loss, test_loss: the lower the better, each in any unit of its own.
        lr: the learning rate in use; None where it is not known.
        lr_left: the largest learning rate still to come, as a fraction of `lr` (above 1: it will rise).
        lr_low: the smallest learning rate still to come, as a fraction of `lr` (1: it will not fall).
            Both are 0 at the end of a run, where nothing is to come.
    """

    epoch: int
    train_loss: float
    test_loss: float
    lr: float | None = None
    lr_left: float | None = None
    lr_low: float | None = None


class Rule(Protocol):
    """Judges one trial from its reports. Immutable, so one rule serves any number of trials.

    All that a rule remembers of a trial is in the frozen state that `start` makes and `judge` replaces: its
    size does not grow with the reports, and folding the stored curve gives it back after a crash.
    """

    def start(self) -> Any:
        """The state of a trial that has reported nothing yet."""

    def judge(
        self, state: Any, observation: Observation, best_elsewhere: float | None = None
    ) -> tuple[Any, Decision]:
        """The state after this report and the verdict on the trial.

        A repeated report changes nothing. Once a rule has stopped a trial its verdict stands.

        Args:
            best_elsewhere: the lowest test loss that any other trial of the sweep has reached so far.
        """


WATCHING = Decision(Verdict.CONTINUE, "no sign of over-fitting")


@dataclass(frozen=True, slots=True)
class State:
    """What every rule remembers: the last epoch that it judged, and its verdict then."""

    epoch: int = 0
    decision: Decision = WATCHING


StateT = TypeVar("StateT", bound=State)


def already_known(state: StateT, observation: Observation) -> tuple[StateT, Decision] | None:
    """The answer where no rule is needed: a repeated report, a stopped trial, a loss that is not finite."""
    if observation.epoch <= state.epoch or state.decision.stops:
        return state, state.decision
    if math.isfinite(observation.test_loss) and math.isfinite(observation.train_loss):
        return None
    name = "training" if not math.isfinite(observation.train_loss) else "test"
    value = observation.train_loss if name == "training" else observation.test_loss
    decision = Decision(Verdict.DIVERGED, f"{name} loss is {value} at epoch {observation.epoch}")
    return dataclasses.replace(state, epoch=observation.epoch, decision=decision), decision


def decide(history: Sequence[Observation], rule: Rule) -> Decision:
    """The verdict of a rule on a curve: that of the first report at which it stops, else of the last."""
    state, decision = rule.start(), WATCHING
    for observation in history:
        state, decision = rule.judge(state, observation)
        if decision.stops:
            break
    return decision


def require(ok: bool, rule: str, parameter: str, expected: str, got: object) -> None:
    """Refuses a parameter by name, range and what it got.

    Raises:
        ConfigurationError: if not ok.
    """
    if not ok:
        raise ConfigurationError(f"{rule}: {parameter} must be {expected}, got {got!r}")


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
