"""A tiny sweep of the three strategies through a real Ray: run, read with plain pandas, interrupt, resume."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import ray

import searcher
from searcher.errors import ExecutionError, ResultsError, SweepExistsError, TaskError
from searcher.sweep import Sweep, parse_sweep

HERE = Path(__file__).parent
GRID = {
    "lr": [0.01, 0.1],
    "weight_decay": [0.0],
    "momentum": [0.9],
    "batch_size": [16, 48],
    "schedule": "step",
}
RANDOM = {
    "trials": 3,
    "lr": {"loguniform": [1e-3, 1.0]},
    "weight_decay": {"choice": [0.0, 1e-4]},
    "momentum": {"uniform": [0.8, 0.95]},
    "batch_size": {"choice": [16, 48]},
    "schedule": "cosine",
}
ONE_CYCLE = {"weight_decay": [1e-3, 0.0], "batch_size": 16}


def tiny(results: Path, **changes: object) -> Sweep:
    given = {
        "name": "tiny",
        "task": "tiny_task.py:make_task",
        "epochs": 4,
        "seeds": [0, 1],
        "strategies": [{"grid": GRID}, {"random": RANDOM}, {"one_cycle": ONE_CYCLE}],
        "stop": {"overfit": "off"},
        "resources": {"cpu": 1},
        "results": str(results),
    }
    return parse_sweep(given | changes)


@pytest.fixture(scope="module")
def done(ray_session: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a whole run."""
    results = tmp_path_factory.mktemp("done") / "results"
    searcher.run(tiny(results), HERE)
    return results


SLOW = {"task": "slow_task.py:make_task", "epochs": 12, "strategies": [{"grid": GRID}, {"one_cycle": ONE_CYCLE}]}
"""A sweep that takes long enough to be killed in its middle."""


