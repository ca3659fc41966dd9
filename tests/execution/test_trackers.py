"""TensorBoard and MLflow for real: what Tune's integrations wrote is read back, one run for each trial of ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

import searcher
from searcher import study
from searcher.cli import app
from searcher.errors import ConfigurationError, ExecutionError, ResultsError
from searcher.execution import trackers
from searcher.records import Configuration, EpochRecord, History, Record, Status, Trial, TrialRecord
from searcher.sweep import Sweep, parse_sweep

HERE = Path(__file__).parents[1]


def sweep(results: Path, **changes: Any) -> Sweep:
    return parse_sweep({
        "name": "told",
        "task": "tiny_task.py:make_task",
        "epochs": 2,
        "seeds": [0],
        "strategies": [
            {"grid": {"lr": [0.01, 0.1], "batch_size": [48], "schedule": "step"}},
            {"one_cycle": {"weight_decay": [1e-3], "batch_size": 48}},
        ],
        "stop": {"overfit": "off"},
        "results": str(results),
        "callbacks": ["tensorboard", "mlflow"],
        **changes,
    })  # fmt: skip


def trial() -> Trial:
    settings = Configuration(lr=0.1, momentum=0.9, weight_decay=0.0, batch_size=32, schedule="step")
    return Trial(task="digits", strategy="grid", configuration=settings, seed=0, length=3)


def epoch(of: Trial, number: int) -> EpochRecord:
    return EpochRecord(
        trial_id=of.trial_id, strategy=of.strategy, epoch=number, step=4 * number, samples=100 * number,
        seconds=1.0, train_loss=1 / number, test_loss=2 / number, test_accuracy=None, lr=0.1, momentum=0.9,
        lr_left=1.0, lr_low=0.1, time=0.0,
    )  # fmt: skip


def ending(of: Trial) -> TrialRecord:
    return TrialRecord(trial=of, status=Status.COMPLETED, epochs=3, samples=300, holdout_loss=0.25)


@pytest.fixture(scope="module")
def mlflow_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One file for all tests here, because making its tables takes seconds."""
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")
    yield
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(ray_session: object, mlflow_file: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a sweep was run that told both."""
    folder = tmp_path_factory.mktemp("told")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        searcher.run(sweep(Path("results")), HERE)
        yield folder


@pytest.fixture(scope="module")
def results(folder: Path) -> searcher.Results:
    return searcher.open_results(folder / "results")


def expected_curves(results: searcher.Results) -> dict[str, list[float]]:
    """The losses of each run by its name: by epoch, or of a range test by step."""
    records = pd.concat([results.epochs(), results.steps().rename(columns={"step": "epoch"})]).sort_values("epoch")
    return {
        f"{strategy}_{trial}": [float(loss) for loss in losses]
        for (strategy, trial), losses in records.groupby(["strategy", "trial_id"], observed=True).train_loss
    }


def test_mlflow_has_one_run_for_each_trial_with_its_configuration_and_curve(
    folder: Path, results: searcher.Results
) -> None:
    client = mlflow.MlflowClient()
    runs = {run.data.tags["trial_name"]: run for run in mlflow.search_runs(experiment_names=["told"],
                                                                           output_format="list")}  # fmt: skip
    trials = results.trials()
    assert len(mlflow.search_runs(experiment_names=["told"])) == len(trials) == len(runs)
    curves = expected_curves(results)
    for trial in trials.itertuples():
        run = runs[f"{trial.strategy}_{trial.trial_id}"]
        assert run.info.status == "FINISHED"
        assert {name: run.data.params[name] for name in ("kind", "schedule", "batch_size")} == {
            "kind": trial.kind, "schedule": trial.schedule, "batch_size": "48"
        }  # fmt: skip
        assert float(run.data.params["lr"]) == trial.lr
        points = client.get_metric_history(run.info.run_id, "train_loss")
        told = [point.value for point in sorted(points, key=lambda point: point.step)]
        assert told == pytest.approx(curves[f"{trial.strategy}_{trial.trial_id}"])
        if trial.kind == "train":
            assert run.data.metrics["holdout_loss"] == pytest.approx(trial.holdout_loss)
            assert run.data.metrics["samples"] == trial.samples


def test_tensorboard_has_one_run_for_each_trial_with_its_hyper_parameters_and_curve(
    folder: Path, results: searcher.Results
) -> None:
    curves = expected_curves(results)
    files = [path for path in (folder / "runs").rglob("*") if path.is_file()]
    assert len(files) == len(curves)
    for file in files:
        events = EventAccumulator(str(file.parent))
        events.Reload()
        strategy, trial = file.parent.parts[-2:]
        points = events.Scalars("ray/tune/train_loss")
        assert [point.step for point in points] == list(range(1, len(points) + 1))
        assert [point.value for point in points] == pytest.approx(curves[f"{strategy}_{trial}"], rel=1e-6)
        told = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        assert b"weight_decay" in told


def test_a_tracker_that_is_not_installed_is_named_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(trackers.PACKAGES, "wandb", "no_such_package")
    with pytest.raises(ConfigurationError, match=r"callbacks: wandb needs .*: pip install 'searcher\[wandb\]'$"):
        study.prepare(sweep(tmp_path, callbacks=["wandb"]), HERE)


def test_a_tracker_that_is_not_known_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(sweep(tmp_path).to_yaml())
    done = CliRunner().invoke(app, ["validate", str(file), "--set", "callbacks=[tensorbord]"])
    assert str(done.exception) == (
        "callbacks[0]: got 'tensorbord'; must be one of tensorboard, mlflow, wandb. Did you mean 'tensorboard'?"
    )


def told(*names: str) -> trackers.Trackers:
    return trackers.Trackers(names=names, sweep="cut", results="results")


def test_a_tracker_that_cannot_be_set_up_is_an_error_in_one_line(mlflow_file: None) -> None:
    usable = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("nowhere://")
    try:
        with (
            pytest.raises(ExecutionError, match=r"callbacks: mlflow cannot be set up: \S.*'nowhere://'") as caught,
            trackers.told(lambda records: None, told("mlflow"), {}),
        ):
            pass
    finally:
        mlflow.set_tracking_uri(usable)
    assert "\n" not in str(caught.value)


def test_a_tracker_that_fails_meanwhile_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").write_text("a file where the folder should be")
    taken: list[Record] = []
    with trackers.told(taken.extend, told("tensorboard"), {"grid": History()}) as sink:
        sink([ending(trial())])
        sink([ending(trial())])
    assert len(taken) == 2
    (warning,) = [record.message for record in caplog.records if "callbacks" in record.message]
    assert warning.startswith("callbacks: tensorboard is told no more, after: [Errno 20] Not a directory: ")


def test_a_trial_that_was_cut_short_is_one_run_after_a_resume(
    mlflow_file: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    to = told("tensorboard", "mlflow")
    one = trial()
    stored = History()
    stored.start(one)
    with trackers.told(lambda records: None, to, {"grid": stored}) as sink:
        sink([epoch(one, 1), epoch(one, 2)])
    (cut,) = mlflow.search_runs(experiment_names=["cut"], output_format="list")
    assert cut.info.status == "FAILED"
    stored.add(epoch(one, 1))  # the second had not reached the disk
    with trackers.told(lambda records: None, to, {"grid": stored}) as sink:
        sink([epoch(one, 2)])
        sink([epoch(one, 2), epoch(one, 3), ending(one)])  # from a checkpoint, the second again
        stored.add(ending(one))
        sink([epoch(one, 3)])
    (run,) = mlflow.search_runs(experiment_names=["cut"], output_format="list")
    assert (run.info.status, run.data.metrics["holdout_loss"]) == ("FINISHED", 0.25)
    points = mlflow.MlflowClient().get_metric_history(run.info.run_id, "test_loss")
    assert [point.step for point in points] == [1, 2, 3]
    events = EventAccumulator(str(tmp_path / "runs" / "cut" / "grid" / one.trial_id))
    events.Reload()
    assert [point.step for point in events.Scalars("ray/tune/test_loss")] == [1, 2, 3]
    assert events.Scalars("ray/tune/holdout_loss")[0].value == 0.25


def test_what_the_sink_refuses_is_told_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def full(records: Iterable[Record]) -> None:
        raise ResultsError("the disk is full")

    with pytest.raises(ResultsError), trackers.told(full, told("tensorboard"), {"grid": History()}) as sink:
        sink([ending(trial())])
    assert not Path("runs").exists()
