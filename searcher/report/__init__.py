"""The report of a sweep: one HTML file that needs no network, and its charts as PNG.

    results ──▶ Source ──▶ a record of data for each chart ──▶ Figure (chart, words, table) ──▶ page, pictures

It reads the results only. Of each chart first the data are made, as a record that tests look into, then the
drawing, in Vega-Altair: one description serves the page and the picture, which `vl-convert` makes without a
browser.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from searcher.errors import ResultsError

if TYPE_CHECKING:
    from searcher.comparing import Results
    from searcher.report.figure import Figure
    from searcher.report.source import Source

PAGE = "report.html"
SCALE = 2.0
"""Pixels of a picture to one of its chart."""


@dataclass(frozen=True)
class Report:
    """Where a report was written."""

    page: Path
    pictures: tuple[Path, ...]


def write_report(
    sweep: str, results: Results | str = "results", output: str | Path | None = None, *, target: str | None = None
) -> Report:
    """Writes the report of a stored sweep, also of one that still runs.

    Args:
        sweep: its name.
        results: the results folder, or its path.
        output: the folder to write into; by default `reports/<sweep>`. Files of an earlier report are replaced.
        target: of cost-to-target, see `Results.compare`.

    Raises:
        NothingFoundError: no such sweep, or none of its trials has ended yet.
        ResultsError: the results cannot be read, or the report cannot be written.
    """
    from searcher.comparing import open_results
    from searcher.report.page import render
    from searcher.report.source import read_source

    source = read_source(open_results(results) if isinstance(results, str) else results, sweep, target)
    figures = figures_of(source)
    folder = Path("reports") / sweep if output is None else Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        page = _write(folder / PAGE, render(source, figures).encode())
        pictures = tuple(_write(folder / f"{one.key}.png", picture(one)) for one in figures.values())
    except OSError as error:
        raise ResultsError(f"cannot write the report to {folder}: {error.strerror or error}") from error
    return Report(page, pictures)


def figures_of(source: Source) -> dict[str, Figure]:
    """The figures that the source has data for, by their keys, in the order of the page."""
    from searcher.report import curves, quality, range_tests, schedules, slices, target

    figures = (
        quality.quality_figure(source),
        quality.held_figure(source),
        target.figure_of(source),
        curves.figure_of(source),
        range_tests.figure_of(source),
        slices.figure_of(source),
        schedules.figure_of(source),
    )
    return {figure.key: figure for figure in figures if figure is not None}


def picture(figure: Figure) -> bytes:
    """The chart as PNG."""
    import vl_convert

    png: bytes = vl_convert.vegalite_to_png(figure.specification, scale=SCALE)
    return png


def _write(path: Path, data: bytes) -> Path:
    """Under another name first, so that nobody meets half a file."""
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_bytes(data)
    unfinished.replace(path)
    return path
