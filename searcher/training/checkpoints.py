"""Checkpoints: what a trial needs to go on in another process as if nothing had happened.

A checkpoint is one file of tensors and plain values, read with `torch.load(weights_only=True)`, so that reading
one runs no code. It holds every epoch measured so far: the trial that goes on emits them again, and the store
keeps each once, so that an epoch whose report died with its process is not missing. The stopping rule's state
and the trial's summary are folds over those epochs and are computed anew.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from searcher.records import EpochRecord

CHECKPOINT_EVERY = 60.0
"""Seconds between two checkpoints of a trial; a shorter trial makes none."""

LARGEST_SHARE = 0.05
"""The largest fraction of a process's time that writing checkpoints may take; large models wait longer."""

RETRY_SECONDS = 1.0
"""Between two tries to read a checkpoint."""

PATIENCE_SECONDS = 20.0
"""So long a vault may refuse a process before its trials that were begun start anew."""

UNASKED_SECONDS = 60.0
"""So long the process then asks it for none, before its patience begins again."""

log = logging.getLogger(__name__)


class Vault(Protocol):
    """Where checkpoints are kept: one for each trial, in a place that outlives the process and its node."""

    def load(self, trial_id: str) -> bytes | None:
        """What was saved last, or None."""

    def save(self, trial_id: str, content: bytes) -> None:
        """Replaces what was saved before at once and as a whole."""

    def remove(self, trial_id: str) -> None:
        """Removes what was saved, if anything was."""


_refusing: dict[str, float] = {}
"""By the `repr` of a vault, the same in every carrier of a sweep: since when it has refused this process."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trial after a whole epoch.

    Attributes:
        model: its `state_dict`.
        optimizer: its moments by their name and the parameter's, see `searcher.training.stack`; a trial may go on
            in a batch or alone, however it was trained before. Of one alone without what had no gradient yet, and
            of AdamW with `step`, how many updates each parameter has had.
        best: the weights of the best epoch so far; empty, or those it began with, if no test loss was finite.
        order: the state of the generator that shuffles the samples.
        random, random_cuda: the states of torch's own generators, on the CPU and on the trial's GPU.
        epochs: everything measured so far, in order; at least one.
        started: when the trial was begun, in seconds since 1970.
    """

    model: Mapping[str, Any]
    optimizer: Mapping[str, Mapping[str, Tensor]]
    best: Mapping[str, Tensor]
    order: Tensor
    random: Tensor
    random_cuda: Tensor | None
    epochs: list[EpochRecord]
    started: float

    def encode(self) -> bytes:
        buffer = io.BytesIO()
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        torch.save(plain | {"epochs": [asdict(epoch) for epoch in self.epochs]}, buffer)
        return buffer.getvalue()

    @classmethod
    def decode(cls, content: bytes) -> Checkpoint:
        # To the CPU: `load_state_dict` moves each tensor to where its parameter is.
        plain = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return cls(**plain | {"epochs": [EpochRecord(**epoch) for epoch in plain["epochs"]]})


@dataclass(kw_only=True)
class Checkpoints:
    """Saves and finds the checkpoints of the trials that one process trains. No vault: it does nothing.

    A vault that fails never fails a trial: the trial goes on, and would have to go back further.

    Attributes:
        every: seconds between two checkpoints of a trial.
        begun: the trials that a process which is no more may have trained; only they, and what this one saved, are
            looked up.
        urgent: True when the process is about to be ended: every trial then saves after its next epoch.
    """

    vault: Vault | None = None
    every: float = CHECKPOINT_EVERY
    begun: frozenset[str] = frozenset()
    urgent: Callable[[], bool] = lambda: False
    _due: dict[str, float] = field(default_factory=dict)
    _held: set[str] = field(default_factory=set)

    def find(self, trial_id: str) -> Checkpoint | None:
        """The trial's checkpoint; None if it has none that can be read. Its time to the next starts here."""
        self._due[trial_id] = time.monotonic() + self.every
        if self.vault is None or not (trial_id in self.begun or trial_id in self._held):
            return None
        try:
            content = _load(self.vault, trial_id)
            if content is None:
                return None
            self._held.add(trial_id)
            return Checkpoint.decode(content)
        except Exception as error:  # whatever is wrong with it, the trial can be trained from its start
            log.warning("trial %s starts anew, its checkpoint cannot be read: %s", trial_id, error)
            return None

    def offer(self, trial_id: str, make: Callable[[], Checkpoint], together: int = 1) -> None:
        """Saves what `make` gives if it is time. Called after each epoch.

        Args:
            together: so many trials are trained in one batch, and wait for each other's.
        """
        if self.vault is None or (time.monotonic() < self._due.get(trial_id, 0) and not self.urgent()):
            return
        began = time.monotonic()
        try:
            self.vault.save(trial_id, make().encode())
            self._held.add(trial_id)
        except Exception as error:  # a full disk, an object store that refuses
            log.warning("trial %s has no new checkpoint: %s", trial_id, error)
        now = time.monotonic()
        self._due[trial_id] = now + max(self.every, together * (now - began) / LARGEST_SHARE)

    def drop(self, trial_id: str, after: float = 0.0) -> None:
        """Removes the checkpoint of a trial that has ended; what is left over goes with the sweep's end.

        Args:
            after: so many seconds from now, if this process is still there then.
        """
        self._due.pop(trial_id, None)
        if self.vault is None or trial_id not in self._held:
            return
        self._held.discard(trial_id)
        if after:
            timer = threading.Timer(after, _remove, [self.vault, trial_id])
            timer.daemon = True
            timer.start()
        else:
            _remove(self.vault, trial_id)


def _load(vault: Vault, trial_id: str) -> bytes | None:
    """What is there. A vault that refuses for a while must not cost a trial all that it has behind it, and one that
    is out of reach is waited for once, and not by one trial after another."""
    key, now = repr(vault), time.monotonic()
    if now > _refusing.get(key, now) + PATIENCE_SECONDS + UNASKED_SECONDS:
        del _refusing[key]
    if now > _refusing.get(key, now) + PATIENCE_SECONDS:
        raise TimeoutError("its vault is out of reach")
    while True:
        try:
            content = vault.load(trial_id)
        except Exception:
            left = _refusing.setdefault(key, time.monotonic()) + PATIENCE_SECONDS - time.monotonic()
            if left <= 0:
                raise
            time.sleep(min(RETRY_SECONDS, left))
        else:
            _refusing.pop(key, None)
            return content


def _remove(vault: Vault, trial_id: str) -> None:
    try:
        vault.remove(trial_id)
    except Exception as error:
        log.warning("the checkpoint of trial %s cannot be removed: %s", trial_id, error)
