"""Many models of one task as one: every parameter, buffer and optimizer state with a leading dimension of slots.

`torch.func` makes one batched computation of the model as its user wrote it (Horace He and Richard Zou, functorch;
the idea of fusing the trials of a sweep is that of HFTA, Wang et al., MLSys 2021). No slot reads another's
numbers, so a slot that holds NaN harms none.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from searcher.records import FULL_PRECISION
from searcher.training import convolution
from searcher.training import precision as precisions
from searcher.training.ahead import Code, machine_code
from searcher.training.data import TensorSplit
from searcher.training.dropout import CannotFuse, DropoutMasks
from searcher.training.loop import ADAM_SECOND_BETA, EVALUATION_BATCH
from searcher.training.precision import BatchedAutocast, forward
from searcher.training.tasks import Task

EVALUATED_AT_ONCE = 256
"""Samples of one forward pass of an evaluation of all slots: what it needs then fits a cache."""

ADAM_EPSILON = 1e-8

Tensors = dict[str, Tensor]

_OWN_CODE = hashlib.sha256(
    "".join(map(inspect.getsource, (sys.modules[__name__], convolution, precisions))).encode()
).hexdigest()
"""Of what makes the step of a batch of a model."""


class Stack:
    """`width` models and their optimizers on one device.

    Args:
        task: its train and test splits must be tensors.
        optimizer: `sgd` or `adamw`, see `searcher.training.loop.make_optimizer`.
        width: the number of slots; what they hold at first is the same untrained model.
        precision: of the forward pass, one of `searcher.records.PRECISIONS`.
        compiled: whether `torch.compile` makes machine code of the step. On a GPU it becomes a CUDA graph.

    Raises:
        CannotFuse: the task's splits are data sets, or the model shares or lacks parameters.
    """

    def __init__(
        self,
        task: Task,
        optimizer: str,
        width: int,
        device: torch.device,
        *,
        compiled: bool = False,
        precision: str = FULL_PRECISION,
    ) -> None:
        if not isinstance(task.train, TensorSplit) or not isinstance(task.test, TensorSplit):
            raise CannotFuse("its splits are data sets that a loader reads, not tensors")
        model = task.model().to(device)
        self.task, self.width, self.device, self.precision = task, width, device, precision
        self._train = task.train.on(device)
        self.params = {name: _repeated(value.detach(), width) for name, value in model.named_parameters()}
        self.buffers = {name: _repeated(value, width) for name, value in model.named_buffers()}
        if not self.params or set(self.params) | set(self.buffers) != set(model.state_dict()):
            raise CannotFuse("its parameters are shared between modules, or not all of them are in its state_dict")
        moments = ("momentum",) if optimizer == "sgd" else ("mean", "square")
        self.moments = {
            moment: {name: torch.zeros_like(value) for name, value in self.params.items()} for moment in moments
        }
        self.best = {name: value.clone() for name, value in self._all().items()}
        self.dropout = DropoutMasks(model)
        # Without memory of their own: only their code is used.
        self._training = copy.deepcopy(model).to("meta").train()
        self._evaluating = copy.deepcopy(self._training).eval()
        self.dropout.hand_in(self._training)
        self._has_convolutions = convolution.replace_convolutions(self._training)
        self._update = _sgd if optimizer == "sgd" else _adamw
        self._ahead = compiled and device.type == "cpu"
        # Everything that a step writes to, in the order of its arguments; and its code for each size of a batch.
        moments_of = [value for state in self.moments.values() for value in state.values()]
        self._written = [*self.params.values(), *self.buffers.values(), *moments_of]
        self._codes: dict[int, Code] = {}
        self._step: Callable[..., Tensor] = self._compiled() if compiled and not self._ahead else self._plain_step

    def load(self, slot: int, model: nn.Module, generator: torch.Generator) -> None:
        """Puts a fresh trial in a slot; the generator makes its dropout."""
        values = model.state_dict()
        for name, whole in self._all().items():
            whole[slot] = values[name]
            self.best[name][slot] = values[name]
        for state in self.moments.values():
            for whole in state.values():
                whole[slot] = 0
        self.dropout.generators[slot] = generator

    def state(self, slot: int) -> tuple[Tensors, dict[str, Tensors], Tensors]:
        """The weights of a slot, its optimizer's moments by name, and its best weights: copies."""
        moments = {name: _slot_of(state, slot) for name, state in self.moments.items()}
        return _slot_of(self._all(), slot), moments, _slot_of(self.best, slot)

    def restore(self, slot: int, weights: Any, moments: Any, best: Any) -> None:
        """Puts what `state` gave, or a checkpoint of a trial alone holds, into a slot that was just loaded.

        Raises:
            KeyError, ValueError: it is that of another model or optimizer; nothing is changed.
        """
        pairs = [(self._all(), weights), (self.best, best or weights)]
        # What had no gradient yet has no moments: they are zero.
        pairs += [
            ({name: value for name, value in whole.items() if name in moments[moment]}, moments[moment])
            for moment, whole in self.moments.items()
        ]
        for mine, saved in pairs:
            for name, whole in mine.items():
                if saved[name].shape != whole.shape[1:]:
                    raise ValueError(f"{name}: got {tuple(saved[name].shape)}, not {tuple(whole.shape[1:])}")
        for mine, saved in pairs:
            for name, whole in mine.items():
                whole[slot] = saved[name]

    def take(self, other: Stack, places: Sequence[int]) -> None:
        """Takes over the trials in these slots of another stack of the task, into the first slots of this one."""
        index = torch.tensor(places, device=self.device)
        pairs = [(self._all(), other._all()), (self.best, other.best)]
        pairs += [(self.moments[name], other.moments[name]) for name in self.moments]
        for mine, theirs in pairs:
            for name, whole in mine.items():
                whole[: len(places)] = theirs[name][index]
        self.dropout.generators = {slot: other.dropout.generators[place] for slot, place in enumerate(places)}

    def keep_best(self, which: Sequence[bool]) -> None:
        """Remembers the weights of these slots as the best that they had."""
        mask = torch.tensor(which, device=self.device)
        for name, whole in self._all().items():
            torch.where(_like(mask, whole), whole, self.best[name], out=self.best[name])

    def best_of(self, slot: int) -> Tensors:
        """The best weights of a slot, as a `state_dict`."""
        return {name: whole[slot] for name, whole in self.best.items()}

    def step(self, index: Tensor, rates: Tensor) -> Tensor:
        """One update of every slot.

        Args:
            index: `[width, n]`, the samples of the train split that each slot's batch is made of.
            rates: `[5, width]`, see `rates_of`.

        Returns:
            `[width]`, each batch's mean loss before the update.
        """
        inputs, targets = self._train
        masks = self.dropout.draw(inputs[: index.shape[1]], self.width)
        if self._ahead:
            arguments = self._arguments(masks, index, rates)
            return self._code_for(arguments, masks)(arguments)[0]
        with sdpa_kernel(SDPBackend.MATH):  # the only attention that vmap batches
            return self._step(self.params, self.buffers, self.moments, masks, inputs, targets, index, rates)

    def prepare(self, batch: int, *, wait: bool = True) -> None:
        """Has a step of batches of this size compiled, before the first of them.

        Raises:
            BeingCompiled: another process is at it, and `wait` is false.
        """
        index = torch.zeros(self.width, batch, dtype=torch.long, device=self.device)
        rates = torch.zeros(len(rates_of(0, 0, 0, 0)), self.width, device=self.device)
        if self._ahead:
            masks = self.dropout.draw(self._train[0][:batch], self.width)
            self._code_for(self._arguments(masks, index, rates), masks, wait)
        else:
            for _ in range(3):  # the first compiles, the second records the graph, the third uses it
                self.step(index, rates)

    @torch.no_grad()
    def evaluate(self, split: TensorSplit, slots: Sequence[int]) -> list[tuple[float, float | None]]:
        """Of each of the slots, its mean loss and accuracy (None for a task without) over a split."""
        totals = torch.zeros(2, self.width, device=self.device)
        if self._has_convolutions:
            # One by one: batched they would be slower, see `convolution`, and a large batch fills the device.
            for slot in slots:
                params = {name: _as_alone(whole[slot]) for name, whole in self.params.items()}
                buffers = {name: whole[slot] for name, whole in self.buffers.items()}
                for inputs, targets in split.batches(EVALUATION_BATCH, self.device):
                    totals[:, slot] += self._measure(params, buffers, inputs, targets) * len(inputs)
        else:
            measure = vmap(self._measure, in_dims=(0, 0, None, None), out_dims=1)
            for inputs, targets in split.batches(EVALUATED_AT_ONCE, self.device):
                with sdpa_kernel(SDPBackend.MATH):
                    totals += measure(self.params, self.buffers, inputs, targets) * len(inputs)
        losses, right = (totals / len(split)).tolist()
        return [(losses[slot], right[slot] if self.task.accuracy else None) for slot in slots]

    def _measure(self, params: Tensors, buffers: Tensors, inputs: Tensor, targets: Tensor) -> Tensor:
        """`[2]`: the loss, and the accuracy or 0."""
        output, loss = self._forward(self._evaluating, params | buffers, inputs, targets)
        return torch.stack([loss, self.task.accuracy(output, targets) if self.task.accuracy else loss * 0])

    def _forward(self, model: nn.Module, values: Tensors, inputs: Tensor, targets: Tensor) -> tuple[Any, Tensor]:
        """Output and loss of one model with these parameters, buffers and masks."""
        call = partial(functional_call, model, values)
        with nullcontext() if self.precision == FULL_PRECISION else BatchedAutocast():
            return forward(call, self.task.loss, inputs, targets, self.precision)

    def _plain_step(
        self,
        params: Tensors,
        buffers: Tensors,
        moments: dict[str, Tensors],
        masks: Tensors,
        inputs: Tensor,
        targets: Tensor,
        index: Tensor,
        rates: Tensor,
    ) -> Tensor:
        def loss_of(params: Tensors, buffers: Tensors, masks: Tensors, inputs: Tensor, targets: Tensor) -> Any:
            # Batch normalization writes to its buffers: to copies, which are handed out.
            buffers = {name: value.clone() for name, value in buffers.items()}
            _, loss = self._forward(self._training, params | buffers | masks, inputs, targets)
            return loss, buffers

        gradients, (losses, written) = vmap(grad_and_value(loss_of, has_aux=True))(
            params, buffers, masks, inputs[index], targets[index]
        )
        for name, value in written.items():
            buffers[name].copy_(value)
        with torch.no_grad():
            for name, param in params.items():
                states = {moment: state[name] for moment, state in moments.items()}
                self._update(param, gradients[name], states, [_like(rate, param) for rate in rates.unbind()])
        return losses.detach()  # type: ignore[no-any-return]

    def _arguments(self, masks: Tensors, index: Tensor, rates: Tensor) -> list[Tensor]:
        return [*self._written, *masks.values(), *self._train, index.contiguous(), rates.contiguous()]

    def _code_for(self, arguments: list[Tensor], masks: Tensors, wait: bool = True) -> Code:
        """The plain step of such arguments as machine code."""
        inputs, targets, index, _ = arguments[-4:]
        size = index.shape[1]
        if size not in self._codes:

            def flat(*tensors: Tensor) -> Tensor:
                left = iter(tensors)
                params, buffers = ({name: next(left) for name in part} for part in (self.params, self.buffers))
                moments = {moment: {name: next(left) for name in state} for moment, state in self.moments.items()}
                given = {name: next(left) for name in masks}
                with sdpa_kernel(SDPBackend.MATH):
                    return self._plain_step(params, buffers, moments, given, *left)

            def sample() -> None:
                params = {name: whole[0].clone().requires_grad_() for name, whole in self.params.items()}
                given = {name: whole[0].clone() for name, whole in (self.buffers | masks).items()}
                with sdpa_kernel(SDPBackend.MATH):
                    _, loss = self._forward(self._training, params | given, inputs[index[0]], targets[index[0]])
                    torch.autograd.grad(loss, list(params.values()), allow_unused=True)

            version = f"{_OWN_CODE} {self._update.__name__}"
            self._codes[size] = machine_code(flat, arguments, sample, version, wait=wait)
        return self._codes[size]

    def _compiled(self) -> Callable[..., Tensor]:
        """The plain step as a CUDA graph."""
        # Each width and batch size is a graph of its own; beyond the limit torch would silently not compile.
        torch._dynamo.config.recompile_limit = 64
        # What stays where it is: the graph would copy anything else, the whole train split too, at every step.
        for whole in [*self._written, *self._train]:
            torch._dynamo.mark_static_address(whole)
        return torch.compile(self._plain_step, dynamic=False, mode="reduce-overhead")

    def _all(self) -> Tensors:
        return self.params | self.buffers


