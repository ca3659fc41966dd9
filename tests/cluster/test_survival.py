"""Nodes, drivers and heads are killed with `kill -9` under a sweep: nothing is lost, nothing stands twice."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import torch
from local_cluster import LocalCluster, wait_until

from searcher import study
from searcher.algorithms.packing import Packing
from searcher.algorithms.stopping import rule_from
from searcher.job.notice import heard
from searcher.records import EpochRecord, History, Record, Trial, TrialRecord
from searcher.sweep import Sweep, parse_sweep
from searcher.training.fused import run_trials
from searcher.training.loop import run_trial
from searcher.training.tasks import load_task

HERE = Path(__file__).parent
LR = [0.01, 0.03, 0.1, 0.3]
GRID = {"momentum": [0.9], "schedule": "one_cycle"}
SWEEP = {
    "name": "fragile",
    "task": "./patient_task.py:make_task",
    "epochs": 84,
    "seeds": [0, 1],
    "strategies": [
        # 16 trials of 3 steps an epoch: 4,032 steps, enough for batches.
        {"grid": GRID | {"name": "batches", "lr": LR, "weight_decay": [0, 1e-3], "batch_size": 48}},
        {"grid": GRID | {"name": "single", "lr": LR[:1], "weight_decay": [0], "batch_size": 72, "epochs": 100}},
    ],
    "stop": {"overfit": "off"},
    "checkpoint_every": 3600,  # only notice makes checkpoints
    "max_failures": 8,
}


class Run:
    """A sweep and its driver, on this machine.

    Attributes:
        measured: the files of epochs there now, and the strategies that they are of.
        checkpoints: the files there now, by the id of the trial.
    """

    def __init__(self, cluster: LocalCluster, folder: Path, **changes: object) -> None:
        self._cluster = cluster
        self.results = folder / "results"
        self.sweep = parse_sweep(SWEEP | {"results": str(self.results)} | changes)
        self.file = folder / "sweep.yaml"
        self.file.write_text(self.sweep.to_yaml())
        (folder / "patient_task.py").write_text((HERE / "patient_task.py").read_text())

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "searcher.cli", "run", str(self.file), "--address", self._cluster.gcs]
        return subprocess.Popen([*words, *options], env=self._cluster.environment())

    @property
    def measured(self) -> list[Path]:
        return list((self.results / "epochs").rglob("*.parquet"))

    @property
    def strategies(self) -> set[str]:
        return {path.parent.name.removeprefix("strategy=") for path in self.measured}

    def measured_after(self, moment: pd.Timestamp) -> bool:
        return bool((pd.read_parquet(self.results / "epochs").time > moment).any())

    @property
    def checkpoints(self) -> dict[str, Path]:
        return {path.stem: path for path in (self.results / ".searcher/checkpoints").rglob("*.pt")}

    def wait_for_checkpoints(self, trials: list[Trial]) -> None:
        """Until one of these trials has a checkpoint."""
        ids = {trial.trial_id for trial in trials}
        wait_until(lambda: bool(ids & set(self.checkpoints)), "no checkpoint was written")


def trials_of(sweep: Sweep, label: str) -> list[Trial]:
    return study.prepare(sweep, HERE).strategies[label].propose(History(), 1000)


def undisturbed(sweep: Sweep) -> list[Record]:
    """What the sweep measures where nothing dies, trained in this process: in batches and one by one."""
    torch.set_num_threads(1)
    task, rule = load_task(sweep.task, HERE), rule_from("off")
    records: list[Record] = []
    run_trials(task, trials_of(sweep, "batches"), rule, records.append, "cpu", Packing(16, False, ""))
    for trial in trials_of(sweep, "single"):
        run_trial(task, trial, rule, records.append)
    return records


@contextmanager
def metadata(answers: dict[str, list[tuple[int, str]]]) -> Iterator[str]:
    """A cloud's metadata server: by path what it answers, the last answer again and again."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            left = answers[self.path]
            status, text = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        do_PUT = do_GET

        def log_message(self, *words: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


def test_two_sweeps_share_a_cluster(cluster: LocalCluster, tmp_path: Path) -> None:
    """The first takes both workers; the second gets one of them as soon as a trial ends, and keeps it."""
    runs = []
    with cluster.slow():
        for name, sizes in (("first", 100), ("second", 2)):  # two seconds for each trial
            # Trials of one batch size would share a carrier.
            grid = GRID | {"lr": [0.1], "weight_decay": [0], "batch_size": list(range(40, 40 + sizes))}
            (tmp_path / name).mkdir()
            run = Run(cluster, tmp_path / name, name=name, epochs=1, fuse="off", strategies=[{"grid": grid}])
            runs.append((run, run.start()))
            wait_until(lambda run=run: bool(run.measured), "nothing was measured")
        (_, one), (_, other) = runs
        assert other.wait(120) == 0
        assert one.poll() is None, "the second waited for the first's end"
        one.terminate()
        assert one.wait(60) == 130
    first, second = (pd.read_parquet(run.results / "trials") for run, _ in runs)
    assert len(second) == 4
    began, ended = second.started.min(), second.finished.max()
    beside = first[(first.started > began) & (first.started < ended)]
    assert 1 <= len(beside) <= len(second) + 3


CLOUDS: dict[str, tuple[str, str, dict[str, list[tuple[int, str]]]]] = {
    # Its variable for the address of the metadata, the form of that, and what is answered there.
    "aws": (
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "http://{}",
        {
            "/latest/api/token": [(200, "secret")],
            "/latest/meta-data/spot/instance-action": [(404, ""), (200, '{"action": "terminate"}')],
        },
    ),
    "gcp": (
        "GCE_METADATA_HOST",
        "{}",
        {"/computeMetadata/v1/instance/preempted": [(200, "FALSE"), (200, "TRUE")]},
    ),
}


@pytest.mark.parametrize("cloud", list(CLOUDS))
def test_a_clouds_notice_is_heard(cloud: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable, form, answers = CLOUDS[cloud]
    monkeypatch.setenv(variable, "http://127.0.0.1:9" if cloud == "aws" else "127.0.0.1:9")
    assert not heard(cloud), "nobody answers"
    with metadata({path: list(given) for path, given in answers.items()}) as address:
        monkeypatch.setenv(variable, form.format(address))
        assert [heard(cloud) for _ in range(3)] == [False, True, True]


def give_notice(cluster: LocalCluster, node: str, cloud: str, **environment: str) -> None:
    words = [sys.executable, "-m", "searcher.job", "notice", "--cloud", cloud, "--node", node]
    given = cluster.environment(RAY_ADDRESS=cluster.gcs, **environment)
    subprocess.run(words, env=given, check=True, timeout=60)


def test_nodes_get_notice_and_die_a_node_is_added_the_driver_and_the_head_die(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    run = Run(cluster, tmp_path)
    batches, single = trials_of(run.sweep, "batches"), trials_of(run.sweep, "single")
    with cluster.slow():
        driver = run.start()
        wait_until(lambda: {"batches", "single"} <= run.strategies, "nothing was measured")
        assert not run.checkpoints
        variable, form, answers = CLOUDS["aws"]
        with metadata(answers) as address, ThreadPoolExecutor() as pool:
            aws = pool.submit(give_notice, cluster, "127.0.0.3", "aws", **{variable: form.format(address)})
            give_notice(cluster, "127.0.0.4", "now")
            aws.result()
        run.wait_for_checkpoints(batches)
        run.wait_for_checkpoints(single)
        cluster.kill("w1", "w2")
        workers_died = pd.Timestamp.now("UTC")
        cluster.start_workers("w3", "w1")
        wait_until(lambda: run.measured_after(workers_died), "nothing went on")
        assert driver.poll() is None
        driver.kill()
        driver.wait()
        cluster.kill("head", "w1", "w3")
    cluster.call("head")
    cluster.start_workers("w1", "w2")
    assert run.start("--resume").wait(180) == 0

    expected = undisturbed(run.sweep)
    epochs, trials = pd.read_parquet(run.results / "epochs"), pd.read_parquet(run.results / "trials")
    assert not epochs.duplicated(["trial_id", "epoch"]).any()
    columns = ["train_loss", "test_loss", "test_accuracy", "step", "samples"]
    stored = {(row.trial_id, row.epoch): [getattr(row, name) for name in columns] for row in epochs.itertuples()}
    assert stored == {
        (record.trial_id, record.epoch): [getattr(record, name) for name in columns]
        for record in expected
        if isinstance(record, EpochRecord)
    }
    ended = {row.trial_id: (row.status, row.epochs, row.holdout_loss) for row in trials.itertuples()}
    assert ended == {
        record.trial_id: (record.status.value, record.epochs, record.holdout_loss)
        for record in expected
        if isinstance(record, TrialRecord)
    }
    # All workers died at once: who began before and ended later, went on from a checkpoint.
    went_on = trials[(trials.started < workers_died) & (trials.finished > workers_died)]
    assert {"batches", "single"} <= set(went_on.strategy)
    assert not run.checkpoints, "left over"
