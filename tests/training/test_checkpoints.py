"""A trial that goes on from its checkpoint measures what an undisturbed one measures, bit for bit."""

import contextlib
import os
import pickle
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from searcher.algorithms.packing import Packing
from searcher.algorithms.schedules import complete
from searcher.algorithms.stopping import rule_from
from searcher.records import Configuration, EpochRecord, Record, Status, Trial, TrialRecord
from searcher.training import checkpoints
from searcher.training.checkpoints import Checkpoint, Checkpoints
from searcher.training.fused import run_trials
from searcher.training.loop import run_trial
from searcher.training.tasks import Task, load_task

TINY = load_task("tiny_task.py:make_task", Path(__file__).parents[1])
RANDOM = Task(
    # Batch normalization has buffers, dropout draws from torch's own generator.
    lambda: nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 2)),
    TINY.train,
    TINY.test,
    TINY.holdout,
    nn.functional.cross_entropy,
)


class Shelf(dict[str, bytes]):
    """A vault in memory."""

    def load(self, trial_id: str) -> bytes | None:
        return self.get(trial_id)

    def save(self, trial_id: str, content: bytes) -> None:
        self[trial_id] = content

    def remove(self, trial_id: str) -> None:
        self.pop(trial_id, None)


class Refusing:
    """A vault on a full disk."""

    def load(self, trial_id: str) -> bytes | None:
        raise OSError("cannot be read")

    def save(self, trial_id: str, content: bytes) -> None:
        raise OSError("no space left")

    def remove(self, trial_id: str) -> None:
        raise OSError("cannot be removed")


class Killed(BaseException):
    """Ends the loop where the death of its process would."""


def trial(**changes: object) -> Trial:
    given = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3, "batch_size": 32, "schedule": "one_cycle"}
    configuration = complete(Configuration(**(given | changes)))  # type: ignore[arg-type]
    return Trial(task="tiny", strategy="s", configuration=configuration, seed=3, length=9)


def train(
    given: Trial,
    checkpoints: Checkpoints | None = None,
    die_at: int = 0,
    task: Task = RANDOM,
    rule: object = "off",
) -> list[Record]:
    records: list[Record] = []

    def emit(record: Record) -> None:
        if isinstance(record, EpochRecord) and record.epoch == die_at:
            raise Killed
        records.append(record)

    with contextlib.suppress(Killed):
        run_trial(task, given, rule_from(rule), emit, checkpoints=checkpoints)
    return records


def timeless(records: list[Record]) -> list[Record]:
    """The records without what two runs may differ in."""
    times = {EpochRecord: {"seconds": 0.0, "time": 0.0}, TrialRecord: {"seconds": 0, "started": 0, "finished": 0}}
    return [replace(record, **times[type(record)]) for record in records]  # type: ignore[type-var, index]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("die_at", [2, 6, 9])
def test_a_restarted_trial_goes_on_as_if_nothing_had_happened(optimizer: str, die_at: int) -> None:
    given, shelf = trial(optimizer=optimizer), Shelf()
    whole = train(given)
    assert len(whole) == 9 + 1
    first = train(given, Checkpoints(vault=shelf, every=0), die_at)
    kept = len(Checkpoint.decode(shelf[given.trial_id]).epochs)
    torch.rand(11)
    second = train(given, Checkpoints(vault=shelf, every=0, begun=frozenset([given.trial_id])))
    assert timeless(first) == timeless(whole[: die_at - 1])
    assert timeless(second) == timeless(whole)
    # What was measured before the checkpoint is emitted as it was, its times included; only the rest is trained.
    assert 1 <= kept < die_at
    assert second[:kept] == first[:kept]
    assert second[kept].time > first[-1].time  # type: ignore[union-attr]
    ended = second[-1]
    assert isinstance(ended, TrialRecord)
    assert ended.seconds >= second[-2].seconds  # type: ignore[union-attr]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("die_at", [2, 6])
