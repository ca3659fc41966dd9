"""The checkpoints of a sweep's running trials, on the same storage as its results."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from searcher.results.files import Files
from searcher.results.layout import checkpoints_folder
from searcher.results.storage import open_files


@dataclass(frozen=True)
class CheckpointVault:
    """Keeps one checkpoint for each trial, from whatever node trains it; a `training.checkpoints.Vault`.

    It is sent to the nodes, so it holds no connection and no key: each process connects by its own means. A
    results folder that is local to each node keeps checkpoints as well, but only that node finds them again.
    What storage refuses is raised as OSError or ArrowException.

    Attributes:
        root: the results folder or its address, absolute.
        sweep: its name.
        run: tells this sweep from an earlier one of the same name whose checkpoints may linger on some node.
        suffix: of the files' names.
    """

    root: str
    sweep: str
    run: str
    suffix: str = "pt"

    def load(self, trial_id: str) -> bytes | None:
        try:
            return self._files.read_bytes(self._path(trial_id))
        except FileNotFoundError:
            return None

    def save(self, trial_id: str, content: bytes) -> None:
        self._files.write(self._path(trial_id), pa.py_buffer(content))

    def remove(self, trial_id: str) -> None:
        self._files.remove(self._path(trial_id))

    @property
    def _files(self) -> Files:
        return _connected(self.root)

    def _path(self, trial_id: str) -> str:
        return f"{checkpoints_folder(self.sweep)}/{self.run}/{trial_id}.{self.suffix}"


def vault_of(root: str | Path, sweep: str, created: float) -> CheckpointVault:
    """The vault of a sweep that was begun at `created`, in seconds since 1970.

    Named by whole microseconds, as the store keeps that time: a resume that reads it there finds the same vault.
    """
    files = open_files(root)
    absolute = files.root if files.root.startswith("/") else str(root)
    return CheckpointVault(absolute, sweep, str(round(created * 1e6)))


@lru_cache(maxsize=4)
def _connected(root: str) -> Files:
    return open_files(root)
