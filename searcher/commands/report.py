"""`searcher report`: a sweep as a page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searcher.commands.options import ResultsFolder, SweepName


def report(
    sweep: SweepName,
    folder: ResultsFolder = "results",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Where to write; default: reports/SWEEP.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="METRIC=VALUE", help="Of cost-to-target, e.g. test_accuracy=0.98."),
    ] = None,
) -> None:
    """Write a sweep's report: one HTML file that needs no network, and its charts as PNG."""
    from searcher.report import write_report

    written = write_report(sweep, folder, output, target=target)
    typer.echo(f"{written.page} and {len(written.pictures)} pictures beside it")
