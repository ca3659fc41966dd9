"""Sweeps on a real cluster of three nodes with a token: submitted, watched, stopped, resumed, fetched, refused."""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pyarrow.fs as pafs
import pytest
import requests
from faulty_storage import S3Server
from local_cluster import S3_USER, LocalCluster, wait_until

import searcher
from searcher import cluster as clusters
from searcher.cli import main
from searcher.cluster import connection
from searcher.cluster.messages import Message
from searcher.errors import ExecutionError, ResultsError, TaskError
from searcher.results.owner import claim
from searcher.sweep import parse_sweep

TESTS = Path(__file__).parents[1]
GRID = {"lr": [0.01, 0.1], "weight_decay": [0.0], "momentum": [0.9], "batch_size": [16, 48], "schedule": "step"}
SWEEP = {
    "name": "tiny",
    "task": "tiny_task.py:make_task",
    "epochs": 4,
    "seeds": [0, 1],
    "strategies": [{"grid": GRID}, {"one_cycle": {"weight_decay": [1e-3, 0.0], "batch_size": 16}}],
    "stop": {"overfit": "off"},
}
QUICK, LONG = (
    GRID | {"name": name, "lr": [0.1], "epochs": epochs} for name, epochs in (("quick", 1), ("long", 60))
)
STOPPED = SWEEP | {
    "name": "stopped",
    "task": "patient_task.py:make_task",
    "strategies": [{"grid": QUICK}, {"grid": LONG}],
    "checkpoint_every": 1,
}
"""Where epochs last a second some trials end soon, and others do not before it is stopped."""


