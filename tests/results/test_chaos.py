"""A whole sweep on object storage: run, killed at random moments, resumed; its tables equal an undisturbed run's.

The small version of experiments/benchmarks/chaos.py, on an S3 server.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import ray
import yaml

from searcher import open_results

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


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    for name in ("tiny_task.py", "slow_task.py"):
        (tmp_path / name).write_text((TESTS / name).read_text())
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(SWEEP))
    return file


def test_kills_leave_no_trace_in_the_tables(
    ray_session: object, s3_root: str, sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import chaos

    environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    runs = chaos.Chaos(sweep_file, environment, random.Random(4))
    runs.undisturbed(f"{s3_root}/undisturbed")
    expected = chaos.tables(f"{s3_root}/undisturbed")
    assert len(expected["trials"]) >= 8 + 1
    assert runs.disturbed(f"{s3_root}/disturbed", kills=2) >= 1
    chaos.check(f"{s3_root}/disturbed", expected)
    assert open_results(f"{s3_root}/disturbed").epochs().duplicated(["trial_id", "epoch"]).sum() == 0
