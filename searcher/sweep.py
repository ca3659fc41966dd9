"""The sweep file: strict models, and one clear line for each fault in it.

    sweep.yaml ──▶ load_sweep ──▶ Sweep: name, task, epochs, seeds, strategies, stop, resources, results

Nothing is guessed: `'3'` is not 3, `true` is not 1, and a key that is not known is an error that names the
nearest one. A task is checked for its form only; importing it is the training room's part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from searcher._yaml import read_yaml, write_yaml
from searcher.errors import ConfigurationError, SweepError
from searcher.sweep_edit import changed_paths, set_field
from searcher.sweep_entry import StrategyEntry, labels_differ
from searcher.sweep_errors import lines_of, shown
from searcher.sweep_fields import (
    Count,
    CountFromZero,
    Cpus,
    FolderName,
    FuseMode,
    Gpus,
    Items,
    Model,
    Seconds,
    Seed,
    TaskName,
    Text,
    TrackerNames,
    Values,
    wrong,
)
from searcher.sweep_strategies import GridSpec, OneCycleSpec, RandomSpec

__all__ = [
    "GridSpec",
    "OneCycleSpec",
    "RandomSpec",
    "ResourcesSpec",
    "StopSpec",
    "StrategyEntry",
    "Sweep",
    "load_sweep",
    "parse_sweep",
]


def _is_rule(value: Any) -> Any:
    # Late: whoever only builds sweeps has no need of the rules.
    from searcher.algorithms.stopping import rule_from

    name = value.get("rule", "default") if isinstance(value, Mapping) else value
    if not isinstance(name, str):
        raise wrong("must be default, off, the name of a rule, or {rule: NAME, ...} with its parameters")
    try:
        rule_from(value)
    except ConfigurationError as error:
        raise wrong(str(error).removeprefix("stop.overfit: ")) from error
    return value


class StopSpec(Model):
    """When to stop a trial early: `default`, `off`, or a rule by name with its parameters."""

    overfit: Annotated[Any, AfterValidator(_is_rule)] = "default"


class ResourcesSpec(Model):
    """What one carrier occupies. `memory` is in bytes; `max_concurrent` bounds the carriers at one time."""

    cpu: Cpus = 1.0
    gpu: Gpus = 0.0
    memory: Count | None = None
    accelerator_type: Text | None = None
    max_concurrent: Count | None = None


class Sweep(Model):
    """One file of intent: a task, the strategies to compare, the stopping rule, the resources."""

    name: FolderName = Field(description="the sweep's name, which becomes a folder's")
    task: TaskName = Field(description="a built-in task, my_package.my_module:make_task or ./my_task.py:make_task")
    epochs: Count = Field(description="the length of a full training run, a whole number from 1")
    seeds: Values[Seed] = Field(description="a list of whole numbers from 0")
    strategies: Annotated[Items[StrategyEntry], AfterValidator(labels_differ)] = Field(
        description="a list of strategies, such as - grid: {lr: [0.1, 0.01], ...}"
    )
    stop: StopSpec = StopSpec.model_construct(overfit="default")
    fuse: FuseMode = "auto"
    resources: ResourcesSpec = ResourcesSpec()
    results: Text = "results"
    max_failures: CountFromZero = 3
    checkpoint_every: Seconds = 60.0
    callbacks: TrackerNames = ()

    def to_yaml(self) -> str:
        """The sweep with every default written out, as a sweep file."""
        return write_yaml(self._plain())

    def differences(self, other: Sweep) -> list[str]:
        """The fields in which the other sweep would measure something else; none: it can resume this one.

        Resources, the place of the results, what is done about failures, and who is told may differ: they change
        no result.
        """
        free = ("resources", "results", "max_failures", "checkpoint_every", "callbacks")
        mine, theirs = ({k: v for k, v in sweep._plain().items() if k not in free} for sweep in (self, other))
        return changed_paths(mine, theirs)

    def _plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return plain


def load_sweep(path: str | Path, overrides: Sequence[str] = ()) -> Sweep:
    """Reads a sweep file.

    Args:
        overrides: `PATH=VALUE` each, such as `strategies.0.grid.momentum=[0.8,0.9]`, VALUE in YAML.

    Raises:
        SweepError: one line for each fault.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise SweepError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise SweepError(f"{path}: is a folder, not a sweep file") from None
    except OSError as error:
        raise SweepError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SweepError(f"{path}: byte {error.start} is not UTF-8: {error.object[error.start]:#04x}") from None
    try:
        data = read_yaml(text)
    except ValueError as error:
        raise SweepError(f"{path}: {error}") from error
    return _build(data, overrides)


def parse_sweep(source: str | Mapping[str, Any], overrides: Sequence[str] = ()) -> Sweep:
    """Builds a sweep from the text of a sweep file, or from what such a text holds; else as `load_sweep`."""
    if not isinstance(source, str):
        return _build(source, overrides)
    try:
        data = read_yaml(source)
    except ValueError as error:
        raise SweepError(str(error)) from error
    return _build(data, overrides)


def _build(data: Any, overrides: Sequence[str]) -> Sweep:
    if not isinstance(data, Mapping):
        raise SweepError(f"the sweep: got {shown(data)}; must be a mapping of keys to values")
    for override in overrides:
        data = set_field(data, override)
    try:
        return Sweep.model_validate(dict(data))
    except ValidationError as error:
        raise SweepError("\n".join(lines_of(error, Sweep, data))) from error
