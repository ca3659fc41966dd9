"""Who reads while others write, and how little is read for a question."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from result_examples import ending, epoch, step, sweep_row, trial

from searcher.results import encoding, local, partition
from searcher.results.query import open_results
from searcher.results.storage import open_files
from searcher.results.store import Store

EPOCHS = 10
READS = 3


def check_curve(frame: pd.DataFrame, at_least: int) -> int:
    """The first epochs, however many, each once; returns how many."""
    numbers = sorted(frame["epoch"])
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= at_least
    return len(numbers)


def read_while_writing(root: str, read: Callable[[], pd.DataFrame]) -> None:
    """A sweep that merges its files after every epoch, until it was read some times meanwhile."""
    reads = 0
    failures: list[BaseException] = []
    begun, ended = threading.Event(), threading.Event()

    def look() -> None:
        nonlocal reads
        seen = 0
        try:
            while not ended.is_set():
                try:
                    seen = check_curve(read(), seen)
                    reads += 1
                except FileNotFoundError:  # of plain readers alone: their list of files is an old one
                    continue
                finally:
                    begun.set()
        except BaseException as error:
            failures.append(error)

    with Store(root).begin(sweep_row()) as sweep:
        sweep.write([epoch(trial(), 1)])
        sweep.flush()
        reader = threading.Thread(target=look)
        reader.start()
        begun.wait()
        number = 1
        while not failures and (number < EPOCHS or reads < READS):
            number += 1
            sweep.write([epoch(trial(), number)])
            sweep.flush()
    ended.set()
    reader.join()
    if failures:
        raise failures[0]
    assert check_curve(read(), EPOCHS) == number


@pytest.mark.parametrize("root", ["local_root", "s3_root"])
def test_our_reader_meets_each_row_once_while_files_are_merged(
    root: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "SMALL_FILES", 2)
    place: str = request.getfixturevalue(root)
    read_while_writing(place, lambda: open_results(place).epochs())


def test_a_plain_reader_meets_each_row_once_or_is_told_that_a_file_is_gone(
    local_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or finds nothing, where folders are exchanged while it lists: Arrow leaves out what has gone since."""
    monkeypatch.setattr(partition, "SMALL_FILES", 2)
    exchange = local._exchange
    begun, ended = 0, 0

    def counted(one: Path, other: Path) -> bool:
        nonlocal begun, ended
        begun += 1
        exchanged = exchange(one, other)
        ended += 1
        return exchanged

    def read() -> pd.DataFrame:
        before = ended
        frame = pd.read_parquet(f"{local_root}/epochs")
        if frame.empty and before < begun:
            raise FileNotFoundError
        return frame

    monkeypatch.setattr(local, "_exchange", counted)
    read_while_writing(local_root, read)
    assert begun


