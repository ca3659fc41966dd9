"""How the experiments' tables read their numbers, from cases worked out by hand."""

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest
from results.result_examples import sweep_row

from searcher.algorithms.intervals import Estimate
from searcher.algorithms.schedules import complete
from searcher.algorithms.strategies.grid import Grid
from searcher.records import Configuration, Status, TaskInfo, Trial, TrialRecord
from searcher.results.store import Store
from searcher.sweep import Sweep, load_sweep, parse_sweep

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def load(monkeypatch: pytest.MonkeyPatch, folder: str, *names: str) -> list[ModuleType]:
    """The scripts of a folder, imported as they import each other, and forgotten again."""
    monkeypatch.syspath_prepend(EXPERIMENTS / folder)
    modules = [importlib.import_module(name) for name in names]
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(EXPERIMENTS)):
            del sys.modules[name]
    return modules


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    names = ("catalogue", "evidence", "judges")
    return SimpleNamespace(**dict(zip(names, load(monkeypatch, "claims", *names), strict=True)))


def test_each_claim_has_a_file_a_judge_and_five_seeds(claims: SimpleNamespace) -> None:
    assert [claim.number for claim in claims.catalogue.CLAIMS] == list(range(1, 10))
    for claim in claims.catalogue.CLAIMS:
        assert claim.name in claims.judges.JUDGES
        assert len(load_sweep(claim.file).seeds) >= 5


@pytest.mark.parametrize(
    ("mean", "half", "reaches", "exceeds"),
    [
        (0.02, 0.01, "holds", "holds"),
        (0.0, 0.004, "holds", "does not hold here"),
        (0.0, 0.02, "mixed", "mixed"),
        (-0.02, 0.01, "does not hold here", "does not hold here"),
        (0.004, 0.003, "holds", "holds"),
        (0.02, None, "mixed", "mixed"),
    ],
)
def test_verdicts_are_read_from_intervals(
    claims: SimpleNamespace, mean: float, half: float | None, reaches: str, exceeds: str
) -> None:
    difference = Estimate(mean, half, 5)
    assert claims.evidence.reaches(difference) == reaches
    assert claims.evidence.exceeds(difference) == exceeds


def test_tasks_that_disagree_make_a_mixed_verdict(claims: SimpleNamespace) -> None:
    together = claims.evidence.together
    assert together(["holds", "holds"]) == "holds"
    assert together(["holds", "does not hold here"]) == "mixed"


def test_agreement_is_measured_beyond_chance(claims: SimpleNamespace) -> None:
    """Half of the diagnoses agree where half would by chance; then all agree."""
    by_chance = pd.DataFrame({"early": ["a", "a", "b", "b"], "late": ["a", "b", "a", "b"]})
    assert claims.judges._kappa(by_chance) == 0
    assert claims.judges._kappa(by_chance.assign(late=by_chance.early)) == 1


def trial(strategy: str, accuracy: float, samples: int, finished: int, status: str = "completed") -> dict:
    return {
        "task": "t", "search_seed": 0, "train_size": 10, "strategy": strategy, "kind": "train",
        "status": status, "samples": samples, "finished": finished, "best_test_loss": 1 - accuracy,
        "best_test_accuracy": accuracy, "holdout_accuracy": accuracy - 0.1,
    }  # fmt: skip


