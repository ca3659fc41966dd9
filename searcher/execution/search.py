"""The Tune searcher that asks strategies for trials, and the callback that feeds their histories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ray.tune import Callback
from ray.tune.search import Searcher

from searcher.algorithms.strategies.base import Strategy
from searcher.execution.carrier import LOAD, RECORDS, SO_FAR, Load, failed
from searcher.execution.pruning import PruningScheduler
from searcher.records import History, Record, Trial

Sink = Callable[[Iterable[Record]], None]


class Proposals:
    """The strategies of a sweep with their histories: what to train next, and what became of it."""

    def __init__(self, strategies: Mapping[str, Strategy], histories: Mapping[str, History], sink: Sink) -> None:
        self._strategies = strategies
        self._histories = histories
        self._sink = sink
        self._turns = list(strategies)

    def next(self) -> Trial | None:
        """The next trial, the strategies taking turns; None when each waits for results, or is done."""
        for label in list(self._turns):
            self._turns.remove(label)
            self._turns.append(label)
            if trials := self._strategies[label].propose(self._histories[label], 1):
                self._histories[label].start(trials[0])
                return trials[0]
        return None

    @property
    def waiting(self) -> bool:
        """Whether a trial is still running, whose result may bring new proposals."""
        return any(history.running for history in self._histories.values())

    def take(self, records: Iterable[Record]) -> None:
        """Stores records first, then lets the strategies know."""
        records = list(records)
        self._sink(records)
        for record in records:
            self._histories[record.strategy].add(record)

    def lost(self, load: Load, reason: str) -> None:
        """Records as failed those trials of a carrier that came to no end before it did."""
        self.take(
            failed(trial, reason)
            for trial in load.trials
            if trial.trial_id in self._histories[trial.strategy].running
        )


class ProposalSearch(Searcher):  # type: ignore[misc]  # Ray is untyped
    """Asks the strategies for the next trial whenever Tune has room for a carrier.

    Keeps no state of its own: after a crash everything is rebuilt from the results, so nothing is saved.
    """

    def __init__(self, proposals: Proposals, pruning: PruningScheduler, load: Load) -> None:
        super().__init__(metric="done", mode="max")
        self._proposals = proposals
        self._pruning = pruning
        self._load = load
        self._carriers: dict[str, Load] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        trial = self._proposals.next()
        if trial is None:
            return None if self._proposals.waiting else Searcher.FINISHED
        self._carriers[trial_id] = replace(self._load, trials=(trial,), judged=self._pruning.judges(trial))
        return {LOAD: self._carriers[trial_id]}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if reason := self._pruning.reasons.pop(trial_id, None):
            assert result is not None
            _, record = result[SO_FAR]
            self._proposals.take([replace(record, status_reason=reason)])
        # With the retries used up, an error here is the carrier's end: its process or its node died.
        fault = "the process that trained it died" if error else "its carrier ended without a result"
        self._proposals.lost(self._carriers.pop(trial_id), fault)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def get_state(self) -> dict[str, Any]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {}


class RecordCallback(Callback):  # type: ignore[misc]
    """Takes the records out of each report, so that Tune neither keeps nor writes them."""

    def __init__(self, proposals: Proposals) -> None:
        self._proposals = proposals

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._proposals.take(result.pop(RECORDS, ()))

    def __getstate__(self) -> dict[str, Any]:
        return {}
