"""Fused training: the curves are those of the loop, whoever shares the batch."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from searcher.algorithms.packing import Packing
from searcher.algorithms.schedules import complete
from searcher.algorithms.stopping import rule_from
from searcher.records import (
    PRECISIONS,
    Configuration,
    EpochRecord,
    Kind,
    Record,
    Status,
    StepRecord,
    Trial,
    TrialRecord,
)
from searcher.training.data import TensorSplit
from searcher.training.fused import run_trials
from searcher.training.loop import run_trial
from searcher.training.stack import Stack, stack_for
from searcher.training.tasks import Task, load_task

OFF = rule_from("off")
TOLERANCES = {"32-true": 1e-3, "bf16-mixed": 5e-3}
"""Of a loss, by precision."""
EAGER = Packing(4, False, "")
OFFLINE = ("digits", "digits_resnet", "mnist1d", "mnist1d_mlp", "names_transformer")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def trial(*, seed: int = 0, length: int = 3, kind: Kind = Kind.TRAIN, **changes: object) -> Trial:
    given = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3, "batch_size": 32, "schedule": "one_cycle"}
    configuration = complete(Configuration(**(given | changes)))  # type: ignore[arg-type]
    return Trial(task="t", strategy="s", configuration=configuration, seed=seed, length=length, kind=kind)


def small(task: Task, samples: int = 72) -> Task:
    """The task with so little of its data that a test of it is quick."""
    parts = []
    for split in (task.train, task.test, task.holdout):
        assert isinstance(split, TensorSplit)
        parts.append((split.inputs[:samples], split.targets[:samples]))
    return Task(task.model, *parts, task.loss, task.accuracy)


def noisy() -> Task:
    """A task whose model has batch normalization and dropout."""
    generator = torch.Generator().manual_seed(3)
    splits = [(torch.randn(count, 6, generator=generator), torch.arange(count) % 3) for count in (70, 30, 30)]
    return Task(
        lambda: nn.Sequential(
            nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(16, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3),
        ),
        *splits,
        nn.functional.cross_entropy,
    )  # fmt: skip


def fused(task: Task, trials: Sequence[Trial], packing: Packing = EAGER, rule: object = OFF) -> list[Record]:
    records: list[Record] = []
    run_trials(task, trials, rule, records.append, "cpu", packing)  # type: ignore[arg-type]
    return records


def alone(task: Task, trials: Sequence[Trial], rule: object = OFF) -> list[Record]:
    records: list[Record] = []
    for one in trials:
        run_trial(task, one, rule, records.append)  # type: ignore[arg-type]
    return records


def curves(records: Sequence[Record]) -> dict[tuple[str, int], tuple[float, ...]]:
    return {
        (record.trial_id, record.epoch): (record.train_loss, record.test_loss, record.lr, record.momentum)
        for record in records
        if isinstance(record, EpochRecord)
    }


def ends(records: Sequence[Record]) -> dict[str, TrialRecord]:
    return {record.trial_id: record for record in records if isinstance(record, TrialRecord)}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("name", [*OFFLINE, "noisy"])
def test_the_curves_are_those_of_the_loop(
    name: str, optimizer: str, precision: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After nine updates; rounding grows as training goes on."""
    task = noisy() if name == "noisy" else small(load_task(name))
    rates = (0.02, 0.01, 0.003) if optimizer == "sgd" else (0.003, 0.001, 0.0003)
    # Six trials for four slots: two begin when others have ended, and two have a schedule of another length.
    trials = [
        trial(seed=seed, length=2 + seed % 2, lr=rate, optimizer=optimizer, weight_decay=decay, precision=precision)
        for seed, (rate, decay) in enumerate(zip(rates * 2, (0, 1e-4, 1e-2) * 2, strict=True))
    ]
    together, one_by_one = fused(task, trials), alone(task, trials)
    assert "one after another" not in caplog.text
    assert curves(together).keys() == curves(one_by_one).keys()
    for key, expected in curves(one_by_one).items():
        assert curves(together)[key] == pytest.approx(expected, rel=TOLERANCES[precision]), key
    for key, end in ends(one_by_one).items():
        mine = ends(together)[key]
        assert (mine.status, mine.epochs, mine.steps, mine.samples) == (
            end.status, end.epochs, end.steps, end.samples
        )  # fmt: skip
        assert mine.holdout_loss == pytest.approx(end.holdout_loss, rel=1e-2)


def test_mixed_precision_rounds_alike_in_a_batch_and_alone() -> None:
    task, full = noisy(), trial()
    mixed = trial(precision="bf16-mixed")
    assert mixed.trial_id != full.trial_id
    for train in (fused, alone):
        precise, rounded = curves(train(task, [full])), curves(train(task, [mixed]))
        for epoch in (1, 2, 3):
            exact, rough = precise[full.trial_id, epoch][:2], rounded[mixed.trial_id, epoch][:2]
            assert exact != rough, "bfloat16 was not used"
            assert rough == pytest.approx(exact, rel=0.02)


def test_a_trial_does_not_depend_on_who_shares_its_batch() -> None:
    """Bit for bit: neither on its slot nor on the width nor on neighbours that diverge or have other lengths."""
    task, mine = noisy(), trial(seed=7, length=40)
    expected = curves(fused(task, [mine]))
    others = [
        trial(seed=seed, length=length, lr=lr) for seed, length, lr in ((1, 1, 0.1), (2, 60, 1e38), (3, 20, 1.0))
    ]
    many = [trial(seed=seed, length=42) for seed in range(10, 25)]
    for company in ([*others, mine], [others[0], mine], [*others, trial(seed=9, lr=0.3), mine], [*many, mine]):
        got = curves(fused(task, company, Packing(16, False, "")))
        assert {key: got[key] for key in expected if key[0] == mine.trial_id} == {
            key: value for key, value in expected.items() if key[0] == mine.trial_id
        }


