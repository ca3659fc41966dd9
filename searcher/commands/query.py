"""`searcher query`: the results in SQL, as a table or as a file."""

from __future__ import annotations

import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from searcher.commands.options import Format, ResultsFolder, show


class AnswerFormat(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def query(
    sql: Annotated[str | None, typer.Argument(metavar="SQL", help="The query.", show_default=False)] = None,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Read the query from here.")] = None,
    folder: ResultsFolder = "results",
    format: Annotated[
        AnswerFormat | None,
        typer.Option("--format", help="Default: a table; with --output, what the file's ending says."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the answer here; print nothing.")
    ] = None,
) -> None:
    """Ask the results in SQL (DuckDB's): the tables are sweeps, trials, epochs and steps."""
    from searcher.comparing import open_results

    if (sql is None) == (file is None):
        raise typer.BadParameter("give one query: SQL in quotes, or --file FILE")
    text = sql or "" if file is None else file.read_text(encoding="utf-8")
    results = open_results(folder)
    form = _form(format, output)
    if form is AnswerFormat.TABLE:
        show(results.sql(text), Format.TABLE)
    elif output is not None:
        results.save(text, output, form.value)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            answer = Path(scratch, "answer")
            results.save(text, answer, form.value)
            with answer.open("rb") as content:
                while chunk := content.read(1 << 20):
                    typer.echo(chunk, nl=False)


def _form(format: AnswerFormat | None, output: Path | None) -> AnswerFormat:
    if output is None:
        if format is AnswerFormat.PARQUET and sys.stdout.isatty():
            raise typer.BadParameter("--format parquet is nothing for a terminal: give --output FILE")
        return format or AnswerFormat.TABLE
    ending = output.suffix.removeprefix(".")
    if format is AnswerFormat.TABLE or (format is None and ending not in ("csv", "json", "parquet")):
        raise typer.BadParameter(f"--output {output}: must end in .csv, .json or .parquet, or --format names one")
    return format or AnswerFormat(ending)