def test_a_batch_that_died_goes_on_in_other_company(optimizer: str, die_at: int) -> None:
    given = [replace(trial(optimizer=optimizer), seed=seed, length=length) for seed, length in enumerate((9, 3, 8))]
    whole = train_together(given)
    shelf = Shelf()
    each_epoch = Checkpoints(vault=shelf, urgent=lambda: True)
    first = train_together(given, each_epoch, die_at)
    left = [one for one in given if one.trial_id not in {r.trial_id for r in first if isinstance(r, TrialRecord)}]
    kept = [Checkpoint.decode(shelf[one.trial_id]).epochs for one in left]
    assert [len(epochs) for epochs in kept] == [die_at - 1] * len(left)
    for one, epochs in zip(left, kept, strict=True):
        again = train_together([one], Checkpoints(vault=shelf, begun=frozenset([one.trial_id])))
        assert timeless(again) == timeless([record for record in whole if record.trial_id == one.trial_id])
        assert again[: die_at - 1] == epochs  # not trained again


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("first", ["alone", "in a batch"])
def test_a_trial_goes_on_in_the_other_way_than_it_was_begun(optimizer: str, first: str) -> None:
    """On a node that fuses what another does not, or after a failure in a batch. Its curve differs by rounding."""

    # AdamW makes a whole step of the rounding of a bias before a batch normalization, which has no gradient.
    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 2))

    task = Task(model, TINY.train, TINY.test, TINY.holdout, nn.functional.cross_entropy)
    given, shelf = trial(optimizer=optimizer), Shelf()
    saving = Checkpoints(vault=shelf, urgent=lambda: True)
    found = Checkpoints(vault=shelf, begun=frozenset([given.trial_id]))
    if first == "alone":
        before, whole = train(given, saving, die_at=6, task=task), train(given, task=task)
        after = train_together([given], found, task=task)
    else:
        before = train_together([given], saving, die_at=6, task=task)
        whole = train_together([given], task=task)
        after = train(given, found, task=task)
    assert after[:5] == before, "trained again"
    assert len(after) == len(whole)
    for one, other in zip(after[5:-1], whole[5:-1], strict=True):
        assert isinstance(one, EpochRecord)
        assert isinstance(other, EpochRecord)
        assert (one.epoch, one.step, one.samples) == (other.epoch, other.step, other.samples)
        assert (one.train_loss, one.test_loss) == pytest.approx((other.train_loss, other.test_loss), rel=1e-4)


def train_together(
    given: list[Trial], checkpoints: Checkpoints | None = None, die_at: int = 0, task: Task = RANDOM
) -> list[Record]:
    """As `train`, in one batch; it dies once all trials have got there."""
    records: list[Record] = []

    def emit(record: Record) -> None:
        if isinstance(record, EpochRecord) and record.epoch == die_at:
            raise Killed
        records.append(record)

    with contextlib.suppress(Killed):
        run_trials(task, given, rule_from("off"), emit, "cpu", Packing(4, False, ""), checkpoints)
    return records


PATIENCE = {"rule": "patience", "reports": 3}


def test_the_stopping_rule_goes_on_where_it_was() -> None:
    given, shelf = trial(schedule="constant"), Shelf()
    rising = Task(RANDOM.model, TINY.train, TINY.test, TINY.holdout, _Rising(4), accuracy=None)
    whole = train(given, task=rising, rule=PATIENCE)
    ended = whole[-1]
    assert isinstance(ended, TrialRecord)
    assert ended.status is Status.STOPPED_OVERFIT
    rising.loss = _Rising(4)
    train(given, Checkpoints(vault=shelf, every=0), die_at=ended.epochs, task=rising, rule=PATIENCE)
    rising.loss = _Rising(4, already=len(Checkpoint.decode(shelf[given.trial_id]).epochs))
    again = train(
        given, Checkpoints(vault=shelf, every=0, begun=frozenset([given.trial_id])), task=rising, rule=PATIENCE
    )
    assert timeless(again) == timeless(whole)


def test_no_checkpoint_before_its_time_and_none_is_looked_for_at_the_first_start() -> None:
    given, shelf = trial(), Shelf()
    train(given, Checkpoints(vault=shelf, every=60))
    assert not shelf
    shelf[given.trial_id] = b"of another run"
    assert len(train(given, Checkpoints(vault=shelf, every=60))) == 10


