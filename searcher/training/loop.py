"""The training loop: one trial in, its records out.

Reads from top to bottom: `run_trial` -> `_train` or `_range_test` -> `Run.step`. Tensor splits live on the
device and are indexed by a permutation; learning rate and momentum are set at every step; losses stay on the
device and are fetched once an epoch. The seed fixes the model's weights, the order of the samples and dropout,
so the same trial on the same machine gives the same curve.
"""

from __future__ import annotations

import logging
import math
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from searcher.algorithms.stopping import Rule
from searcher.records import (
    FULL_PRECISION,
    Configuration,
    EpochRecord,
    Kind,
    Status,
    Trial,
    TrialRecord,
)
from searcher.training.checkpoints import Checkpoint, Checkpoints
from searcher.training.course import Emit, RangeTestCourse, TrainingCourse
from searcher.training.data import Batch, Split
from searcher.training.precision import forward
from searcher.training.tasks import Task

log = logging.getLogger(__name__)

EVALUATION_BATCH = 1024
ADAM_SECOND_BETA = 0.999


def run_trial(
    task: Task,
    trial: Trial,
    rule: Rule,
    emit: Emit,
    device: torch.device | str = "cpu",
    checkpoints: Checkpoints | None = None,
) -> TrialRecord:
    """Trains a trial, or runs its range test, and says how it ended; every record is also given to `emit`.

    A loss that is not finite ends the trial as `diverged` and an exception as `failed` with its text: neither
    is raised, so that one bad trial never ends a sweep.

    Args:
        task: what is trained.
        trial: its configuration, seed and length.
        rule: judges every epoch of a training run; may stop it.
        emit: called with each StepRecord or EpochRecord as it is measured, and last with the TrialRecord.
        device: where the model and the splits live.
        checkpoints: where a training run saves itself, and finds what an earlier process of it saved; it then
            goes on from there and emits what it measured before once more. Its curve is the same either way.
            Range tests are short and always start anew.
    """
    device = torch.device(device)
    clock = time.perf_counter()
    progress = TrialRecord(
        trial=trial,
        status=Status.FAILED,
        device=device_name(device),
        node=platform.node(),
        started=time.time(),
    )
    checkpoints = checkpoints or Checkpoints()
    try:
        with seeded(trial.seed, device):
            if trial.kind is Kind.TRAIN:
                saved = checkpoints.find(trial.trial_id)
                if saved is not None:
                    clock -= saved.epochs[-1].seconds
                    progress = replace(progress, started=saved.started)
                record = _train(task, progress, rule, emit, device, checkpoints, saved)
            else:
                record = _range_test(task, progress, emit, device)
    except Exception as error:
        text = " ".join(str(error).split()) or "no message"
        record = replace(progress, status_reason=f"{type(error).__name__}: {text}")
    record = replace(record, seconds=time.perf_counter() - clock, finished=time.time())
    emit(record)
    return record


def _train(
    task: Task,
    record: TrialRecord,
    rule: Rule,
    emit: Emit,
    device: torch.device,
    checkpoints: Checkpoints,
    saved: Checkpoint | None,
) -> TrialRecord:
    """Whole epochs until the length is reached, the rule stops the run, or its loss is not finite."""
    trial = record.trial
    batch_size = trial.configuration.batch_size
    run, before = _begin(task, trial, device, saved)
    course = TrainingCourse(record, math.ceil(len(task.train) / batch_size), len(task.train), rule, emit)
    course.restore(before)
    clock = time.perf_counter() - course.record.seconds
    step = course.record.steps
    saving = partial(run.checkpoint, course.epochs, record.started)
    while not course.ended:
        total = torch.zeros((), device=device)
        for inputs, targets in task.train.batches(batch_size, device, run.order):
            total += run.step(inputs, targets, course.plan.lr[step], course.plan.momentum[step]) * len(inputs)
            step += 1
        test_loss, test_accuracy = evaluate(task, run.model, task.test, device, run.precision)
        train_loss = total.item() / len(task.train)
        if course.measured(train_loss, test_loss, test_accuracy, time.perf_counter() - clock):
            run.keep_best()
        if not course.ended:
            checkpoints.offer(trial.trial_id, saving)
    if not course.wants_holdout:
        return course.record
    run.model.load_state_dict(run.best)
    loss, accuracy = evaluate(task, run.model, task.holdout, device, run.precision)
    return replace(course.record, holdout_loss=loss, holdout_accuracy=accuracy)


def _begin(
    task: Task, trial: Trial, device: torch.device, saved: Checkpoint | None
) -> tuple[Run, list[EpochRecord]]:
    """The run as it was saved with the epochs that it has behind it; else a fresh one and none."""
    run = Run(task, trial, device)
    if saved is None:
        return run, []
    try:
        run.restore(saved)
        return run, list(saved.epochs)
    except (KeyError, RuntimeError, ValueError) as error:
        # Of another version of the task's code, or of torch.
        log.warning("trial %s starts anew, its checkpoint does not fit: %s", trial.trial_id, error)
        torch.manual_seed(trial.seed)
        return Run(task, trial, device), []


