"""Learning-rate and momentum schedules: functions of progress, and the two that a configuration asks for.

A schedule maps progress, an array of fractions from 0 to 1, to an array of values of the same shape. Step i
of n (i from 0) has progress i / (n - 1), or 0 where n = 1: the first step has the start value, the last the
end value.

Sources: 1cycle and cyclical momentum, Smith, arXiv:1803.09820, sections 4.1 and 4.3, and Smith & Topin,
arXiv:1708.07120; CLR and the ramps of the range test, Smith, arXiv:1506.01186, sections 3.1 to 3.3; cosine,
Loshchilov & Hutter, arXiv:1608.03983, equation 5 with one cycle that ends at 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.errors import ConfigurationError, nearest
from searcher.records import Configuration

Floats = NDArray[np.float64]
Schedule = Callable[[Floats], Floats]

DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "constant": {},
        "step": {"milestones": (0.5, 0.75), "gamma": 0.1},
        "cosine": {},
        "one_cycle": {"div_factor": 10.0, "final_div_factor": 100.0, "annihilation": 0.1},
        # PyTorch's OneCycleLR as it comes: a rise of 0.3, and a fall to lr / 25 / 10,000.
        "one_cycle_cosine": {"div_factor": 25.0, "final_div_factor": 1e4, "annihilation": 0.7},
        # 1506.01186, section 3.3: low is a third or a quarter of high; section 3.2: four cycles or more.
        "triangular": {"div_factor": 4.0, "cycles": 4},
        "triangular2": {"div_factor": 4.0, "cycles": 4},
        "exp_range": {"div_factor": 4.0, "cycles": 4, "gamma": 0.1},
        "range_linear": {"div_factor": 1e3},
        "range_exponential": {"div_factor": 1e5},
    }
)
"""For each schedule its optional hyper-parameters, with the values they have where none are given."""

SCHEDULES: tuple[str, ...] = tuple(DEFAULTS)
MOMENTUM_SCHEDULES: tuple[str, ...] = ("constant", "cyclical", "decreasing", "increasing")

# 1803.09820, section 4.3 cycles 0.95 to 0.85; a smaller momentum cycles over the same width.
_MOMENTUM_WIDTH = 0.1

_RANGES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "lr": ("a finite number above 0", lambda value: 0 < value < np.inf),
    "momentum": ("a number from 0 to below 1", lambda value: 0 <= value < 1),
    "weight_decay": ("a finite number from 0", lambda value: 0 <= value < np.inf),
    "batch_size": ("a whole number from 1", lambda value: value >= 1 and value == int(value)),
    "momentum_low": ("a number from 0 to below 1", lambda value: 0 <= value < 1),
    "div_factor": ("a finite number above 1", lambda value: 1 < value < np.inf),
    "final_div_factor": ("a finite number from 1", lambda value: 1 <= value < np.inf),
    "annihilation": ("a fraction from 0 to below 1", lambda value: 0 <= value < 1),
    "cycles": ("a whole number from 1", lambda value: value >= 1 and value == int(value)),
    "gamma": ("a fraction above 0, at most 1", lambda value: 0 < value <= 1),
    "milestones": (
        "rising fractions between 0 and 1",
        lambda value: all(0 < one < 1 for one in value) and list(value) == sorted(set(value)),
    ),
}


def constant(value: float) -> Schedule:
    """The same value at every step."""
    return lambda progress: np.full_like(progress, value)


def step(peak: float, *, milestones: Sequence[float], gamma: float) -> Schedule:
    """`peak * gamma ** k` from the k-th of the milestones on, which are fractions of the run."""
    _check(lr=peak, milestones=milestones, gamma=gamma)
    edges = np.asarray(milestones, dtype=np.float64)
    return lambda progress: peak * np.power(gamma, np.searchsorted(edges, progress, side="right"))


def cosine(peak: float) -> Schedule:
    """`peak * (1 + cos(pi * progress)) / 2`: from the peak to 0."""
    _check(lr=peak)
    return _phases((0, 1), (peak, 0), _half_cosine)


def one_cycle(peak: float, *, div_factor: float, final_div_factor: float, annihilation: float) -> Schedule:
    """The papers' 1cycle: up and down in two equal linear phases, then linearly far below the start.

        0 ──▶ (1 - annihilation) / 2 ──▶ 1 - annihilation ──▶ 1                     of the run
        peak / div_factor ──▶ peak ──▶ peak / div_factor ──▶ peak / div_factor / final_div_factor

    It is `OneCycleLR(three_phase=True, anneal_strategy="linear")`. Without annihilation it ends where it
    started.
    """
    _check(lr=peak, div_factor=div_factor, final_div_factor=final_div_factor, annihilation=annihilation)
    start = peak / div_factor
    return _phases(_one_cycle_ends(annihilation), (start, peak, start, start / final_div_factor))


def one_cycle_cosine(peak: float, *, div_factor: float, final_div_factor: float, annihilation: float) -> Schedule:
    """PyTorch's two-phase variant: half a cosine up in `1 - annihilation` of the run, half a cosine down.

    From `peak / div_factor` to `peak` to `peak / div_factor / final_div_factor`. It is `OneCycleLR` with
    `pct_start = 1 - annihilation`.
    """
    _check(lr=peak, div_factor=div_factor, final_div_factor=final_div_factor, annihilation=annihilation)
    start = peak / div_factor
    return _phases((0, 1 - annihilation, 1), (start, peak, start / final_div_factor), _half_cosine)


def triangular(low: float, high: float, *, cycles: int) -> Schedule:
    """CLR: `cycles` equal linear triangles from `low` to `high` and back. `low` may be above `high`."""
    return _triangles(low, high, cycles, lambda cycle, _: np.ones_like(cycle))


def triangular2(low: float, high: float, *, cycles: int) -> Schedule:
    """CLR: triangles as in `triangular`, each half as high as the one before."""
    return _triangles(low, high, cycles, lambda cycle, _: np.power(0.5, cycle))


def exp_range(low: float, high: float, *, cycles: int, gamma: float) -> Schedule:
    """CLR: triangles as in `triangular`, their height times `gamma ** progress`: `gamma` over the run.

    `CyclicLR(mode="exp_range")` takes its gamma for one step: this one to the power of `1 / (steps - 1)`.
    """
    _check(gamma=gamma)
    return _triangles(low, high, cycles, lambda _, progress: np.power(gamma, progress))


def ramp_linear(low: float, high: float) -> Schedule:
    """From `low` to `high`, by the same amount at every step: the LR range test of the papers."""
    return _phases((0, 1), (low, high))


def ramp_exponential(low: float, high: float) -> Schedule:
    """From `low` to `high`, both above 0, by the same factor at every step: the range test of most tools."""
    _check(lr=low)
    _check(lr=high)
    # Unlike exp of a line between logarithms, this is exact at both ends.
    return lambda progress: np.power(low, 1 - progress) * np.power(high, progress)


def schedules_of(configuration: Configuration) -> tuple[Schedule, Schedule]:
    """The schedules of the learning rate and of the momentum that a configuration asks for.

    Raises:
        ConfigurationError: as `complete` does.
    """
    configuration = complete(configuration)
    return _rate(configuration), _momentum(configuration)


def values(configuration: Configuration, steps: int) -> tuple[Floats, Floats]:
    """Learning rate and momentum at each of `steps` steps: two arrays of shape (steps,).

    Raises:
        ConfigurationError: as `complete` does, or for less than one step.
    """
    if steps < 1:
        raise ConfigurationError(f"steps: must be a whole number from 1, got {steps!r}")
    progress = np.arange(steps, dtype=np.float64) / max(steps - 1, 1)
    rate, momentum = schedules_of(configuration)
    return rate(progress), momentum(progress)


def complete(configuration: Configuration) -> Configuration:
    """The configuration with `DEFAULTS` filled in, and `momentum_low` 0.1 below `momentum` where it moves.

    Whoever builds a trial completes its configuration first, so that a default and the same value written out
    have one `trial_id`.

    Raises:
        ConfigurationError: an unknown schedule, a hyper-parameter that the schedule does not have, or one
            out of its range.
    """
    _known("schedule", configuration.schedule, SCHEDULES)
    _known("momentum_schedule", configuration.momentum_schedule, MOMENTUM_SCHEDULES)
    defaults = dict(DEFAULTS[configuration.schedule])
    absent = {name for options in DEFAULTS.values() for name in options} - defaults.keys()
    owner = dict.fromkeys(sorted(absent), f"schedule '{configuration.schedule}'")
    if configuration.momentum_schedule == "constant":
        owner["momentum_low"] = "momentum_schedule 'constant'"
    else:
        defaults["momentum_low"] = round(max(configuration.momentum - _MOMENTUM_WIDTH, 0.0), 12)
    for name, schedule in owner.items():
        if getattr(configuration, name) is not None:
            raise ConfigurationError(f"{name}: {schedule} has none, got {getattr(configuration, name)!r}")
    if configuration.momentum_schedule == "cyclical" and configuration.schedule in ("constant", "step"):
        raise ConfigurationError(
            f"momentum_schedule: 'cyclical' runs against the learning rate, and schedule "
            f"'{configuration.schedule}' has no cycle; must be 'constant', 'decreasing' or 'increasing'"
        )
    missing = {name: value for name, value in defaults.items() if getattr(configuration, name) is None}
    completed = dataclasses.replace(configuration, **missing)
    _check(**{name: value for name, value in completed.given().items() if name in _RANGES})
    if completed.momentum_low is not None and completed.momentum_low > completed.momentum:
        raise ConfigurationError(
            f"momentum_low: must be at most momentum ({completed.momentum!r}), got {completed.momentum_low!r}"
        )
    return completed


def _rate(configuration: Configuration) -> Schedule:
    options = _options(configuration)
    high = configuration.lr
    match configuration.schedule:
        case "constant":
            return constant(high)
        case "step":
            return step(high, **options)
        case "cosine":
            return cosine(high)
        case "one_cycle":
            return one_cycle(high, **options)
        case "one_cycle_cosine":
            return one_cycle_cosine(high, **options)
    low = high / options.pop("div_factor")
    return _between(configuration.schedule, low, high, options)


def _momentum(configuration: Configuration) -> Schedule:
    high, low = configuration.momentum, configuration.momentum_low
    if low is None:
        return constant(high)
    if configuration.momentum_schedule == "decreasing":
        return _phases((0, 1), (high, low))
    if configuration.momentum_schedule == "increasing":  # the momentum range test of 1803.09820, section 4.3
        return _phases((0, 1), (low, high))
    options = _options(configuration)
    match configuration.schedule:
        case "one_cycle":
            return _phases(_one_cycle_ends(options["annihilation"]), (high, low, high, high))
        case "one_cycle_cosine":
            return _phases((0, 1 - options["annihilation"], 1), (high, low, high), _half_cosine)
        case "cosine":
            return _phases((0, 1), (low, high), _half_cosine)
        case "range_linear" | "range_exponential":
            return _phases((0, 1), (high, low))
    options.pop("div_factor")
    return _between(configuration.schedule, high, low, options)


def _between(name: str, low: float, high: float, options: dict[str, Any]) -> Schedule:
    builders: dict[str, Callable[..., Schedule]] = {
        "triangular": triangular,
        "triangular2": triangular2,
        "exp_range": exp_range,
        "range_linear": ramp_linear,
        "range_exponential": ramp_exponential,
    }
    return builders[name](low, high, **options)


def _options(configuration: Configuration) -> dict[str, Any]:
    return {name: getattr(configuration, name) for name in DEFAULTS[configuration.schedule]}


def _one_cycle_ends(annihilation: float) -> tuple[float, ...]:
    half = (1 - annihilation) / 2
    return (0, half, 2 * half, 1)


def _half_cosine(share: Floats) -> Floats:
    return (1 - np.cos(np.pi * share)) / 2


def _phases(
    ends: Sequence[float], levels: Sequence[float], blend: Callable[[Floats], Floats] = lambda share: share
) -> Schedule:
    """Runs through `levels`, reached at `ends` (the same number of fractions, rising from 0 to 1)."""
    borders, heights = np.asarray(ends, dtype=np.float64), np.asarray(levels, dtype=np.float64)

    def schedule(progress: Floats) -> Floats:
        # A border belongs to the phase before it, so a phase of no length (no annihilation) is never entered.
        phase = np.maximum(np.searchsorted(borders, progress, side="left") - 1, 0)
        share = blend((progress - borders[phase]) / (borders[phase + 1] - borders[phase]))
        # This form, unlike low + (high - low) * share, is exact at both ends.
        return np.asarray((1 - share) * heights[phase] + share * heights[phase + 1])

    return schedule


def _triangles(low: float, high: float, cycles: int, scale: Callable[[Floats, Floats], Floats]) -> Schedule:
    _check(cycles=cycles)

    def schedule(progress: Floats) -> Floats:
        cycle = np.floor(progress * cycles)
        height = 1 - np.abs(2 * (progress * cycles - cycle) - 1)
        share = height * scale(cycle, progress)
        return (1 - share) * low + share * high  # exact at both ends

    return schedule


def _known(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigurationError(
            f"{name}: must be one of {', '.join(known)}, got {value!r}.{nearest(value, known)}"
        )


def _check(**given: Any) -> None:
    for name, value in given.items():
        words, holds = _RANGES[name]
        try:
            right = bool(holds(value))
        except (TypeError, ValueError, OverflowError):
            right = False
        if not right:
            raise ConfigurationError(f"{name}: must be {words}, got {value!r}")
