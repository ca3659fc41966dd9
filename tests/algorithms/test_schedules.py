"""Schedules: cases worked out by hand, every step against PyTorch's own, and invariants."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, MultiStepLR, OneCycleLR

from searcher.algorithms import schedules
from searcher.errors import ConfigurationError
from searcher.records import Configuration


def configuration(**fields) -> Configuration:
    given = {"lr": 1.0, "momentum": 0.95, "weight_decay": 0.0, "batch_size": 32, "schedule": "constant"}
    return Configuration(**(given | fields))


BY_HAND = [
    ("constant", {}, [1, 1, 1, 1, 1]),
    ("step", {}, [1, 1, 0.1, 0.01, 0.01]),
    ("step", {"milestones": (0.2, 0.3), "gamma": 0.5}, [1, 0.5, 0.25, 0.25, 0.25]),
    ("cosine", {}, [1, 0.8535533906, 0.5, 0.1464466094, 0]),
    ("one_cycle", {"annihilation": 0.5}, [0.1, 1, 0.1, 0.0505, 0.001]),
    ("one_cycle", {"annihilation": 0.0}, [0.1, 0.55, 1, 0.55, 0.1]),
    ("one_cycle_cosine", {"annihilation": 0.5}, [0.04, 0.52, 1, 0.500002, 0.000004]),
    ("one_cycle_cosine", {"annihilation": 0.0}, [0.04, 0.1805887, 0.52, 0.8594113, 1]),
    ("triangular", {"cycles": 1}, [0.25, 0.625, 1, 0.625, 0.25]),
    ("triangular", {"cycles": 2}, [0.25, 1, 0.25, 1, 0.25]),
    ("triangular2", {"cycles": 2}, [0.25, 1, 0.25, 0.625, 0.25]),
    ("exp_range", {"cycles": 2, "gamma": 0.0016}, [0.25, 0.25 + 0.75 * 0.2, 0.25, 0.25 + 0.75 * 0.008, 0.25]),
    ("range_linear", {"div_factor": 5.0}, [0.2, 0.4, 0.6, 0.8, 1]),
    ("range_exponential", {"div_factor": 1e4}, [1e-4, 1e-3, 1e-2, 1e-1, 1]),
]


@pytest.mark.parametrize(("schedule", "options", "expected"), BY_HAND)
def test_learning_rate_by_hand(schedule, options, expected):
    rate, _ = schedules.values(configuration(schedule=schedule, **options), 5)
    np.testing.assert_allclose(rate, expected, rtol=1e-6)
    assert rate.dtype == np.float64


MOMENTUM_BY_HAND = [
    ("constant", "constant", {}, [0.95] * 5),
    ("constant", "decreasing", {}, [0.95, 0.925, 0.9, 0.875, 0.85]),
    ("constant", "increasing", {}, [0.85, 0.875, 0.9, 0.925, 0.95]),
    ("one_cycle", "cyclical", {"annihilation": 0.5}, [0.95, 0.85, 0.95, 0.95, 0.95]),
    ("one_cycle", "cyclical", {"annihilation": 0.0}, [0.95, 0.9, 0.85, 0.9, 0.95]),
    ("one_cycle", "decreasing", {}, [0.95, 0.925, 0.9, 0.875, 0.85]),
    ("one_cycle_cosine", "cyclical", {"annihilation": 0.5}, [0.95, 0.9, 0.85, 0.9, 0.95]),
    ("cosine", "cyclical", {}, [0.85, 0.8646447, 0.9, 0.9353553, 0.95]),
    ("triangular", "cyclical", {"cycles": 2}, [0.95, 0.85, 0.95, 0.85, 0.95]),
    ("triangular2", "cyclical", {"cycles": 2}, [0.95, 0.85, 0.95, 0.9, 0.95]),
    ("range_linear", "cyclical", {}, [0.95, 0.925, 0.9, 0.875, 0.85]),
    ("range_exponential", "cyclical", {"momentum_low": 0.55}, [0.95, 0.85, 0.75, 0.65, 0.55]),
]


@pytest.mark.parametrize(("schedule", "momentum", "options", "expected"), MOMENTUM_BY_HAND)
def test_momentum_by_hand(schedule, momentum, options, expected):
    asked = configuration(schedule=schedule, momentum_schedule=momentum, **options)
    np.testing.assert_allclose(schedules.values(asked, 5)[1], expected, rtol=1e-6)


def follow(scheduler: LRScheduler, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Learning rate and momentum that PyTorch's scheduler sets for each step."""
    optimizer, pairs = scheduler.optimizer, []
    for _ in range(steps):
        group = optimizer.param_groups[0]
        pairs.append((group["lr"], group["momentum"]))
        optimizer.step()
        if len(pairs) < steps:
            scheduler.step()
    rate, momentum = np.array(pairs).T
    return rate, momentum


