"""Packing: which trials share a carrier, how many of them, and whether they are trained in one batch.

Fusing pays for small models and small batches and costs for others, so it is chosen from speeds measured on the
hardware. The choice depends on those speeds and on what the sweep as a whole will train, never on what is left
of it: so a sweep that is resumed chooses as it did before, and gives the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from searcher.records import FULL_PRECISION, Kind, Trial

COMPILE_SECONDS = 25.0
"""What compiling the step of one group is taken to cost: for the built-in tasks a batch size took 16 to 29 s in a
process that had compiled nothing before, then 8 to 20 s; an epoch has batches of one or two sizes."""

CACHED_SECONDS = 0.5
"""What each carrier then pays to have the compiled step, which it finds in a file."""

LEAST_STEPS = 4_000
"""Steps of a group in the whole sweep below which measuring cannot repay itself."""

LEAST_GAIN = 1.05
"""Fusing must be faster by this factor, or the trials are trained one after another."""

WIDEST = 16
"""The most trials in a batch. From here on the models of a batch drive each other out of the caches."""

NARROWEST = 4
"""A batch is not made narrower when trials end: two at a time round differently than four, eight or sixteen do."""

WORKING_BYTES = 4 << 20
"""What a batch may take on a CPU, for the same reason: weights, gradients, moments, and what the backward pass
needs of the forward pass."""


@dataclass(frozen=True, slots=True)
class Group:
    """What trials must have in common to be trained in one batch. Their rates and lengths may differ."""

    task: str
    kind: Kind
    batch_size: int
    optimizer: str
    precision: str = FULL_PRECISION


@dataclass(frozen=True, slots=True)
class Packing:
    """How the trials of a group are trained: `width` at a time, one after another where it is 1; and why."""

    width: int
    compiled: bool
    reason: str
    compiling: float = 0.0
    """Seconds that compiling took, when it was measured."""

    @property
    def fused(self) -> bool:
        return self.width > 1


@dataclass(frozen=True, slots=True)
class Speeds:
    """Seconds that one step of one trial takes, measured.

    Attributes:
        alone: trained on its own.
        fused: in a batch of `width`, not compiled.
        compiled: the same, compiled; None where it was not measured, as there is no compiler or it cannot pay;
            infinity where the step cannot be compiled.
        compiling: what it took to compile it, when it was measured.
        fault: why the model cannot be fused; empty if it can.
    """

    width: int
    alone: float
    fused: float = math.inf
    compiled: float | None = None
    fault: str = ""
    compiling: float = 0.0


def group_of(trial: Trial) -> Group:
    configuration = trial.configuration
    return Group(trial.task, trial.kind, configuration.batch_size, configuration.optimizer, configuration.precision)


def one_by_one(reason: str) -> Packing:
    return Packing(1, False, reason)


def width_for(trials: int) -> int:
    """The narrowest batch for so many trials: a power of two, so that few widths are ever compiled."""
    return max(NARROWEST, 1 << max(trials - 1, 0).bit_length())


def widest(bytes_each: int, bytes_free: int) -> int:
    """The width to measure and use: a power of two of at most `WIDEST`, bounded by memory; at least 2.

    Args:
        bytes_each: that one trial takes.
        bytes_free: that all trials of a batch may take.
    """
    fitting = max(bytes_free // max(bytes_each, 1), 2)
    return min(WIDEST, 1 << (fitting.bit_length() - 1))


def compiling_may_pay(steps: int, speeds: Speeds, workers: int) -> bool:
    """Whether to compile the step and measure it: if it then took no time, that would repay itself."""
    return steps * min(speeds.alone, speeds.fused) / workers > LEAST_GAIN * COMPILE_SECONDS


def choose(speeds: Speeds, steps: int, workers: int) -> Packing:
    """The fastest way to make `steps` steps, summed over the trials of a group, by so many carriers at a time."""
    if speeds.fault:
        return one_by_one(f"cannot be fused: {speeds.fault}")
    steps = max(steps, 1)  # for none at all nothing would pay
    alone = steps * speeds.alone / workers
    ways = {False: steps * speeds.fused / workers}
    if speeds.compiled is not None:
        # What was measured has been compiled on this machine.
        ways[True] = steps * speeds.compiled / workers + CACHED_SECONDS
    compiled = min(ways, key=lambda way: ways[way])
    told = (
        f"a step takes {1e3 * speeds.alone:.3g} ms alone, {1e3 * speeds.fused:.3g} ms in a batch of {speeds.width}"
    )
    if speeds.compiled is not None and math.isfinite(speeds.compiled):
        told += f", {1e3 * speeds.compiled:.3g} ms compiled (compiling took {speeds.compiling:.1f} s)"
    if alone < LEAST_GAIN * ways[compiled]:
        return one_by_one(f"fusing does not pay: {told}")
    return Packing(speeds.width, compiled, told, speeds.compiling)


def planned_steps(trials: Iterable[Trial], steps_per_epoch: Callable[[int], int]) -> dict[Group, int]:
    """Steps of each group, summed over its trials; `steps_per_epoch` tells them for a batch size."""
    steps: dict[Group, int] = {}
    for trial in trials:
        group = group_of(trial)
        each = steps_per_epoch(group.batch_size) if trial.kind is Kind.TRAIN else 1
        steps[group] = steps.get(group, 0) + trial.length * each
    return steps


def share(trials: Sequence[Trial], workers: int, packing: Packing | None, least: int = 1) -> list[Trial]:
    """The first of the trials, those of its group, that the next carrier takes.

    Of a fused group, and of one that was not measured yet, an equal share for every worker. Of one that is
    trained one by one a quarter of that, so that no worker is left with much when the others are done.

    Args:
        least: of a fused group, or one not measured yet, so many, where there are as many.
    """
    group = group_of(trials[0])
    mine = [trial for trial in trials if group_of(trial) == group]
    equal = math.ceil(len(mine) / workers)
    if packing is None or packing.fused:
        return mine[: max(equal, least)]
    return mine[: max(1, equal // 4)]