def test_a_diverging_trial_ends_alone() -> None:
    """From its first step on the weights of one trial are infinite, then NaN."""
    task = small(load_task("digits"))
    healthy = [trial(seed=seed, length=3) for seed in range(3)]
    sick = trial(seed=3, length=3, lr=1e38, schedule="constant")
    records = fused(task, [healthy[0], sick, *healthy[1:]])
    assert ends(records)[sick.trial_id].status is Status.DIVERGED
    assert "at epoch" in ends(records)[sick.trial_id].status_reason
    assert ends(records)[sick.trial_id].holdout_loss is None
    without = fused(task, healthy)
    assert {key: value for key, value in curves(records).items() if key[0] != sick.trial_id} == curves(without)
    for one in healthy:
        assert ends(records)[one.trial_id].holdout_loss == ends(without)[one.trial_id].holdout_loss


def test_the_rule_judges_each_trial_at_each_epoch() -> None:
    generator = torch.Generator().manual_seed(1)
    splits = [
        (torch.randn(60, 10, generator=generator), torch.randint(2, (60,), generator=generator)) for _ in range(3)
    ]
    task = Task(lambda: nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 2)), *splits,
                nn.functional.cross_entropy)  # fmt: skip
    rule = rule_from("default")
    trials = [
        trial(seed=seed, length=80, lr=lr, schedule="constant", weight_decay=0.0)
        for seed, lr in enumerate((0.1, 1e-4, 0.2))
    ]
    together, one_by_one = ends(fused(task, trials, EAGER, rule)), ends(alone(task, trials, rule))
    assert {end.status for end in one_by_one.values()} == {Status.STOPPED_OVERFIT, Status.COMPLETED}
    for key, end in one_by_one.items():
        assert (together[key].status, together[key].epochs) == (end.status, end.epochs)
        assert together[key].holdout_loss == pytest.approx(end.holdout_loss, rel=1e-3)


def test_range_tests_of_several_weight_decays_run_in_one_batch() -> None:
    task = small(load_task("mnist1d_mlp"), samples=330)
    changes = {"schedule": "range_exponential", "lr": 100.0, "div_factor": 1e6}
    trials = [
        trial(kind=Kind.RANGE_TEST, length=80, weight_decay=decay, **changes) for decay in (1e-2, 1e-3, 1e-4, 0)
    ]
    together, one_by_one = fused(task, trials), alone(task, trials)
    for key, end in ends(one_by_one).items():
        mine, theirs = (
            [record for record in records if isinstance(record, StepRecord) and record.trial_id == key]
            for records in (together, one_by_one)
        )
        assert end.steps < 80, "the example must diverge"
        # Where a loss explodes it does so chaotically; before that the curves are the same.
        calm = len(theirs) - 15
        assert [step.train_loss for step in mine[:calm]] == pytest.approx(
            [step.train_loss for step in theirs[:calm]], rel=1e-3
        )
        assert [(step.step, step.lr, step.samples) for step in mine[:calm]] == [
            (step.step, step.lr, step.samples) for step in theirs[:calm]
        ]
        assert abs(ends(together)[key].steps - end.steps) <= 3
        assert ends(together)[key].status is Status.COMPLETED
        assert "diverged at lr" in ends(together)[key].status_reason


def test_what_raises_in_a_batch_is_trained_alone_and_fails_alone() -> None:
    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if not float(output.detach().abs().max()) < 1e9:  # a value that a batch of models cannot look at
            raise RuntimeError("too much")
        return nn.functional.cross_entropy(output, target)

    plain = noisy()
    task = Task(plain.model, plain.train, plain.test, plain.holdout, loss)
    trials = [trial(seed=0), trial(seed=1, lr=1e12, schedule="constant")]
    records = fused(task, trials)
    assert [ends(records)[one.trial_id].status for one in trials] == [Status.COMPLETED, Status.FAILED]
    assert ends(records)[trials[1].trial_id].status_reason == "RuntimeError: too much"


@pytest.mark.parametrize(
    ("packing", "expected"),
    [
        (Packing(16, False, ""), [16, 8, 4]),
        (Packing(16, True, "", compiling=60.0), [16]),
        (Packing(16, True, "", compiling=0.0), [16, 8, 4]),
    ],
)
def test_a_batch_is_compacted_by_halves_and_not_compiled_anew_for_little(
    packing: Packing, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials of 1 to 16 epochs: their number falls by one an epoch, the width by halves, and never below four."""
    made = []

    def stack(
        task: Task, optimizer: str, width: int, device: torch.device, compiled: bool, precision: str
    ) -> Stack:
        made.append(width)
        return stack_for(task, optimizer, width, device, False, precision)  # what is compiled does not matter here

    monkeypatch.setattr("searcher.training.fused.stack_for", stack)
    trials = [trial(seed=length, length=length) for length in range(1, 17)]
    records = fused(noisy(), trials, packing)
    assert made == expected
    assert [ends(records)[one.trial_id].epochs for one in trials] == list(range(1, 17))


def test_a_loader_is_not_fused_but_trained() -> None:
    plain = noisy()
    assert isinstance(plain.train, TensorSplit)
    data = torch.utils.data.TensorDataset(plain.train.inputs, plain.train.targets)
    task = Task(plain.model, data, plain.test, plain.holdout, plain.loss)
    assert ends(fused(task, [trial()]))[trial().trial_id].status is Status.COMPLETED
