"""Packing, from cases worked out by hand."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.algorithms.packing import (
    CACHED_SECONDS,
    COMPILE_SECONDS,
    Group,
    Packing,
    Speeds,
    choose,
    compiling_may_pay,
    group_of,
    planned_steps,
    share,
    widest,
    width_for,
)
from searcher.records import Configuration, Kind, Trial


def trial(number: int = 0, *, batch_size: int = 32, kind: Kind = Kind.TRAIN, length: int = 2) -> Trial:
    configuration = Configuration(
        lr=0.1 + number, momentum=0.9, weight_decay=0.0, batch_size=batch_size, schedule="constant"
    )
    return Trial(task="t", strategy="s", configuration=configuration, seed=0, length=length, kind=kind)


@pytest.mark.parametrize(
    ("speeds", "steps", "way"),
    [
        (Speeds(16, alone=1e-3, fused=4e-4), 100_000, (16, False)),
        (Speeds(16, alone=1e-3, fused=1.2e-3), 100_000, (1, False)),
        (Speeds(16, alone=1e-3, fused=0.97e-3), 100_000, (1, False)),  # too little gained
        # Two carriers: 50 s alone; compiled 5 s, and half a second to have it from its file.
        (Speeds(16, alone=1e-3, fused=9e-4, compiled=1e-4), 100_000, (16, True)),
        # 25 s alone, 5 s eager, and compiled 4.75 s and half a second.
        (Speeds(16, alone=1e-3, fused=2e-4, compiled=1.9e-4), 50_000, (16, False)),
        # Half a second alone, 1 s eager, compiled nothing and half a second.
        (Speeds(16, alone=1e-3, fused=2e-3, compiled=1e-6), 1_000, (1, False)),
        # The step cannot be compiled.
        (Speeds(16, alone=1e-3, fused=4e-4, compiled=math.inf), 100_000, (16, False)),
        (Speeds(16, alone=1e-3, fault="it looks at a value"), 100_000, (1, False)),
    ],
)
def test_the_fastest_way_is_chosen(speeds: Speeds, steps: int, way: tuple[int, bool]) -> None:
    assert CACHED_SECONDS == 0.5
    packing = choose(speeds, steps, workers=2)
    assert (packing.width, packing.compiled) == way
    assert packing.reason


SECONDS = st.floats(1e-7, 10.0)


@given(
    speeds=st.builds(
        Speeds,
        width=st.sampled_from([2, 4, 8, 16]),
        alone=SECONDS,
        fused=SECONDS | st.just(math.inf),
        compiled=st.none() | SECONDS | st.just(math.inf),
        fault=st.sampled_from(["", "", "it looks at a value"]),
    ),
    steps=st.integers(0, 10**9),
    workers=st.integers(1, 1_000),
)
def test_no_way_is_chosen_that_was_measured_as_slower(speeds: Speeds, steps: int, workers: int) -> None:
    packing = choose(speeds, steps, workers)
    seconds = {(1, False): speeds.alone, (speeds.width, False): speeds.fused}
    if speeds.compiled is not None:
        seconds[speeds.width, True] = speeds.compiled
    if speeds.fault:
        seconds = {(1, False): speeds.alone}
    chosen = seconds[packing.width, packing.compiled]  # of none that was not measured
    assert chosen <= speeds.alone / 1.05 * (1 + 1e-9) or not packing.fused
    assert packing.width in (1, speeds.width)
    if not packing.fused and not speeds.fault:
        paying = [one for one in seconds.values() if one * 1.05 < speeds.alone]
        # What was measured as faster is left only where reading compiled code would cost more than it gains.
        assert all(steps * (speeds.alone / 1.05 - one) / workers <= 0.5 * (1 + 1e-9) for one in paying)


@pytest.mark.parametrize(
    ("speeds", "steps", "pays"),
    [
        (Speeds(16, alone=3.3e-4, fused=1.4e-4), 256 * 20 * 94, True),  # the grid of `mnist1d_mlp`
        (Speeds(4, alone=1.1e-3, fused=1.9e-3), 24 * 20 * 36, False),  # half the grid of `digits`: 9.5 s in all
        (Speeds(4, alone=1e-3, fused=9e-4), 58_400, True),
        (Speeds(4, alone=1e-3, fused=9e-4), 58_300, False),
        (Speeds(4, alone=9e-4, fused=1e-3), 58_300, False),
    ],
)
def test_nothing_is_compiled_that_could_not_repay_itself(speeds: Speeds, steps: int, pays: bool) -> None:
    assert COMPILE_SECONDS == 25.0
    assert compiling_may_pay(steps, speeds, workers=2) == pays


def test_why_a_model_is_not_fused_is_said() -> None:
    assert choose(Speeds(2, 1.0, math.inf, None, "it looks at a value"), 10, 1).reason == (
        "cannot be fused: it looks at a value"
    )


@pytest.mark.parametrize(("trials", "width"), [(1, 4), (2, 4), (3, 4), (4, 4), (5, 8), (16, 16), (17, 32)])
def test_widths_are_powers_of_two_from_four(trials: int, width: int) -> None:
    assert width_for(trials) == width


@pytest.mark.parametrize(
    ("each", "free", "width"),
    [(216_000, 4 << 20, 16), (613_000, 4 << 20, 4), (1_000_000, 4_000_000, 4), (10_000_000, 4 << 20, 2), (0, 0, 2)],
)
def test_the_width_is_bounded_by_memory(each: int, free: int, width: int) -> None:
    assert widest(each, free) == width


def test_steps_are_counted_by_group() -> None:
    trials = [trial(0), trial(1), trial(0, batch_size=64), trial(0, kind=Kind.RANGE_TEST, length=70)]
    steps = planned_steps(trials, lambda batch_size: 320 // batch_size)
    assert steps == {
        Group("t", Kind.TRAIN, 32, "sgd"): 2 * 2 * 10,
        Group("t", Kind.TRAIN, 64, "sgd"): 2 * 5,
        Group("t", Kind.RANGE_TEST, 32, "sgd"): 70,
    }
    mixed = replace(trials[0], configuration=replace(trials[0].configuration, precision="bf16-mixed"))
    assert group_of(mixed) != group_of(trials[0])


def test_a_load_is_an_equal_share_of_one_group_and_less_of_it_one_by_one() -> None:
    trials = [trial(number, batch_size=(32, 64)[number % 2]) for number in range(40)]
    assert share(trials, 2, None) == trials[0:20:2]
    assert share(trials, 2, Packing(16, True, "fast")) == trials[0:20:2]
    assert share(trials, 2, None, least=15) == trials[0:30:2]
    assert share(trials[:4], 2, Packing(16, True, "fast"), least=15) == trials[0:4:2]
    assert share(trials, 2, Packing(1, False, "slow")) == trials[0:4:2]
    assert share(trials[:1], 8, Packing(1, False, "slow")) == trials[:1]
    assert {group_of(one) for one in share(trials[1:], 1, None)} == {group_of(trials[1])}
