"""The page: one file that holds its styles, its scripts and its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from searcher.report import tables
from searcher.report.figure import Figure
from searcher.report.source import Source
from searcher.report.tables import Table, table_of


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page: what stands in it, in this order."""

    id: str
    title: str
    lines: Sequence[str] = ()
    points: Sequence[str] = ()
    figures: Sequence[Mapping[str, Any]] = ()
    tables: Sequence[tuple[str, Table]] = ()
    sortable: tuple[str, Table] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    text: str = ""


def render(source: Source, figures: Mapping[str, Figure]) -> str:
    """The whole page as HTML. Everything that is not ours is escaped by the template engine."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    own = files("searcher.report")
    template = environment.from_string((own / "page.html").read_text(encoding="utf-8"))
    return template.render(
        name=source.name,
        task=source.row["task"],
        version=version("searcher"),
        lead=_lead(source),
        sections=_sections(source, figures),
        charts={figure.key: figure.specification for figure in figures.values()},
        # These three are ours and the library's, not the user's.
        style=Markup((own / "page.css").read_text(encoding="utf-8")),
        script=Markup((own / "page.js").read_text(encoding="utf-8")),
        library=Markup(_library()),
    )


def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, which defines `drawChart`."""
    bundle: str = vl_convert.javascript_bundle("window.drawChart = vegaEmbed;")
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _lead(source: Source) -> str:
    comparison = source.comparison
    trials = sum(one.trials for one in comparison.summaries)
    samples = sum(one.cost.samples for one in comparison.summaries)
    return f"{len(comparison.summaries)} strategies, {trials:,} trials, {samples:,} training samples in all."


def _sections(source: Source, figures: Mapping[str, Figure]) -> list[Section]:
    comparison = source.comparison
    verdicts = [one.verdict for one in comparison.summaries if one.strategy != comparison.reference]
    target = comparison.target
    goal = [f"target: test {target.metric} {target.value:.4g}, {target.origin}"] if target else []
    stopped = tables.stopped_table(source)
    sections = [
        Section(
            id="result",
            title="Result",
            points=[*verdicts, *goal, *comparison.notes],
            tables=[
                ("The strategies compared. Cost counts every trial, range tests and stopped trials included.",
                 tables.comparison_table(source)),
                ("The chosen configurations, by mean test loss over seeds.", tables.chosen_table(source)),
            ],
        ),
        Section(id="quality", title="Quality and cost",
                figures=_those(figures, "quality-cost", "held-cost", "cost-to-target")),
        Section(
            id="curves",
            title="Learning curves",
            figures=_those(figures, "learning-curves"),
            tables=[("How the trials ended", tables.ended_table(source)),
                    *([("Trials that were not completed, and why", stopped)] if stopped.rows else [])],
        ),
        Section(id="range", title="Range tests", figures=_those(figures, "range-tests")),
        Section(id="slices", title="Hyper-parameters", figures=_those(figures, "hyper-parameters")),
        Section(id="schedules", title="Schedules", figures=_those(figures, "schedules")),
        Section(
            id="trials",
            title="Trials",
            sortable=(
                "All trials, the lowest test loss first; a heading sorts by its column",
                tables.trials_table(source),
            ),
        ),
        Section(id="provenance", title="Where the numbers are from", facts=tables.provenance(source),
                text=source.row["text"]),
    ]  # fmt: skip
    always = ("result", "curves", "trials", "provenance")
    return [section for section in sections if section.figures or section.id in always]


def _those(figures: Mapping[str, Figure], *keys: str) -> list[Mapping[str, Any]]:
    return [
        {
            "key": one.key,
            "title": one.title,
            "caption": one.caption,
            "notes": one.notes,
            "table": table_of(one.table.rename(columns=lambda name: str(name).replace("_", " "))),
        }
        for one in (figures[key] for key in keys if key in figures)
    ]