def sgd() -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.95)


@pytest.mark.parametrize(("steps", "rise"), [(11, 4), (101, 45), (1001, 300), (1001, 500)])
def test_one_cycle_is_torch_three_phase(steps, rise):
    """PyTorch ends its first phase at step `pct_start * steps - 1`, ours at step `rise`."""
    annihilation = 1 - 2 * rise / (steps - 1)
    asked = configuration(lr=0.7, schedule="one_cycle", momentum_schedule="cyclical", annihilation=annihilation)
    torch_schedule = OneCycleLR(
        sgd(),
        max_lr=0.7,
        total_steps=steps,
        # Where the cycle fills the run, pct_start is just above a half: PyTorch then ends a hair early.
        pct_start=(rise + 1) / steps,
        three_phase=True,
        anneal_strategy="linear",
        div_factor=10,
        final_div_factor=100,
    )
    rate, momentum = follow(torch_schedule, steps)
    if annihilation == 0:  # PyTorch's last step already belongs to an annihilation of no length.
        rate, momentum = rate[:-1], momentum[:-1]
    ours = schedules.values(asked, steps)
    np.testing.assert_allclose(ours[0][: len(rate)], rate, rtol=1e-9)
    np.testing.assert_allclose(ours[1][: len(rate)], momentum, rtol=1e-9)


@pytest.mark.parametrize(("steps", "rise"), [(11, 3), (101, 30), (1001, 250)])
def test_one_cycle_cosine_is_torch_two_phase(steps, rise):
    asked = configuration(
        lr=0.7,
        schedule="one_cycle_cosine",
        momentum_schedule="cyclical",
        annihilation=1 - rise / (steps - 1),
    )
    torch_schedule = OneCycleLR(sgd(), max_lr=0.7, total_steps=steps, pct_start=(rise + 1) / steps)
    rate, momentum = follow(torch_schedule, steps)
    ours = schedules.values(asked, steps)
    np.testing.assert_allclose(ours[0], rate, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours[1], momentum, rtol=1e-9)


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
@pytest.mark.parametrize(("half", "cycles"), [(1, 1), (5, 3), (50, 4)])
def test_cycles_are_torch_cyclic(mode, half, cycles):
    steps = 2 * half * cycles + 1
    gamma = 0.1 if mode == "exp_range" else 1.0
    asked = configuration(
        lr=0.4,
        schedule=mode,
        momentum_schedule="cyclical",
        cycles=cycles,
        **({"gamma": gamma} if mode == "exp_range" else {}),
    )
    torch_schedule = CyclicLR(
        sgd(),
        base_lr=0.1,
        max_lr=0.4,
        step_size_up=half,
        mode=mode,
        gamma=gamma ** (1 / (steps - 1)),
        base_momentum=0.85,
        max_momentum=0.95,
    )
    rate, momentum = follow(torch_schedule, steps)
    np.testing.assert_allclose(schedules.values(asked, steps)[0], rate, rtol=1e-9)
    np.testing.assert_allclose(schedules.values(asked, steps)[1], momentum, rtol=1e-9)