@pytest.fixture
def token(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has the cluster's token and address, as a user's shell would."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(cluster.token_path))
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", cluster.address)
    for name, value in S3_USER.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's folder with the tasks of the tests."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("tiny_task.py", "cluster/patient_task.py"):
        shutil.copy(TESTS / name, folder)
    return folder


def write_sweep(project: Path, sweep: dict[str, object], **changes: object) -> Path:
    file = project / "sweep.yaml"
    file.write_text(parse_sweep(sweep | changes).to_yaml())
    return file


def command(cluster: LocalCluster, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A `searcher` command as a user types it, in a folder of theirs."""
    return subprocess.run(
        [sys.executable, "-m", "searcher.cli", *words],
        env=cluster.environment(RAY_API_SERVER_ADDRESS=cluster.address),
        cwd=cwd, capture_output=True, text=True, timeout=180,
    )  # fmt: skip


def start(*words: str, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "searcher.cli", *words],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def measured(results: Path, sweep: str, data_set: str) -> pd.DataFrame:
    """A data set of a sweep without what two runs may differ in: times and places."""
    return comparable(pd.read_parquet(results / data_set), sweep)


def comparable(frame: pd.DataFrame, sweep: str) -> pd.DataFrame:
    frame = frame[frame["sweep"] == sweep]
    frame = frame.drop(columns=["seconds", "time", "started", "finished", "node"], errors="ignore")
    keys = [name for name in ("strategy", "trial_id", "epoch", "step") if name in frame]
    return frame.astype({"strategy": str, "sweep": str}).sort_values(keys).reset_index(drop=True)


def assert_equal_results(one: Path, other: Path, sweep: str) -> None:
    for data_set in ("trials", "epochs", "steps"):
        if (one / data_set).exists() or (other / data_set).exists():
            frames = (measured(one, sweep, data_set), measured(other, sweep, data_set))
            assert len(frames[0])
            pd.testing.assert_frame_equal(*frames)


def test_a_followed_sweep_equals_a_local_run_row_for_row_and_the_token_is_nowhere(
    cluster: LocalCluster, ray_session: object, token: None, project: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    # Where trials run is no part of what they measure: two carriers, each with half of a GPU that Ray counts.
    file = write_sweep(project, SWEEP, resources={"cpu": 0.5, "gpu": 0.5, "max_concurrent": 2})
    with ThreadPoolExecutor() as pool:
        following = pool.submit(command, cluster, "submit", str(file), "--follow", cwd=tmp_path)
        searcher.run(parse_sweep(SWEEP | {"results": str(tmp_path / "local")}), project)
        followed = following.result()
    assert followed.returncode == 0, followed.stderr
    assert followed.stdout.splitlines()[0] == "tiny"
    assert "holdout accuracy" in followed.stdout
    assert "tiny: task tiny_task.py:make_task" in followed.stderr
    assert "grid 8/8 trials" in followed.stderr

    again = searcher.submit(parse_sweep(SWEEP | {"results": str(tmp_path / "local")}), project, name="again")
    for _ in range(2):  # fetched again: replaced
        assert call("fetch", "tiny", "--to", str(tmp_path / "got")) == 0
    assert_equal_results(tmp_path / "got", tmp_path / "local", "tiny")
    assert set(pd.read_parquet(tmp_path / "got/sweeps").status) == {"completed"}
    got = pd.read_parquet(tmp_path / "got/trials")
    assert max(((got.started <= at) & (got.finished > at)).sum() for at in got.started) <= 2

    # What the cluster keeps of it (results, logs, packages, the job's metadata), and what came back.
    told = [followed.stdout, followed.stderr]
    for words in (["jobs"], ["status", "tiny"], ["logs", "tiny"]):
        capsys.readouterr()
        assert call(*words) == 0
        told += capsys.readouterr()
        assert "tiny" in told[-2]
    assert not [text for text in told if cluster.token in text]
    known = requests.get(f"{cluster.address}/api/jobs/", headers={"Authorization": f"Bearer {cluster.token}"}).text
    assert "tiny" in known
    assert cluster.token not in known
    assert holders(cluster.token, cluster.folder.parent, tmp_path) == [cluster.token_path]
    with pytest.raises(ResultsError, match="sweep 'tiny' is already in .*local: --resume trains only"):
        again.check()


def holders(secret: str, *folders: Path) -> list[Path]:
    """The files below that hold a text."""
    found = subprocess.run(["grep", "-rlF", secret, *map(str, folders)], capture_output=True, text=True)
    assert found.returncode in (0, 1, 2)  # 2: a socket cannot be read
    return [Path(line) for line in found.stdout.splitlines()]


def test_a_job_with_results_on_object_storage_outlives_its_outage_and_a_stopped_one_is_made_whole(
    cluster: LocalCluster, ray_session: object, token: None, project: Path, tmp_path: Path
) -> None:
    with S3Server() as server:
        endpoint = quote(server.environment["AWS_ENDPOINT_URL"], safe="")
        options = f"endpoint_override={endpoint}&region=us-east-1&scheme=http"
        address = f"s3://bucket/results?{options}"
        storage, _ = pafs.FileSystem.from_uri(f"s3://bucket?{options}&allow_bucket_creation=true")
        storage.create_dir("bucket")
        sweep = parse_sweep(STOPPED | {"results": address})
        with cluster.slow():
            job = searcher.submit(sweep, project)
            job.check()
            with pytest.raises(ExecutionError, match="job 'stopped' is running: searcher logs stopped -f"):
                searcher.submit(sweep, project)
            wait_for_trials(job, at_least=1)
            server.refuses = lambda number: True
            refused = server.writes
            wait_until(lambda: server.writes > refused + 2, "nothing is tried")
            server.refuses = lambda number: False
            server.down = True
            asked = server.requests
            wait_until(lambda: server.requests > asked + 4, "nothing is asked")
            server.down = False
            written = server.writes
            wait_until(lambda: server.writes > written + 2, "nothing is written")
            wait_until(lambda: bool(checkpoints(storage)), "no checkpoint was written")
            assert call("stop", "stopped") == 0
            stopped_at = pd.Timestamp.now("UTC")
        stopped = clusters.find("stopped")
        assert stopped.state == "stopped"
        with pytest.raises(ExecutionError, match="its results are at s3://bucket/results"):
            stopped.fetch()
        there = searcher.open_results(address)
        before = there.trials()
        kept = before[before.status == "completed"].set_index("trial_id").finished
        assert 1 <= len(kept) < 8
        assert there.sweeps().status.tolist() == ["interrupted"]

        resumed = clusters.resume("stopped")
        assert (resumed.name, resumed.attempt, resumed.submission_id) == ("stopped", 2, "stopped.2")
        with ThreadPoolExecutor() as pool:
            local = pool.submit(searcher.run, parse_sweep(STOPPED | {"results": str(tmp_path / "local")}), project)
            assert resumed.wait() == "completed"
            here = local.result()
        for frames in ((there.trials(), here.trials()), (there.epochs(), here.epochs())):
            pd.testing.assert_frame_equal(*(comparable(frame, "stopped") for frame in frames))
        after = there.trials().set_index("trial_id")
        assert (after.finished[kept.index] == kept).all(), "trained again"
        assert ((after.started < stopped_at) & (after.finished > stopped_at)).any(), "all were begun anew"
        assert not checkpoints(storage), "left over"

    (project / "patient_task.py").write_text("# changed\n" + (project / "patient_task.py").read_text())
    with pytest.raises(ExecutionError, match="its files have changed in .*submit SWEEP.yaml --resume"):
        clusters.resume("stopped")


def checkpoints(storage: pafs.FileSystem) -> list[str]:
    there = storage.get_file_info(pafs.FileSelector("bucket", recursive=True))
    return [file.path for file in there if file.path.endswith(".pt")]


def wait_for_trials(job: clusters.Job, at_least: int) -> None:
    for event in job.events():
        counts = event.values.get("strategies", {}) if isinstance(event, Message) else {}
        if sum(one["trials"] for one in counts.values()) >= at_least:
            return
    raise AssertionError("\n".join(job.log()))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "asks for one and none was found"),
        ("f" * 64, "refuses the one that was found"),
    ],
)
def test_without_a_token_or_with_a_wrong_one_nothing_runs(
    cluster: LocalCluster, project: Path, tmp_path: Path, given: str | None, words: str
) -> None:
    environment = cluster.environment(HOME=str(tmp_path), RAY_API_SERVER_ADDRESS=cluster.address)
    del environment["RAY_AUTH_TOKEN_PATH"]
    if given:
        environment["RAY_AUTH_TOKEN"] = given
    file = str(write_sweep(project, SWEEP, name="refused", results=str(tmp_path / "results")))
    ways = {"submit": ["submit", file], "run": ["run", file, "--address", cluster.gcs]}
    refused = {way: start(*given, env=environment) for way, given in ways.items()}
    for way, process in refused.items():
        out, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert out == ""
        assert len(err.strip().splitlines()) == 1
        assert (words if way == "submit" else "refuses this machine's, or none was found") in err
    assert not (tmp_path / "results/sweeps").exists()

    # And past our own client: a job that would leave a file.
    headers = {"Authorization": f"Bearer {given}"} if given else {}
    body = {"entrypoint": f"touch {tmp_path}/ran", "submission_id": "refused.1"}
    answer = requests.post(f"{cluster.address}/api/jobs/", json=body, headers=headers)
    assert answer.status_code == (403 if given else 401)
    time.sleep(1)
    assert not (tmp_path / "ran").exists()
    right = {"Authorization": f"Bearer {cluster.token}"}
    assert "refused" not in requests.get(f"{cluster.address}/api/jobs/", headers=right).text


def test_what_only_the_cluster_can_check_is_told_before_anything_is_trained(
    token: None, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that does not import there, resources that no node has, a folder or a name that is another's."""
    (project / "only_here.py").write_text("VALUE = 1\n")
    (project / "leans.py").write_text("import only_here\nfrom tiny_task import make_task\n")
    (project / ".searcherignore").write_text("only_here.py\n")
    claim(str(tmp_path / "annas"), "anna")

    def submitted(name: str, **changes: object) -> clusters.Job:
        return searcher.submit(parse_sweep(SWEEP | {"name": name} | changes), project)

    leaning = submitted("leans", task="leans.py:make_task")
    greedy = submitted("greedy", resources={"gpu": 3})
    foreign = submitted("foreign", results=str(tmp_path / "annas"))
    with pytest.raises(TaskError, match=r"'leans.py:make_task' does not import: .*No module named 'only_here'"):
        leaning.check()
    with pytest.raises(ExecutionError, match=r"resources: no node can .*GPU 3 \(the most that a node has is 1\)"):
        greedy.check()
    with pytest.raises(ResultsError, match=r"annas belongs to anna"):
        foreign.check()
    assert not (tmp_path / "annas/trials").exists()
    with pytest.raises(TaskError):
        leaning.wait()
    monkeypatch.setattr("getpass.getuser", lambda: "bob")
    with pytest.raises(ExecutionError, match="job 'greedy': the name is taken by .*; choose another --name"):
        submitted("greedy")


def test_a_run_whose_task_loads_here_alone_is_not_begun(
    cluster: LocalCluster, project: Path, tmp_path: Path
) -> None:
    (project / "leans.py").write_text("import os\nos.environ['ONLY_HERE']\nfrom tiny_task import make_task\n")
    file = str(write_sweep(project, SWEEP, task="leans.py:make_task", results=str(tmp_path / "results")))
    leaning = start("run", file, "--address", cluster.gcs, env=cluster.environment(ONLY_HERE="1"))
    dashboard = cluster.address.removeprefix("http://")
    lost = start("run", file, "--address", dashboard, env=cluster.environment(ONLY_HERE="1"))
    out, err = leaning.communicate(timeout=60)
    assert (leaning.returncode, out) == (2, "")
    assert "'leans.py:make_task' does not import: KeyError: 'ONLY_HERE'" in err
    assert len(err.strip().splitlines()) == 1
    out, err = lost.communicate(timeout=60)
    assert (lost.returncode, out) == (2, "")
    assert err.startswith(f"address: no Ray answers at '{dashboard}': a web server is there")
    assert not (tmp_path / "results/sweeps").exists()


def test_what_is_wrong_with_a_cluster_is_one_line_and_exit_code_2(
    cluster: LocalCluster, token: None, project: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = str(write_sweep(project, SWEEP, name="never"))

    def refusal(*more: str) -> str:
        assert call("submit", file, *more) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert len(captured.err.strip().splitlines()) == 1
        return captured.err

    assert "nothing answers at http://127.0.0.1:9" in refusal("--address", "http://127.0.0.1:9")
    assert f"nothing answers at http://{cluster.gcs}: no web server is there" in refusal(
        "--address", f"http://{cluster.gcs}"
    )
    assert "must be http://HOST:PORT" in refusal("--address", "ray://127.0.0.1:10001")
    assert "must hold no user" in refusal("--address", "http://me:secret@127.0.0.1:8265")
    assert "--name: got 'a b'" in refusal("--name", "a b")
    assert "on a cluster it must be a name" in refusal("--set", "results=../there")
    with monkeypatch.context() as patch:
        patch.setattr(connection.ray, "__version__", "2.44.0")
        assert "runs Ray 2.60" in refusal()
    with monkeypatch.context() as patch:
        patch.setattr(connection.platform, "python_version", lambda: "3.99.1")
        assert "this machine 3.99.1" in refusal()
    open_token = tmp_path / "token"
    open_token.write_text(cluster.token)
    open_token.chmod(0o644)
    with monkeypatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(open_token))
        assert f"chmod 600 {open_token}" in refusal()
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "absent"))
        assert "there is no file" in refusal()
    assert call("status", "never") == 2
    assert "knows no such job" in capsys.readouterr().err


def test_the_doctor_looks_at_every_node(
    cluster: LocalCluster, token: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Logical GPUs that torch does not see are found, and only they.
    assert call("cluster", "doctor", "--results", str(tmp_path / "shared")) == 1
    lines = capsys.readouterr().out.splitlines()
    bad = [line for line in lines if line.startswith("BAD")]
    assert sorted(line.split(":")[0] for line in bad) == ["BAD GPUs of 127.0.0.3", "BAD GPUs of 127.0.0.4"]
    good = {line[4:].split(":")[0] for line in lines if line.startswith("ok")}
    nodes = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
    assert good >= {"versions", "token", "encryption", "clock of the head", "nodes"}
    assert good >= {f"{what} {node}" for node in nodes for what in ("node", "clock of", "storage from")}
    assert not os.listdir(tmp_path / "shared/.searcher/doctor")