@pytest.fixture(scope="module")
def slowly_done(ray_session: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a whole run of the slow sweep."""
    results = tmp_path_factory.mktemp("slowly-done") / "results"
    searcher.run(tiny(results, **SLOW), HERE)
    return results


def measured(results: Path, data_set: str) -> pd.DataFrame:
    """A data set as plain pandas reads it, without what two runs may differ in: times and places."""
    frame = pd.read_parquet(results / data_set)
    frame = frame.drop(columns=["seconds", "time", "started", "finished", "node"], errors="ignore")
    keys = [name for name in ("strategy", "trial_id", "epoch", "step") if name in frame]
    return frame.sort_values(keys).reset_index(drop=True).astype({"strategy": str, "sweep": str})


def test_every_trial_ran_and_pandas_reads_it(done: Path) -> None:
    trials = pd.read_parquet(done / "trials")
    counts = trials.groupby("strategy", observed=True).size()
    assert (counts["grid"], counts["random"]) == (2 * 2 * 2, 3 * 2)
    assert counts["one_cycle"] >= 2 + 3 + 2
    assert set(trials.status) == {"completed"}
    assert trials.trial_id.is_unique
    assert (trials.holdout_accuracy[trials.kind == "train"] > 0.5).all()

    epochs = pd.read_parquet(done / "epochs")
    assert not epochs.duplicated(["trial_id", "epoch"]).any()
    per_trial = epochs.groupby("trial_id").size()
    expected = trials[trials.kind == "train"].set_index("trial_id").epochs
    pd.testing.assert_series_equal(
        per_trial.sort_index(), expected.sort_index(), check_names=False, check_dtype=False
    )
    assert pd.read_parquet(done / "sweeps").status.tolist() == ["completed"]


def test_a_run_leaves_no_settings_behind_for_other_sweeps_of_the_process(done: Path) -> None:
    assert not [name for name in os.environ if name.startswith("TUNE_")]


def test_the_comparison_agrees_with_the_rows(done: Path) -> None:
    trials = pd.read_parquet(done / "trials")
    samples = trials.groupby("strategy", observed=True).samples.sum()
    table = searcher.open_results(done).compare("tiny").frame().set_index("strategy")
    assert table.samples.to_dict() == samples.to_dict()
    assert table.trials.to_dict() == trials.groupby("strategy", observed=True).size().to_dict()


def test_the_same_sweep_gives_the_same_numbers(done: Path, tmp_path: Path) -> None:
    searcher.run(tiny(tmp_path / "results"), HERE)
    for data_set in ("trials", "epochs", "steps"):
        pd.testing.assert_frame_equal(measured(tmp_path / "results", data_set), measured(done, data_set))


def test_a_name_that_exists_is_refused_with_a_way_out(done: Path) -> None:
    with pytest.raises(SweepExistsError, match=r"tiny.*--resume.*--overwrite"):
        searcher.run(tiny(done), HERE)


def test_another_sweep_cannot_be_resumed_under_the_name(done: Path) -> None:
    with pytest.raises(ResultsError, match="its file has changed since it was run .epochs."):
        searcher.run(tiny(done, epochs=5), HERE, mode="resume")


def test_a_finished_sweep_resumed_trains_nothing(done: Path) -> None:
    before = measured(done, "trials")
    searcher.run(tiny(done), HERE, mode="resume")
    pd.testing.assert_frame_equal(measured(done, "trials"), before)


def test_resources_that_no_node_has_are_refused(ray_session: object, tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match=r"resources: no node can give.*GPU 3"):
        searcher.run(tiny(tmp_path / "results", resources={"cpu": 1, "gpu": 3}), HERE)


def test_a_task_that_gives_other_data_in_each_process_trains_nothing(ray_session: object, tmp_path: Path) -> None:
    (tmp_path / "unseeded.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "from searcher import Task\n"
        "def make_task():\n"
        "    pair = (torch.randn(40, 4), torch.arange(40) % 2)\n"
        "    return Task(lambda: nn.Linear(4, 2), pair, pair, pair, nn.functional.cross_entropy)\n"
    )
    unseeded = tiny(tmp_path / "results", task="unseeded.py:make_task", strategies=[{"grid": GRID}])
    with pytest.raises(TaskError, match="'unseeded.py:make_task' has other splits on .*generator with a seed"):
        searcher.run(unseeded, tmp_path)
    assert len(searcher.open_results(tmp_path / "results").epochs()) == 0


def test_a_task_that_loads_in_no_process_that_trains_trains_nothing(
    ray_session: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leans.py").write_text("import os\nos.environ['ONLY_HERE']\nfrom tiny_task import make_task\n")
    monkeypatch.setenv("ONLY_HERE", "1")  # Ray's processes have the environment in which Ray was started
    leaning = tiny(tmp_path / "results", task="leans.py:make_task", strategies=[{"grid": GRID}])
    with pytest.raises(
        TaskError, match=r"'leans.py:make_task' does not import: KeyError: 'ONLY_HERE' .*\(on node "
    ):
        searcher.run(leaning, tmp_path)
    assert set(searcher.open_results(tmp_path / "results").trials().status) <= {"interrupted"}


class _Refuses:
    """An observer that has had enough in the middle of a run."""

    def begin(self, *given: object) -> None:
        self.records = 0

    def record(self, record: object) -> None:
        self.records += 1
        if self.records > 20:
            raise ResultsError("there is no room for more")

    def end(self) -> None:
        """Nothing to end."""


def test_an_error_within_a_run_comes_out_as_it_was_raised_and_a_resume_completes_it(
    ray_session: object, tmp_path: Path, done: Path
) -> None:
    results = tmp_path / "results"
    with pytest.raises(ResultsError, match=r"^there is no room for more$"):
        searcher.run(tiny(results), HERE, observer=_Refuses())
    searcher.run(tiny(results), HERE, mode="resume")
    for data_set in ("trials", "epochs", "steps"):
        pd.testing.assert_frame_equal(measured(results, data_set), measured(done, data_set))


def test_failing_and_diverging_trials_do_not_end_a_sweep(ray_session: object, tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "from searcher import Task\n"
        "def make_task():\n"
        "    pair = (torch.eye(40), torch.arange(40) % 2)\n"
        "    def loss(output, target):\n"
        "        if len(output) == 10:\n"
        "            raise RuntimeError('ten at a time is too much')\n"
        "        return nn.functional.cross_entropy(output, target)\n"
        "    return Task(lambda: nn.Linear(40, 2), pair, pair, pair, loss)\n"
    )
    grid = {"lr": [0.1, 1e39], "batch_size": [10, 20], "schedule": "constant"}
    results = searcher.run(
        tiny(tmp_path / "results", task="fails.py:make_task", strategies=[{"grid": grid}], seeds=[0]),
        tmp_path,
    )
    trials = results.trials().set_index(["batch_size", "lr"])
    assert trials.status.to_dict() == {
        (10, 0.1): "failed", (10, 1e39): "failed", (20, 0.1): "completed", (20, 1e39): "diverged"
    }  # fmt: skip
    assert trials.loc[(10, 0.1), "status_reason"] == "RuntimeError: ten at a time is too much"


def test_a_trial_whose_process_dies_is_failed_and_the_rest_goes_on(ray_session: object, tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(
        "import os, torch\n"
        "from torch import nn\n"
        "from searcher import Task\n"
        "def make_task():\n"
        "    pair = (torch.eye(40, 3), torch.arange(40) % 2)\n"
        "    def loss(output, target):\n"
        "        if len(output) == 10 and torch.is_grad_enabled():\n"
        "            os._exit(1)\n"
        "        return nn.functional.cross_entropy(output, target)\n"
        "    return Task(lambda: nn.Linear(3, 2), pair, pair, pair, loss)\n"
    )
    grid = {"lr": [0.1], "batch_size": [10, 20], "schedule": "constant"}
    results = searcher.run(
        tiny(tmp_path / "results", task="dies.py:make_task", strategies=[{"grid": grid}], seeds=[0]), tmp_path
    )
    trials = results.trials().set_index("batch_size")
    assert trials.status.to_dict() == {10: "failed", 20: "completed"}
    assert "died" in trials.status_reason[10]


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_killed_halfway_is_resumed_to_the_same_tables(
    slowly_done: Path, tmp_path: Path, blow: signal.Signals
) -> None:
    results = tmp_path / "results"
    file = HERE / f"_slow_{os.getpid()}.yaml"  # beside its task, whose path is part of the trials' identity
    file.write_text(tiny(results, **SLOW).to_yaml())
    command = [sys.executable, "-m", "searcher.cli", "run", str(file)]
    environment = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    try:
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        wait_for_trials(results, at_least=1, process=process)
        process.send_signal(blow)
        _, errors = process.communicate(timeout=60)
        before = pd.read_parquet(results / "trials")
        kept = before[before.status == "completed"]
        assert 0 < len(kept) < len(pd.read_parquet(slowly_done / "trials"))
        if blow == signal.SIGINT:
            assert process.returncode == 130
            assert "--resume" in errors
            assert set(before.status) <= {"completed", "interrupted"}
            assert pd.read_parquet(results / "sweeps").status.tolist() == ["interrupted"]

        resumed = subprocess.run(
            [*command, "--resume"], env=environment, capture_output=True, text=True, timeout=120
        )
        assert resumed.returncode == 0, resumed.stderr
    finally:
        file.unlink()
    for data_set in ("trials", "epochs", "steps"):
        pd.testing.assert_frame_equal(measured(results, data_set), measured(slowly_done, data_set))
    after = pd.read_parquet(results / "trials").set_index("trial_id")
    assert (after.finished[kept.trial_id].to_numpy() == kept.finished.to_numpy()).all(), "trained again"


def wait_for_trials(results: Path, at_least: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if (results / "trials").exists() and len(pd.read_parquet(results / "trials")) >= at_least:
            return
        time.sleep(0.05)
    raise AssertionError("no trial ended within a minute")
