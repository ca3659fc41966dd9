"""The values that a sweep file may hold: each type refuses what is wrong, with words for what would be right.

Every fault raises one `PydanticCustomError`: of type `value` (the words follow "path: got VALUE;") or of type
`rejected` (the words follow the path as they are). `sweep_errors` makes the lines of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from searcher.algorithms.schedules import MOMENTUM_SCHEDULES, SCHEDULES
from searcher.algorithms.strategies.random import Choice, Distribution, LogUniform, Uniform
from searcher.errors import nearest
from searcher.records import PRECISIONS
from searcher.sweep_errors import shown

T = TypeVar("T")
N = TypeVar("N", bound=float)
_TASK = re.compile(r"[A-Za-z_]\w*|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*|[^:]+\.py:[A-Za-z_]\w*", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class Model(BaseModel):
    """Base of the sweep's models: unknown keys refused, nothing converted, not changed once built."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def wrong(words: str) -> PydanticCustomError:
    """A value that is not right: `words` say what would be."""
    return PydanticCustomError("value", "{words}", {"words": words})


def rejected(message: str) -> PydanticCustomError:
    """A fault that has its own words: they follow the field's path (start with `: `, `.key: ` or `[0]: `)."""
    return PydanticCustomError("rejected", "{message}", {"message": message})


def _number(words: str, holds: Callable[[float], bool] = lambda _: True) -> BeforeValidator:
    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong(words)
        try:
            number = float(value)
        except OverflowError:
            raise wrong(words) from None
        if not math.isfinite(number) or not holds(number):
            raise wrong(words)
        return number

    return BeforeValidator(check)


def _whole(words: str, holds: Callable[[int], bool]) -> BeforeValidator:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not holds(value):
            raise wrong(words)
        return value

    return BeforeValidator(check)


def _batch_size_or_auto(value: object) -> object:
    if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise wrong("a batch size must be a whole number from 1, or auto")
    return value