def test_checkpoints_that_take_long_are_made_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("searcher.training.checkpoints.time.monotonic", lambda: now)
    saved: list[float] = []

    class Slow(Shelf):
        def save(self, trial_id: str, content: bytes) -> None:
            nonlocal now
            saved.append(now)
            now += 2.0

    empty = Checkpoint(
        model={},
        optimizer={},
        best={},
        order=torch.zeros(1),
        random=torch.zeros(1),
        random_cuda=None,
        epochs=[],
        started=0,
    )
    keeper = Checkpoints(vault=Slow(), every=10.0)
    keeper.find("a")
    for later in (9.0, 11.0, 50.0, 53.0, 60.0):
        now = later
        keeper.offer("a", lambda: empty)
    # The first was made at 11 and took 2 s, so the next is due 40 s, a share of a twentieth, after 13.
    assert saved == [11.0, 53.0]


def test_a_notice_makes_every_trial_save_at_once() -> None:
    given, shelf = trial(), Shelf()
    train(given, Checkpoints(vault=shelf, every=60, urgent=lambda: True), die_at=4)
    assert given.trial_id in shelf


def test_a_vault_that_fails_fails_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PATIENCE_SECONDS", 0.0)
    given = trial()
    refused = Checkpoints(vault=Refusing(), every=0, begun=frozenset([given.trial_id]))
    assert timeless(train(given, refused)) == timeless(train(given))
    refused.drop(given.trial_id)


def test_a_vault_out_of_reach_is_waited_for_once_and_asked_again_a_minute_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    asked: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    class Away(Refusing):
        def load(self, trial_id: str) -> bytes | None:
            asked.append(now)
            if now < 300:
                raise OSError("connection refused")
            return None

    def look() -> list[float]:
        """When the next carrier of a sweep asks for its trial."""
        asked.clear()
        assert Checkpoints(vault=away, begun=frozenset("a")).find("a") is None
        return list(asked)

    monkeypatch.setattr(checkpoints, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    away = Away()
    first = list(range(100, 121))
    assert look() == first
    now = 120.5
    assert look() == []
    now = 179.5
    assert look() == []
    now = 181.0
    assert look() == [time + 81 for time in first]
    now = 300.0
    assert look() == [300.0]
    now = 310.0
    assert look() == [310.0], "it answers again, and is asked"


def test_a_trial_that_has_ended_keeps_its_checkpoint_until_its_record_is_stored() -> None:
    given, shelf = trial(), Shelf()
    checkpoints = Checkpoints(vault=shelf, urgent=lambda: True)
    train(given, checkpoints)
    checkpoints.drop(given.trial_id, after=0.2)
    assert shelf
    end = time.monotonic() + 10
    while shelf:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_vault_that_refuses_for_a_moment_costs_no_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("searcher.training.checkpoints.RETRY_SECONDS", 0.0)
    given, shelf, refusals = trial(), Shelf(), [OSError("503 Slow Down"), OSError("500 Internal Error")]

    class Moody(Shelf):
        def load(self, trial_id: str) -> bytes | None:
            if refusals:
                raise refusals.pop()
            return shelf.load(trial_id)

    before = train(given, Checkpoints(vault=shelf, urgent=lambda: True), die_at=6)
    after = train(given, Checkpoints(vault=Moody(), begun=frozenset([given.trial_id])))
    assert after[:5] == before, "trained again"


class Boom:
    """Code that unpickling would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (os.environ["SEARCHER_TEST_BOOM"],)


@pytest.mark.parametrize("content", ["cut short", "another model's", "a pickle that runs code"])
def test_a_checkpoint_that_cannot_be_used_is_left_aside(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, shelf = trial(), Shelf()
    monkeypatch.setenv("SEARCHER_TEST_BOOM", str(tmp_path / "boom"))
    train(given, Checkpoints(vault=shelf, every=0), die_at=5, task=TINY)
    if content == "cut short":
        shelf[given.trial_id] = shelf[given.trial_id][:-100]
    elif content == "a pickle that runs code":
        shelf[given.trial_id] = pickle.dumps(Boom(), protocol=2)
    again = train(given, Checkpoints(vault=shelf, every=60, begun=frozenset([given.trial_id])))
    assert timeless(again) == timeless(train(given))
    assert not (tmp_path / "boom").exists()


class _Rising:
    """A loss whose training value falls and whose test value rises after some epochs, whatever the model does."""

    def __init__(self, after: int, already: int = 0) -> None:
        self.after = after
        self.epoch = already

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.cross_entropy(output, target)
        if torch.is_grad_enabled():
            return loss * 0 + 1 / (1 + self.epoch)
        self.epoch += 1
        return loss * 0 + 1 + abs(self.epoch - self.after)
