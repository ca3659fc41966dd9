"""The sweep file: strict models, and one clear line for each fault in it.

    sweep.yaml ──▶ load_sweep ──▶ Sweep: name, task, epochs, seeds, strategies, stop, resources, results

Nothing is guessed: `'3'` is not 3, `true` is not 1, and a key that is not known is an error that names the
nearest one. A task is checked for its form only; importing it is the training room's part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from searcher._yaml import read_yaml, write_yaml
from searcher.algorithms.schedules import complete
from searcher.algorithms.strategies.random import Choice, Distribution, LogUniform, Uniform, check_trials
from searcher.errors import ConfigurationError, SweepError
from searcher.records import Configuration
from searcher.sweep_edit import changed_paths, set_field
from searcher.sweep_errors import lines_of, shown
from searcher.sweep_fields import (
    BatchSize,
    Chosen,
    Count,
    Cpus,
    Drawn,
    FolderName,
    Gpus,
    Items,
    LearningRate,
    Model,
    Momentum,
    MomentumScheduleName,
    Number,
    OneOrMore,
    OptimizerName,
    ScheduleName,
    Seed,
    TaskName,
    Text,
    Values,
    WeightDecay,
    as_pair,
    rejected,
    wrong,
)


class _Scheduled(Model):
    """What grid and random search share: hyper-parameters that all of their configurations have."""

    name: FolderName | None = None
    schedule: ScheduleName = Field(description="the name of a schedule, such as step, cosine or one_cycle")
    optimizer: OptimizerName = "sgd"
    momentum_schedule: MomentumScheduleName = "constant"
    momentum_low: Momentum | None = None
    div_factor: Number | None = None
    final_div_factor: Number | None = None
    annihilation: Number | None = None
    cycles: Count | None = None
    gamma: Number | None = None
    milestones: Items[Number] | None = None

    def fixed(self) -> dict[str, Any]:
        """The hyper-parameters that all configurations share, by name."""
        return {name: getattr(self, name) for name in _Scheduled.model_fields if name != "name"}


class GridSpec(_Scheduled):
    """Every combination of the listed values; a single value is a list of one."""

    lr: OneOrMore[LearningRate] = Field(description="learning rates, numbers greater than 0")
    weight_decay: OneOrMore[WeightDecay] = (0.0,)
    momentum: OneOrMore[Momentum] = (0.9,)
    batch_size: OneOrMore[BatchSize] = Field(description="batch sizes, whole numbers from 1")

    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The values of each axis. Batch size varies slowest: neighbours can be trained together."""
        return {name: getattr(self, name) for name in ("batch_size", "momentum", "weight_decay", "lr")}

    @model_validator(mode="after")
    def _can_be_trained(self) -> Self:
        for momentum in sorted({min(self.momentum), max(self.momentum)}):
            _check_configuration(momentum=momentum, **self.fixed())
        return self


class RandomSpec(_Scheduled):
    """`trials` draws: each hyper-parameter from its distribution, or one value for all."""

    trials: Count = Field(description="how many configurations to draw, a whole number from 1")
    lr: Drawn[LearningRate] = Field(description="a learning rate, such as {loguniform: [0.001, 1.0]}")
    weight_decay: Drawn[WeightDecay] = Field(default=0.0, validate_default=True)
    momentum: Drawn[Momentum] = Field(default=0.9, validate_default=True)
    batch_size: Chosen[BatchSize] = Field(description="a batch size, such as {choice: [32, 128]}")

    def distributions(self) -> dict[str, Distribution]:
        """For each hyper-parameter its distribution."""
        drawn = ("lr", "weight_decay", "momentum", "batch_size")
        return {name: getattr(self, name).distribution() for name in drawn}

    @model_validator(mode="after")
    def _can_be_trained(self) -> Self:
        for momentum in _extremes(self.momentum.distribution()):
            _check_configuration(momentum=momentum, **self.fixed())
        try:
            check_trials(self.trials, self.distributions())
        except ConfigurationError as error:
            raise rejected(f".{error}") from error
        return self


