"""The data behind the charts, from a sweep whose every number is known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sample_sweep import HOSTILE, TRAIN_SIZE, demo_records, sample, store

from searcher.algorithms.schedules import values
from searcher.comparing import open_results
from searcher.errors import ConfigurationError, NothingFoundError, ResultsError
from searcher.records import EpochRecord
from searcher.report import PAGE, figures_of, picture, write_report
from searcher.report.curves import curves_of, some_of, thin
from searcher.report.figure import COLOURS, STATUS_COLOURS, Figure, decimal_ticks, listed, measured
from searcher.report.quality import held_of, quality_of
from searcher.report.range_tests import range_tests_of
from searcher.report.schedules import schedules_of
from searcher.report.slices import slices_of
from searcher.report.source import Source, read_source
from searcher.report.tables import provenance, stopped_table, table_of, trials_table
from searcher.report.target import cost_to_target_of


def test_quality_is_the_comparison_of_the_strategies(source: Source) -> None:
    quality = quality_of(source)
    grid = quality.frame.set_index("strategy").loc["grid"]
    samples = sum(one.samples for one in source.records["grid"])
    assert (grid["samples"], grid["epochs"]) == (samples, samples / TRAIN_SIZE)
    # Two seeds, whose losses differ by 0.001: the rate nearest to 0.2 with weight decay is chosen.
    best = [0.05 + math.log10(0.1 / 0.2) ** 2 / 10 + seed / 1000 + 2 * math.exp(-8) for seed in (0, 1)]
    holdout = [1 / (1 + loss) - 0.01 for loss in best]
    assert grid["holdout"] == pytest.approx(np.mean(holdout))
    half = 12.706204736 * np.std(holdout, ddof=1) / math.sqrt(2)
    assert grid["high"] - grid["holdout"] == pytest.approx(half)


def test_what_is_held_rises_and_ends_with_what_is_chosen(source: Source) -> None:
    held = held_of(source)
    assert held.shuffled == ("grid",)
    for strategy, curve in held.frame.groupby("strategy"):
        assert curve["samples"].is_monotonic_increasing
        assert curve["held"].is_monotonic_increasing, strategy
    grid = held.frame[held.frame["strategy"] == "grid"]
    assert (grid["low"] <= grid["held"]).all()
    assert (grid["held"] <= grid["high"]).all()
    # All orders end with the same configurations, so with the same best one and no band.
    last, spent = grid.iloc[-1], sum(one.samples for one in source.records["grid"])
    assert held.target is not None
    assert (last["low"], last["held"], last["high"]) == pytest.approx((held.target.value,) * 3)
    assert last["samples"] == pytest.approx(spent)
    # A method that goes step by step holds nothing before its last seed has ended.
    one_cycle = held.frame[held.frame["strategy"] == "one_cycle"]
    assert one_cycle["samples"].iloc[0] == sum(one.samples for one in source.records["one_cycle"])


def test_cost_to_target_tells_who_reached_it(demo: Path) -> None:
    results = open_results(demo)
    cost = cost_to_target_of(read_source(results, "demo"))
    assert cost is not None
    assert cost.frame["to_target"].notna().tolist() == [True, False]
    assert cost.frame.loc[1, "words"] == "not reached"
    easy = cost_to_target_of(read_source(results, "demo", "test_accuracy=0.5"))
    assert easy is not None
    assert easy.frame["to_target"].notna().all()
    assert easy.frame.loc[1, "words"].endswith("that of grid")


def test_curves_end_where_their_trials_were_stopped(source: Source) -> None:
    curves = curves_of(source)
    assert curves is not None
    ends = curves.ends.set_index("status")
    assert set(ends.index) == {"stopped_overfit", "diverged"}  # the failed one has no epoch
    assert ends.loc["stopped_overfit", "epoch"] == 5
    assert ends.loc["stopped_overfit", "reason"] == HOSTILE
    assert ends.loc["diverged", "test_loss"] == curves.top
    assert curves.notes == (
        f"1 run has test losses above {curves.top:.4g}, or not finite; they are drawn at the top edge.",
    )
    assert len(curves.points) == len(source.epochs)
    assert set(curves.points.loc[curves.points["chosen"] == "yes", "trial_id"]) == source.chosen


def test_thinning_keeps_ends_minimum_and_spikes() -> None:
    epochs = np.arange(1, 1001)
    loss = 1.0 + 1 / epochs
    loss[700], loss[333] = 9.0, 0.2
    curve = pd.DataFrame({"epoch": epochs, "test_loss": loss})
    thinned = thin(curve, 40)
    assert len(thinned) <= 40
    assert {1, 1000, 701, 334} <= set(thinned["epoch"])
    assert thinned["epoch"].is_monotonic_increasing
    assert thin(curve, 1000) is curve


def test_thinning_survives_losses_that_are_not_finite() -> None:
    curve = pd.DataFrame({"epoch": range(1, 101), "test_loss": [1.0] + [math.nan] * 99})
    assert set(thin(curve, 10)["epoch"]) >= {1, 100}


def test_of_too_many_runs_the_chosen_and_the_extremes_stay(source: Source) -> None:
    some = some_of(source.all_records, source.chosen, 5)
    assert source.chosen <= {one.trial_id for one in some}
    ranked = sorted(source.all_records, key=lambda one: one.best_test_loss or math.inf)
    assert ranked[0] in some
    assert len(some) <= 5 + len(source.chosen)


def test_range_tests_show_minimum_and_chosen_rate(source: Source) -> None:
    tests = range_tests_of(source)
    assert tests is not None
    assert len(tests.points) == 160
    assert tests.minima["lr"].between(0.25, 0.36).all()  # the loss is lowest at 0.3
    assert tests.chosen[["strategy", "lr"]].values.tolist() == [["one_cycle", 0.2]]
    assert tests.points.loc[tests.points["lr"] > 9, "loss"].min() > 40
    assert tests.table["weight decay"].tolist() == [1e-3, 0.0]


def test_slices_hold_what_varies_and_nothing_else(source: Source) -> None:
    slices = slices_of(source)
    assert slices is not None
    assert slices.varied[:2] == ("lr", "weight_decay")
    assert "batch_size" not in slices.varied
    assert len(slices.frame) == 13  # 12 of the grid less the failed one, and 2 cycles
    rates = slices.table[slices.table["hyper-parameter"] == "lr"].set_index("value")["runs"]
    assert rates.to_dict() == {"0.01": 4, "0.1": 4, "0.2": 2, "1": 3}


def test_schedules_are_those_of_the_chosen_configurations(source: Source) -> None:
    schedules = schedules_of(source)
    assert schedules is not None
    lines = schedules.lines[schedules.lines["strategy"] == "one_cycle"]
    configuration = source.summaries["one_cycle"].configuration
    assert configuration is not None
    assert lines["lr"].tolist() == values(configuration, len(lines))[0].tolist()
    assert (lines["epoch"].min(), lines["epoch"].max()) == (0, 4)
    assert schedules.measured["strategy"].value_counts().to_dict() == {"grid": 8, "one_cycle": 4}


def test_tables_say_how_trials_ended_and_where_numbers_are_from(source: Source) -> None:
    stopped = {row[2].text: row[-1].text for row in stopped_table(source).rows}
    assert stopped["stopped_overfit"] == HOSTILE
    assert stopped["failed"] == "RuntimeError: out of memory"
    trials = trials_table(source)
    assert len(trials.rows) == 16
    assert provenance(source)["git revision"] == "0123456789abcdef, with uncommitted changes"
    assert provenance(source)["trained on"] == "node-1 (cpu)"


def test_a_long_table_says_how_long_it_is() -> None:
    table = table_of(pd.DataFrame({"n": range(2_500)}))
    assert len(table.rows) == 2_000
    assert table.note == "The first 2,000 of 2,500 rows."


def test_every_figure_is_drawn_and_has_words_and_numbers(source: Source) -> None:
    figures = figures_of(source)
    assert list(figures) == [
        "quality-cost", "held-cost", "cost-to-target", "learning-curves", "range-tests", "hyper-parameters",
        "schedules",
    ]  # fmt: skip
    for figure in figures.values():
        json.dumps(figure.specification, allow_nan=False)
        assert len(figure.caption) > 80
        assert len(figure.table)
    assert is_drawn(figures["cost-to-target"])


def is_drawn(figure: Figure) -> bool:
    return picture(figure).startswith(b"\x89PNG") and len(picture(figure)) > 5_000


def test_a_regression_and_a_sweep_of_one_trial_have_a_report_too(tmp_path: Path) -> None:
    """No accuracy, no range test, one seed and one value of everything: what cannot be said is left out."""
    grid = {"lr": [0.1], "weight_decay": 0, "batch_size": 20, "schedule": "step"}
    sweep = sample("one", seeds=[0], strategies=[{"grid": grid}])
    trial_id = demo_records(sample())[0].trial_id
    none = {"best_test_accuracy": None, "last_test_accuracy": None, "holdout_accuracy": None}
    records = [
        replace(one, test_accuracy=None) if isinstance(one, EpochRecord) else replace(one, **none)
        for one in demo_records(sample())
        if one.trial_id == trial_id
    ]
    store(tmp_path, sweep, records)
    figures = figures_of(read_source(open_results(tmp_path), "one"))
    assert list(figures) == ["quality-cost", "held-cost", "cost-to-target", "learning-curves", "schedules"]
    assert "holdout loss" in figures["quality-cost"].caption
    assert all(is_drawn(figure) for figure in figures.values())


def test_a_report_that_cannot_be_made_says_why_in_one_line(demo: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingFoundError, match="'demi'.*Did you mean 'demo'"):
        write_report("demi", str(demo), tmp_path)
    with pytest.raises(ConfigurationError, match="target"):
        write_report("demo", str(demo), tmp_path, target="speed=3")
    store(tmp_path / "empty", sample("empty"), [])
    with pytest.raises(NothingFoundError, match="none of its trials has ended yet"):
        write_report("empty", str(tmp_path / "empty"), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="cannot write the report to"):
        write_report("demo", str(demo), tmp_path / "file")
    assert not list(tmp_path.rglob(PAGE))


@pytest.mark.parametrize("colour", [*COLOURS, *STATUS_COLOURS.values()])
def test_colours_stand_out_from_white(colour: str) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 : 1, which is enough for text as well."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert 1.05 / (luminance + 0.05) >= 4.5


@pytest.mark.parametrize(
    ("values", "kind"),
    [([1, 2, 3], "linear"), ([1, 100], "log"), ([0, 100], "linear"), ([], "linear"), ([None, math.inf], "linear")],
)
def test_a_scale_is_logarithmic_only_where_it_can_be(values: list[float | None], kind: str) -> None:
    assert measured(values)["scale"].to_dict()["type"] == kind


def test_ticks_of_a_logarithmic_axis() -> None:
    assert decimal_ticks(0.04, 3) == [0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
    assert decimal_ticks(1e-4, 10) == [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0]


def test_listed() -> None:
    assert [listed(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
