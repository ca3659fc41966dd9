"""How the trials of a sweep are spread over its carriers. What that depends on is in `algorithms.packing`."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice

from searcher.algorithms.packing import (
    LEAST_STEPS,
    WIDEST,
    Group,
    Packing,
    group_of,
    one_by_one,
    planned_steps,
    share,
)
from searcher.algorithms.strategies.base import Listed, Strategy
from searcher.algorithms.strategies.one_cycle import OneCycle
from searcher.records import History, Kind, Trial
from searcher.training.checkpoints import Vault

log = logging.getLogger(__name__)

ROUNDS_AHEAD = 8
"""So many full batches for every worker are looked at to make up a carrier's load."""

MOST_COUNTED = 100_000
"""Trials of a strategy that are counted to know what a group has to train; more are surely enough."""


class Memory:
    """Remembers the packings of a sweep beside its checkpoints.

    Speeds that are measured anew, on another node or a busier one, may decide otherwise: what a resumed sweep then
    trains would differ by rounding from what it would have measured undisturbed.

    Args:
        notes: where they are kept.
        device: what trains the sweep's trials; what was found for another is not used.

    Attributes:
        known: what was found before.
    """

    NAME = "packings"

    def __init__(self, notes: Vault, device: str) -> None:
        self._notes = notes
        self._device = device
        self.known: dict[Group, Packing] = {}
        try:
            kept = json.loads(notes.load(self.NAME) or b"{}")
            for group, packing in kept.get(device, []):
                self.known[Group(**group | {"kind": Kind(group["kind"])})] = Packing(**packing)
        except Exception as error:  # storage that refuses, a file of another version: it is found out again
            log.warning("how trials were packed is not known: %s", error)

    def keep(self, packings: Mapping[Group, Packing]) -> None:
        kept = {self._device: [(asdict(group), asdict(packing)) for group, packing in packings.items()]}
        try:
            self._notes.save(self.NAME, json.dumps(kept).encode())
        except Exception as error:
            log.warning("how trials are packed is not kept: %s", error)


class Packer:
    """Makes up loads.

    Args:
        strategies: by label.
        workers: carriers at a time.
        fuse: False: every trial is trained alone.
        memory: what earlier runs of the sweep found, and where to write what this one finds.
    """

    def __init__(
        self, strategies: Mapping[str, Strategy], workers: int, fuse: bool, memory: Memory | None = None
    ) -> None:
        self.workers = workers
        self._strategies = strategies
        self._memory = memory
        self._packings = dict(memory.known) if memory and fuse else {}
        self._told: set[Group] = set()
        self._least: dict[Group, int] = {}
        self._steps = _planned(strategies) if fuse else {}

    def proposals(self, label: str, history: History) -> list[Trial]:
        """What the strategy has to propose: one trial, or more where it does not wait for the result of each."""
        strategy = self._strategies[label]
        ahead = self.workers * WIDEST * ROUNDS_AHEAD if isinstance(strategy, Listed | OneCycle) else 1
        return strategy.propose(history, ahead)

    def load(self, proposals: Sequence[Trial]) -> list[Trial]:
        """Those of the proposals that the next carrier takes."""
        first, group = proposals[0], group_of(proposals[0])
        small = one_by_one("there is too little to train") if self.steps(first) < LEAST_STEPS else None
        packing = small or self.packing(first)
        # Shares of what is left become smaller and smaller, and a batch of a few takes as long as one of many.
        taken = share(proposals, self.workers, packing, self._least.get(group, 1))
        self._least.setdefault(group, min(len(taken), WIDEST))
        return taken

    def steps(self, trial: Trial) -> int:
        """What the sweep as a whole trains of the trial's group; 0 where it is not to be fused."""
        if not isinstance(self._strategies.get(trial.strategy), Listed | OneCycle):
            return 0
        return self._steps.get(group_of(trial), 0)

    def packing(self, trial: Trial) -> Packing | None:
        """How trials like this one are trained in this sweep; None: a carrier is to find out."""
        return None if self.steps(trial) < LEAST_STEPS else self._packings.get(group_of(trial))

    def learn(self, trial: Trial, packing: Packing) -> None:
        """What a carrier found out about trials like this one. The first to do so has said it for the sweep."""
        group = group_of(trial)
        if group not in self._told:
            self._told.add(group)
            how = f"in batches of {packing.width}" if packing.fused else "one after another"
            compiled = ", compiled" if packing.compiled else ""
            what = f"{group.task}, {group.kind}, batch size {group.batch_size}, {group.optimizer}"
            log.info("%s, %s: trained %s%s: %s", what, group.precision, how, compiled, packing.reason)
        if self.steps(trial) >= LEAST_STEPS and group not in self._packings:
            self._packings[group] = packing
            if self._memory:
                self._memory.keep(self._packings)


def _planned(strategies: Mapping[str, Strategy]) -> dict[Group, int]:
    """Steps of each group over the whole sweep, whatever has been done of it already."""
    steps: dict[Group, int] = {}
    for strategy in strategies.values():
        if not isinstance(strategy, Listed | OneCycle):
            continue
        known = strategy.trials() if isinstance(strategy, Listed) else strategy.propose(History(), MOST_COUNTED)
        mine = planned_steps(islice(known, MOST_COUNTED), strategy.task.steps_per_epoch)
        if isinstance(strategy, OneCycle):
            # Only its first stage is known. What follows has the same batches.
            for group in list(mine):
                following = replace(group, kind=Kind.TRAIN)
                mine[following] = strategy.plan().samples // group.batch_size
        for group, count in mine.items():
            steps[group] = steps.get(group, 0) + count
    return steps