def test_costs_to_the_target_are_those_worked_out_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    (table,) = load(monkeypatch, "benchmarks/search_cost", "table")
    measured = pd.DataFrame([
        *(trial("grid", accuracy, 100, clock) for clock, accuracy in enumerate([0.5, 0.9, 0.6, 0.8])),
        trial("asha", 0.5, 10, 1, "pruned"),
        trial("asha", 0.95, 10, 2, "pruned"),  # given up, so it holds nothing
        trial("asha", 0.8, 40, 3),
        trial("asha", 0.9, 40, 4),
        trial("tpe_median", 0.7, 30, 1),
        trial("one_cycle", 0.8, 20, 1),
    ])  # fmt: skip
    rows = {row.strategy: row for row in table.rows(measured)}
    # Two of four reach 0.8: 200 / 3 for the others before them, and 100 for the first that does.
    assert rows["grid"].ratio_to_target == pytest.approx(20 / (200 / 3 + 100))
    assert rows["grid"].ratio == pytest.approx(20 / 400)
    assert rows["asha"].ratio_to_target == pytest.approx(20 / 60)
    assert rows["tpe_median"].ratio_to_target == pytest.approx(20 / 30)
    assert (rows["asha"].reached, rows["tpe_median"].reached) == (1, 0)
    assert rows["one_cycle"].epochs == 2
    assert rows["one_cycle"].holdout.mean == pytest.approx(0.7)
    assert rows["one_cycle"].difference.mean == pytest.approx(0.7 - 0.8)
    text = "\n".join(table.lines(list(rows.values())))
    assert "(<=: 0 of 1 reach it)" in text


def test_a_search_that_misses_the_target_is_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    (table,) = load(monkeypatch, "benchmarks/search_cost", "table")
    measured = pd.DataFrame([
        {**trial(strategy, accuracy, samples, clock), "search_seed": seed}
        for seed, reaches in enumerate((0.9, 0.7, 0.7))
        for strategy, accuracy, samples, clock in [
            ("grid", 0.8, 900, 1), ("asha", 0.5, 40, 1), ("asha", reaches, 60, 2),
            ("one_cycle", 0.8, 10, 1), ("one_cycle", 0.6, 10, 2),
        ]
    ])  # fmt: skip
    rows = {row.strategy: row for row in table.rows(measured)}
    # Three searches of 100 until one reaches 0.8, which one-cycle holds after 10 of its 20.
    assert rows["asha"].ratio_to_target == pytest.approx(10 / 300)
    assert (rows["asha"].reached, rows["asha"].ratio) == (1, pytest.approx(20 / 100))
    assert "1 of 3 reach it" in "\n".join(table.lines(list(rows.values())))


def store(root: Path, sweep: Sweep, trials: list[tuple[str, float, int, int, float]]) -> None:
    """Stores a sweep of completed trials, each (strategy, lr, epochs, seed, accuracy)."""
    row = sweep_row(sweep.name, text=sweep.to_yaml(), seeds=tuple(sweep.seeds))
    with Store(root).begin(row, mode="new") as writer:
        for strategy, lr, length, seed, accuracy in trials:
            configuration = complete(
                Configuration(lr=lr, momentum=0.9, weight_decay=0, batch_size=1, schedule="constant")
            )
            trial = Trial(task=sweep.task, strategy=strategy, configuration=configuration, seed=seed, length=length)
            record = TrialRecord(
                trial=trial, status=Status.COMPLETED, best_epoch=1, best_test_loss=1 - accuracy,
                best_test_accuracy=accuracy, holdout_accuracy=accuracy, epochs=length, samples=100 * length,
            )  # fmt: skip
            writer.write([record])


def test_a_claim_is_judged_from_stored_results(claims: SimpleNamespace, tmp_path: Path, monkeypatch) -> None:
    """One cycle reaches 60 epochs in 15 (and the other rate, which is worse, is not chosen); short runs do not."""
    claim = claims.catalogue.CLAIMS[0]
    sweep = load_sweep(claim.file, ["name=super_convergence-t", "task=digits"])
    jitter = (0.0, 0.002, -0.002, 0.001, -0.001)
    rows = [
        (strategy, lr, length, seed, accuracy + jitter[seed] * sign)
        for strategy, lr, length, accuracy, sign in [
            ("conventional", 0.1, 60, 0.9, 1), ("short", 0.1, 15, 0.8, 1),
            ("one_cycle", 0.3, 15, 0.901, -1), ("one_cycle", 1.0, 15, 0.5, 1),
        ]
        for seed in range(5)
    ]  # fmt: skip
    store(tmp_path / "results", sweep, rows)
    monkeypatch.setattr(claims.evidence, "RESULTS", str(tmp_path / "results"))
    found = claims.evidence.Evidence(claim, "t", range(5))
    finding = claims.judges.super_convergence(found)
    assert (finding.verdict, finding.n) == ("holds", 5)
    assert finding.numbers[2] == "one_cycle 90.1 ± 0.2 % in 15 epochs"
    assert finding.numbers[3].startswith("one cycle against conventional +0.1 ± 0.4 points")


