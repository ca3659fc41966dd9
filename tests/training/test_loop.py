"""The training loop: its records, its determinism, and how trials end."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from searcher.algorithms.schedules import complete, values
from searcher.algorithms.stopping import rule_from
from searcher.records import Configuration, EpochRecord, Kind, Record, Status, StepRecord, Trial, TrialRecord
from searcher.training.data import stratified_split
from searcher.training.loop import evaluate, run_trial
from searcher.training.tasks import Task, load_task

CPU = torch.device("cpu")
TINY = load_task("tiny_task.py:make_task", Path(__file__).parents[1])
OFF = rule_from("off")


def trial(*, seed: int = 0, length: int = 4, kind: Kind = Kind.TRAIN, **changes: object) -> Trial:
    given = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "batch_size": 32, "schedule": "one_cycle"}
    configuration = complete(Configuration(**(given | changes)))  # type: ignore[arg-type]
    return Trial(task="tiny", strategy="s", configuration=configuration, seed=seed, length=length, kind=kind)


def run(given: Trial, task: Task = TINY) -> tuple[TrialRecord, list[Record]]:
    records: list[Record] = []
    result = run_trial(task, given, OFF, records.append)
    assert records.pop() == result
    return result, records


def curve(records: list[Record]) -> list[tuple[float, float]]:
    return [(record.train_loss, record.test_loss) for record in records if isinstance(record, EpochRecord)]


def test_every_epoch_is_recorded_with_its_schedule() -> None:
    given = trial()
    result, records = run(given)
    lr, momentum = values(given.configuration, 4 * 5)  # 144 samples in batches of at most 32
    assert [record.epoch for record in records] == [1, 2, 3, 4]
    assert [record.samples for record in records] == [144, 288, 432, 576]
    assert [record.step for record in records] == [5, 10, 15, 20]
    assert [record.lr for record in records] == [lr[4], lr[9], lr[14], lr[19]]
    assert [record.momentum for record in records] == [momentum[4], momentum[9], momentum[14], momentum[19]]
    assert records[0].lr_left == pytest.approx(max(lr[5:]) / lr[4])
    assert records[0].lr_low == pytest.approx(min(lr[5:]) / lr[4])
    assert (records[-1].lr_left, records[-1].lr_low) == (0, 0)
    assert (result.status, result.epochs, result.steps, result.samples) == (Status.COMPLETED, 4, 20, 576)
    best = min(records, key=lambda record: record.test_loss)
    assert (result.best_epoch, result.best_test_loss) == (best.epoch, best.test_loss)
    assert result.last_test_loss == records[-1].test_loss


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_same_trial_gives_the_same_curve_whatever_ran_before(optimizer: str) -> None:
    first = curve(run(trial(optimizer=optimizer))[1])
    torch.rand(7)
    other_seed = curve(run(trial(optimizer=optimizer, seed=1))[1])
    assert curve(run(trial(optimizer=optimizer))[1]) == first
    assert other_seed != first


def test_torch_s_generator_is_left_as_it_was() -> None:
    before = torch.get_rng_state()
    run(trial())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_curve_is_that_of_a_plain_loop_with_torch_s_own_optimizer(optimizer: str) -> None:
    """The same training written without any of our code but the schedule's values."""
    given = trial(optimizer=optimizer, lr=0.05)
    configuration = given.configuration
    torch.manual_seed(given.seed)
    model = TINY.model()
    if optimizer == "sgd":
        stepper: torch.optim.Optimizer = torch.optim.SGD(
            model.parameters(), lr=1, momentum=0.9, weight_decay=1e-3, foreach=False
        )
    else:
        stepper = torch.optim.AdamW(model.parameters(), lr=1, weight_decay=1e-3, foreach=False)
    lr, momentum = values(configuration, 20)
    order = torch.Generator().manual_seed(given.seed)
    expected, step = [], 0
    for _ in range(4):
        total = 0.0
        for index in torch.randperm(144, generator=order).tensor_split(5):
            stepper.param_groups[0]["lr"] = lr[step]
            if optimizer == "sgd":
                stepper.param_groups[0]["momentum"] = momentum[step]
            else:
                stepper.param_groups[0]["betas"] = (momentum[step], 0.999)
            stepper.zero_grad()
            loss = nn.functional.cross_entropy(model(TINY.train.inputs[index]), TINY.train.targets[index])
            loss.backward()
            stepper.step()
            total += loss.item() * len(index)
            step += 1
        with torch.no_grad():
            test = nn.functional.cross_entropy(model(TINY.test.inputs), TINY.test.targets).item()
        expected.append((total / 144, test))
    measured = curve(run(given)[1])
    assert torch.tensor(measured) == pytest.approx(torch.tensor(expected), rel=1e-4)


