"""The store: begins, lists and deletes the sweeps of a results folder, and rebuilds histories from it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import pyarrow as pa

from searcher.errors import NothingFoundError, ResultsError, SweepExistsError, nearest
from searcher.records import History
from searcher.results.compaction import compact
from searcher.results.files import Files, Lock
from searcher.results.layout import check_name, checkpoints_folder, folder, place_of
from searcher.results.rows import SweepRow, conform, to_records
from searcher.results.schema import DATA_SETS, EPOCHS, SCHEMA_VERSION, STEPS, SWEEPS, TRIALS
from searcher.results.storage import open_files
from searcher.results.writer import SweepWriter

Mode = Literal["new", "resume", "overwrite"]


class Store:
    """A results folder, for those who write it.

    What it promises:

    - A record that was handed over more than 5 seconds ago survives `kill -9` of any process, unless storage
      has refused it since.
    - After a resume each trial, and each epoch and step of it, stands exactly once: as first measured.
    - A reader never sees a torn or half-written file. `Results` meets each row once at every moment; a plain
      reader does so on a local disk of Linux, and elsewhere but for the moment of a merge (see `compact`).
    - One process at a time writes a sweep; different sweeps can be written into one folder at once.
    - When storage is full or refuses for longer than the writer's patience, the writer raises ResultsError,
      nothing already written is lost, and the sweep can be resumed.
    """

    def __init__(self, root: str | Path) -> None:
        self._files = open_files(root)

    def begin(self, row: SweepRow, *, mode: Mode = "new", patience: float = 0.0) -> SweepWriter:
        """Takes the right to write a sweep.

        Args:
            mode: `new` refuses a name that exists; `resume` goes on with it, or begins it if it does not
                exist, so that one command can be given again after any crash; `overwrite` deletes it first.
            patience: so many seconds storage may refuse, once the sweep has begun, before the writer raises.

        Raises:
            SweepExistsError: the sweep is there already and mode is `new`.
            ResultsError: another process is writing the sweep, or the folder cannot be written.
        """
        name = check_name("sweep", row.name)
        with self._errors(f"begin sweep '{name}'"):
            lock = self._lock(name)
            try:
                if mode == "new":
                    self.refuse_stored(name)
                if mode == "overwrite":
                    _delete(self._files, name)
                return SweepWriter(self._files, lock, row, self._created(name), patience)
            except BaseException:
                lock.release()
                raise

    def refuse_stored(self, name: str) -> None:
        """Raises SweepExistsError if there is a sweep of this name."""
        if name in self.sweeps():
            raise SweepExistsError(
                f"sweep '{name}' is already in {self._files.shown}: "
                "--resume trains only what is missing, --overwrite deletes it first"
            )

    def sweeps(self) -> list[str]:
        """The names of the stored sweeps, sorted."""
        with self._errors("list the sweeps"):
            places = [place_of(path) for path in self._files.list(SWEEPS.name)]
        return sorted({place.sweep for place in places if place is not None})

    def delete(self, sweep: str) -> None:
        """Deletes a sweep and everything measured in it, if it exists. ResultsError while it is written."""
        with self._errors(f"delete sweep '{sweep}'"):
            lock = self._lock(sweep)
            try:
                _delete(self._files, sweep)
            finally:
                lock.release()

    def compact(self, sweep: str) -> None:
        """Merges the small files of a sweep, as its writer does when it completes.

        A reader meets each row once all the while, and what it has open stays readable. One that had only
        listed the files finds some of them gone: `Results` asks again by itself, a plain reader gets
        FileNotFoundError and can be called again, or misses them if it lists them in that very moment.
        Where a folder cannot be exchanged in one step (object storage, network file systems, other systems
        than Linux), a plain reader can for a moment meet rows twice; `Results` cannot.

        Raises:
            NothingFoundError: there is no such sweep.
            ResultsError: the sweep is being written, or storage refuses; nothing is lost.
        """
        with self._errors(f"compact sweep '{sweep}'"):
            if sweep not in (known := self.sweeps()):
                raise NothingFoundError(
                    f"there is no sweep '{sweep}' in {self._files.shown}.{nearest(sweep, known)}"
                )
            lock = self._lock(sweep)
            try:
                for data_set in (STEPS, EPOCHS, TRIALS):
                    compact(self._files, data_set, folder(data_set, sweep))
            finally:
                lock.release()

    def _lock(self, sweep: str) -> Lock:
        """The right to write a sweep, with what a killed writer left half merged cleared up."""
        lock = self._files.lock(check_name("sweep", sweep))
        try:
            for data_set in DATA_SETS.values():
                self._files.finish_merges(folder(data_set, sweep))
        except BaseException:
            lock.release()
            raise
        return lock

    def _created(self, name: str) -> float | None:
        """When the sweep was first begun, in seconds since the Unix epoch; None if there is none."""
        paths = self._files.list(folder(SWEEPS, name))
        if not paths:
            return None
        row = self._files.read(paths[0], columns=["created", "schema_version"])
        if (version := row.column("schema_version")[0].as_py()) > SCHEMA_VERSION:
            raise ResultsError(
                f"sweep '{name}' was written by a newer searcher: its schema is {version}, "
                f"this one knows up to {SCHEMA_VERSION}"
            )
        created: int = row.column("created").cast(pa.int64())[0].as_py()
        return created / 1e6

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise ResultsError(f"cannot {what} in {self._files.shown}: {error}") from error


def read_history(root: str | Path, sweep: str, strategies: Iterable[str]) -> Mapping[str, History]:
    """What each strategy has measured so far, by its label; empty histories for what is not stored.

    Trials come back with the trial_id that they had. Interrupted trials are neither finished nor running.

    Raises:
        ResultsError: the folder cannot be read.
    """
    files = open_files(root)
    histories = {strategy: History() for strategy in strategies}
    try:
        for data_set in (STEPS, EPOCHS, TRIALS):
            for strategy, history in histories.items():
                for path in files.list(folder(data_set, sweep, strategy)):
                    table = files.read(path)
                    schema = data_set.schema(data_set.extras(table.schema) if data_set is EPOCHS else ())
                    for record in to_records(conform(table, schema), data_set, strategy):
                        history.add(record)
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(f"cannot read sweep '{sweep}' from {files.shown}: {error}") from error
    return histories


__all__ = ["Mode", "Store", "SweepWriter", "read_history"]


def _delete(files: Files, sweep: str) -> None:
    files.remove_folder(checkpoints_folder(sweep))
    # The sweep's own row last: until it is gone, the sweep counts as existing.
    for data_set in (STEPS, EPOCHS, TRIALS, SWEEPS):
        files.remove_folder(folder(data_set, sweep))
