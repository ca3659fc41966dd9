"""Reads results: pandas by default, polars, Arrow or DuckDB on request; SQL over all of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import duckdb
import pyarrow as pa

from searcher.errors import NothingFoundError, ResultsError, nearest
from searcher.results.layout import Place, place_of
from searcher.results.local import LocalFiles
from searcher.results.output import FORMS, save
from searcher.results.schema import DATA_SETS, SWEEPS, DataSet
from searcher.results.storage import open_files

if TYPE_CHECKING:
    import pandas as pd

Form = Literal["pandas", "polars", "arrow", "duckdb"]
Names = str | Sequence[str] | None
_Answer = TypeVar("_Answer")

PATIENCE = 30.0
"""For how many seconds a question is asked again where each time its files were merged away meanwhile."""

_NOT_UNDERSTOOD = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.DataError)


def open_results(root: str | Path) -> Results:
    """The results in a folder, which another process may still be writing. Nothing is read yet."""
    return Results(root)


class Results:
    """The data sets `sweeps`, `trials`, `epochs` and `steps` of a results folder, as they stand at each call.

    `trials`, `epochs` and `steps` take the same arguments:

        sweep, strategy: a name or several; only their folders are read.
        where: a SQL boolean expression over the columns, e.g. `"status = 'completed' and lr > 0.1"`; what it
            leaves out is skipped while reading, where the statistics in the files allow.
        columns: only these columns are read, in this order.
        to: `pandas` (a data frame), `polars` (likewise), `arrow` (a table), or `duckdb` (a relation: lazy).

    They raise NothingFoundError when the folder holds no results, or not this sweep or strategy, and
    ResultsError for an unknown column, a faulty expression, or a file that cannot be read.
    """

    def __init__(self, root: str | Path) -> None:
        self._files = open_files(root)

    def sweeps(
        self, *, sweep: Names = None, where: str = "", columns: Sequence[str] = (), to: Form = "pandas"
    ) -> Any:
        """One row for each sweep: task, status, sweep file, versions, machine."""
        return self._select(SWEEPS, sweep, None, where, columns, to)

    def trials(
        self,
        *,
        sweep: Names = None,
        strategy: Names = None,
        where: str = "",
        columns: Sequence[str] = (),
        to: Form = "pandas",
    ) -> Any:
        """One row for each trial that ended: identity, configuration, status, metrics, cost."""
        return self._select(DATA_SETS["trials"], sweep, strategy, where, columns, to)

    def epochs(
        self,
        *,
        sweep: Names = None,
        strategy: Names = None,
        where: str = "",
        columns: Sequence[str] = (),
        to: Form = "pandas",
    ) -> Any:
        """One row for each epoch of each trial, running ones included."""
        return self._select(DATA_SETS["epochs"], sweep, strategy, where, columns, to)

    def steps(
        self,
        *,
        sweep: Names = None,
        strategy: Names = None,
        where: str = "",
        columns: Sequence[str] = (),
        to: Form = "pandas",
    ) -> Any:
        """One row for each optimizer step of each range test."""
        return self._select(DATA_SETS["steps"], sweep, strategy, where, columns, to)

    def sql(self, query: str, *, to: Form = "pandas") -> Any:
        """The answer to a DuckDB query over the views `sweeps`, `trials`, `epochs` and `steps`.

        Raises:
            NothingFoundError: the folder holds no results.
            ResultsError: the query is faulty; says where.
        """

        return self._reading(lambda paths: _convert(self._answer(query, paths), to))

    def save(self, query: str, path: str | Path, form: str) -> None:
        """Writes the answer to a query (see `sql`) to a local file, as `csv`, `json` or `parquet`.

        Raises:
            NothingFoundError, ResultsError: as `sql`; also for a file that cannot be written.
        """
        if form not in FORMS:
            raise ResultsError(f"form must be one of {', '.join(FORMS)}, not {form!r}")
        self._reading(lambda paths: save(self._answer(query, paths), Path(path), form))

    def describe(self) -> pd.DataFrame:
        """The declared columns: data set, column, type, unit, description."""
        import pandas as pd

        return pd.DataFrame(
            [
                (data_set.name, column.name, str(column.type), column.unit, column.description)
                for data_set in DATA_SETS.values()
                for column in (*data_set.partitions, *data_set.columns)
            ],
            columns=["data_set", "column", "type", "unit", "description"],
        )

    def _answer(self, query: str, paths: dict[str, Place]) -> duckdb.DuckDBPyRelation:
        connection, prefix = self._connect()
        for data_set in DATA_SETS.values():
            # A view opens its files; the query does not have to wait for those that it does not name.
            if re.search(rf"\b{data_set.name}\b", query, re.IGNORECASE):
                scan = _scan(connection, data_set, prefix, paths)
                connection.execute(f"create view {data_set.name} as {scan}")
        relation = connection.sql(query)
        if relation is None:
            raise ResultsError("the query gives no table; write one that begins with select")
        return relation

    def _select(
        self, data_set: DataSet, sweep: Names, strategy: Names, where: str, columns: Sequence[str], to: Form
    ) -> Any:
        def ask(paths: dict[str, Place]) -> Any:
            connection, prefix = self._connect()
            chosen = _chosen(_chosen(paths, "sweep", _listed(sweep)), "strategy", _listed(strategy))
            relation = connection.sql(_scan(connection, data_set, prefix, chosen))
            for name in columns:
                if name not in relation.columns:
                    raise ResultsError(f"{data_set.name} has no column '{name}'.{nearest(name, relation.columns)}")
            if where:
                relation = relation.filter(where)
            if columns:
                relation = relation.project(", ".join(map(_quoted, columns)))
            return _convert(relation, to)

        return self._reading(ask)

    def _paths(self) -> dict[str, Place]:
        """Every file and what it holds."""
        paths = {path: place for path in self._files.list(*DATA_SETS) if (place := place_of(path)) is not None}
        if not paths:
            raise NothingFoundError(f"there are no results in {self._files.shown}")
        return paths

    def _connect(self) -> tuple[duckdb.DuckDBPyConnection, str]:
        """A connection, and what the paths of files begin with in it.

        One for each question: so threads do not share one, and nothing is remembered of files that change.
        """
        connection = duckdb.connect(
            config={"autoinstall_known_extensions": "false", "python_enable_replacements": "false"}
        )
        connection.execute("set TimeZone = 'UTC'")
        if isinstance(self._files, LocalFiles):
            return connection, self._files.root
        from searcher.results.bridge import register

        return connection, register(connection, self._files.filesystem) + self._files.root

    def _reading(self, ask: Callable[[dict[str, Place]], _Answer]) -> _Answer:
        """Asks with the files that there are; again, if they are others by the time that this has failed."""
        try:
            paths = self._paths()
            patient_until = time.monotonic() + PATIENCE
            while True:
                try:
                    return ask(paths)
                except _NOT_UNDERSTOOD as error:
                    raise ResultsError(f"the query is not understood: {_told(error)}") from error
                except (duckdb.Error, OSError, pa.ArrowException) as error:
                    before, paths, failure = paths, self._paths(), error
                    if paths == before or time.monotonic() > patient_until:
                        break
        except (OSError, pa.ArrowException) as error:
            failure = error
        raise ResultsError(f"cannot read {self._files.shown}: {failure}") from failure


def _scan(connection: duckdb.DuckDBPyConnection, data_set: DataSet, prefix: str, paths: Iterable[str]) -> str:
    """SQL that reads the files of a data set, with every declared column, also those that no file has."""
    declared = pa.schema([column.field for column in (*data_set.partitions, *data_set.columns)])
    connection.register(f"no_{data_set.name}", declared.empty_table())
    scan = f"select * from no_{data_set.name}"
    chosen = [_text(f"{prefix}/{path}") for path in paths if path.startswith(f"{data_set.name}/")]
    if not chosen:
        return scan
    keys = ", ".join(f"{_text(column.name)}: varchar" for column in data_set.partitions)
    return (
        f"{scan} union all by name select * from read_parquet([{', '.join(chosen)}], "
        f"hive_partitioning=true, union_by_name=true, hive_types={{{keys}}})"
    )


def _convert(relation: duckdb.DuckDBPyRelation, to: Form) -> Any:
    match to:
        case "duckdb":
            return relation
        case "arrow":
            return relation.to_arrow_table()
        case "pandas":
            return relation.to_arrow_table().to_pandas()
        case "polars":
            try:
                import polars
            except ImportError:
                raise ResultsError("to='polars' needs polars: pip install polars") from None
            return polars.from_arrow(relation.to_arrow_table())
        case _:
            raise ResultsError(f"to must be pandas, polars, arrow or duckdb, not {to!r}")


def _chosen(paths: dict[str, Place], key: Literal["sweep", "strategy"], names: list[str]) -> dict[str, Place]:
    """The files of the named sweeps (strategies). Raises NothingFoundError for a name that has none."""
    known = {getattr(place, key) for place in paths.values()} - {""}
    for name in names:
        if name not in known:
            stored = f"there are {', '.join(sorted(known))}" if known else "there are none yet"
            raise NothingFoundError(f"the results hold no {key} '{name}'; {stored}.{nearest(name, known)}")
    return {path: place for path, place in paths.items() if not names or getattr(place, key) in names}


def _told(error: duckdb.Error) -> str:
    """DuckDB's words in one line, without the picture of the place that it draws below them."""
    return " ".join(str(error).partition("\nLINE ")[0].split())


def _listed(names: Names) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
