"""What the store promises, on every kind of storage."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from result_examples import ending, epoch, keys, step, sweep_row, trial

from searcher.errors import NothingFoundError, ResultsError, SweepExistsError
from searcher.records import Kind, Record, Status
from searcher.results import objects, partition
from searcher.results.query import open_results
from searcher.results.storage import open_files
from searcher.results.store import Store, read_history

CHILD = Path(__file__).with_name("writing_child.py")


class StoreContract:
    """Inherited by each backend, which gives `root`."""

    @pytest.fixture
    def root(self) -> str:
        raise NotImplementedError

    def test_what_goes_in_comes_out(self, root: str) -> None:
        train = trial(milestones=(0.5, 0.75), gamma=0.1)
        test = trial(
            kind=Kind.RANGE_TEST, strategy="one_cycle", optimizer="adamw", cycles=2, precision="bf16-mixed"
        )
        curve = [epoch(train, 1, test_accuracy=None), epoch(train, 2, train_loss=math.inf, extra={"f1": 0.5})]
        ramp = [step(test, 1), step(test, 2, test_loss=1.5)]
        ends = [
            ending(train, Status.DIVERGED, best_epoch=1, best_test_loss=2.0, holdout_accuracy=0.25),
            ending(test, started=0.0, finished=0.0),
        ]
        with Store(root).begin(sweep_row()) as sweep:
            sweep.write([*curve, *ramp, *ends])
        histories = read_history(root, "demo", ["grid", "one_cycle", "random"])
        assert histories["grid"].finished == {train.trial_id: ends[0]}
        assert histories["one_cycle"].finished == {test.trial_id: ends[1]}
        assert histories["grid"].epochs(train) == curve
        assert histories["one_cycle"].steps(test) == ramp
        assert not histories["random"].finished

    def test_a_reader_sees_a_running_sweep(self, root: str) -> None:
        one = trial()
        with Store(root).begin(sweep_row()) as sweep:
            assert open_results(root).sweeps()["status"].tolist() == ["running"]
            for number in (1, 2, 3):
                sweep.write([epoch(one, number)])
                sweep.flush()
                assert open_results(root).epochs()["epoch"].tolist() == list(range(1, number + 1))
        row = open_results(root).sweeps().iloc[0]
        assert (row["status"], row["sweep"]) == ("completed", "demo")
        assert row["created"] <= row["finished"]

    def test_a_name_that_exists_is_refused(self, root: str) -> None:
        Store(root).begin(sweep_row()).close("completed")
        with pytest.raises(SweepExistsError, match=r"'demo' is already .*--resume.*--overwrite"):
            Store(root).begin(sweep_row())
        Store(root).begin(sweep_row("other")).close("completed")
        assert Store(root).sweeps() == ["demo", "other"]

    def test_overwrite_forgets_everything(self, root: str) -> None:
        with Store(root).begin(sweep_row()) as sweep:
            sweep.write([epoch(trial(strategy="old"), 1, extra={"f1": 1.0})])
        with Store(root).begin(sweep_row(), mode="overwrite") as sweep:
            sweep.write([epoch(trial(), 1)])
        epochs = open_results(root).epochs()
        assert epochs["strategy"].tolist() == ["grid"]
        assert "f1" not in epochs

    def test_delete(self, root: str) -> None:
        with Store(root).begin(sweep_row()) as sweep:
            sweep.write([epoch(trial(), 1), step(trial(), 1), ending(trial())])
        Store(root).delete("demo")
        assert Store(root).sweeps() == []
        with pytest.raises(NothingFoundError):
            open_results(root).trials()

    def test_one_writer_at_a_time(self, root: str) -> None:
        with Store(root).begin(sweep_row()):
            for action in (
                lambda: Store(root).begin(sweep_row(), mode="resume"),
                lambda: Store(root).begin(sweep_row(), mode="overwrite"),
                lambda: Store(root).delete("demo"),
                lambda: Store(root).compact("demo"),
            ):
                with pytest.raises(ResultsError, match=f"'demo' is being written by process {os.getpid()}"):
                    action()
        Store(root).begin(sweep_row(), mode="resume").close("completed")

    def test_a_resume_drops_what_is_there_and_trains_interrupted_trials_again(self, root: str) -> None:
        done, broken = trial(0), trial(1)
        with Store(root).begin(sweep_row()) as sweep:
            sweep.write([epoch(done, 1), ending(done), epoch(broken, 1), ending(broken, Status.INTERRUPTED)])
            sweep.close("interrupted")
        created = open_results(root).sweeps()["created"].tolist()
        with Store(root).begin(sweep_row(), mode="resume") as sweep:
            sweep.flush()
            assert open_results(root).trials()["trial_id"].tolist() == [done.trial_id]
            sweep.write([epoch(broken, 1, seconds=99.0), epoch(broken, 2), ending(broken), ending(done)])
        assert keys(root) == Counter([(done.trial_id, 1), (broken.trial_id, 1), (broken.trial_id, 2)])
        assert open_results(root).epochs(where="seconds > 90").empty
        trials = open_results(root).trials()
        assert sorted(trials["trial_id"]) == sorted([done.trial_id, broken.trial_id])
        assert set(trials["status"]) == {"completed"}
        assert open_results(root).sweeps()["created"].tolist() == created

    def test_a_resume_of_nothing_begins(self, root: str) -> None:
        with Store(root).begin(sweep_row(), mode="resume") as sweep:
            sweep.write([epoch(trial(), 1)])
        assert len(open_results(root).epochs()) == 1

    def test_within_a_sweep_the_last_word_on_a_trial_counts_once(self, root: str) -> None:
        one, two = trial(0), trial(1)
        with Store(root).begin(sweep_row()) as sweep:
            sweep.write([ending(one, Status.INTERRUPTED)])
            sweep.flush()
            sweep.write([ending(one), ending(two, Status.INTERRUPTED), ending(two, Status.FAILED)])
            sweep.flush()
            sweep.write([ending(one, Status.INTERRUPTED), ending(two)])
        found = open_results(root).trials().set_index("trial_id")["status"].to_dict()
        assert found == {one.trial_id: "completed", two.trial_id: "failed"}

    def test_a_late_metric_gets_its_column_in_every_file_of_the_sweep(
        self, root: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(partition, "ROWS_PER_FILE", 2)
        with Store(root).begin(sweep_row()) as sweep:
            for number in range(1, 4):
                sweep.write([epoch(trial(), number), epoch(trial(1), number)])
                sweep.flush()
            sweep.write([epoch(trial(strategy="random"), 1, extra={"f1": 0.5})])
            sweep.flush()
            files = open_files(root)
            assert len(files.list("epochs")) == 4
            assert {tuple(files.shape(path)[1].names[-2:]) for path in files.list("epochs")} == {("time", "f1")}
        with Store(root).begin(sweep_row(), mode="resume") as sweep:
            sweep.write([epoch(trial(2, strategy="late"), 1)])
        found = open_results(root).epochs(columns=["strategy", "f1"])
        assert found["f1"].dropna().tolist() == [0.5]
        assert found["strategy"].value_counts().to_dict() == {"grid": 6, "random": 1, "late": 1}

    def test_compaction_keeps_each_row(self, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(partition, "ROWS_PER_FILE", 1)
        with Store(root).begin(sweep_row()) as sweep:
            for number in range(1, 6):
                sweep.write([epoch(trial(), number), step(trial(), number), ending(trial(number))])
                sweep.flush()
            sweep.close("interrupted")
        before = open_results(root).epochs().sort_values("epoch", ignore_index=True)
        assert len(open_files(root).list("epochs")) == 5
        Store(root).compact("demo")
        assert [len(open_files(root).list(name)) for name in ("epochs", "steps", "trials")] == [1, 1, 1]
        assert open_results(root).epochs().equals(before)
        with Store(root).begin(sweep_row(), mode="resume") as sweep:
            sweep.write([epoch(trial(), number) for number in range(1, 8)])
        assert open_results(root).epochs()["epoch"].tolist() == list(range(1, 8))
        assert len(open_files(root).list("epochs")) == 1

    def test_two_sweeps_at_once(self, root: str) -> None:
        def run(name: str, seeds: range) -> None:
            with Store(root).begin(sweep_row(name)) as sweep:
                for seed in seeds:
                    sweep.write([epoch(trial(seed), number) for number in (1, 2)] + [ending(trial(seed))])
                    sweep.flush()

        threads = [threading.Thread(target=run, args=(f"sweep-{n}", range(3 * n, 3 * n + 3))) for n in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counts = open_results(root).sql("select sweep, count(*) as n from epochs group by 1 order by 1")
        assert counts.to_dict("list") == {"sweep": ["sweep-0", "sweep-1"], "n": [6, 6]}
        assert set(open_results(root).sweeps()["status"]) == {"completed"}

    def test_a_closed_sweep_takes_nothing_more(self, root: str) -> None:
        sweep = Store(root).begin(sweep_row())
        sweep.close("completed")
        sweep.close("failed")
        with pytest.raises(ResultsError, match="'demo' are closed"):
            sweep.write([epoch(trial(), 1)])
        assert open_results(root).sweeps()["status"].tolist() == ["completed"]


class SharedStoreContract(StoreContract):
    """Of storage that other processes reach as well."""

    def test_kill_9_then_resume(self, root: str) -> None:
        child = subprocess.Popen([sys.executable, str(CHILD), root])
        try:
            seen = _wait_for_epochs(root, 20, child)
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
        survived = keys(root)
        assert survived.keys() >= seen
        assert set(survived.values()) == {1}
        stored = read_history(root, "demo", ["grid"])["grid"]
        for record in stored:  # a trial that counts as finished is not trained again, so must be whole
            assert len(stored.epochs(record.trial)) == 3
        with Store(root).begin(sweep_row(), mode="resume") as sweep:
            sweep.write(records_of_demo(40))
        assert keys(root) == Counter((trial(seed).trial_id, n) for seed in range(40) for n in (1, 2, 3))
        assert open_results(root).trials()["trial_id"].is_unique


class TestLocal(SharedStoreContract):
    @pytest.fixture
    def root(self, local_root: str) -> str:
        return local_root


class TestS3(SharedStoreContract):
    @pytest.fixture
    def root(self, s3_root: str) -> str:
        return s3_root


class TestFsspec(StoreContract):
    """The path of every address that pyarrow does not know itself, by fsspec's file system in memory."""

    @pytest.fixture
    def root(self, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setattr(objects, "SETTLE_SECONDS", 0.02)
        return f"memory://{uuid.uuid4().hex}/results"


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("s3://bucket/results?region=eu-central-1", pafs.S3FileSystem),
        ("gs://anonymous@bucket/results", pafs.GcsFileSystem),
        ("abfs://container@account.dfs.core.windows.net/results", pafs.AzureFileSystem),
    ],
)
def test_the_clouds_addresses_open_without_being_asked(address: str, kind: type[pafs.FileSystem]) -> None:
    files = open_files(address)
    assert isinstance(files, objects.ObjectFiles)
    assert isinstance(files.filesystem, kind)
    assert files.root.endswith("/results")


def records_of_demo(seeds: int) -> list[Record]:
    """What the child process writes, in the order in which it does."""
    return [
        record
        for seed in range(seeds)
        for record in (*(epoch(trial(seed), number) for number in (1, 2, 3)), ending(trial(seed)))
    ]


def _wait_for_epochs(root: str, count: int, child: subprocess.Popen[bytes]) -> set[tuple[str, int]]:
    for _ in range(600):
        assert child.poll() is None
        try:
            if len(seen := keys(root)) >= count:
                return set(seen)
        except NothingFoundError:
            pass
        time.sleep(0.05)
    raise AssertionError("the child has written nothing within 30 s")
