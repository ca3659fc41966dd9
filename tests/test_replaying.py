"""`searcher replay` on files, and the rules of others: their classes, not our idea of them."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.cli import main
from searcher.errors import ConfigurationError, SearcherError
from searcher.replaying import curves_from, every_rule, judge_from, replay_table

EPOCHS = 30


def frame(**more: object) -> pd.DataFrame:
    """Six trials; those with an even number over-fit after epoch 10, the others go on falling."""
    parts = [
        pd.DataFrame(
            {
                "trial": number,
                "epoch": range(1, EPOCHS + 1),
                "train_loss": [0.9**i for i in range(EPOCHS)],
                "test_loss": [
                    1 + 0.1 * number + (0.05 * abs(i - 10) if number % 2 == 0 else 0.5 * 0.9**i)
                    for i in range(EPOCHS)
                ],
            }
        )
        for number in range(6)
    ]
    return pd.concat(parts).assign(**more)


def answer(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit:
        main(["replay", *arguments])
    captured = capsys.readouterr()
    return int(exit.value.code or 0), captured.out, captured.err


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_of_anyone_s_curves_is_replayed(ending, tmp_path, capsys) -> None:
    path = tmp_path / f"curves.{ending}"
    curves = frame(test_accuracy=0.5)
    curves.to_csv(path, index=False) if ending == "csv" else curves.to_parquet(path)
    code, out, _ = answer([str(path), "--rule", "{rule: patience, reports: 5}", "--format", "json"], capsys)
    assert code == 0
    (row,) = json.loads(out)
    assert row["rule"] == "patience (reports 5)"
    assert row["saved"] == pytest.approx(3 * (EPOCHS - 16) / (6 * EPOCHS))  # epochs 11 to 16 of three of six
    assert row["loss_regret"] == row["accuracy_regret"] == row["winner_stopped"] == 0


def test_the_table_has_a_line_for_each_rule(tmp_path, capsys) -> None:
    path = tmp_path / "curves.csv"
    frame().to_csv(path, index=False)
    code, out, _ = answer([str(path), "--rule", "default", "--rule", "gl"], capsys)
    assert code == 0
    assert "6 trials, 180 epochs" in out
    assert [line.split()[0] for line in out.splitlines()[3:]] == ["default", "gl"]
    assert "accuracy" not in out


def test_the_rates_to_come_follow_from_those_recorded() -> None:
    rates = [0.1, 0.2, 0.05, 0.1] + [0.1] * (EPOCHS - 4)
    (curve, *_) = curves_from(frame(lr=rates * 6))
    assert [(o.lr_left, o.lr_low) for o in curve.observations[:3]] == [(2, 0.5), (0.5, 0.25), (2, 2)]
    assert (curve.observations[-1].lr_left, curve.observations[-1].lr_low) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["no.csv"], "no.csv: there is no such file"),
        (["{path}", "--rule", "defualt"], "Did you mean 'default'?"),
        (["{path}", "--rule", "tune_asha_"], "no peer 'tune_asha_'; known: .*Did you mean 'tune_asha'?"),
        (["{path}", "--rule", "{rule: tune_asha, grace: 3}"], "rule tune_asha: .*'grace'"),
        (["{path}", "--rules", "some"], "--rules some: must be all"),
        (
            ["{wrong}"],
            "no column 'test_loss'; it has trial, epoch, train_loss, tset_loss. Did you mean 'tset_loss'?",
        ),
        (["{text}"], "column 'test_loss' holds .*, not numbers"),
    ],
)
def test_a_wrong_argument_is_answered_by_one_line(arguments, text, tmp_path, capsys) -> None:
    files = {name: tmp_path / f"{name}.csv" for name in ("path", "wrong", "text")}
    frame().to_csv(files["path"], index=False)
    frame().rename(columns={"test_loss": "tset_loss"}).to_csv(files["wrong"], index=False)
    frame(test_loss="low").to_csv(files["text"], index=False)
    filled = [str(files[a[1:-1]]) if a[1:-1] in files else a for a in arguments]
    code, _, err = answer(filled, capsys)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert re.search(text.replace("?", r"\?"), err)


def test_an_epoch_without_a_measured_loss_is_passed_over() -> None:
    """Test losses at every other epoch; only the last one, not a number, is a trial that broke."""
    sparse = frame().reset_index(drop=True)
    sparse.loc[sparse["epoch"] % 2 == 0, "test_loss"] = float("nan")
    for curve in curves_from(sparse):
        assert [o.epoch for o in curve.observations] == [*range(1, EPOCHS, 2), EPOCHS]


def test_rows_may_come_in_any_order_and_epochs_may_count_from_0() -> None:
    expected = curves_from(frame())
    assert curves_from(frame().sample(frac=1, random_state=0)) == expected
    assert curves_from(frame().assign(epoch=lambda f: f["epoch"] - 1)) == expected


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"epoch": 1.5}, "column 'epoch' must be a whole number of at least 0, row 1 has 1.5"),
        ({"epoch": -1}, "column 'epoch' must be a whole number"),
        ({"epoch": 3}, "trial 0 must have each epoch once, it has epoch 3 twice"),
        ({"trial": None}, "column 'trial' must be a trial's name or number, row 1 has None"),
        ({"train_loss": float("nan")}, "no value of column 'train_loss' is a finite number"),
        ({"lr": -0.1}, "column 'lr' must be a number of at least 0 in every row or in none, row 1 has -0.1"),
        ({"lr": [0.1, *[float("nan")] * (6 * EPOCHS - 1)]}, "row 2 has nan"),
        ({"test_accuracy": "high"}, "column 'test_accuracy' holds .*, not numbers"),
    ],
)
def test_curves_that_cannot_be_judged_are_refused_by_column_and_row(change, text) -> None:
    with pytest.raises(SearcherError, match=text):
        curves_from(frame(**change))


cells = st.sampled_from([0, 1, 2, 0.5, -1, float("nan"), float("inf"), 1e308, -1e308, None, "x", True])


@given(rows=st.lists(st.fixed_dictionaries(dict.fromkeys(["trial", *"abc"], cells)), max_size=8))
def test_whatever_is_in_a_file_is_replayed_or_refused_in_one_line(rows) -> None:
    names = {"a": "epoch", "b": "train_loss", "c": "test_loss"}
    try:
        curves = curves_from(pd.DataFrame(rows, columns=["trial", *"abc"]).rename(columns=names))
    except SearcherError as error:
        refused = str(error).splitlines()
    else:
        refused = []
    assert len(refused) <= 1
    if refused:
        return
    table = replay_table(curves, ["default", "gl", "pq", "up", "patience"], orders=1, resamples=5)
    assert table["saved"].between(0, 1).all()


class TestPeers:
    """Each on curves whose verdict follows from its documentation."""

    def made(self, spec: object, losses: dict[str, list[float]]) -> dict[str, int]:
        from searcher.algorithms.replay import stops

        rows = [
            {"trial": name, "epoch": i + 1, "train_loss": 1.0, "test_loss": value}
            for name, values in losses.items()
            for i, value in enumerate(values)
        ]
        curves = curves_from(pd.DataFrame(rows))
        made = stops(curves, judge_from(spec, 16)(), range(len(curves)), workers=1)  # type: ignore[arg-type]
        return {curve.trial: n for curve, n in zip(curves, made, strict=True)}

    def test_asha_stops_the_worse_half_at_its_rungs(self) -> None:
        spec = {"rule": "tune_asha", "grace_period": 4, "reduction_factor": 2}
        assert self.made(spec, {"a": [1.0] * 16, "b": [2.0] * 16, "c": [0.5] * 16}) == {"a": 16, "b": 4, "c": 16}

    @pytest.mark.parametrize(
        "spec",
        [
            {"rule": "tune_median", "grace_period": 3, "min_samples_required": 2},
            {"rule": "optuna_median", "n_startup_trials": 2, "n_warmup_steps": 2},
        ],
    )
    def test_median_rules_stop_what_is_worse_than_the_median(self, spec) -> None:
        losses = {"a": [1.0] * 16, "b": [1.0] * 16, "c": [2.0] * 16, "d": [0.5] * 16}
        assert self.made(spec, losses) == {"a": 16, "b": 16, "c": 3, "d": 16}

    def test_a_plateau_is_a_small_standard_deviation(self) -> None:
        falling = (2.0 - 0.1 * np.arange(16)).tolist()
        spec = {"rule": "tune_plateau", "std": 0.01, "num_results": 5, "grace_period": 5}
        assert self.made(spec, {"flat": [1.0] * 16, "falling": falling}) == {"flat": 5, "falling": 16}

    def test_patience_is_counted_by_optuna(self) -> None:
        assert self.made({"rule": "optuna_patient", "patience": 3}, {"a": [1.0, 0.9] + [0.95] * 14})["a"] < 16

    def test_every_rule_has_an_outcome(self) -> None:
        table = replay_table(curves_from(frame()), every_rule(), orders=1, resamples=10)
        assert len(table) == len(set(table["rule"])) == len(every_rule()) == 11
        assert table["saved"].between(0, 1).all()
        assert (table["loss_regret"] >= 0).all()


def test_a_peer_s_parameters_are_its_own() -> None:
    with pytest.raises(ConfigurationError, match="rule tune_asha: .*'grace'"):
        judge_from({"rule": "tune_asha", "grace": 3}, 10)