def _range_test(task: Task, record: TrialRecord, emit: Emit, device: torch.device) -> TrialRecord:
    """Steps of a rising learning rate until the length is reached or the training loss has diverged."""
    trial = record.trial
    run = Run(task, trial, device)
    course = RangeTestCourse(record, emit)
    batches = endless(task.train, trial.configuration.batch_size, device, run.order)
    for step, (inputs, targets) in enumerate(batches):
        loss = run.step(inputs, targets, course.plan.lr[step], course.plan.momentum[step])
        course.measured(loss.item(), len(inputs))
        if course.ended:
            break
    return course.record


class Run:
    """A fresh model, its optimizer, the generator that shuffles its samples, and the best weights so far."""

    def __init__(self, task: Task, trial: Trial, device: torch.device) -> None:
        self.device = device
        self.loss = task.loss
        self.precision = trial.configuration.precision
        # Channels last: convolutions, batch normalization and pooling of images are faster so, on CPU and GPU.
        self.model = task.model().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = make_optimizer(self.model, trial.configuration)
        self.order = torch.Generator(device).manual_seed(trial.seed)
        self.best: dict[str, Tensor] = {}

    def keep_best(self) -> None:
        self.best = {name: value.clone() for name, value in self.model.state_dict().items()}

    def checkpoint(self, epochs: list[EpochRecord], started: float) -> Checkpoint:
        """Everything that decides how the run goes on after these epochs."""
        return Checkpoint(
            model=self.model.state_dict(),
            optimizer=self._moments(),
            best=self.best,
            order=self.order.get_state(),
            random=torch.get_rng_state(),
            random_cuda=torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            epochs=epochs,
            started=started,
        )

    def restore(self, saved: Checkpoint) -> None:
        self.model.load_state_dict(saved.model)
        self._load_moments(saved)
        self.best = {name: value.to(self.device) for name, value in saved.best.items()}
        self.order.set_state(saved.order)
        torch.set_rng_state(saved.random)
        if saved.random_cuda is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(saved.random_cuda, self.device)

    def _moments(self) -> dict[str, dict[str, Tensor]]:
        states = {name: self.optimizer.state.get(value, {}) for name, value in self.model.named_parameters()}
        return {
            ours: {name: state[theirs] for name, state in states.items() if state.get(theirs) is not None}
            for ours, theirs in self._names.items()
        }

    def _load_moments(self, saved: Checkpoint) -> None:
        moments = {ours: saved.optimizer[ours] for ours in self._names if ours != "step"}
        steps = saved.optimizer.get("step", {})
        made = torch.tensor(float(saved.epochs[-1].step))
        for name, parameter in self.model.named_parameters():
            if not any(name in values for values in moments.values()):
                continue
            state = self.optimizer.state[parameter]
            for ours, values in moments.items():
                state[self._names[ours]] = torch.empty_like(parameter, requires_grad=False).copy_(values[name])
            if "step" in self._names:
                state["step"] = steps.get(name, made).to(self.device, copy=True)

    @property
    def _names(self) -> dict[str, str]:
        """What torch's optimizer calls the moments that a checkpoint names."""
        if isinstance(self.optimizer, torch.optim.AdamW):
            return {"mean": "exp_avg", "square": "exp_avg_sq", "step": "step"}
        return {"momentum": "momentum_buffer"}

    def step(self, inputs: Tensor, targets: Tensor, lr: float, momentum: float) -> Tensor:
        """One optimizer update; returns the batch's mean loss before it, still on the device."""
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
            if "betas" in group:
                group["betas"] = (momentum, ADAM_SECOND_BETA)
            else:
                group["momentum"] = momentum
        self.optimizer.zero_grad(set_to_none=True)
        _, loss = forward(self.model, self.loss, inputs, targets, self.precision)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()


def make_optimizer(model: nn.Module, configuration: Configuration) -> torch.optim.Optimizer:
    """SGD with momentum (L2 penalty) or AdamW (decoupled decay; `momentum` is the first beta), all parameters."""
    if configuration.optimizer == "adamw":
        return torch.optim.AdamW(
            model.parameters(),
            lr=configuration.lr,
            betas=(configuration.momentum, ADAM_SECOND_BETA),
            weight_decay=configuration.weight_decay,
            fused=True,
        )
    return torch.optim.SGD(
        model.parameters(),
        lr=configuration.lr,
        momentum=configuration.momentum,
        weight_decay=configuration.weight_decay,
        fused=True,
    )


@torch.no_grad()
def evaluate(
    task: Task, model: nn.Module, split: Split, device: torch.device, precision: str = FULL_PRECISION
) -> tuple[float, float | None]:
    """Mean loss and accuracy (None without one) over a split, in evaluation mode."""
    model.eval()
    loss = torch.zeros((), device=device)
    right = torch.zeros((), device=device)
    for inputs, targets in split.batches(EVALUATION_BATCH, device):
        output, mean = forward(model, task.loss, inputs, targets, precision)
        loss += mean * len(inputs)
        if task.accuracy is not None:
            right += task.accuracy(output, targets) * len(inputs)
    accuracy = None if task.accuracy is None else float(right.item()) / len(split)
    return float(loss.item()) / len(split), accuracy


def endless(split: Split, batch_size: int, device: torch.device, order: torch.Generator) -> Iterator[Batch]:
    """Epoch after epoch of batches, each in its own random order."""
    while True:
        yield from split.batches(batch_size, device, order)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's generators start from a seed inside, and are as they were after it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
