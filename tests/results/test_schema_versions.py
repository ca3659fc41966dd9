"""Results of an earlier schema are read, compared and resumed; those of a later one are refused in words.

`schema_1/` was written by searcher 0.1.0 with schema 1 and is never written again.
"""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from result_examples import ending, epoch, sweep_row, trial

from searcher.comparing import open_results
from searcher.errors import ResultsError
from searcher.results.schema import DATA_SETS, SCHEMA_VERSION
from searcher.results.store import Store, read_history

OLD = Path(__file__).with_name("schema_1")


@pytest.fixture
def old(tmp_path: Path) -> str:
    """A copy that may be written to."""
    return str(shutil.copytree(OLD, tmp_path / "results"))


def test_the_version_stands_in_every_file() -> None:
    files = sorted(OLD.rglob("*.parquet"))
    assert {file.relative_to(OLD).parts[0] for file in files} == set(DATA_SETS)
    assert {pq.read_schema(file).metadata[b"searcher_schema_version"] for file in files} == {b"1"}


def test_an_old_version_is_read_with_every_column_of_today() -> None:
    results = open_results(OLD)
    for data_set in DATA_SETS.values():
        frame = getattr(results, data_set.name)()
        assert set(data_set.names) <= set(frame.columns)
        assert len(frame)
    assert results.epochs()["f1"].tolist() == [0.5] * 6
    row = results.compare("old").frame().set_index("strategy").loc["grid"]
    assert (row.samples, row.seeds, row.holdout_accuracy) == (600, 2, 0.7)


def test_an_old_version_is_resumed(old: str) -> None:
    history = read_history(old, "old", ["grid"])["grid"]
    assert trial(0) in history
    assert [record.extra for record in history.epochs(trial(0))] == [{"f1": 0.5}] * 3
    with Store(old).begin(sweep_row("old"), mode="resume") as sweep:
        sweep.write([epoch(trial(2), 1, extra={"f1": 0.75}), ending(trial(2)), ending(trial(0))])
    assert sorted(open_results(old).trials(strategy="grid")["seed"]) == [0, 1, 2]
    assert sorted(open_results(old).epochs()["f1"]) == [0.5] * 6 + [0.75]
    assert open_results(old).sweeps()["schema_version"].tolist() == [SCHEMA_VERSION]


def test_a_later_version_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("searcher.results.rows.SCHEMA_VERSION", SCHEMA_VERSION + 1)
        Store(tmp_path).begin(sweep_row()).close("interrupted")
    with pytest.raises(ResultsError, match=rf"written by a newer searcher: its schema is {SCHEMA_VERSION + 1}"):
        Store(tmp_path).begin(sweep_row(), mode="resume")


def test_reading_never_unpickles(old: str) -> None:
    """No code of the results, nor of what they are read with here, may load a pickle."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was unpickled")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("load", "loads", "Unpickler"):
            patch.setattr(pickle, name, refuse)
        results = open_results(old)
        for data_set in DATA_SETS:
            getattr(results, data_set)()
        results.sql("select count(*) from epochs")
        results.compare("old")
        read_history(old, "old", ["grid", "one_cycle"])
    assert not [path for path in Path(old).rglob("*") if path.suffix in (".pkl", ".pickle")]