def test_a_folder_that_is_exchanged_while_it_is_listed_is_listed_again(
    local_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = open_files(local_root)
    one, other, both = (f"epochs/sweep=demo/strategy=grid/{name}.parquet" for name in ("one", "other", "both"))
    for path in (one, other):
        files.write(path, pa.py_buffer(b""))
    scandir = os.scandir

    def late(opened: int) -> Any:
        if "one.parquet" in os.listdir(opened):
            monkeypatch.undo()
            files.merge(str(Path(one).parent), [one, other], {both: pa.py_buffer(b"")})
        return scandir(opened)

    monkeypatch.setattr(os, "scandir", late)
    assert files.list("epochs") == [both]


@pytest.mark.parametrize("root", ["local_root", "s3_root"])
def test_readers_keep_working_while_a_sweep_is_compacted(
    root: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "ROWS_PER_FILE", 1)
    place: str = request.getfixturevalue(root)
    sweep = Store(place).begin(sweep_row())
    for number in range(1, EPOCHS + 1):
        sweep.write([epoch(trial(), number)])
        sweep.flush()
    sweep.close("interrupted")
    assert len(open_files(place).list("epochs")) == EPOCHS

    counts: list[int] = []
    failures: list[BaseException] = []
    begun, ended = threading.Event(), threading.Event()

    def look() -> None:
        try:
            while not (ended.is_set() and len(counts) >= READS):
                begun.set()
                counts.append(check_curve(open_results(place).epochs(), EPOCHS))
        except BaseException as error:
            failures.append(error)
            begun.set()

    reader = threading.Thread(target=look)
    reader.start()
    begun.wait()
    Store(place).compact("demo")
    ended.set()
    reader.join()
    assert failures == []
    assert set(counts) == {EPOCHS}
    assert len(open_files(place).list("epochs")) == 1


def test_a_file_that_is_open_can_be_read_to_its_end_after_a_merge(
    local_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "ROWS_PER_FILE", 1)
    sweep = Store(local_root).begin(sweep_row())
    for number in (1, 2):
        sweep.write([epoch(trial(), number)])
        sweep.flush()
    sweep.close("interrupted")
    first, _ = open_files(local_root).list("epochs")
    with Path(local_root, first).open("rb") as file:
        opened = pq.ParquetFile(file)
        Store(local_root).compact("demo")
        assert not Path(local_root, first).exists()
        assert opened.read(["epoch"]).column("epoch").to_pylist() == [1]


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> str:
    """1,000 epochs of two strategies each, in row groups of 100."""
    root = str(tmp_path_factory.mktemp("curves"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "ROW_GROUP", 100)
        with Store(root).begin(sweep_row()) as sweep:
            for strategy in ("grid", "random"):
                trials = [trial(seed, strategy) for seed in range(50)]
                sweep.write([epoch(one, number) for one in trials for number in range(1, 21)])
                sweep.write([step(trials[0], 1), ending(trials[0])])
    return root


def plan(relation: Any) -> dict[str, str]:
    """What DuckDB says that it read of Parquet to answer."""
    return parsed(relation.explain("analyze"))


def parsed(text: str) -> dict[str, str]:
    return dict(re.findall(r"(Projections|Filters|Total Files Read|Row Groups Scanned): ([^│]*?)  *│", text))


def test_where_skips_partitions_and_row_groups(curves: str) -> None:
    results = open_results(curves)
    everything = plan(results.epochs(to="duckdb"))
    assert (everything["Total Files Read"], everything["Row Groups Scanned"]) == ("2", "20 / 20")
    of_grid = plan(results.epochs(where="strategy = 'grid'", to="duckdb"))
    assert (of_grid["Total Files Read"], of_grid["Row Groups Scanned"]) == ("1", "10 / 10")
    of_one = plan(results.epochs(where=f"trial_id = '{trial(3).trial_id}'", strategy="grid", to="duckdb"))
    assert of_one["Row Groups Scanned"] == "1 / 10"
    assert of_one["Filters"] == f"trial_id = '{trial(3).trial_id}'"


def test_sql_skips_them_as_well(curves: str) -> None:
    question = f"select max(test_loss) from epochs where strategy = 'grid' and trial_id = '{trial(3).trial_id}'"
    found = parsed(open_results(curves).sql(f"explain analyze {question}")["explain_value"][0])
    assert (found["Total Files Read"], found["Row Groups Scanned"]) == ("1", "1 / 10")


def test_columns_are_all_that_is_read(curves: str) -> None:
    relation = open_results(curves).epochs(columns=["epoch", "test_loss"], to="duckdb")
    assert relation.columns == ["epoch", "test_loss"]
    assert plan(relation)["Projections"] == "epoch, test_loss"


def test_a_comparison_of_floats_skips_row_groups_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "ROW_GROUP", 10)
    with Store(str(tmp_path)).begin(sweep_row()) as sweep:
        sweep.write([epoch(trial(), number, test_loss=1.0 / number) for number in range(1, 101)])
    relation = open_results(str(tmp_path)).epochs(where="test_loss < 0.0105", to="duckdb")
    assert [row[3] for row in relation.fetchall()] == [96, 97, 98, 99, 100]
    assert plan(relation)["Row Groups Scanned"] == "1 / 10"


@pytest.mark.parametrize("to", ["pandas", "polars", "arrow", "duckdb"])
def test_every_form_gives_the_same_rows(curves: str, to: Any) -> None:
    found = open_results(curves).epochs(
        where="epoch > 18", columns=["trial_id", "epoch"], strategy=["grid", "random"], to=to
    )
    frame = {
        "pandas": lambda: found, "polars": lambda: found.to_pandas(), "arrow": lambda: found.to_pandas(),
        "duckdb": lambda: found.df(),
    }[to]()  # fmt: skip
    assert list(frame.columns) == ["trial_id", "epoch"]
    expected = sorted((trial(seed, strategy).trial_id, number)
                      for seed in range(50) for strategy in ("grid", "random") for number in (19, 20))  # fmt: skip
    assert sorted(frame.itertuples(index=False, name=None)) == expected
