"""How the experiments' tables read their numbers, from cases worked out by hand."""

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest

from searcher.algorithms.intervals import Estimate

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def load(monkeypatch: pytest.MonkeyPatch, folder: str, *names: str) -> list[ModuleType]:
    """The scripts of a folder, imported as they import each other, and forgotten again."""
    monkeypatch.syspath_prepend(EXPERIMENTS / folder)
    before = set(sys.modules)
    modules = [importlib.import_module(name) for name in names]
    for name in set(sys.modules) - before:
        if not name.startswith("searcher"):
            sys.modules.pop(name)
    return modules


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    names = ("catalogue", "evidence", "judges")
    return SimpleNamespace(**dict(zip(names, load(monkeypatch, "claims", *names), strict=True)))


def test_each_claim_has_a_file_a_judge_and_five_seeds(claims: SimpleNamespace) -> None:
    import searcher

    assert [claim.number for claim in claims.catalogue.CLAIMS] == list(range(1, 10))
    for claim in claims.catalogue.CLAIMS:
        assert claim.name in claims.judges.JUDGES
        assert len(searcher.load_sweep(claim.file).seeds) >= 5


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
        trial("bohb", 0.7, 30, 1),
        trial("one_cycle", 0.8, 20, 1),
    ])  # fmt: skip
    rows = {row.strategy: row for row in table.rows(measured)}
    # Two of four reach 0.8: 200 / 3 for the others before them, and 100 for the first that does.
    assert rows["grid"].ratio_to_target == pytest.approx(20 / (200 / 3 + 100))
    assert rows["grid"].ratio == pytest.approx(20 / 400)
    assert rows["asha"].ratio_to_target == pytest.approx(20 / 60)
    assert rows["bohb"].ratio_to_target == pytest.approx(20 / 30)
    assert (rows["asha"].reached, rows["bohb"].reached) == (1, 0)
    assert rows["one_cycle"].epochs == 2
    assert rows["one_cycle"].holdout.mean == pytest.approx(0.7)
    assert rows["one_cycle"].difference.mean == pytest.approx(0.7 - 0.8)
    text = "\n".join(table.lines(list(rows.values())))
    assert "1 of 1 never reached it" in text
