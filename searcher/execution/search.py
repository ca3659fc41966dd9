"""The Tune searcher that asks strategies for trials, and the callback that feeds their histories.

A carrier that dies is not restarted by Tune, which would start all of it again: its trials that came to no end
are started again in two halves, from their checkpoints. So one bad trial does not take its neighbours with it, and
a failure is counted where it belongs, at the trial.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.search import Searcher

from searcher.algorithms.packing import Packing
from searcher.algorithms.strategies.base import Strategy
from searcher.errors import TaskError
from searcher.execution.carrier import FAULT, LOAD, PACKING, RECORDS, SO_FAR, Load, failed
from searcher.execution.packer import Packer
from searcher.execution.pruning import PruningScheduler
from searcher.execution.room import Room
from searcher.records import History, Record, Status, Trial, TrialRecord

Sink = Callable[[Iterable[Record]], None]


@dataclass
class _Failures:
    """How often in a row a trial has failed without getting any further, and how far it had got."""

    count: int = 0
    reached: int = 0


class Proposals:
    """The strategies of a sweep with their histories: what to train next, and what became of it.

    A trial that fails is started again until it has failed `max_failures` times more without getting further,
    whether through an exception or with its process or node: of nodes that come and go, a long trial outlives
    any number, and a trial that breaks whatever trains it is given up.
    """

    def __init__(
        self,
        strategies: Mapping[str, Strategy],
        histories: Mapping[str, History],
        sink: Sink,
        max_failures: int,
        packer: Packer,
        resumed: bool = False,
    ) -> None:
        self._packer = packer
        self._resumed = resumed
        self._histories = histories
        self._sink = sink
        self._max_failures = max_failures
        self._turns = list(strategies)
        self._again: deque[list[Trial]] = deque()
        self._begun: set[str] = set()
        self._failures: dict[str, _Failures] = {}

    def next(self) -> list[Trial]:
        """What the next carrier takes, the strategies taking turns; nothing when each waits or is done.

        Trials that failed come first: their checkpoints and their data may still be at hand.
        """
        if self._again:
            trials = self._again.popleft()
            self._begun.update(trial.trial_id for trial in trials)
            return trials
        for label in list(self._turns):
            self._turns.remove(label)
            self._turns.append(label)
            history = self._histories[label]
            if proposals := self._packer.proposals(label, history):
                trials = self._packer.load(proposals)
                for trial in trials:
                    history.start(trial)
                return trials
        return []

    @property
    def waiting(self) -> bool:
        """Whether a trial is still running, whose result may bring new proposals."""
        return any(history.running for history in self._histories.values())

    def begun(self, trial: Trial) -> bool:
        """Whether a process that is no more may have trained the trial, so that it may have a checkpoint.

        What is known of its epochs does not tell: they may have been lost between the process and the store.
        """
        return self._resumed or trial.trial_id in self._begun

    def take(self, records: Iterable[Record]) -> None:
        """Stores records first, then lets the strategies know. Of a failure only the last is recorded."""
        records = [record for record in records if not self._starts_again(record)]
        self._sink(records)
        for record in records:
            self._histories[record.strategy].add(record)
            if isinstance(record, TrialRecord):
                self._failures.pop(record.trial_id, None)
                self._begun.discard(record.trial_id)

    def lost(self, load: Load, reason: str) -> None:
        """Those trials of a carrier that came to no end before it did have failed.

        Where it carried several it is not known which of them it died of: they are started again in two halves,
        so that the one which it was is soon alone, and the others are still trained together.
        """
        waiting = {trial.trial_id for trials in self._again for trial in trials}
        running = [
            trial
            for trial in load.trials
            if trial.trial_id in self._histories[trial.strategy].running and trial.trial_id not in waiting
        ]
        if len(load.trials) > 1:
            half = (len(running) + 1) // 2
            self._again.extend(part for part in (running[:half], running[half:]) if part)
        else:
            self.take(failed(trial, reason) for trial in running)

    def given_back(self, load: Load) -> None:
        """A carrier was ended for the sake of other sweeps: what it left goes on later, and nothing has failed."""
        running = [trial for trial in load.trials if trial.trial_id in self._histories[trial.strategy].running]
        if running:
            self._again.append(running)

    def _starts_again(self, record: Record) -> bool:
        if not isinstance(record, TrialRecord) or record.status is not Status.FAILED:
            return False
        history, trial = self._histories[record.strategy], record.trial
        failures = self._failures.setdefault(trial.trial_id, _Failures())
        reached = len(history.epochs(trial)) or len(history.steps(trial))
        if reached > failures.reached:
            failures.count, failures.reached = 0, reached
        failures.count += 1
        if failures.count > self._max_failures:
            return False
        self._again.append([trial])
        return True


class ProposalSearch(Searcher):  # type: ignore[misc]  # Ray is untyped
    """Asks the strategies for the next trial whenever Tune has room for a carrier.

    Keeps no state of its own: after a crash everything is rebuilt from the results, so nothing is saved.
    """

    def __init__(
        self, proposals: Proposals, pruning: PruningScheduler, packer: Packer, load: Load, room: Room
    ) -> None:
        super().__init__(metric="done", mode="max")
        self._room = room
        self._hungry = True
        self._running: set[str] = set()
        self._proposals = proposals
        self._packer = packer
        self._pruning = pruning
        self._load = load
        self._carriers: dict[str, Load] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        held = len(self._carriers)
        if held >= self._room.carriers(held, len(self._running), self._hungry):
            return None
        trials = self._proposals.next()
        self._hungry = bool(trials)
        if not trials:
            return None if self._proposals.waiting else Searcher.FINISHED
        self._carriers[trial_id] = replace(
            self._load,
            trials=tuple(trials),
            judged=self._pruning.judges(trials[0]),
            begun=frozenset(trial.trial_id for trial in trials if self._proposals.begun(trial)),
            steps=self._packer.steps(trials[0]),
            packing=self._packer.packing(trials[0]),
        )
        return {LOAD: self._carriers[trial_id]}

    def learn(self, trial_id: str, packing: Packing) -> None:
        """How a carrier found that its trials, and others like them, are best trained."""
        self._packer.learn(self._carriers[trial_id].trials[0], packing)

    def began(self, trial_id: str) -> None:
        """A carrier has found a place."""
        self._running.add(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if error:
            return  # the callback knows more of it
        if reason := self._pruning.reasons.pop(trial_id, None):
            assert result is not None
            _, record = result[SO_FAR]
            self._proposals.take([replace(record, status_reason=reason)])
        if trial_id in self._pruning.given_back:
            self._pruning.given_back.remove(trial_id)
            self._proposals.given_back(self._gone(trial_id))
        else:
            self.ended(trial_id, "its carrier ended without a result")

    def ended(self, trial_id: str, reason: str) -> None:
        """A carrier is no more; the reason is that of its trials which came to no end."""
        self._proposals.lost(self._gone(trial_id), reason)

    def _gone(self, trial_id: str) -> Load:
        self._running.discard(trial_id)
        return self._carriers.pop(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def get_state(self) -> dict[str, Any]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {}


class RecordCallback(Callback):  # type: ignore[misc]
    """Takes the records out of each report, so that Tune neither keeps nor writes them, and notes what died."""

    def __init__(self, proposals: Proposals, search: ProposalSearch) -> None:
        self._proposals = proposals
        self._search = search

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if fault := result.pop(FAULT, None):
            raise TaskError(fault)
        if packing := result.pop(PACKING, None):
            self._search.learn(trial.trial_id, packing)
        self._proposals.take(result.pop(RECORDS, ()))

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._search.began(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._search.ended(trial.trial_id, _told(Path(trial.error_file)))

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _told(error_file: Path) -> str:
    """What killed a carrier, in one line, from the file in which Tune writes the text of the error."""
    try:
        lines = [line.strip() for line in error_file.read_text().splitlines() if line.strip()]
    except OSError:
        return "the process that trained it died"
    if "The actor is dead because its node has died" in lines[-1] or "node was terminated" in lines[-1]:
        return f"the node that trained it died: {lines[-1]}"
    if any(line.startswith("The actor ") for line in lines):
        return f"the process that trained it died: {lines[-1]}"
    return lines[-1]  # of a traceback: the exception
