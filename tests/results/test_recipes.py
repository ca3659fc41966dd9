"""Every recipe of docs/results.md is run as it stands there, and gives what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import pytest
from result_examples import ending, epoch, step, sweep_row, trial

from searcher.cli import main
from searcher.records import Kind, Status
from searcher.results.query import open_results
from searcher.results.store import Store

PAGE = Path(__file__).parents[2] / "docs" / "results.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beside a results folder with the sweep `digits`: two strategies, a stopped trial, a range test."""
    place = tmp_path_factory.mktemp("recipes")
    good, bad = trial(lr=0.1), trial(lr=0.9)
    test, cycle = trial(strategy="one_cycle", kind=Kind.RANGE_TEST), trial(strategy="one_cycle", lr=0.5)
    with Store(place / "results").begin(sweep_row("digits")) as sweep:
        for one in (good, bad, cycle):
            sweep.write([epoch(one, number) for number in (1, 2, 3)])
        sweep.write([step(test, number) for number in (1, 2)])
        sweep.write(
            [
                ending(bad, Status.STOPPED_OVERFIT, best_test_loss=0.5, finished=2.0, samples=100),
                ending(good, best_test_loss=0.25, holdout_accuracy=0.9, finished=4.0, samples=300, epochs=20),
                ending(test, finished=1.0, samples=10),
                ending(cycle, best_test_loss=0.125, holdout_accuracy=0.95, finished=3.0, samples=50, epochs=20),
            ]
        )
    (place / "question.sql").write_text("select count(*) as n from epochs")
    return place


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    matplotlib.use("agg")
    return folder


def test_the_python_recipes(inside: Path) -> None:
    found: dict[str, Any] = {}
    for text in blocks("python"):
        exec(text, found)
    assert dict(zip(found["best"].strategy, found["best"].lr, strict=True)) == {"grid": 0.1, "one_cycle": 0.5}
    assert found["curves"].shape == (3, 3)
    assert found["curves"].index.tolist() == [1, 2, 3]
    assert found["wide"].columns == ["epoch", *sorted([trial(lr=0.1).trial_id, trial(lr=0.9).trial_id])]
    assert found["wide"].shape == (3, 3)
    over_time = found["over_time"].to_pandas().groupby("strategy")
    assert over_time.cost.apply(list).to_dict() == {"grid": [100, 400], "one_cycle": [10, 60]}
    assert over_time.best_so_far.last().to_dict() == {"grid": 0.25, "one_cycle": 0.125}
    assert found["stopped"].status_reason.tolist() == ["it is stopped_overfit"]


def test_the_sql_recipes(inside: Path) -> None:
    best, over_time, saved = (open_results("results").sql(text) for text in blocks("sql"))
    assert best.set_index("strategy").lr.to_dict() == {"grid": 0.1, "one_cycle": 0.5}
    assert over_time.groupby("strategy").cost.apply(list).to_dict() == {"grid": [100, 400], "one_cycle": [10, 60]}
    rows = saved[["strategy", "status", "trials", "epochs_saved"]].to_numpy().tolist()
    assert rows == [
        ["grid", "completed", 1, 0],
        ["grid", "stopped_overfit", 1, 17],
        ["one_cycle", "completed", 1, 0],
    ]


def test_the_commands(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (commands,) = blocks("sh")
    for line in commands.splitlines():
        name, *words = (word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line))
        assert name == "searcher"
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
    assert capsys.readouterr().out.endswith("n\n9\n")
    assert len(pd.read_parquet("curves.parquet")) == 9


def test_a_page_of_recipes_has_some() -> None:
    assert [len(blocks(language)) for language in ("python", "sql", "sh")] == [6, 3, 1]