@lru_cache(maxsize=4)
def stack_for(
    task: Task, optimizer: str, width: int, device: torch.device, compiled: bool, precision: str = FULL_PRECISION
) -> Stack:
    """A stack that later carriers of this process use again, so that they need not compile it again.

    Raises:
        CannotFuse: see `Stack`.
    """
    return Stack(task, optimizer, width, device, compiled=compiled, precision=precision)


def rates_of(lr: float, momentum: float, weight_decay: float, step: int) -> tuple[float, ...]:
    """What a slot's update needs at its step (from 1): lr, momentum, weight decay, and AdamW's bias corrections.

    All zero, as an empty slot has them, an update changes no weight.
    """
    return lr, momentum, weight_decay, 1 - momentum**step, math.sqrt(1 - ADAM_SECOND_BETA**step)


def _sgd(param: Tensor, gradient: Tensor, states: Tensors, rates: Sequence[Tensor]) -> None:
    """PyTorch's SGD: g + decay * p, accumulated with the momentum, times the learning rate."""
    lr, momentum, decay, _, _ = rates
    states["momentum"].mul_(momentum).add_(gradient + decay * param)
    param.sub_(lr * states["momentum"])


def _adamw(param: Tensor, gradient: Tensor, states: Tensors, rates: Sequence[Tensor]) -> None:
    """PyTorch's AdamW, the momentum as its first beta."""
    lr, beta, decay, correction, root = rates
    mean, square = states["mean"], states["square"]
    param.mul_(1 - lr * decay)
    mean.add_((1 - beta) * (gradient - mean))
    square.mul_(ADAM_SECOND_BETA).add_((1 - ADAM_SECOND_BETA) * gradient * gradient)
    # An empty slot has a correction of 0, whose quotient must not reach its weights.
    size = torch.where(correction > 0, lr / correction, torch.zeros_like(lr))
    param.sub_(size * mean / (square.sqrt() / root.clamp(min=ADAM_EPSILON) + ADAM_EPSILON))


def _slot_of(wholes: Tensors, slot: int) -> Tensors:
    return {name: whole[slot].clone() for name, whole in wholes.items()}


def _repeated(value: Tensor, width: int) -> Tensor:
    return value.unsqueeze(0).repeat(width, *[1] * value.dim())


def _as_alone(value: Tensor) -> Tensor:
    """Channels last, as `searcher.training.loop.Run` has it."""
    return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value


def _like(rate: Tensor, whole: Tensor) -> Tensor:
    """`[width]` as `[width, 1, ...]`, of as many dimensions as the other."""
    return rate.view(-1, *[1] * (whole.dim() - 1))


__all__ = ["CannotFuse", "Stack", "rates_of", "stack_for"]