def _text(words: str, pattern: re.Pattern[str]) -> BeforeValidator:
    def check(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise wrong(words)
        return value

    return BeforeValidator(check)


def _one_of(known: Sequence[str]) -> BeforeValidator:
    def check(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise wrong(f"must be one of {', '.join(known)}.{nearest(str(value), known)}")
        return value

    return BeforeValidator(check)


LearningRate = Annotated[float, _number("a learning rate must be greater than 0", lambda value: value > 0)]
WeightDecay = Annotated[float, _number("a weight decay must be at least 0", lambda value: value >= 0)]
Momentum = Annotated[float, _number("a momentum must be at least 0 and less than 1", lambda value: 0 <= value < 1)]
BatchSize = Annotated[int, _whole("a batch size must be a whole number from 1", lambda value: value >= 1)]
BatchSizeOrAuto = Annotated[int | Literal["auto"], BeforeValidator(_batch_size_or_auto)]
Count = Annotated[int, _whole("must be a whole number from 1", lambda value: value >= 1)]
CountFromZero = Annotated[int, _whole("must be a whole number from 0", lambda value: value >= 0)]
Seconds = Annotated[float, _number("must be a number of seconds greater than 0", lambda value: value > 0)]
Seed = Annotated[int, _whole("a seed must be a whole number from 0 to 2**32 - 1", lambda value: 0 <= value < 2**32)]
Number = Annotated[float, _number("must be a finite number")]
Positive = Annotated[float, _number("must be a number greater than 0", lambda value: value > 0)]
Cpus = Positive
Gpus = Annotated[
    float,
    _number(
        "must be a share of one from 0 to 1, or a whole number",
        lambda v: 0 <= v <= 1 or (v > 1 and v == int(v)),
    ),
]
Text = Annotated[str, _text("must be a text that is not empty", re.compile(r".*\S.*"))]
FolderName = Annotated[
    str, _text("a name is made of up to 100 letters, digits, '-', '_' and '.', not '.' or '-' first", _NAME)
]
TaskName = Annotated[
    str, _text("a task is a built-in name, my_package.my_module:make_task or ./my_task.py:make_task", _TASK)
]
# The ramps of the range test are no way to train a network.
ScheduleName = Annotated[str, _one_of([name for name in SCHEDULES if not name.startswith("range_")])]
MomentumScheduleName = Annotated[str, _one_of(MOMENTUM_SCHEDULES)]
RampName = Annotated[str, _one_of(["exponential", "linear"])]
FuseMode = Annotated[str, _one_of(["auto", "compiled", "off"])]
"""Whether trials may be trained in one batch: where that pays, or never."""
OptimizerName = Annotated[str, _one_of(["sgd", "adamw"])]
PrecisionName = Annotated[str, _one_of(PRECISIONS)]
Pruner = Annotated[Literal["none", "median"], _one_of(["none", "median"])]
Factor = Annotated[float, _number("must be a number greater than 1", lambda value: value > 1)]
WholeFactor = Annotated[int, _whole("must be a whole number from 2", lambda value: value >= 2)]


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _as_tuple_of_one(value: object) -> object:
    return (value,) if not isinstance(value, (list, tuple, Mapping)) and value is not None else _as_tuple(value)


def as_pair(value: object) -> object:
    """A list of two as a tuple; anything else is refused."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise wrong("must be a list of two, [low, high]")
    return tuple(value)


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise wrong("no value may stand in the list twice")
    return values


def _rising(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] >= bounds[1]:
        raise wrong("must be [low, high] with low less than high")
    return bounds


Items = Annotated[tuple[T, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
"""A list that is not empty."""
Values = Annotated[tuple[T, ...], BeforeValidator(_as_tuple), Field(min_length=1), AfterValidator(_distinct)]
"""A list that is not empty, of values that differ."""
OneOrMore = Annotated[
    tuple[T, ...], BeforeValidator(_as_tuple_of_one), Field(min_length=1), AfterValidator(_distinct)
]
"""As `Values`, or a single value, which is a list of one."""
TrackerNames = Annotated[
    tuple[Annotated[str, _one_of(["tensorboard", "mlflow", "wandb"])], ...],
    BeforeValidator(_as_tuple),
    AfterValidator(_distinct),
]
"""Experiment trackers that are told of every trial; none: an empty list."""
Range = Annotated[tuple[N, N], BeforeValidator(as_pair), AfterValidator(_rising)]
"""`[low, high]`, low less than high."""


class Chosen(Model, Generic[T]):
    """`{choice: [...]}`, each value as likely as another; or a single value, which is a choice of one."""

    choice: Values[T] | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_value_is_a_choice(cls, value: object) -> object:
        if isinstance(value, (Mapping, Model)):
            return value
        if value is None or isinstance(value, (list, tuple)):
            raise wrong("must be one value, or {choice: [...]}")
        return {"choice": [value]}

    @model_validator(mode="after")
    def _is_given(self) -> Self:
        if self.choice is None:
            raise rejected(": got {}; must be one value, or {choice: [...]}")
        return self

    def distribution(self) -> Distribution:
        """The distribution that it stands for."""
        return Choice(self.choice or ())


class Drawn(Model, Generic[N]):
    """`{loguniform: [low, high]}`, `{uniform: [low, high]}` or `{choice: [...]}`; or a single value."""

    loguniform: Range[N] | None = None
    uniform: Range[N] | None = None
    choice: Values[N] | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_value_is_a_choice(cls, value: object) -> object:
        if isinstance(value, (Mapping, Model)):
            return value
        if value is None or isinstance(value, (list, tuple)):
            raise wrong(
                "must be one value, or {loguniform: [low, high]}, {uniform: [low, high]} or {choice: [...]}"
            )
        return {"choice": [value]}

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = self.model_dump(mode="json", exclude_none=True)
        if len(given) != 1:
            raise rejected(f": got {shown(given)}; must have exactly one of loguniform, uniform, choice")
        if self.loguniform is not None and self.loguniform[0] == 0:
            raise rejected(".loguniform[0]: got 0; the low end of a loguniform must be greater than 0")
        return self

    def distribution(self) -> Distribution:
        """The distribution that it stands for."""
        match self:
            case Drawn(loguniform=(low, high)):
                return LogUniform(low, high)
            case Drawn(uniform=(low, high)):
                return Uniform(low, high)
        return Choice(self.choice or ())
