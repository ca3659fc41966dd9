"""Answers as files."""

from __future__ import annotations

from pathlib import Path

import duckdb

from searcher.errors import ResultsError

FORMS = ("csv", "json", "parquet")


def save(relation: duckdb.DuckDBPyRelation, path: Path, form: str) -> None:
    """Writes a relation to a file of one of these forms, which is there when it is whole, and not before.

    CSV and Parquet are streamed, so may be larger than memory. JSON is a list of objects; what JSON has no
    word for (infinity, not a number) is null in it.

    Raises:
        ResultsError: the file cannot be made.
    """
    unfinished = path.with_name(f".{path.name}.part")
    try:
        unfinished.touch()
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror}") from error
    try:
        if form == "csv":
            relation.to_csv(str(unfinished), header=True)
        elif form == "parquet":
            relation.to_parquet(str(unfinished), compression="zstd")
        else:
            frame = relation.to_arrow_table().to_pandas()
            unfinished.write_text(f"{frame.to_json(orient='records', date_format='iso', indent=2)}\n")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
