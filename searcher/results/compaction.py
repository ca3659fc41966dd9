"""Makes few files of many, without a reader noticing."""

from __future__ import annotations

from itertools import groupby

import pyarrow as pa

from searcher.results.encoding import ROW_GROUP, encode
from searcher.results.files import Files
from searcher.results.layout import new_file_names, place_of
from searcher.results.rows import conform
from searcher.results.schema import EPOCHS, DataSet

ROWS_PER_MERGED_FILE = 4 * ROW_GROUP
"""About 30 MB of curves; a few times as much memory while they are merged and sorted."""


def compact(files: Files, data_set: DataSet, sweep_folder: str) -> None:
    """Merges the files of each strategy of a sweep until none is small but one. The caller holds the lock."""
    paths = [path for path in files.list(sweep_folder) if (place := place_of(path)) and place.strategy]
    for folder, members in groupby(paths, key=lambda path: path.rpartition("/")[0]):
        _compact_folder(files, data_set, folder, list(members))


def _compact_folder(files: Files, data_set: DataSet, folder: str, paths: list[str]) -> None:
    names = new_file_names(folder)
    group: list[str] = []
    rows = 0
    for path in paths:
        count, _ = files.shape(path)
        if count >= ROWS_PER_MERGED_FILE // 2:
            continue
        if rows + count > ROWS_PER_MERGED_FILE:
            _merge(files, data_set, folder, group, names.next())
            group, rows = [], 0
        group.append(path)
        rows += count
    _merge(files, data_set, folder, group, names.next())


def _merge(files: Files, data_set: DataSet, folder: str, group: list[str], path: str) -> None:
    if len(group) < 2:
        return
    tables = [files.read(member) for member in group]
    extras = set().union(*(data_set.extras(table.schema) for table in tables)) if data_set is EPOCHS else set()
    schema = data_set.schema(extras)
    merged = pa.concat_tables([conform(table, schema) for table in tables])
    files.merge(folder, group, {path: encode(merged, data_set)})