def test_a_loss_that_is_not_finite_ends_the_trial_as_diverged() -> None:
    result, records = run(trial(lr=1e30, schedule="constant"))
    assert result.status is Status.DIVERGED
    assert len(records) < 4
    assert "at epoch" in result.status_reason
    assert result.holdout_accuracy is None


def test_an_exception_ends_the_trial_as_failed_with_its_text() -> None:
    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes\ndo not fit")

    task = Task(TINY.model, TINY.train, TINY.test, TINY.holdout, loss)
    result, records = run(trial(), task)
    assert (result.status, result.status_reason, records) == (
        Status.FAILED,
        "RuntimeError: shapes do not fit",
        [],
    )


def test_a_rule_stops_an_overfitting_trial_and_the_holdout_is_taken_at_its_best_epoch() -> None:
    generator = torch.Generator().manual_seed(1)
    inputs, labels = torch.randn(150, 10, generator=generator), torch.randint(2, (150,), generator=generator)
    train, test, holdout = stratified_split(inputs, labels)
    task = Task(lambda: nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 2)), train, test, holdout,
                nn.functional.cross_entropy)  # fmt: skip
    records: list[Record] = []
    given = trial(length=200, lr=0.1, schedule="constant", weight_decay=0.0)
    result = run_trial(task, given, rule_from("default"), records.append)
    assert result.status is Status.STOPPED_OVERFIT
    assert result.status_reason.startswith("overfit: test loss")
    assert result.epochs == len(records) - 1 < 200
    assert result.holdout_loss is not None

    again = run_trial(task, trial(length=result.best_epoch, lr=0.1, schedule="constant", weight_decay=0.0), OFF,
                      lambda _: None)  # fmt: skip
    assert again.best_epoch == result.best_epoch
    assert again.holdout_loss == pytest.approx(result.holdout_loss, rel=1e-5)

    whole = run_trial(task, trial(length=result.epochs, lr=0.1, schedule="constant", weight_decay=0.0),
                      rule_from("default"), lambda _: None)  # fmt: skip
    assert whole.status is Status.COMPLETED, "at its last epoch there is nothing to stop"


def test_a_range_test_records_its_steps_and_ends_when_it_diverges() -> None:
    changes = {"schedule": "range_exponential", "lr": 1e4, "div_factor": 1e8, "momentum_schedule": "constant"}
    given = trial(kind=Kind.RANGE_TEST, length=80, **changes)
    result, records = run(given)
    steps = [record for record in records if isinstance(record, StepRecord)]
    assert len(steps) == len(records) == result.steps < 80
    assert result.status is Status.COMPLETED
    assert "diverged at lr" in result.status_reason
    assert steps[0].lr == pytest.approx(1e-4)
    assert steps[-1].samples == result.samples
    assert all(later.lr > earlier.lr for earlier, later in itertools.pairwise(steps))
    assert result.holdout_accuracy is None


def test_evaluation_is_the_mean_over_samples_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.9))
    loss, accuracy = evaluate(TINY, model, TINY.test, CPU)
    with torch.no_grad():
        output = model[0](TINY.test.inputs)
    assert loss == pytest.approx(nn.functional.cross_entropy(output, TINY.test.targets).item())
    assert accuracy == pytest.approx((output.argmax(1) == TINY.test.targets).float().mean().item())


def test_a_regression_has_no_accuracy() -> None:
    inputs = torch.linspace(-1, 1, 60)[:, None]
    pair = (inputs, inputs**2)
    task = Task(lambda: nn.Linear(1, 1), pair, pair, pair, nn.functional.mse_loss, accuracy=None)
    result, _ = run(trial(length=2), task)
    assert result.best_test_accuracy is None
    assert result.holdout_accuracy is None
    assert result.holdout_loss is not None
    assert math.isfinite(result.holdout_loss)