class OneCycleSpec(Model):
    """The one-cycle method finds the learning rate itself; `weight_decay` lists what its range tests compare.

    `momentum` is [low, high]; `epochs` is the length of its cycle, the sweep's own where it is not given.
    """

    name: FolderName | None = None
    weight_decay: OneOrMore[WeightDecay] = (1e-3, 1e-4, 1e-5, 0.0)
    momentum: Annotated[tuple[Momentum, Momentum], BeforeValidator(as_pair)] = (0.85, 0.95)
    batch_size: BatchSize = Field(description="a batch size, a whole number from 1")
    div_factor: Number = 10.0
    final_div_factor: Number | None = None
    annihilation: Number | None = None
    optimizer: OptimizerName = "sgd"
    momentum_schedule: MomentumScheduleName = "cyclical"
    epochs: Count | None = None

    @model_validator(mode="after")
    def _can_be_trained(self) -> Self:
        low, high = self.momentum
        if low > high:
            raise rejected(f".momentum: got {shown([low, high])}; must be [low, high], low not above high")
        _check_configuration(
            schedule="one_cycle",
            momentum=high,
            momentum_low=None if self.momentum_schedule == "constant" else low,
            momentum_schedule=self.momentum_schedule,
            div_factor=self.div_factor,
            final_div_factor=self.final_div_factor,
            annihilation=self.annihilation,
        )
        return self


Spec = GridSpec | RandomSpec | OneCycleSpec


class StrategyEntry(Model):
    """One strategy of the sweep: a mapping of its kind to what it needs to know."""

    grid: GridSpec | None = None
    random: RandomSpec | None = None
    one_cycle: OneCycleSpec | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = list(self._given())
        if len(given) != 1:
            empty = [f".{kind}: got nothing" for kind in sorted(self.model_fields_set - set(given))]
            fault = empty[0] if empty else f": got {shown(given)}"
            kinds = ", ".join(StrategyEntry.model_fields)
            raise rejected(f"{fault}; must have exactly one of {kinds}, with its values")
        return self

    def _given(self) -> dict[str, Spec]:
        specs = {kind: getattr(self, kind) for kind in StrategyEntry.model_fields}
        return {kind: spec for kind, spec in specs.items() if spec is not None}

    @property
    def kind(self) -> str:
        """`grid`, `random` or `one_cycle`."""
        return next(iter(self._given()))

    @property
    def spec(self) -> Spec:
        """What the strategy of this kind needs to know."""
        return self._given()[self.kind]

    @property
    def label(self) -> str:
        """The strategy's name in this sweep: that of its spec, or its kind."""
        return self.spec.name or self.kind


def _labels_differ(entries: tuple[StrategyEntry, ...]) -> tuple[StrategyEntry, ...]:
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        if entry.label in seen:
            raise rejected(
                f"[{index}].{entry.kind}.name: got {entry.label!r}; "
                "a strategy before it has this name, so give it another one"
            )
        seen.add(entry.label)
    return entries


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
    task: TaskName = Field(
        description="a built-in task, my_package.my_module:make_task or ./my_task.py:make_task"
    )
    epochs: Count = Field(description="the length of a full training run, a whole number from 1")
    seeds: Values[Seed] = Field(description="a list of whole numbers from 0")
    strategies: Annotated[Items[StrategyEntry], AfterValidator(_labels_differ)] = Field(
        description="a list of strategies, such as - grid: {lr: [0.1, 0.01], ...}"
    )
    stop: StopSpec = StopSpec.model_construct(overfit="default")
    resources: ResourcesSpec = ResourcesSpec()
    results: Text = "results"

    def to_yaml(self) -> str:
        """The sweep with every default written out, as a sweep file."""
        return write_yaml(self._plain())

    def differences(self, other: Sweep) -> list[str]:
        """The fields in which the other sweep would measure something else; none: it can resume this one.

        Resources and the place of the results may differ: they change no result.
        """
        free = ("resources", "results")
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
        raise SweepError(
            f"{path}: byte {error.start} is not UTF-8: {error.object[error.start]:#04x}"
        ) from None
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


def _check_configuration(**values: Any) -> None:
    """Asks the schedules whether they can use these values; those not given cannot matter to them."""
    example = {"lr": 1.0, "weight_decay": 0.0, "batch_size": 1}
    try:
        complete(Configuration(**(example | values)))
    except ConfigurationError as error:
        raise rejected(f".{error}") from error


def _extremes(distribution: Distribution) -> tuple[float, float]:
    match distribution:
        case Choice(values):
            return min(values), max(values)
        case Uniform(low, high) | LogUniform(low, high):
            return low, high