def test_what_is_kept_of_a_sweep_replaces_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = load(monkeypatch, "benchmarks/search_cost", "run")
    monkeypatch.setattr(run, "RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(run, "MEASURED", tmp_path / "measured.parquet")
    assert not run.is_measured("digits", 0, "grid")
    for seed, strategy in [(0, "grid"), (0, "random"), (1, "grid")]:
        store(tmp_path / "results", run.sweeps_of("digits", seed)[strategy], [(strategy, 0.1, 2, seed, 0.9)])
        run.keep("digits", seed, strategy)
    run.keep("digits", 0, "grid")
    kept = pd.read_parquet(tmp_path / "measured.parquet")
    assert list(kept.columns) == run.KEPT
    assert kept[["search_seed", "strategy", "samples"]].to_numpy().tolist() == [
        [0, "grid", 200], [0, "random", 200], [1, "grid", 200]
    ]  # fmt: skip
    assert run.is_measured("digits", 1, "grid")
    assert not run.is_measured("digits", 1, "random")


def test_each_strategy_of_a_cost_file_is_a_sweep_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = load(monkeypatch, "benchmarks/search_cost", "run")
    sweeps = run.sweeps_of("digits", 3)
    assert list(sweeps) == ["grid", "random", "asha", "tpe_median", "one_cycle"]
    for label, sweep in sweeps.items():
        again = parse_sweep(sweep.to_yaml())
        assert ([one.label for one in again.strategies], again.name) == ([label], f"digits-3-{label}")
        assert again.seeds == (3,)


def test_what_is_trained_anew_is_what_the_searches_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kept trials have the id of the configuration that is trained anew, with their own seed."""
    (again,) = load(monkeypatch, "benchmarks/search_cost", "again")
    choices = list(again.choices("names_transformer"))
    assert len(choices) == 10
    grids = {entry.label: entry.spec for entry in again.sweep_of("names_transformer", [5]).strategies}
    for choice in choices:
        spec = grids[again.label(choice)]
        grid = Grid("grid", spec, task=TaskInfo("names_transformer", 1, 1, 1), seeds=[5], epochs=1)
        ((configuration, _),) = grid.configurations()
        seed, length = int(choice.search_seed), spec.epochs
        trained = Trial(
            task="names_transformer", strategy="grid", configuration=configuration, seed=seed, length=length
        )
        assert trained.trial_id == choice.trial_id


def test_choices_trained_anew_are_compared_by_search_and_by_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    (table,) = load(monkeypatch, "benchmarks/search_cost", "table")
    runs = pd.DataFrame([
        {"task": "t", "search_seed": search, "seed": seed, "strategy": strategy,
         "holdout_accuracy": 0.9 + (0.01 * seed if strategy == "one_cycle" else 0)}
        for search in range(2) for seed in range(3) for strategy in ("grid", "one_cycle")
    ])  # fmt: skip
    text = "\n".join(table.trained_anew(runs))
    # Differences of 0, 1 and 2 points: their interval is 4.303 / sqrt(3); the searches do not differ at all.
    assert "| `t` | 91.0 % | 90.0 % | +1.0 ± 2.5 | 2, 3 |" in text
    assert "+1.0 ± 2.5 points, wanted -0.5 | | | met |" in text
