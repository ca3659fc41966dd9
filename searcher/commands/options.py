"""Arguments and options that several commands have, and how they print a table."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.")]
SweepName = Annotated[str, typer.Argument(metavar="SWEEP", help="The sweep's name.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Override a field, e.g. strategies.0.grid.momentum=[0.8,0.9]."
    ),
]
ResultsFolder = Annotated[
    str, typer.Option("--results", metavar="FOLDER", help="The results folder, local or on object storage.")
]


class Format(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"


OutputFormat = Annotated[Format, typer.Option("--format", help="How to print it.")]


def show(frame: pd.DataFrame, format: Format) -> None:
    """Prints a table."""
    match format:
        case Format.TABLE:
            typer.echo("  ".join(frame.columns) if frame.empty else frame.to_string(index=False))
        case Format.CSV:
            typer.echo(frame.to_csv(index=False), nl=False)
        case Format.JSON:
            typer.echo(frame.to_json(orient="records", date_format="iso", indent=2))