@pytest.mark.parametrize("milestones", [(50, 75), (30,), (1, 2, 99)])
def test_step_is_torch_multi_step(milestones):
    fractions = tuple(one / 100 for one in milestones)
    rate, _ = follow(MultiStepLR(sgd(), milestones, gamma=0.2), 101)
    ours = schedules.values(configuration(schedule="step", milestones=fractions, gamma=0.2), 101)[0]
    np.testing.assert_allclose(ours, rate, rtol=1e-12)


@st.composite
def configurations(draw) -> Configuration:
    schedule = draw(st.sampled_from(schedules.SCHEDULES))
    cyclical = schedule not in ("constant", "step")
    momentum = draw(st.floats(0, 0.999))
    moves = draw(st.sampled_from(["constant", "decreasing", "increasing"] + ["cyclical"] * cyclical))
    options = {
        "div_factor": st.floats(1.001, 1e6),
        "final_div_factor": st.floats(1, 1e6),
        "annihilation": st.just(0.0) | st.floats(1e-3, 0.999),
        "cycles": st.integers(1, 8),
        "gamma": st.floats(1e-3, 1),
        "milestones": st.lists(st.floats(0.001, 0.999), unique=True, max_size=4).map(sorted).map(tuple),
    }
    fields = {name: draw(options[name]) for name in schedules.DEFAULTS[schedule] if draw(st.booleans())}
    if moves != "constant" and draw(st.booleans()):
        fields["momentum_low"] = draw(st.floats(0, momentum))
    return configuration(
        lr=draw(st.floats(1e-6, 1e2)),
        momentum=momentum,
        schedule=schedule,
        momentum_schedule=moves,
        **fields,
    )


def lowest_rate(completed: Configuration) -> float:
    match completed.schedule:
        case "constant":
            return completed.lr
        case "cosine":
            return 0.0
        case "step":
            return completed.lr * completed.gamma ** len(completed.milestones)
    return completed.lr / completed.div_factor / (completed.final_div_factor or 1.0)


@given(asked=configurations(), steps=st.integers(1, 400))
def test_values_stay_in_their_bounds(asked, steps):
    completed = schedules.complete(asked)
    rate, momentum = schedules.values(asked, steps)
    assert rate.shape == momentum.shape == (steps,)
    slack = 1e-12
    assert rate.min() >= lowest_rate(completed) * (1 - slack)
    assert rate.max() <= asked.lr * (1 + slack)
    low = asked.momentum if completed.momentum_low is None else completed.momentum_low
    assert momentum.min() >= low * (1 - slack)
    assert momentum.max() <= asked.momentum * (1 + slack)


@given(asked=configurations(), steps=st.integers(2, 400))
def test_mean_does_not_depend_on_the_step_count(asked, steps):
    """A sum over n points misses the integral of a function by at most its variation over n, about."""
    grid = np.linspace(0, 1, 200_001)
    for schedule, sampled in zip(schedules.schedules_of(asked), schedules.values(asked, steps), strict=True):
        fine = schedule(grid)
        variation = np.abs(np.diff(fine)).sum()
        assert abs(sampled.mean() - fine.mean()) <= 2 * variation / steps + 1e-9 * np.abs(fine).max()


@given(asked=configurations())
def test_ends_are_exact(asked):
    """The first step has the start value and the last the end value, to the last bit."""
    completed = schedules.complete(asked)
    rate, _ = schedules.values(asked, 37)
    if completed.schedule.startswith("range"):
        assert (rate[0], rate[-1]) == (completed.lr / completed.div_factor, completed.lr)
        assert (np.diff(rate) >= 0).all()
    if completed.schedule.startswith("one_cycle"):
        assert rate[0] == completed.lr / completed.div_factor
        if completed.annihilation > 0:
            assert rate[-1] == completed.lr / completed.div_factor / completed.final_div_factor


@given(asked=configurations())
def test_completing_twice_changes_nothing_and_means_the_same(asked):
    completed = schedules.complete(asked)
    assert schedules.complete(completed) == completed
    assert asked.given().items() <= completed.given().items()
    np.testing.assert_array_equal(schedules.values(asked, 50), schedules.values(completed, 50))


