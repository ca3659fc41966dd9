"""Tables as Parquet files."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from searcher.results.schema import DataSet

ROW_GROUP = 131_072
"""Rows in a row group: what a reader skips, or reads, as a whole."""


def encode(table: pa.Table, data_set: DataSet) -> pa.Buffer:
    """The table as a Parquet file, sorted by the data set's key: zstd, dictionaries for texts, statistics."""
    if data_set.key:
        table = table.sort_by([(name, "ascending") for name in data_set.key])
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    positions = [table.schema.get_field_index(name) for name in data_set.key]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=texts,
        write_statistics=True,
        sorting_columns=[pq.SortingColumn(position) for position in positions] or None,
        row_group_size=ROW_GROUP,
    )
    return sink.getvalue()
