"""The peers through a real Ray: trials are pruned in their middle, and their cost is counted."""

from pathlib import Path

import pandas as pd
import pytest

import searcher
from searcher.sweep import Sweep, parse_sweep

HERE = Path(__file__).parent
EPOCHS = 6
SPACE = {
    "trials": 8,
    "lr": {"loguniform": [1e-4, 1.0]},
    "momentum": {"uniform": [0.8, 0.95]},
    "batch_size": {"choice": [16, 48]},
    "schedule": "constant",
}


def peers(results: Path) -> Sweep:
    return parse_sweep({
        "name": "peers",
        "task": "tiny_task.py:make_task",
        "epochs": EPOCHS,
        "seeds": [0, 1],
        "strategies": [
            {"random": SPACE | {"epochs": 2}},
            {"asha": SPACE | {"reduction_factor": 2}},
            {"tpe": SPACE},
            {"tpe": SPACE | {"pruner": "median", "name": "tpe_median"}},
            {"bohb": SPACE | {"reduction_factor": 2}},
        ],
        "stop": {"overfit": "off"},
        "resources": {"cpu": 1, "max_concurrent": 1},
        "results": str(results),
    })  # fmt: skip


@pytest.fixture(scope="module")
def trials(ray_session: object, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    results = tmp_path_factory.mktemp("peers") / "results"
    searcher.run(peers(results), HERE)
    frame = pd.read_parquet(results / "trials").astype({"strategy": str})
    frame.attrs["results"] = str(results)
    return frame


def test_each_searches_once_and_trains_its_winner_with_every_seed(trials: pd.DataFrame) -> None:
    counts = trials.groupby(["strategy", "seed"]).size().unstack()
    assert counts.loc[["asha", "tpe", "tpe_median", "bohb"]].to_numpy().tolist() == [[8, 1]] * 4
    assert counts.loc["random"].tolist() == [8, 8]
    assert set(trials.status) == {"completed", "pruned"}
    assert set(trials.strategy[trials.status == "pruned"]) >= {"asha", "bohb"}
    assert (trials.epochs[trials.strategy == "random"] == 2).all()


def test_a_pruned_trial_is_whole_but_for_its_holdout(trials: pd.DataFrame) -> None:
    pruned = trials[trials.status == "pruned"]
    assert (pruned.epochs < EPOCHS).all()
    assert (pruned.samples == pruned.epochs * 144).all()
    assert pruned.holdout_accuracy.isna().all()
    assert pruned.status_reason.str.contains("test loss .* at epoch").all()
    assert (pruned.node != "").all()
    assert (pruned.seconds > 0).all()
    epochs = pd.read_parquet(trials.attrs["results"] + "/epochs").astype({"strategy": str})
    stored = epochs.groupby(["strategy", "trial_id"]).size()
    assert (stored[pd.MultiIndex.from_frame(pruned[["strategy", "trial_id"]])].to_numpy() == pruned.epochs).all()


def test_their_cost_is_counted_and_their_choice_is_a_whole_run(trials: pd.DataFrame) -> None:
    table = searcher.open_results(trials.attrs["results"]).compare("peers").frame().set_index("strategy")
    assert table.samples.to_dict() == trials.groupby("strategy").samples.sum().to_dict()
    assert (table.seeds == 2).all()
    assert table.loc["asha", "samples"] < table.loc["tpe", "samples"]
