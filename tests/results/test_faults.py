"""Storage that is full or refuses: a clear error, nothing written is lost, and the sweep can be resumed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from faulty_storage import FullDisk, RefusedUploads, S3Server
from result_examples import ending, epoch, sweep_row, trial

from searcher.errors import ResultsError
from searcher.results import partition
from searcher.results.query import open_results
from searcher.results.storage import open_files
from searcher.results.store import Store, read_history

Fault = FullDisk | RefusedUploads


def stored(root: str) -> Counter[tuple[str, int]]:
    epochs = open_results(root).epochs(columns=["trial_id", "epoch"])
    return Counter(zip(epochs["trial_id"], epochs["epoch"], strict=True))


class FaultContract:
    """Inherited by each kind of fault, which gives `fault`."""

    @pytest.fixture
    def fault(self) -> Fault:
        raise NotImplementedError

    def test_the_error_says_what_happened_and_what_to_do(self, fault: Fault) -> None:
        sweep = Store(fault.root).begin(sweep_row())
        sweep.write([epoch(trial(), 1)])
        sweep.flush()
        fault.break_()
        sweep.write([epoch(trial(), 2)])
        for action in (sweep.flush, lambda: sweep.write([epoch(trial(), 3)]), lambda: sweep.close("completed")):
            with pytest.raises(ResultsError, match=r"cannot write .* sweep 'demo' to .*--resume") as caught:
                action()
            assert fault.words in str(caught.value)
        with pytest.raises(ResultsError, match=r"cannot begin sweep 'other'"):
            Store(fault.root).begin(sweep_row("other"))
        assert stored(fault.root) == Counter({(trial().trial_id, 1): 1})
        fault.mend()

    def test_what_was_refused_is_written_when_the_cause_is_mended(self, fault: Fault) -> None:
        with Store(fault.root).begin(sweep_row()) as sweep:
            sweep.write([epoch(trial(), 1)])
            sweep.flush()
            fault.break_()
            sweep.write([epoch(trial(), 2)])
            with pytest.raises(ResultsError):
                sweep.flush()
            fault.mend()
            sweep.flush()
            sweep.write([epoch(trial(), 3)])
        assert stored(fault.root) == Counter((trial().trial_id, number) for number in (1, 2, 3))

    def test_what_is_refused_for_a_moment_disturbs_nobody(self, fault: Fault) -> None:
        with Store(fault.root).begin(sweep_row(), patience=300.0) as sweep:
            fault.break_()
            sweep.write([epoch(trial(), 1)])
            with pytest.raises(ResultsError):
                sweep.flush()
            sweep.write([epoch(trial(), 2)])
            mending = threading.Timer(0.5, fault.mend)
            mending.start()
        mending.join()
        assert stored(fault.root) == Counter((trial().trial_id, number) for number in (1, 2))
        assert open_results(fault.root).sweeps()["status"].tolist() == ["completed"]

    def test_a_sweep_that_could_not_go_on_is_resumed(self, fault: Fault) -> None:
        sweep = Store(fault.root).begin(sweep_row())
        sweep.write([epoch(trial(), 1), epoch(trial(), 2), ending(trial())])
        sweep.flush()
        fault.break_()
        sweep.write([epoch(trial(1), 1, extra={"f1": 0.5})])
        with pytest.raises(ResultsError):
            sweep.close("completed")
        assert open_results(fault.root).sweeps()["status"].tolist() == ["running"]
        fault.mend()
        with Store(fault.root).begin(sweep_row(), mode="resume") as sweep:
            assert trial() in read_history(fault.root, "demo", ["grid"])["grid"]
            sweep.write([epoch(trial(1), 1, extra={"f1": 0.25}), ending(trial(1))])
        assert stored(fault.root) == Counter({(trial().trial_id, 1): 1, (trial().trial_id, 2): 1,
                                              (trial(1).trial_id, 1): 1})  # fmt: skip
        assert open_results(fault.root).epochs(where="f1 = 0.25")["trial_id"].tolist() == [trial(1).trial_id]
        assert open_results(fault.root).sweeps()["status"].tolist() == ["completed"]

    def test_a_compaction_that_fails_loses_nothing(self, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(partition, "ROWS_PER_FILE", 1)
        sweep = Store(fault.root).begin(sweep_row())
        for number in range(1, 5):
            sweep.write([epoch(trial(), number)])
            sweep.flush()
        sweep.close("interrupted")
        before = open_results(fault.root).epochs()
        fault.break_()
        with pytest.raises(ResultsError, match="cannot compact sweep 'demo'"):
            Store(fault.root).compact("demo")
        assert open_results(fault.root).epochs().equals(before)
        fault.mend()
        Store(fault.root).compact("demo")
        assert len(open_files(fault.root).list("epochs")) == 1
        assert open_results(fault.root).epochs().equals(before)


class TestFullDisk(FaultContract):
    @pytest.fixture
    def fault(self, small_disk: FullDisk) -> Fault:
        return small_disk


class TestRefusedUploads(FaultContract):
    @pytest.fixture
    def fault(self, s3_server: S3Server, s3_root: str) -> Iterator[Fault]:
        fault = RefusedUploads(s3_server, s3_root)
        yield fault
        fault.mend()


EVERY = 13
"""Requests between two moments that are tried: with 1, that are all, the test takes two minutes."""


def write_all(root: str) -> None:
    """A resumed sweep that seals, merges, widens, replaces a trial's row and compacts: all that writing does."""
    with Store(root).begin(sweep_row(), mode="resume") as sweep:
        for number in range(1, 4):
            sweep.write([epoch(trial(), number), epoch(trial(1), number)])
            sweep.flush()
        sweep.write([ending(trial())])
        sweep.flush()
        sweep.write([epoch(trial(1), 4, extra={"f1": 1.0}), ending(trial(1))])


def test_an_outage_at_any_moment_loses_nothing(
    s3_server: S3Server, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From some request on nothing can be written, as if everything were killed there; tried all along the run."""
    monkeypatch.setattr(partition, "ROWS_PER_FILE", 5)
    monkeypatch.setattr(partition, "SMALL_FILES", 2)
    before = s3_server.writes
    write_all(f"{s3_root}/whole")
    requests = s3_server.writes - before
    expected = open_results(f"{s3_root}/whole").epochs()
    assert requests > 20
    for last in range(0, requests, EVERY):
        root = f"{s3_root}/{last}"
        first = s3_server.writes
        s3_server.refuses = lambda number, end=first + last: number > end  # type: ignore[misc]
        try:
            with pytest.raises(ResultsError):
                write_all(root)
        except pytest.fail.Exception:
            # What cannot be merged or released at the end is no error; all of it is written.
            assert open_results(root).sweeps()["status"].tolist() == ["completed"]
        finally:
            s3_server.refuses = lambda number: False
        write_all(root)
        assert open_results(root).epochs().equals(expected), f"after {last} of {requests} requests"
        assert len(open_results(root).trials()) == 2
