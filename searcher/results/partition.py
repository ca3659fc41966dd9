"""The files that one strategy of one sweep has in one data set, as their only writer sees them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from searcher.records import Record, Status, TrialRecord
from searcher.results.encoding import encode
from searcher.results.files import Files
from searcher.results.layout import new_file_names
from searcher.results.rows import conform, key_of, to_table
from searcher.results.schema import TRIALS, DataSet

ROWS_PER_FILE = 16_384
"""A file of this many rows is left alone from then on; the next rows go into a new one."""


class Partition:
    """Sealed files, and one open file that is rewritten as a whole, from rows kept in memory, when they grow.

    So a row stands in one file at every moment, there are few files, and a column can be added late. All
    files of the sweep are given the same schema, since plain readers take that of the first file they meet.
    A row that is there already (the same trial and epoch, measured again after a resume) is not added again.

    Not thread-safe: its writer calls it from one thread.
    """

    def __init__(self, files: Files, data_set: DataSet, folder: str) -> None:
        self._files = files
        self._data_set = data_set
        self._names = new_file_names(folder)
        self._sealed: dict[str, pa.Schema] = {}
        # The schema that all sealed files are known to have; None before the first save.
        self._schema: pa.Schema | None = None
        # The epochs (steps) that are stored of each trial: bit n of a whole number for epoch n.
        self._stored: dict[str, int] = {}
        self._interrupted: set[str] = set()
        self._path = self._names.next()
        self._rows: pa.Table = data_set.schema().empty_table()
        # The schema that the open file has on disk; None when the file there is older than its rows.
        self._written: pa.Schema | None = self._rows.schema

    def load(self, paths: Iterable[str]) -> None:
        """Takes over the files of an earlier writer; the first that is not full becomes the open file."""
        status = ["status"] if self._data_set is TRIALS else []
        for path in paths:
            count, schema = self._files.shape(path)
            keys = self._files.read(path, columns=[*self._data_set.key, *status])
            self._note(keys)
            if count < ROWS_PER_FILE and not self._rows.num_rows:
                self._path, self._rows, self._written = path, self._files.read(path), schema
            else:
                self._sealed[path] = schema

    @property
    def extras(self) -> set[str]:
        """The metrics that the files taken over have columns for."""
        schemas = [self._rows.schema, *self._sealed.values()]
        return set().union(*(self._data_set.extras(schema) for schema in schemas))

    @property
    def interrupted(self) -> frozenset[str]:
        """The trials whose row says that they were interrupted."""
        return frozenset(self._interrupted)

    def add(self, records: Iterable[Record], schema: pa.Schema) -> None:
        """Adds the records that are not there yet; a trial that was interrupted is replaced."""
        new: dict[tuple[str, int], Record] = {}
        for record in records:
            key = key_of(record)
            if not self._has(key) or key[0] in self._interrupted:
                new[key] = record if key not in new or _is_interrupted(new[key]) else new[key]
        if not new:
            return
        table = to_table(list(new.values()), self._data_set, schema)
        self.remove({trial_id for trial_id, _ in new} & self._interrupted)
        self._rows = pa.concat_tables([conform(self._rows, schema), table])
        self._written = None
        for (trial_id, number), record in new.items():
            self._stored[trial_id] = self._stored.get(trial_id, 0) | 1 << number
            if _is_interrupted(record):
                self._interrupted.add(trial_id)

    def remove(self, trial_ids: Collection[str]) -> None:
        """Forgets these trials, in the files as well."""
        if not trial_ids:
            return
        for path, schema in list(self._sealed.items()):
            table = self._files.read(path)
            kept = _without(table, trial_ids)
            if kept.num_rows == 0:
                self._files.remove(path)
                del self._sealed[path]
            elif kept.num_rows < table.num_rows:
                self._files.write(path, encode(kept, self._data_set))
                self._sealed[path] = schema
        kept = _without(self._rows, trial_ids)
        if kept.num_rows < self._rows.num_rows:
            self._rows, self._written = kept, None
        for trial_id in trial_ids:
            self._stored.pop(trial_id, None)
            self._interrupted.discard(trial_id)

    def save(self, schema: pa.Schema) -> None:
        """Brings every file to the schema and the open file to its rows. If it fails, call it again later."""
        if schema is not self._schema:
            for path, written in self._sealed.items():
                if written.names != schema.names:
                    self._files.write(path, encode(conform(self._files.read(path), schema), self._data_set))
                    self._sealed[path] = schema
            self._schema = schema
        if self._written is not None and self._written.names == schema.names:
            return
        self._rows = conform(self._rows, schema)
        if self._rows.num_rows:
            self._files.write(self._path, encode(self._rows, self._data_set))
        elif self._path in self._files.list(self._path.rpartition("/")[0]):
            self._files.remove(self._path)
        self._written = schema
        if self._rows.num_rows >= ROWS_PER_FILE:
            self._sealed[self._path] = schema
            self._path = self._names.next()
            self._rows = schema.empty_table()

    def _has(self, key: tuple[str, int]) -> bool:
        return bool(self._stored.get(key[0], 0) >> key[1] & 1)

    def _note(self, table: pa.Table) -> None:
        trial_ids = table.column("trial_id").to_pylist()
        numbers = table.column(self._data_set.key[1]).to_pylist() if len(self._data_set.key) > 1 else None
        for trial_id, number in zip(trial_ids, numbers or [0] * len(trial_ids), strict=True):
            self._stored[trial_id] = self._stored.get(trial_id, 0) | 1 << number
        if "status" in table.column_names:
            chosen = table.filter(pc.field("status") == str(Status.INTERRUPTED))
            self._interrupted.update(chosen.column("trial_id").to_pylist())


def _is_interrupted(record: Record) -> bool:
    return isinstance(record, TrialRecord) and record.status is Status.INTERRUPTED


def _without(table: pa.Table, trial_ids: Collection[str]) -> pa.Table:
    return table.filter(~pc.field("trial_id").isin(list(trial_ids)))
