"""What a writer makes of the records of a sweep: which rows, in which files. Alike on every storage, so looked at
on a local disk."""

from __future__ import annotations

import time
from collections import Counter

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from result_examples import ending, epoch, keys, sweep_row, trial

from searcher.errors import ResultsError
from searcher.records import Configuration, EpochRecord, Trial
from searcher.results import partition, writer
from searcher.results.query import open_results
from searcher.results.storage import open_files
from searcher.results.store import Store, read_history


@pytest.mark.parametrize("status", [KeyboardInterrupt, ValueError, None])
def test_how_a_with_block_ends_is_how_the_sweep_ended(local_root: str, status: type[BaseException] | None) -> None:
    def leave() -> None:
        with Store(local_root).begin(sweep_row()) as sweep:
            sweep.write([epoch(trial(), 1)])
            if status is not None:
                raise status

    if status is None:
        leave()
    else:
        with pytest.raises(status):
            leave()
    expected = {KeyboardInterrupt: "interrupted", ValueError: "failed", None: "completed"}[status]
    assert open_results(local_root).sweeps()["status"].tolist() == [expected]
    assert len(open_results(local_root).epochs()) == 1


def test_a_record_does_not_wait_for_a_flush(local_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert writer.FLUSH_SECONDS <= 2.5
    monkeypatch.setattr(writer, "FLUSH_SECONDS", 0.01)
    sweep = Store(local_root).begin(sweep_row())
    sweep.write([epoch(trial(), 1)])
    for _ in range(500):
        if open_files(local_root).list("epochs"):
            break
        time.sleep(0.01)
    assert keys(local_root) == Counter([(trial().trial_id, 1)])
    sweep.close("completed")


@pytest.mark.parametrize("bad", ["", "a/b", "..", "a b", "a=b", "-a", "x" * 101, "é"])
def test_names_that_cannot_be_folders_are_refused(local_root: str, bad: str) -> None:
    with pytest.raises(ResultsError, match="cannot name a folder"):
        Store(local_root).begin(sweep_row(bad))
    with (
        Store(local_root).begin(sweep_row()) as sweep,
        pytest.raises(ResultsError, match="cannot name a folder"),
    ):
        sweep.write([epoch(trial(strategy=bad), 1)])
    assert Store(local_root).sweeps() == ["demo"]


@pytest.mark.parametrize("metric", ["lr", "LR", "strategy", ""])
def test_a_metric_with_the_name_of_a_column_is_refused(local_root: str, metric: str) -> None:
    with Store(local_root).begin(sweep_row()) as sweep:
        with pytest.raises(ResultsError, match="has the name of a column"):
            sweep.write([epoch(trial(), 1, extra={metric: 1.0})])
        sweep.write([epoch(trial(), 1)])
    assert keys(local_root) == Counter([(trial().trial_id, 1)])


def test_rows_are_sealed_into_files_of_bounded_size(local_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "ROWS_PER_FILE", 10)
    with Store(local_root).begin(sweep_row()) as sweep:
        for number in range(1, 26):
            sweep.write([epoch(trial(), number)])
            sweep.flush()
        files = open_files(local_root)
        assert [files.shape(path)[0] for path in files.list("epochs")] == [10, 10, 1, 1, 1, 1, 1]
        sweep.close("failed")
    with Store(local_root).begin(sweep_row(), mode="resume") as sweep:
        sweep.write([epoch(trial(), number) for number in range(20, 31)])
        sweep.flush()
        assert sorted(files.shape(path)[0] for path in files.list("epochs")) == [10, 10, 10]


def test_small_files_are_merged_while_the_sweep_runs(local_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "SMALL_FILES", 4)
    with Store(local_root).begin(sweep_row()) as sweep:
        for number in range(1, 12):
            sweep.write([epoch(trial(), number)])
            sweep.flush()
            assert open_results(local_root).epochs()["epoch"].tolist() == list(range(1, number + 1))
            assert len(open_files(local_root).list("epochs")) < 4


def test_a_file_says_what_it_holds(local_root: str) -> None:
    with Store(local_root).begin(sweep_row()) as sweep:
        sweep.write([epoch(trial(seed), number) for number in (2, 1) for seed in (1, 0)])
    (path,) = open_files(local_root).list("epochs")
    file = pq.ParquetFile(f"{local_root}/{path}")
    assert file.schema_arrow.metadata[b"searcher_schema_version"] == b"1"
    assert file.schema_arrow.field("seconds").metadata[b"unit"] == b"s"
    column = file.metadata.row_group(0).column(0)
    assert (column.path_in_schema, column.compression) == ("trial_id", "ZSTD")
    assert column.statistics.min == min(trial(0).trial_id, trial(1).trial_id)
    table = file.read().select(["trial_id", "epoch"]).to_pylist()
    assert table == sorted(table, key=lambda row: (row["trial_id"], row["epoch"]))


_number = st.floats(allow_nan=False, width=64)
_configurations = st.builds(
    Configuration,
    lr=_number | st.integers(0, 5),
    momentum=_number,
    weight_decay=_number | st.integers(0, 1),
    batch_size=st.integers(1, 2**40),
    schedule=st.sampled_from(["step", "one_cycle"]),
    momentum_low=st.none() | _number,
    cycles=st.none() | st.integers(1, 9),
    milestones=st.none() | st.lists(_number).map(tuple),
)


@given(configuration=_configurations, seed=st.integers(0, 2**62))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_trial_keeps_its_id(local_root: str, configuration: Configuration, seed: int) -> None:
    one = Trial(task="digits", strategy="grid", configuration=configuration, seed=seed, length=3)
    with Store(local_root).begin(sweep_row(), mode="overwrite") as sweep:
        sweep.write([ending(one)])
    history = read_history(local_root, "demo", ["grid"])["grid"]
    assert one in history
    assert history.finished[one.trial_id].trial.configuration_id == one.configuration_id


def test_times_are_kept_to_the_microsecond(local_root: str) -> None:
    record = epoch(trial(), 1, time=1_700_000_000.123456)
    with Store(local_root).begin(sweep_row()) as sweep:
        sweep.write([record])
    (found,) = read_history(local_root, "demo", ["grid"])["grid"].epochs(trial())
    assert isinstance(found, EpochRecord)
    assert found.time == record.time
    assert str(open_results(local_root).epochs()["time"][0]) == "2023-11-14 22:13:20.123456+00:00"
