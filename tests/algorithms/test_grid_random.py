"""Grid and random search: what they propose, in which order, and that the history alone decides."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.algorithms.strategies.base import KINDS, Plan, strategy_from
from searcher.algorithms.strategies.grid import Grid
from searcher.algorithms.strategies.random import Choice, Distribution, LogUniform, Random, Uniform
from searcher.errors import ConfigurationError
from searcher.records import History, Status, TaskInfo, Trial, TrialRecord

TASK = TaskInfo("task", train_size=100, test_size=20, holdout_size=20)
FIXED = {"schedule": "step", "optimizer": "sgd"}


@dataclasses.dataclass
class GridSpace:
    values: Mapping[str, Sequence[Any]]
    epochs: int | None = None

    def axes(self) -> Mapping[str, Sequence[Any]]:
        return self.values

    def fixed(self) -> Mapping[str, Any]:
        return FIXED


@dataclasses.dataclass
class RandomSpace:
    trials: int
    drawn: Mapping[str, Distribution]
    epochs: int | None = None

    def distributions(self) -> Mapping[str, Distribution]:
        return self.drawn

    def fixed(self) -> Mapping[str, Any]:
        return FIXED


def grid(lr: Sequence[float] = (0.1, 0.2), seeds: Sequence[int] = (0, 1)) -> Grid:
    axes: dict[str, Sequence[Any]] = {
        "batch_size": [8, 16],
        "momentum": [0.9],
        "weight_decay": [0.0],
        "lr": lr,
    }
    return Grid("grid", GridSpace(axes), task=TASK, seeds=seeds, epochs=3)


DRAWN: dict[str, Distribution] = {
    "lr": LogUniform(1e-3, 1.0),
    "momentum": Uniform(0.8, 0.99),
    "weight_decay": Choice([0.0, 1e-4]),
    "batch_size": Choice([8, 16]),
}


def random(trials: int = 5, seeds: Sequence[int] = (0, 1), label: str = "random", **drawn: Distribution) -> Random:
    return Random(label, RandomSpace(trials, {**DRAWN, **drawn}), task=TASK, seeds=seeds, epochs=3)


def end(history: History, trial: Trial, status: Status = Status.COMPLETED) -> None:
    history.add(TrialRecord(trial=trial, status=status))


def points(trials: Sequence[Trial]) -> list[tuple[int, float, int]]:
    return [(one.configuration.batch_size, one.configuration.lr, one.seed) for one in trials]


def test_the_grid_is_every_point_with_all_its_seeds_one_after_another() -> None:
    trials = grid().propose(History(), 100)
    assert points(trials) == [
        (8, 0.1, 0), (8, 0.1, 1), (8, 0.2, 0), (8, 0.2, 1),
        (16, 0.1, 0), (16, 0.1, 1), (16, 0.2, 0), (16, 0.2, 1),
    ]  # fmt: skip
    assert [trial.reason for trial in trials[::2]] == [f"grid point {i} of 4" for i in (1, 2, 3, 4)]
    assert {(trial.task, trial.strategy, trial.length) for trial in trials} == {("task", "grid", 3)}


def test_configurations_are_completed_so_that_a_default_written_out_is_the_same_trial() -> None:
    configuration = grid().propose(History(), 1)[0].configuration
    assert (configuration.milestones, configuration.gamma) == ((0.5, 0.75), 0.1)


def test_plans_by_hand() -> None:
    # 4 points x 2 seeds x 3 epochs x 100 samples; 5 draws x 2 seeds x 3 epochs x 100 samples
    assert grid().plan() == Plan(trials=8, epochs=24, samples=2400, exact=True)
    assert random().plan() == Plan(trials=10, epochs=30, samples=3000, exact=True)


@pytest.mark.parametrize("build", [grid, random])
def test_what_is_not_started_is_proposed_again_and_what_runs_or_ended_is_not(build: Any) -> None:
    strategy, history = build(), History()
    whole = strategy.propose(History(), 100)
    assert strategy.propose(history, 3) == whole[:3]
    assert strategy.propose(history, 3) == whole[:3]
    history.start(whole[0])
    end(history, whole[1])
    assert strategy.propose(history, 2) == whole[2:4]
    for trial in whole[2:]:
        history.start(trial)
    assert strategy.propose(history, 2) == []  # wait
    for trial in whole:
        end(history, trial)
    assert strategy.propose(history, 2) == []  # done
    assert not history.running


@pytest.mark.parametrize("build", [grid, random])
def test_an_interrupted_trial_comes_first_again(build: Any) -> None:
    strategy, history = build(), History()
    first, second, third = strategy.propose(history, 3)
    for trial in (first, second, third):
        history.start(trial)
    strategy.propose(history, 1)
    end(history, second, Status.INTERRUPTED)
    end(history, first, Status.FAILED)
    assert strategy.propose(history, 1) == [second]


@pytest.mark.parametrize("count", [0, -1])
def test_no_trial_is_proposed_when_none_is_asked_for(count: int) -> None:
    assert grid().propose(History(), count) == []


_moves = st.lists(
    st.tuples(st.sampled_from(["propose", "start", "end", "interrupt"]), st.integers(0, 9)), max_size=40
)


@settings(max_examples=100, deadline=None)
@given(_moves, st.sampled_from([grid, random]))
def test_a_strategy_rebuilt_at_any_time_proposes_the_same(moves: list[tuple[str, int]], build: Any) -> None:
    strategy, history = build(), History()
    every = strategy.propose(History(), 100)
    for move, number in moves:
        trial = every[number % len(every)]
        match move:
            case "propose":
                assert strategy.propose(history, number) == build().propose(history, number)
            case "start" if trial not in history:
                history.start(trial)
            case "end":
                end(history, trial)
            case "interrupt" if trial.trial_id in history.running:
                end(history, trial, Status.INTERRUPTED)
    expected = [trial for trial in every if trial not in history]
    assert strategy.propose(history, 100) == expected


def test_one_object_serves_two_histories() -> None:
    strategy, one, other = grid(), History(), History()
    whole = strategy.propose(one, 100)
    end(one, whole[0])
    assert strategy.propose(one, 1) == [whole[1]]
    assert strategy.propose(other, 1) == [whole[0]]
    assert strategy.propose(one, 1) == [whole[1]]


def test_a_sweep_of_10_000_trials_looks_at_each_only_a_few_times() -> None:
    looked = 0

    class Counting(History):
        def result(self, trial: Trial) -> TrialRecord | None:
            nonlocal looked
            looked += 1
            return super().result(trial)

    strategy = grid(lr=[0.001 * i for i in range(1, 2501)])
    history, done = Counting(), 0
    while proposals := strategy.propose(history, 4):
        for trial in proposals:
            history.start(trial)
            end(history, trial)
        done += len(proposals)
    assert done == 10_000
    assert looked <= 4 * done


def test_random_search_gives_every_seed_the_same_configurations() -> None:
    trials = random(trials=7, seeds=(3, 4, 5)).propose(History(), 100)
    assert [trial.seed for trial in trials] == [3, 4, 5] * 7
    by_point = [list(group) for _, group in itertools.groupby(trials, key=lambda one: one.configuration)]
    assert [len(group) for group in by_point] == [3] * 7
    assert [group[0].reason for group in by_point][:2] == ["random draw 1 of 7", "random draw 2 of 7"]


def test_draws_depend_on_the_first_seed_and_the_label_only() -> None:
    def drawn(**changes: Any) -> list[Any]:
        return [trial.configuration for trial in random(**{"seeds": (0,), **changes}).propose(History(), 100)]

    assert drawn() == drawn()
    assert drawn() == drawn(trials=9)[:5]
    assert drawn() == list(dict.fromkeys(drawn(seeds=(0, 8))))
    assert drawn() == drawn(**{name: DRAWN[name] for name in reversed(DRAWN)})
    assert drawn()[0] != drawn(seeds=(1,))[0]
    assert drawn()[0] != drawn(label="other")[0]


def test_draws_leave_the_global_generator_alone() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    random().propose(History(), 100)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


def test_draws_follow_their_distributions() -> None:
    configurations = [trial.configuration for trial in random(trials=2000, seeds=(0,)).propose(History(), 2000)]
    rates = np.log10([one.lr for one in configurations])
    momenta = np.array([one.momentum for one in configurations])
    assert -3 <= rates.min() < -2.9
    assert -0.1 < rates.max() <= 0
    # Of 2,000 draws: a third a decade, half below the middle, half of each choice, within 5 standard errors.
    assert np.mean(rates < -2) == pytest.approx(1 / 3, abs=0.053)
    assert np.mean(momenta < 0.895) == pytest.approx(1 / 2, abs=0.056)
    assert 0.8 <= momenta.min() < momenta.max() <= 0.99
    assert np.mean([one.batch_size == 8 for one in configurations]) == pytest.approx(1 / 2, abs=0.056)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-8, 1e3), st.floats(1.001, 1e6), st.integers(0, 2**32 - 1))
def test_a_draw_never_leaves_its_bounds(low: float, ratio: float, seed: int) -> None:
    high = low * ratio
    generator = np.random.default_rng(seed)
    assert low <= LogUniform(low, high).draw(generator) <= high
    assert low <= Uniform(low, high).draw(generator) <= high
    assert Choice([low, high]).draw(generator) in (low, high)


def choices(trials: int) -> Random:
    return random(trials=trials, seeds=(0,), lr=Choice([0.1, 0.2, 0.3]), momentum=Choice([0.9]))


def test_discrete_draws_differ_and_can_use_up_all_there_are() -> None:
    trials = choices(12).propose(History(), 100)  # 3 lr x 1 momentum x 2 weight decays x 2 batch sizes
    assert len({trial.trial_id for trial in trials}) == 12


def test_more_draws_than_there_are_configurations_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^trials: must be at most 12, .*, got 13$"):
        choices(13)


def test_a_kind_is_built_by_its_name() -> None:
    axes: dict[str, Sequence[Any]] = {
        "lr": [0.1],
        "momentum": [0.9],
        "weight_decay": [0.0],
        "batch_size": [8],
    }
    built = strategy_from("grid", "mine", GridSpace(axes), task=TASK, seeds=[0], epochs=1)
    assert [trial.strategy for trial in built.propose(History(), 9)] == ["mine"]
    assert {"grid", "random", "one_cycle"} <= set(KINDS)
    with pytest.raises(
        ConfigurationError, match=r"^strategy: must be one of .*, got 'gird'\. Did you mean 'grid'\?$"
    ):
        strategy_from("gird", "mine", GridSpace(axes), task=TASK, seeds=[0], epochs=1)
