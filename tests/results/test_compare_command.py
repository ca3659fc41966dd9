"""`searcher compare` over stored sweeps: several at once, money, JSON, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from result_examples import ending, sweep_row, trial

from searcher.cli import main
from searcher.comparing import open_results
from searcher.errors import ConfigurationError, NothingFoundError
from searcher.results.store import Store

TEXT = """name: {name}
task: digits
epochs: 20
seeds: [0, 1]
strategies:
- grid: {{lr: [0.1, 0.2], momentum: [0.9], weight_decay: [0.0001], batch_size: [32], schedule: step}}
resources: {{cpu: 2}}
"""


def store(root: str, name: str, holdout: float, **changes: Any) -> None:
    with Store(root).begin(sweep_row(name, text=TEXT.format(name=name), **changes)) as sweep:
        for lr in (0.1, 0.2):
            for seed in (0, 1):
                sweep.write([ending(trial(seed, lr=lr), best_epoch=1, best_test_loss=lr, best_test_accuracy=1 - lr,
                                    holdout_accuracy=holdout + seed / 100, seconds=900.0)])  # fmt: skip


@pytest.fixture
def folder(local_root: str) -> str:
    store(local_root, "first", 0.9)
    store(local_root, "second", 0.8)
    store(local_root, "resplit", 0.9, split_digest="another")
    store(local_root, "elsewhere", 0.9, task="mnist1d")
    return local_root


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_several_sweeps_side_by_side(folder: str) -> None:
    compared = open_results(folder).compare("first", "second")
    assert compared.comparison.reference == "first/grid"
    assert [one.strategy for one in compared.comparison.summaries] == ["first/grid", "second/grid"]
    assert compared.comparison.summaries[1].verdict == (
        "second/grid stays short of the holdout accuracy of first/grid: "
        "difference -10.0 ± 0.0 points (95 % interval, n = 2 seeds), at the same cost"
    )
    assert "second/grid stays short" in compared.text(width=100)


def test_json_and_money(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("compare", "first", "--price", "0.04/cpu-hour", "--json", "--results", folder) == 0
    found = json.loads(capsys.readouterr().out)
    (row,) = found["summaries"]
    assert row["cost"] == {
        "samples": 1200, "epochs": 12.0, "device_seconds": 3600.0, "money": pytest.approx(0.04 * 2), "energy": None
    }  # fmt: skip
    assert (found["sweep"], found["reference"], found["target"]["value"]) == ("first", "grid", pytest.approx(0.9))
    assert [size["points"] for size in found["sensitivity"]] == [2, 1]
    assert call("compare", "first", "--price", "0.04/cpu-hour", "--results", folder) == 0
    table = capsys.readouterr().out
    assert "money" in table
    assert "with fewer points" in table


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["first", "resplit"],
            "sweeps 'first' and 'resplit' cannot be compared: they were run on different splits",
        ),
        (["first", "elsewhere"], "cannot be compared: their tasks differ, 'digits' and 'mnist1d'"),
        (["first", "first"], "sweeps: name one or more, each once, got first, first"),
        (["first", "secnd"], "Did you mean 'second'"),
        (["first", "--price", "2.5/gpu-hour"], "price: the trials of this sweep had no GPU"),
        (["first", "--price", "2.5"], "price: must be an amount per gpu-hour or cpu-hour"),
        ([], "Missing argument"),
    ],
)
def test_what_is_refused_in_one_line(
    folder: str, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("compare", *arguments, "--results", folder) == 2
    captured = capsys.readouterr()
    assert (captured.out, len(captured.err.strip().splitlines())) == ("", 1)
    assert words in captured.err


def test_the_library_refuses_by_name(folder: str) -> None:
    with pytest.raises(ConfigurationError, match="name one or more"):
        open_results(folder).compare()
    with pytest.raises(NothingFoundError):
        open_results(folder).compare("absent")
