"""Tasks: what is trained. The built-in ones by name, a user's own by reference.

A user's task is a function without arguments that returns a `Task`, named in the sweep file as
`my_package.my_module:make_task` or `./my_task.py:make_task`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from searcher.errors import SearcherError, TaskError, nearest
from searcher.records import TaskInfo
from searcher.training.data import LoadedSplit, Split, TensorSplit, as_split
from searcher.training.reference import BUILT_IN, file_of, parts_of

Measure = Callable[[Tensor, Tensor], Tensor]


def classification_accuracy(output: Tensor, target: Tensor) -> Tensor:
    """The fraction of samples whose largest output `[n, classes, ...]` is at the target's index `[n, ...]`."""
    return (output.argmax(1) == target).float().mean()


class Task:
    """A model factory, three splits and a loss.

    Args:
        model: makes a fresh model; called under the trial's seed, so initialize it with torch's generator.
        train: the split that is fitted.
        test: the split whose loss is watched, and by which configurations are chosen.
        holdout: the split that is evaluated once per finished trial and influences no choice.
        loss: `(output, target) -> scalar`, the mean over the samples of a batch.
        accuracy: `(output, target) -> scalar` in [0, 1], the mean over a batch; None for a regression.
        workers: processes of the data loader, for splits that are data sets.

    Raises:
        TaskError: a split is not a pair of equally long arrays or a data set, or the targets are floating
            while an accuracy of classes was asked for.
    """

    def __init__(
        self,
        model: Callable[[], nn.Module],
        train: Any,
        test: Any,
        holdout: Any,
        loss: Measure,
        accuracy: Measure | None = classification_accuracy,
        workers: int = 0,
    ) -> None:
        for name, value in {"model": model, "loss": loss}.items():
            if not callable(value) or (isinstance(value, nn.Module) and name == "model"):
                raise TaskError(f"{name}: got {type(value).__name__}; must be a function that {_MEANING[name]}")
        self.model = model
        self.loss = loss
        self.accuracy = accuracy
        self.train: Split = as_split(train, "train", workers)
        self.test: Split = as_split(test, "test", workers)
        self.holdout: Split = as_split(holdout, "holdout", workers)
        self._digest = ""
        targets = self.train.targets if isinstance(self.train, TensorSplit) else None
        if accuracy is classification_accuracy and targets is not None and targets.is_floating_point():
            raise TaskError(
                f"accuracy: the targets are {targets.dtype}, not class indices; "
                "pass accuracy=None for a regression, or a function of your own"
            )

    def info(self, name: str) -> TaskInfo:
        return TaskInfo(name, len(self.train), len(self.test), len(self.holdout))

    def digest(self) -> str:
        """A hash of the three splits: sweeps may be compared only where it is the same."""
        if not self._digest:
            text = " ".join(split.digest() for split in (self.train, self.test, self.holdout))
            self._digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._digest


def load_task(reference: str, folder: str | Path = ".") -> Task:
    """Makes the task that a reference names; the same task object for the same reference in one process.

    Args:
        reference: a built-in name, `package.module:function`, or `path/to/file.py:function`.
        folder: what a relative path starts from, and where a module is looked for first.

    Raises:
        TaskError: nothing of this name, it does not import, or it does not return a `Task`.
    """
    return _load(reference, str(Path(folder).resolve()))


@lru_cache(maxsize=8)
def _load(reference: str, folder: str) -> Task:
    place, attribute = parts_of(reference)
    module = _import(place, folder, reference)
    make = getattr(module, attribute, None)
    if not callable(make):
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise TaskError(f"task: '{reference}': {place} has no function '{attribute}'.{nearest(attribute, names)}")
    try:
        task = make()
    except SearcherError as error:
        raise TaskError(f"task: '{reference}': {error}") from error
    except Exception as error:
        raise TaskError(f"task: '{reference}': {attribute}() failed: {told(error)}") from error
    if not isinstance(task, Task):
        raise TaskError(
            f"task: '{reference}': {attribute}() returned {type(task).__name__}; must be a searcher.Task"
        )
    return task


def _import(place: str, folder: str, reference: str) -> ModuleType:
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = file_of(reference, place, Path(folder))
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
        return _import_file(path)
    except TaskError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise TaskError(f"task: '{reference}' does not import: {told(error)}") from error


def _import_file(path: Path) -> ModuleType:
    name = f"searcher_task_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs, as the import system does: dataclasses and pickling look a module up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def told(error: BaseException) -> str:
    """An exception in one line, with the place in the user's code."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text}{place}"


_MEANING = {"model": "makes a fresh model, such as `lambda: MyNet()`", "loss": "takes (output, target)"}

__all__ = ["BUILT_IN", "LoadedSplit", "Task", "TensorSplit", "classification_accuracy", "load_task", "told"]
