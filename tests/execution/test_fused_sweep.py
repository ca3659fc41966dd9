"""A sweep with so much to train that its trials share batches: its results are those of one by one, through Ray."""

from pathlib import Path

import pandas as pd
import pytest

import searcher
from searcher.sweep import parse_sweep

TESTS = Path(__file__).parent.parent
LRS = [round(0.001 * 1.3**step, 6) for step in range(15)]


def run(results: Path, fuse: str) -> Path:
    sweep = {
        "name": "batches",
        "task": "tiny_task.py:make_task",
        "epochs": 10,
        "seeds": [0, 1],
        # 32 trials of 180 steps: more than the 4,000 from which on it is measured whether batches pay.
        "strategies": [{
            "grid": {
                "lr": [*LRS, 1e30], "weight_decay": [1e-4], "momentum": [0.9], "batch_size": [8],
                "schedule": "constant",
            }
        }],
        "stop": {"overfit": "off"},
        "fuse": fuse,
        "results": str(results),
    }  # fmt: skip
    searcher.run(parse_sweep(sweep), TESTS)
    return results


def table(results: Path, data_set: str) -> pd.DataFrame:
    frame = pd.read_parquet(results / data_set)
    return frame.sort_values(["trial_id", *(["epoch"] if data_set == "epochs" else [])]).reset_index(drop=True)


@pytest.mark.parametrize("fuse", ["auto", "compiled"])
def test_a_fused_sweep_measures_what_one_by_one_does(
    fuse: str, ray_session: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="searcher")
    together, alone = run(tmp_path / fuse, fuse), run(tmp_path / "off", "off")
    assert "trained in batches of 16" in caplog.text
    if fuse == "compiled":  # it was measured; so few steps need not use it
        assert "ms compiled (compiling took" in caplog.text
    trials, expected = table(together, "trials"), table(alone, "trials")
    assert len(trials) == 32
    same = ["trial_id", "status", "status_reason", "epochs", "samples"]
    pd.testing.assert_frame_equal(trials[same], expected[same])
    assert (trials["status"] == "diverged").sum() == 2
    assert trials["holdout_loss"].tolist() == pytest.approx(
        expected["holdout_loss"].tolist(), rel=1e-2, nan_ok=True
    )
    losses = ["train_loss", "test_loss"]
    pd.testing.assert_frame_equal(
        table(together, "epochs")[losses], table(alone, "epochs")[losses], rtol=1e-2, atol=1e-4
    )
