"""Writes the records of one sweep while it runs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import pyarrow as pa

from searcher.errors import ResultsError
from searcher.records import EpochRecord, Record
from searcher.results.compaction import compact
from searcher.results.encoding import encode
from searcher.results.files import Files, Lock
from searcher.results.layout import check_name, checkpoints_folder, folder, new_file_names, place_of
from searcher.results.partition import Partition
from searcher.results.rows import SweepRow, data_set_of, sweep_table
from searcher.results.schema import DATA_SETS, EPOCHS, STEPS, SWEEPS, TRIALS

FLUSH_SECONDS = 2.0
"""A record waits at most so long before it is written; with the writing itself that stays under 5 s."""

RETRY_SECONDS = 1.0
"""Between two tries to write the sweep's own row at the end."""

ENDINGS = ("completed", "interrupted", "failed")


class SweepWriter:
    """Takes records from any thread and has them on storage within 5 seconds. Made by `Store.begin`.

    `write` only buffers. One background thread writes what has come every 2 seconds, epochs and steps before
    trials: a stored trial that has ended has all its epochs stored. What cannot be written stays in memory
    and is tried again; once that has failed for longer than the writer's patience, `write` and `close` raise
    ResultsError (`flush` does at once), and what was written stays.
    Used as a context manager it is closed as `completed`, `interrupted` (KeyboardInterrupt) or `failed`.
    """

    def __init__(self, files: Files, lock: Lock, row: SweepRow, created: float | None, patience: float) -> None:
        """
        Args:
            created: when the sweep that is resumed was begun, in seconds since 1970; None for a new one.
            patience: so many seconds storage may refuse before anybody is told.
        """
        self._files = files
        self._patience = patience
        self._lock = lock
        self._row = row
        self._created = time.time() if created is None else created
        self.resumed = created is not None
        """Whether the sweep was begun by an earlier run."""
        self._partitions: dict[tuple[str, str], Partition] = {}
        self._batch: list[Record] = []  # of the background thread alone
        self._state = threading.Condition()  # guards everything below
        self._pending: list[Record] = []
        self._labels: set[str] = set()
        self._metrics: set[str] = set()
        self._failure: Exception | None = None
        self._failing_since = 0.0
        self._asked = self._served = 0
        self._ending = self._closed = False
        self._translate(self._load)
        self._translate(lambda: self._save_row("running", None))
        self._epochs_schema = EPOCHS.schema(self._metrics)
        self._thread = threading.Thread(target=self._run, name=f"results of {row.name}", daemon=True)
        self._thread.start()

    @property
    def created(self) -> float:
        """When the sweep was first begun, in seconds since 1970; a resume does not change it."""
        return self._created

    def write(self, records: Iterable[Record]) -> None:
        """Hands records over; returns at once.

        Raises ResultsError for a strategy's label that cannot name a folder and for a metric whose name is a
        column's (nothing is taken), and when storage has refused for too long (the records are taken).
        """
        records = list(records)
        with self._state:
            if self._ending:
                raise ResultsError(f"the results of sweep '{self._row.name}' are closed")
            for record in records:
                self._check(record)
            self._pending.extend(records)
            if self._given_up:
                self._raise_failure()

    def flush(self) -> None:
        """Returns when every record handed over so far is on storage; raises ResultsError when that fails."""
        with self._state:
            self._asked += 1
            asked = self._asked
            self._state.notify_all()
            self._state.wait_for(lambda: self._served >= asked or not self._thread.is_alive())
            self._raise_failure()

    def close(self, status: str) -> None:
        """Writes what is left and how the sweep ended, and lets others write it. A second call does nothing.

        Args:
            status: completed, interrupted or failed.
        Raises:
            ResultsError: something could not be written; the sweep can be resumed.
        """
        if status not in ENDINGS:
            raise ResultsError(f"a sweep ends as one of {', '.join(ENDINGS)}, not as {status!r}")
        if self._closed:
            return
        self._closed = True
        try:
            with self._state:
                self._ending = True
                self._state.notify_all()
            self._thread.join()
            self._raise_failure()
            self._patiently(lambda: self._save_row(status, time.time()))
            if status == "completed":
                # All is stored. A merge that fails loses nothing, and Store.compact can make up for it.
                with contextlib.suppress(OSError, pa.ArrowException):
                    self._files.remove_folder(checkpoints_folder(self._row.name))
                    for data_set in (STEPS, EPOCHS, TRIALS):
                        compact(self._files, data_set, folder(data_set, self._row.name))
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close("completed")
        else:
            self.close("interrupted" if issubclass(kind, KeyboardInterrupt) else "failed")

    def _check(self, record: Record) -> None:
        label = record.strategy
        if label not in self._labels:
            self._labels.add(check_name("strategy", label))
        if isinstance(record, EpochRecord) and not record.extra.keys() <= self._metrics:
            taken = {name.casefold() for name in EPOCHS.names} | {name.casefold() for name in self._metrics}
            for name in sorted(record.extra.keys() - self._metrics):
                if not name or name.casefold() in taken:
                    raise ResultsError(f"the metric {name!r} has the name of a column of epochs; rename the metric")
                self._metrics.add(name)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._explained(self._failure) from self._failure

    def _explained(self, failure: Exception) -> ResultsError:
        if isinstance(failure, ResultsError):
            return failure
        return ResultsError(
            f"cannot write the results of sweep '{self._row.name}' to {self._files.shown}: {failure}. "
            "What was written before is kept; when the cause is mended, go on with --resume"
        )

    @property
    def _given_up(self) -> bool:
        """Whether storage has refused for too long, or another has taken the right to write."""
        if isinstance(self._failure, ResultsError):
            return True
        return self._failure is not None and time.monotonic() - self._failing_since >= self._patience

    def _patiently(self, action: Callable[[], None]) -> None:
        end = time.monotonic() + self._patience
        while time.monotonic() < end:
            try:
                action()
            except (OSError, pa.ArrowException):
                time.sleep(RETRY_SECONDS)
            else:
                return
        self._translate(action)

    def _translate(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (OSError, pa.ArrowException) as error:
            raise self._explained(error) from error

    def _run(self) -> None:
        done = False
        while not done:
            with self._state:
                self._state.wait_for(self._due, FLUSH_SECONDS)
                ending, asked = self._ending, self._asked
                self._batch.extend(self._pending)
                self._pending.clear()
                if self._metrics != EPOCHS.extras(self._epochs_schema):
                    self._epochs_schema = EPOCHS.schema(self._metrics)
            failure = None
            try:
                self._lock.check()
                self._save()
            except Exception as error:  # whatever it is, the thread that hands records over must learn of it
                failure = error
            with self._state:
                if self._failure is None:
                    self._failing_since = time.monotonic()
                self._failure, self._served = failure, asked
                done = ending and (failure is None or self._given_up)
                self._state.notify_all()

    def _due(self) -> bool:
        """Whether to write now. What storage has just refused is not tried again at once, not even at the end."""
        waiting = self._failure is not None and not self._given_up
        return self._asked > self._served or (self._ending and not waiting)

    def _save(self) -> None:
        for record in self._batch:
            self._partition(data_set_of(record).name, record.strategy)
        for data_set in (STEPS, EPOCHS, TRIALS):
            schema = self._epochs_schema if data_set is EPOCHS else _SCHEMAS[data_set.name]
            for (name, strategy), partition in self._partitions.items():
                if name == data_set.name:
                    records = [r for r in self._batch if data_set_of(r) is data_set and r.strategy == strategy]
                    partition.add(records, schema)
                    partition.save(schema)
        self._batch.clear()

    def _partition(self, data_set: str, strategy: str) -> Partition:
        if (data_set, strategy) not in self._partitions:
            path = folder(DATA_SETS[data_set], self._row.name, strategy)
            self._partitions[data_set, strategy] = Partition(self._files, DATA_SETS[data_set], path)
        return self._partitions[data_set, strategy]

    def _load(self) -> None:
        """Takes over what a resumed sweep has stored; trials that were interrupted will be trained again."""
        for data_set in (STEPS, EPOCHS, TRIALS):
            places = map(place_of, self._files.list(folder(data_set, self._row.name)))
            for strategy in {place.strategy for place in places if place is not None} - {""}:
                partition = self._partition(data_set.name, strategy)
                partition.load()
                partition.remove(partition.interrupted)
                self._metrics |= partition.extras

    def _save_row(self, status: str, finished: float | None) -> None:
        table = sweep_table(self._row, status=status, created=self._created, finished=finished)
        place = folder(SWEEPS, self._row.name)
        self._files.finish_merges(place)
        path, content = new_file_names(place).next(), encode(table, SWEEPS)
        if old := self._files.list(place):
            self._files.merge(place, old, {path: content})
        else:
            self._files.write(path, content)


_SCHEMAS = {data_set.name: data_set.schema() for data_set in DATA_SETS.values()}
