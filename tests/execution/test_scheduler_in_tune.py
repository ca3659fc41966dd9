"""OverfitScheduler in plain Ray Tune, with trainables that know nothing of this package."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle, tune
from ray.tune.error import TuneError
from ray.tune.schedulers import ASHAScheduler

from searcher.algorithms.stopping import Observation, Overfit, decide
from searcher.execution.scheduler import OverfitScheduler
from searcher.records import Verdict

REPORTS = 30
ALONE = {"hopeless": None}
NAMES = {"train_metric": "loss/train", "test_metric": "loss/val"}

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import this file

pytestmark = pytest.mark.usefixtures("ray_session")


def losses(turn: int, epoch: int) -> tuple[float, float]:
    """Training and test loss; the test loss is lowest at epoch `turn`."""
    return 0.9**epoch, 1 + 0.05 * abs(epoch - turn)


def expected_stop(turn: int) -> int:
    history = [Observation(e, *losses(turn, e)) for e in range(1, REPORTS + 1)]
    stops = [e for e in range(1, REPORTS + 1) if decide(history[:e], Overfit(hopeless=None)).stops]
    return stops[0] if stops else REPORTS


def trainable(config: dict[str, Any]) -> None:
    """Reports losses under names with a slash, and keeps its epoch in a checkpoint so that it can go on."""
    start = 0
    if given := tune.get_checkpoint():
        with given.as_directory() as folder:
            start = json.loads((Path(folder) / "epoch.json").read_text())
    for epoch in range(start + 1, REPORTS + 1):
        train, test = losses(config["turn"], epoch)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "epoch.json").write_text(json.dumps(epoch))
            tune.report({"loss/train": train, "loss/val": test}, checkpoint=tune.Checkpoint.from_directory(folder))


class Reused(tune.Trainable):  # type: ignore[misc]
    """The same with nested names, as a class, whose actor takes one configuration after another."""

    def setup(self, config: dict[str, Any]) -> None:
        self.turn = config["turn"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.turn = new_config["turn"]
        return True

    def step(self) -> dict[str, Any]:
        train, test = losses(self.turn, self.iteration + 1)
        return {"loss": {"train": train, "val": test}, "done": self.iteration + 1 == REPORTS}


def tuner(made: Any, scheduler: OverfitScheduler, folder: Path, turns: list[int], **run: Any) -> tune.Tuner:
    config = tune.TuneConfig(
        metric="loss/val", mode="min", scheduler=scheduler, max_concurrent_trials=2,
        reuse_actors=made is Reused,
    )  # fmt: skip
    keep = tune.CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="loss/val", checkpoint_score_order="min")
    given = {"checkpoint_config": keep} if made is trainable else {}
    settings = tune.RunConfig(name="run", storage_path=str(folder), verbose=0, **given, **run)
    space = {"turn": tune.grid_search(turns)}
    return tune.Tuner(made, param_space=space, tune_config=config, run_config=settings)


def reports(results: tune.ResultGrid) -> dict[int, int]:
    return {result.config["turn"]: result.metrics["training_iteration"] for result in results}


@pytest.mark.parametrize("made", [trainable, Reused])
def test_trials_stop_where_the_rule_says(made: Any, tmp_path: Path) -> None:
    scheduler = OverfitScheduler(ALONE, **NAMES)
    results = tuner(made, scheduler, tmp_path, [5, 10, 100]).fit()
    assert reports(results) == {turn: expected_stop(turn) for turn in (5, 10, 100)}
    assert expected_stop(5) < expected_stop(10) < expected_stop(100) == REPORTS
    assert sorted(epoch for epoch, _ in scheduler.decisions.values()) == [expected_stop(5), expected_stop(10)]
    assert all(decision.verdict is Verdict.OVERFIT for _, decision in scheduler.decisions.values())


def test_a_stopped_trial_ranks_by_its_best_epoch_whose_checkpoint_it_keeps(tmp_path: Path) -> None:
    results = tuner(trainable, OverfitScheduler(ALONE, **NAMES), tmp_path, [5, 100]).fit()
    best = results.get_best_result(scope="all")
    assert best.config["turn"] == 5
    checkpoint, metrics = min(best.best_checkpoints, key=lambda kept: kept[1]["loss/val"])
    assert metrics["loss/val"] == 1
    with checkpoint.as_directory() as folder:
        assert json.loads((Path(folder) / "epoch.json").read_text()) == 5


def test_asha_decides_for_what_the_rule_lets_run(tmp_path: Path) -> None:
    asha = ASHAScheduler(max_t=20, grace_period=20)
    results = tuner(trainable, OverfitScheduler(ALONE, base=asha, **NAMES), tmp_path, [5, 100]).fit()
    assert reports(results) == {5: expected_stop(5), 100: 20}


def test_buffered_results_are_judged_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial may run on to the end of its buffer; the verdict is that of the report where it was due."""
    monkeypatch.setenv("TUNE_RESULT_BUFFER_LENGTH", "4")
    monkeypatch.setenv("TUNE_RESULT_BUFFER_MIN_TIME_S", "0")
    scheduler = OverfitScheduler(ALONE, **NAMES)
    results = tuner(Reused, scheduler, tmp_path, [5]).fit()
    assert [epoch for epoch, _ in scheduler.decisions.values()] == [expected_stop(5)]
    assert expected_stop(5) <= reports(results)[5] <= expected_stop(5) + 4


def test_a_metric_that_is_missing_ends_the_run_with_its_name(tmp_path: Path) -> None:
    scheduler = OverfitScheduler(train_metric="loss/train", test_metric="loss/vall")
    with pytest.raises(TuneError, match=r"the test loss 'loss/vall' is missing.*Did you mean 'loss/val'"):
        tuner(Reused, scheduler, tmp_path, [5]).fit()


class Crash(tune.Callback):  # type: ignore[misc]
    """The driver dies in the middle of a run."""

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        if result["training_iteration"] == 8:
            raise SystemExit("killed")


def test_a_run_that_was_restored_stops_where_it_would_have_without_the_crash(tmp_path: Path) -> None:
    first = tuner(trainable, OverfitScheduler(ALONE, **NAMES), tmp_path, [5], callbacks=[Crash()])
    with pytest.raises(SystemExit):
        first.fit()
    restored = tune.Tuner.restore(str(tmp_path / "run"), trainable=trainable)
    restored._local_tuner._run_config.callbacks = []
    results = restored.fit()
    assert not results.errors
    assert reports(results) == {5: expected_stop(5)}
    assert results[0].metrics["iterations_since_restore"] < expected_stop(5)  # it did not begin anew
