"""The files that one strategy of one sweep has in one data set, as their only writer sees them."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from searcher.records import Record, Status, TrialRecord
from searcher.results.encoding import encode
from searcher.results.files import Files
from searcher.results.layout import new_file_names
from searcher.results.rows import conform, key_of, to_table
from searcher.results.schema import TRIALS, DataSet

ROWS_PER_FILE = 16_384
"""A file of this many rows is left alone until the sweep is compacted."""

SMALL_FILES = 64
"""So many smaller files are merged into one."""


class Partition:
    """Each saving adds a file with the rows that are new; when many are small, they are merged.

    A file is never changed under its name. Rewriting one in place would make fewer of them, but polars and
    DuckDB open a file more than once, and then decode the pages of one version by the footer of another.
    All files of the sweep are given the same columns, since plain readers take those of the first file.
    A row that is there already (the same trial and epoch, measured again after a resume) is not added again.

    Not thread-safe: its writer calls it from one thread. When storage fails in `add` or `save`, what is
    stored is read again before anything else is done; rows that are not stored yet are kept.
    """

    def __init__(self, files: Files, data_set: DataSet, folder: str) -> None:
        self._files = files
        self._data_set = data_set
        self._folder = folder
        self._names = new_file_names(folder)
        self._schema = data_set.schema()
        self._new: pa.Table = self._schema.empty_table()  # the rows that are not on storage
        self._unsure = False
        self._forget()

    def _forget(self) -> None:
        self._large: dict[str, pa.Schema] = {}
        self._small: dict[str, pa.Schema] = {}
        self._saved: pa.Table = self._schema.empty_table()  # the rows of the small files
        # The epochs (steps) that there are of each trial: bit n of a whole number for epoch n.
        self._known: dict[str, int] = {}
        self._interrupted: set[str] = set()

    def load(self) -> None:
        """Takes over the files that are on storage."""
        self._files.finish_merges(self._folder)
        self._forget()
        extras: set[str] = set()
        for path in self._files.list(self._folder):
            rows, schema = self._files.shape(path)
            extras |= self._data_set.extras(schema)
            self._note(self._files.read(path, columns=self._key_columns))
            if rows < ROWS_PER_FILE:
                self._small[path] = schema
            else:
                self._large[path] = schema
        self._schema = self._data_set.schema(extras)
        tables = [conform(self._files.read(path), self._schema) for path in self._small]
        self._saved = pa.concat_tables([self._schema.empty_table(), *tables])

    @property
    def extras(self) -> set[str]:
        """The metrics that the files have columns for."""
        return self._data_set.extras(self._schema)

    @property
    def interrupted(self) -> frozenset[str]:
        """The trials whose row says that they were interrupted."""
        return frozenset(self._interrupted)

    def add(self, records: Iterable[Record], schema: pa.Schema) -> None:
        """Adds the records that are not there yet; the row of a trial that was interrupted is replaced."""
        new: dict[tuple[str, int], Record] = {}
        with self._consistent():
            for record in records:
                key = key_of(record)
                replaceable = key[0] in self._interrupted if key not in new else _is_interrupted(new[key])
                if replaceable or (key not in new and not self._has(key)):
                    new[key] = record
            if not new:
                return
            table = to_table(list(new.values()), self._data_set, schema)
            self._remove({trial_id for trial_id, _ in new} & self._interrupted)
            self._new = pa.concat_tables([conform(self._new, schema), table])
            self._note(table.select(self._key_columns))

    def remove(self, trial_ids: Collection[str]) -> None:
        """Forgets these trials, on storage as well."""
        with self._consistent():
            self._remove(trial_ids)

    def save(self, schema: pa.Schema) -> None:
        """Brings the new rows to storage, and every file to the columns of the schema."""
        with self._consistent():
            if schema is not self._schema:
                self._widen(schema)
            if self._new.num_rows:
                path = self._names.next()
                self._files.write(path, encode(conform(self._new, schema), self._data_set))
                self._small[path] = schema
                self._saved = pa.concat_tables([self._saved, conform(self._new, schema)])
                self._new = schema.empty_table()
            if self._saved.num_rows >= ROWS_PER_FILE:
                self._large[self._merged()] = schema
                self._small, self._saved = {}, schema.empty_table()
            elif len(self._small) >= SMALL_FILES:
                self._small = {self._merged(): schema}

    @contextlib.contextmanager
    def _consistent(self) -> Iterator[None]:
        """Makes sure that what is known of the files is true, also after an error half-way."""
        if self._unsure:
            waiting = self._new
            self.load()
            fresh = [not self._has(key) for key in _keys(waiting, self._data_set)]
            self._new = waiting.filter(pa.array(fresh, pa.bool_()))
            self._note(self._new.select(self._key_columns))
        self._unsure = True
        yield
        self._unsure = False

    def _merged(self) -> str:
        """Makes one file of the small ones."""
        if len(self._small) == 1:
            return next(iter(self._small))
        path = self._names.next()
        self._files.merge(self._folder, list(self._small), {path: encode(self._saved, self._data_set)})
        return path

    def _widen(self, schema: pa.Schema) -> None:
        """Gives every file the columns of the schema."""
        for files in (self._large, self._small):
            for path, written in list(files.items()):
                if written.names != schema.names:
                    table = conform(self._files.read(path), schema)
                    del files[path]
                    files[self._replace(path, table)] = schema
        self._saved = conform(self._saved, schema)
        self._schema = schema

    def _remove(self, trial_ids: Collection[str]) -> None:
        for files in (self._large, self._small):
            for path, schema in list(files.items()) if trial_ids else ():
                keys = self._files.read(path, columns=["trial_id"])
                kept = _without(keys, trial_ids).num_rows
                if kept == keys.num_rows:
                    continue
                del files[path]
                if kept:
                    files[self._replace(path, _without(self._files.read(path), trial_ids))] = schema
                else:
                    self._files.remove(path)
        self._saved = _without(self._saved, trial_ids)
        self._new = _without(self._new, trial_ids)
        for trial_id in trial_ids:
            self._known.pop(trial_id, None)
            self._interrupted.discard(trial_id)

    def _replace(self, path: str, table: pa.Table) -> str:
        """Puts a file with another content, under a name of its own, in the place of this one."""
        new = self._names.next()
        self._files.merge(self._folder, [path], {new: encode(table, self._data_set)})
        return new

    @property
    def _key_columns(self) -> list[str]:
        return [*self._data_set.key, "status"] if self._data_set is TRIALS else list(self._data_set.key)

    def _has(self, key: tuple[str, int]) -> bool:
        return bool(self._known.get(key[0], 0) >> key[1] & 1)

    def _note(self, table: pa.Table) -> None:
        for trial_id, number in _keys(table, self._data_set):
            self._known[trial_id] = self._known.get(trial_id, 0) | 1 << number
        if self._data_set is TRIALS:
            chosen = table.filter(pc.field("status") == str(Status.INTERRUPTED))
            self._interrupted.update(chosen.column("trial_id").to_pylist())


def _keys(table: pa.Table, data_set: DataSet) -> Sequence[tuple[str, int]]:
    """As `key_of`, for the rows of a table."""
    trial_ids = table.column("trial_id").to_pylist()
    if data_set is TRIALS:
        return [(trial_id, 0) for trial_id in trial_ids]
    return list(zip(trial_ids, table.column(data_set.key[1]).to_pylist(), strict=True))


def _is_interrupted(record: Record) -> bool:
    return isinstance(record, TrialRecord) and record.status is Status.INTERRUPTED


def _without(table: pa.Table, trial_ids: Collection[str]) -> pa.Table:
    return table.filter(~pc.field("trial_id").isin(list(trial_ids))) if trial_ids else table