@settings(max_examples=50)
@given(asked=configurations(), scale=st.floats(0.1, 10))
def test_rate_scales_with_its_peak(asked, scale):
    scaled = dataclasses.replace(asked, lr=asked.lr * scale)
    np.testing.assert_allclose(
        schedules.values(scaled, 60)[0], scale * schedules.values(asked, 60)[0], rtol=1e-9, atol=1e-300
    )


def test_one_step_uses_the_start_value():
    rate, momentum = schedules.values(configuration(schedule="one_cycle", momentum_schedule="cyclical"), 1)
    assert (rate.tolist(), momentum.tolist()) == ([0.1], [0.95])


@pytest.mark.parametrize(
    ("momentum", "low"), [(0.95, 0.85), (0.9, 0.8), (0.05, 0.0)], ids=["paper", "smaller", "smallest"]
)
def test_default_momentum_low(momentum, low):
    asked = configuration(schedule="one_cycle", momentum=momentum, momentum_schedule="cyclical")
    assert schedules.complete(asked).momentum_low == low


REFUSED = [
    ({"schedule": "one_cycel"}, "schedule: must be one of constant, step,.* Did you mean 'one_cycle'"),
    ({"momentum_schedule": "cyclic"}, "momentum_schedule: must be one of .* Did you mean 'cyclical'"),
    ({"div_factor": 10.0}, "div_factor: schedule 'constant' has none, got 10.0"),
    ({"schedule": "one_cycle", "gamma": 0.1}, "gamma: schedule 'one_cycle' has none, got 0.1"),
    ({"momentum_low": 0.8}, "momentum_low: momentum_schedule 'constant' has none, got 0.8"),
    ({"momentum_schedule": "cyclical"}, "'constant' has no cycle; must be 'constant', 'decreasing' or"),
    ({"momentum_schedule": "decreasing", "momentum_low": 0.96}, r"at most momentum \(0.95\), got 0.96"),
    ({"lr": 0.0}, "lr: must be a finite number above 0, got 0.0"),
    ({"lr": float("nan")}, "lr: .* got nan"),
    ({"lr": float("inf")}, "lr: .* got inf"),
    ({"lr": "fast"}, "lr: .* got 'fast'"),
    ({"momentum": 1.0}, "momentum: must be a number from 0 to below 1, got 1.0"),
    ({"weight_decay": -1e-4}, "weight_decay: must be a finite number from 0, got -0.0001"),
    ({"batch_size": 0}, "batch_size: must be a whole number from 1, got 0"),
    ({"schedule": "one_cycle", "div_factor": 1.0}, "div_factor: must be a finite number above 1, got 1.0"),
    ({"schedule": "one_cycle", "final_div_factor": 0.5}, "final_div_factor: .* from 1, got 0.5"),
    ({"schedule": "one_cycle", "annihilation": 1.0}, "annihilation: must be a fraction .* got 1.0"),
    ({"schedule": "triangular", "cycles": 1.5}, "cycles: must be a whole number from 1, got 1.5"),
    ({"schedule": "step", "gamma": 0.0}, "gamma: must be a fraction above 0, at most 1, got 0.0"),
    ({"schedule": "step", "milestones": (0.5, 0.2)}, r"milestones: must be rising .* got \(0.5, 0.2\)"),
    ({"schedule": "step", "milestones": (30, 60)}, "milestones: must be rising fractions between 0 and 1"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_refuses(fields, message):
    with pytest.raises(ConfigurationError, match=message):
        schedules.complete(configuration(**fields))


def test_refuses_no_steps():
    with pytest.raises(ConfigurationError, match="steps: must be a whole number from 1, got 0"):
        schedules.values(configuration(), 0)


@pytest.mark.parametrize(
    "build",
    [
        lambda: schedules.one_cycle(-1.0, div_factor=10, final_div_factor=100, annihilation=0.1),
        lambda: schedules.step(1.0, milestones=(0.5,), gamma=2.0),
        lambda: schedules.triangular(0.1, 1.0, cycles=0),
        lambda: schedules.ramp_exponential(0.0, 1.0),
    ],
)
def test_constructors_refuse_too(build):
    with pytest.raises(ConfigurationError, match="must be"):
        build()
