"""Fused training: the trials of a carrier share one batch of models, and a slot that falls free takes the next.

All trials here make the same steps in an epoch, each with its own rates, samples and randomness, so a batch may
hold trials that began at different times and have different lengths. The stopping rule judges each of them at
each epoch; one that ends is replaced at once. When nothing waits and half of the slots are empty, the batch is
compacted to half its width.

A trial's curve is that of `loop.run_trial` but for rounding, and does not depend on who shares its batch.
"""

from __future__ import annotations

import logging
import math
import operator
import platform
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from searcher.algorithms.packing import Packing, width_for
from searcher.algorithms.stopping import Rule
from searcher.records import Kind, Status, Trial, TrialRecord
from searcher.training.checkpoints import Checkpoint, Checkpoints
from searcher.training.course import Emit, RangeTestCourse, TrainingCourse
from searcher.training.data import TensorSplit
from searcher.training.dropout import CannotFuse
from searcher.training.loop import device_name, evaluate, run_trial, seeded
from searcher.training.stack import Stack, rates_of, stack_for
from searcher.training.tasks import Task

log = logging.getLogger(__name__)

STEPS_BETWEEN_LOOKS = 32
"""Steps of a range test between two looks at its losses: so many at most are made in vain after it diverged."""


def run_trials(
    task: Task,
    trials: Sequence[Trial],
    rule: Rule,
    emit: Emit,
    device: torch.device | str,
    packing: Packing,
    checkpoints: Checkpoints | None = None,
) -> None:
    """Trains trials of one group (see `searcher.algorithms.packing.group_of`) in a batch.

    Records are emitted as by `run_trial`, those of different trials in turns. What cannot be trained in a batch,
    or raises in it, is trained alone, so that an exception fails only the trials that raise it.

    Args:
        packing: the width of the batch, and whether its step is compiled.
        checkpoints: see `searcher.training.loop.run_trial`.
    """
    checkpoints = checkpoints or Checkpoints()
    device = torch.device(device)
    unfinished = {trial.trial_id: trial for trial in trials}

    def watch(record: object) -> None:
        if isinstance(record, TrialRecord):
            del unfinished[record.trial_id]
        emit(record)  # type: ignore[arg-type]

    try:
        _Batch(task, trials, rule, watch, device, packing, checkpoints).run()
    except Exception as error:
        log.warning("%d trials are trained one after another: %s", len(unfinished), " ".join(str(error).split()))
        for trial in unfinished.values():
            run_trial(task, trial, rule, emit, device, checkpoints)


@dataclass
class _Slot:
    """A trial in the batch."""

    trial: Trial
    course: TrainingCourse | RangeTestCourse
    order: torch.Generator
    dropout: torch.Generator
    step: int = 0
    seconds: float = 0.0


