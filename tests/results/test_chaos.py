"""Whole sweeps under blows: killed at random moments, their storage full or refusing; and resumed.

Their tables equal an undisturbed run's. The small version of experiments/benchmarks/chaos.py, also on an S3 server.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
import yaml
from faulty_storage import FullDisk, RefusedUploads, S3Server

import searcher
from searcher import NothingFoundError, open_results

TESTS = Path(__file__).parents[1]
BENCHMARKS = TESTS.parent / "experiments" / "benchmarks"
SWEEP = {
    "name": "chaos",
    "task": "slow_task.py:make_task",
    "epochs": 4,
    "seeds": [0, 1],
    "strategies": [
        {"grid": {"lr": [0.01, 0.1], "batch_size": [16, 48], "schedule": "step"}},
        {"one_cycle": {"weight_decay": [1e-3], "batch_size": 16}},
    ],
    "stop": {"overfit": "off"},
}


IMPATIENT = "from searcher import study; study.OUTAGE_SECONDS = 4.0; from searcher.cli import main; main()"
"""The command line, which waits for storage for less than 20 seconds."""


@pytest.fixture(scope="module")
def sweep_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chaos")
    for name in ("tiny_task.py", "slow_task.py"):
        (folder / name).write_text((TESTS / name).read_text())
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump(SWEEP))
    return file


@pytest.fixture(scope="module")
def chaos() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        import chaos

        yield chaos


@pytest.fixture(scope="module")
def expected(ray_session: object, chaos: Any, sweep_file: Path) -> dict[str, pd.DataFrame]:
    """The tables of a run that nobody disturbed."""
    results = sweep_file.parent / "undisturbed"
    searcher.run(searcher.load_sweep(sweep_file, [f"results={results}"]), sweep_file.parent)
    tables: dict[str, pd.DataFrame] = chaos.tables(str(results))
    assert len(tables["trials"]) >= 8 + 1
    return tables


@pytest.fixture
def slowly(expected: object, sweep_file: Path) -> Iterator[Path]:
    """While this file is there, a sweep is not all stored at once."""
    file = sweep_file.with_name("slowly")
    file.touch()
    yield file
    file.unlink(missing_ok=True)


def test_kills_leave_no_trace_in_the_tables(
    chaos: Any, expected: dict[str, pd.DataFrame], s3_root: str, sweep_file: Path, slowly: Path
) -> None:
    environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    runs = chaos.Chaos(sweep_file, environment, random.Random(4))
    assert runs.struck_at(s3_root, stored=[1, 12]) == 2
    assert "driver" in runs.blows
    chaos.check(s3_root, expected)
    assert open_results(s3_root).epochs().duplicated(["trial_id", "epoch"]).sum() == 0


@pytest.fixture(params=["full disk", "refused uploads"])
def fault(request: pytest.FixtureRequest) -> Iterator[FullDisk | RefusedUploads]:
    if request.param == "full disk":
        yield request.getfixturevalue("small_disk")
        return
    server: S3Server = request.getfixturevalue("s3_server")
    refused = RefusedUploads(server, request.getfixturevalue("s3_root"))
    yield refused
    refused.mend()


def test_a_sweep_whose_storage_fails_ends_in_one_line_and_is_resumed_to_the_same_tables(
    chaos: Any,
    expected: dict[str, pd.DataFrame],
    fault: FullDisk | RefusedUploads,
    sweep_file: Path,
    slowly: Path,
) -> None:
    command = [sys.executable, "-c", IMPATIENT, "run", str(sweep_file), "--set", f"results={fault.root}"]
    environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not len(kept := ended(fault.root)):
            assert run.poll() is None, run.communicate()
            time.sleep(0.05)
        fault.break_()
        slowly.unlink()
        _, errors = run.communicate(timeout=120)
    finally:
        run.kill()
    *progress, last = errors.splitlines()
    assert run.returncode == 2, errors
    assert all(line.startswith("chaos") for line in progress), errors
    assert last.startswith(f"cannot write the results of sweep 'chaos' to {fault.root}: ")
    assert fault.words in last
    assert last.endswith("go on with --resume")
    found = ended(fault.root)
    assert set(kept) <= set(found)
    assert len(found) < len(expected["trials"])

    fault.mend()
    resumed = subprocess.run(
        [*command, "--resume"], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    chaos.check(fault.root, expected)
    assert not set(found.items()) - set(ended(fault.root).items()), "trained again"


def ended(results: str) -> dict[tuple[str, str], Any]:
    """When each trial that is stored ended."""
    try:
        trials = open_results(results).trials(where="status <> 'interrupted'")
    except NothingFoundError:
        return {}
    return dict(zip(zip(trials.strategy, trials.trial_id, strict=True), trials.finished, strict=True))
