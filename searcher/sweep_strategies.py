"""What a sweep file says of each strategy: the models of `grid`, `random` and `one_cycle`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from searcher.algorithms.schedules import complete
from searcher.algorithms.strategies.random import Choice, Distribution, LogUniform, Uniform, check_trials
from searcher.errors import ConfigurationError
from searcher.records import FULL_PRECISION, Configuration
from searcher.sweep_errors import shown
from searcher.sweep_fields import (
    BatchSize,
    BatchSizeOrAuto,
    Chosen,
    Count,
    Drawn,
    FolderName,
    Items,
    LearningRate,
    Model,
    Momentum,
    MomentumScheduleName,
    Number,
    OneOrMore,
    OptimizerName,
    Positive,
    PrecisionName,
    RampName,
    ScheduleName,
    WeightDecay,
    as_pair,
    rejected,
)

_OF_THE_STRATEGY = ("name", "epochs")


class _Scheduled(Model):
    """What grid and random search share: hyper-parameters that all of their configurations have.

    `epochs` is the length of their runs, the sweep's own where it is not given.
    """

    name: FolderName | None = None
    epochs: Count | None = None
    schedule: ScheduleName = Field(description="the name of a schedule, such as step, cosine or one_cycle")
    optimizer: OptimizerName = "sgd"
    precision: PrecisionName = FULL_PRECISION
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
        return {name: getattr(self, name) for name in _Scheduled.model_fields if name not in _OF_THE_STRATEGY}


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


class BudgetSpec(Model):
    """What the one-cycle method may spend: exactly one of the four; money needs the price of a device's hour."""

    epochs: Positive | None = None
    samples: Positive | None = None
    seconds: Positive | None = None
    money: Positive | None = None
    price_per_hour: Positive | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = self.model_dump(exclude_none=True)
        if len(given.keys() - {"price_per_hour"}) != 1:
            raise rejected(f": got {shown(given)}; must have exactly one of epochs, samples, seconds, money")
        if (self.money is None) != (self.price_per_hour is None):
            raise rejected(f": got {shown(given)}; money and price_per_hour (of one device) go together")
        return self

    @property
    def unit(self) -> Literal["epochs", "samples", "seconds", "money"]:
        """The one that is given."""
        units: tuple[Literal["epochs", "samples", "seconds", "money"], ...] = (
            "epochs",
            "samples",
            "seconds",
            "money",
        )
        return next(unit for unit in units if getattr(self, unit) is not None)

    @property
    def amount(self) -> float:
        """How much of it."""
        amount: float = getattr(self, self.unit)
        return amount


class OneCycleSpec(Model):
    """The one-cycle method finds the learning rate itself; `weight_decay` lists what its range tests compare.

    `momentum` is [low, high]; `batch_size` is found by a probe where it is `auto`; `epochs` is the longest that
    a cycle may be; where it is not given two thirds of the sweep's own, which what the budget leaves may stretch up
    to the whole. `budget` bounds all trials together, at 3.5 of the longest cycles (not stretched) and 2 more for
    each further seed where it is not given.
    """

    name: FolderName | None = None
    weight_decay: OneOrMore[WeightDecay] = (1e-3, 1e-4, 1e-5, 0.0)
    momentum: Annotated[tuple[Momentum, Momentum], BeforeValidator(as_pair)] = (0.85, 0.95)
    batch_size: BatchSizeOrAuto = "auto"
    div_factor: Number = 10.0
    final_div_factor: Number | None = None
    annihilation: Number | None = None
    optimizer: OptimizerName = "sgd"
    precision: PrecisionName = FULL_PRECISION
    momentum_schedule: MomentumScheduleName = "cyclical"
    ramp: RampName = "exponential"
    epochs: Count | None = None
    budget: BudgetSpec | None = None

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