class _Batch:
    """The trials of a carrier: those in the slots, and those that wait."""

    def __init__(
        self,
        task: Task,
        trials: Sequence[Trial],
        rule: Rule,
        emit: Emit,
        device: torch.device,
        packing: Packing,
        checkpoints: Checkpoints,
    ) -> None:
        if not isinstance(task.train, TensorSplit) or not isinstance(task.test, TensorSplit):
            raise CannotFuse("its splits are data sets that a loader reads, not tensors")
        self.task, self.rule, self.emit, self.device = task, rule, emit, device
        self.train, self.test = task.train, task.test
        self.checkpoints = checkpoints
        self.optimizer = trials[0].configuration.optimizer
        self.precision = trials[0].configuration.precision
        self.steps = math.ceil(len(self.train) / trials[0].configuration.batch_size)
        self.epoch_seconds = 0.0
        self.compiled, self.compiling = packing.compiled, packing.compiling
        self.waiting = deque(trials)
        width = min(packing.width, width_for(len(trials)))
        self.stack = self._stack(width)
        self.slots: list[_Slot | None] = [None] * width

    def run(self) -> None:
        self._refill()
        while any(self.slots):
            started = time.perf_counter()
            losses = self._epoch()
            self._judge(losses, started)
            self._refill()
            self._compact()

    def _epoch(self) -> Tensor:
        """One pass over the train split for every slot: its losses, `[steps, width]`, mean over each batch.

        A batch of range tests ends its pass early, when all of them have diverged or come to their end.
        """
        width = len(self.slots)
        orders = torch.zeros(width, len(self.train), dtype=torch.long, device=self.device)
        for place, slot in self._held():
            orders[place] = torch.randperm(len(self.train), generator=slot.order, device=self.device)
        parts = orders.tensor_split(self.steps, dim=1)  # [width, n] each
        rates = torch.zeros(self.steps, 5, width)
        for place, slot in self._held():
            rates[:, :, place] = torch.tensor(list(_rates(slot, self.steps)))
        rates = rates.to(self.device)
        losses: list[Tensor] = []
        for begin in range(0, self.steps, STEPS_BETWEEN_LOOKS):
            chunk = range(begin, min(begin + STEPS_BETWEEN_LOOKS, self.steps))
            losses += [self.stack.step(parts[step], rates[step]).clone() for step in chunk]
            if self._range_tests_are_over(torch.stack(losses[begin:]), parts[begin : chunk.stop]):
                break
        return torch.stack(losses)

    def _judge(self, losses: Tensor, started: float) -> None:
        """Records the epoch of each training run, and ends those trials that are done."""
        training = [(place, slot) for place, slot in self._held() if slot.trial.kind is Kind.TRAIN]
        measured = self.stack.evaluate(self.test, [place for place, _ in training]) if training else []
        sizes = [len(part) for part in self.train.targets.tensor_split(self.steps)]
        # Summed one by one: how torch adds up the columns of a tensor depends on how many there are.
        columns = zip(*losses.tolist(), strict=True)
        means = [sum(map(operator.mul, column, sizes)) / len(self.train) for column in columns]
        self.epoch_seconds = time.perf_counter() - started
        held = list(self._held())
        for _, slot in held:
            slot.seconds += self.epoch_seconds / len(held)
        best = [False] * len(self.slots)
        for (place, slot), (test_loss, test_accuracy) in zip(training, measured, strict=True):
            assert isinstance(slot.course, TrainingCourse)
            slot.step += self.steps
            best[place] = slot.course.measured(means[place], test_loss, test_accuracy, slot.seconds)
        if any(best):
            self.stack.keep_best(best)
        for place, slot in held:
            if slot.course.ended:
                self._end(place, slot)
            elif slot.trial.kind is Kind.TRAIN:
                self.checkpoints.offer(slot.trial.trial_id, partial(self._checkpoint, place, slot), len(held))

    def _range_tests_are_over(self, losses: Tensor, parts: Sequence[Tensor]) -> bool:
        """Records the steps of every range test; True if the batch has nothing else to do."""
        tests = [(place, slot, slot.course) for place, slot in self._held() if slot.trial.kind is Kind.RANGE_TEST]
        if not tests:
            return False
        fetched = losses.tolist()
        for place, slot, course in tests:
            assert isinstance(course, RangeTestCourse)
            for row, part in zip(fetched, parts, strict=True):
                if not course.ended:
                    slot.step += 1
                    course.measured(row[place], part.shape[1])
        return all(slot.course.ended for _, slot in self._held())

    def _end(self, place: int, slot: _Slot) -> None:
        started = time.perf_counter()
        record = slot.course.record
        if isinstance(slot.course, TrainingCourse) and slot.course.wants_holdout:
            with seeded(slot.trial.seed, self.device):
                model = self.task.model().to(self.device)
            model.load_state_dict(self.stack.best_of(place))
            loss, accuracy = evaluate(self.task, model, self.task.holdout, self.device, self.precision)
            record = replace(record, holdout_loss=loss, holdout_accuracy=accuracy)
        seconds = slot.seconds + time.perf_counter() - started
        self.slots[place] = None
        self.emit(replace(record, seconds=seconds, finished=time.time()))

    def _refill(self) -> None:
        for place in range(len(self.slots)):
            if self.slots[place] is None and self.waiting:
                self.slots[place] = self._begin(place, self.waiting.popleft())

    def _begin(self, place: int, trial: Trial) -> _Slot:
        record = TrialRecord(
            trial=trial,
            status=Status.FAILED,
            device=device_name(self.device),
            node=platform.node(),
            started=time.time(),
        )
        with seeded(trial.seed, self.device):
            model = self.task.model().to(self.device)
            # From here on a trial alone would draw its dropout.
            cuda = self.device.type == "cuda"
            state = torch.cuda.get_rng_state(self.device) if cuda else torch.get_rng_state()
        randomness = torch.Generator(self.device)
        randomness.set_state(state)
        self.stack.load(place, model, randomness)
        course: TrainingCourse | RangeTestCourse
        if trial.kind is Kind.TRAIN:
            course = TrainingCourse(record, self.steps, len(self.train), self.rule, self.emit)
        else:
            course = RangeTestCourse(record, self.emit)
        slot = _Slot(trial, course, torch.Generator(self.device).manual_seed(trial.seed), randomness)
        if trial.kind is Kind.TRAIN and (saved := self.checkpoints.find(trial.trial_id)):
            self._restore(place, slot, saved)
        return slot

    def _checkpoint(self, place: int, slot: _Slot) -> Checkpoint:
        assert isinstance(slot.course, TrainingCourse)
        weights, moments, best = self.stack.state(place)
        dropout, cuda = slot.dropout.get_state(), self.device.type == "cuda"
        return Checkpoint(
            model=weights,
            optimizer=moments,
            best=best,
            order=slot.order.get_state(),
            # A trial alone draws its dropout from torch's own generator on its device.
            random=torch.Generator().manual_seed(slot.trial.seed).get_state() if cuda else dropout,
            random_cuda=dropout if cuda else None,
            epochs=slot.course.epochs,
            started=slot.course.record.started,
        )

    def _restore(self, place: int, slot: _Slot, saved: Checkpoint) -> None:
        """The trial goes on from there; from its start if the checkpoint is not of this model on such a device."""
        assert isinstance(slot.course, TrainingCourse)
        order, dropout = torch.Generator(self.device), torch.Generator(self.device)
        random = saved.random_cuda if self.device.type == "cuda" else saved.random
        try:
            if random is None:
                raise ValueError("it was trained on a CPU")
            order.set_state(saved.order)
            dropout.set_state(random)
            self.stack.restore(place, saved.model, saved.optimizer, saved.best)
        except (KeyError, RuntimeError, ValueError) as error:
            log.warning("trial %s starts anew, its checkpoint does not fit: %s", slot.trial.trial_id, error)
            return
        slot.order = order
        slot.dropout.set_state(random)
        slot.course.record = replace(slot.course.record, started=saved.started)
        slot.course.restore(saved.epochs)
        slot.step, slot.seconds = len(saved.epochs) * self.steps, saved.epochs[-1].seconds

    def _compact(self) -> None:
        """Goes on with half the width, or less, when no more of it is used and what is left repays it."""
        held = list(self._held())
        width = width_for(len(held))
        if not held or width >= len(self.slots):
            return
        left = max((len(slot.course.plan.lr) - slot.step) / self.steps for _, slot in held) * self.epoch_seconds
        saved = left * (1 - width / len(self.slots))
        if self.compiled and saved < self.compiling:
            return
        places = [place for place, _ in held]
        wide, self.stack = self.stack, self._stack(width)
        self.stack.take(wide, places)
        self.slots = [slot for _, slot in held] + [None] * (width - len(held))

    def _stack(self, width: int) -> Stack:
        return stack_for(self.task, self.optimizer, width, self.device, self.compiled, self.precision)

    def _held(self) -> Iterator[tuple[int, _Slot]]:
        return ((place, slot) for place, slot in enumerate(self.slots) if slot is not None)


def _rates(slot: _Slot, steps: int) -> Iterable[tuple[float, ...]]:
    """The slot's next steps; zeros behind the end of its plan."""
    plan, decay = slot.course.plan, slot.trial.configuration.weight_decay
    for step in range(slot.step, slot.step + steps):
        yield rates_of(plan.lr[step], plan.momentum[step], decay, step + 1) if step < len(plan.lr) else (0.0,) * 5
