"""`searcher replay`: what stopping rules would have done to recorded curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from searcher.commands.options import Format, OutputFormat, ResultsFolder, show

if TYPE_CHECKING:
    import pandas as pd


def replay(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SWEEP|FILE",
            help="A stored sweep, or a .parquet or .csv file with columns trial, epoch, train_loss, test_loss.",
        ),
    ],
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", metavar="RULE", help="A name, or YAML such as '{rule: up, s: 3}'. May be repeated."),
    ] = None,
    rules: Annotated[
        str | None, typer.Option("--rules", metavar="all", help="All rules, and those of Ray Tune and Optuna.")
    ] = None,
    folder: ResultsFolder = "results",
    workers: Annotated[int, typer.Option("--workers", min=1, help="How many trials run at a time.")] = 4,
    format: OutputFormat = Format.TABLE,
) -> None:
    """Apply stopping rules to recorded full curves: what they save, and what they lose."""
    from searcher._yaml import read_yaml
    from searcher.replaying import every_rule, read_curves, replay_table

    if rules not in (None, "all"):
        raise typer.BadParameter(f"--rules {rules}: must be all; one rule is named by --rule")
    try:
        specs = [read_yaml(text) for text in rule or []] or ([] if rules else ["default"])
    except ValueError as error:
        raise typer.BadParameter(f"--rule: {error}") from error
    specs = [*specs, *(every_rule() if rules else [])]
    curves = read_curves(source, folder)
    table = replay_table(curves, specs, workers=workers)
    if format is Format.TABLE:
        epochs = sum(len(curve.observations) for curve in curves)
        typer.echo(f"{source}: {len(curves)} trials, {epochs} epochs; intervals over resampled trials, 95 %\n")
        table = _readable(table)
    show(table, format)


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    def interval(name: str, digits: int) -> list[str]:
        ends = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
        return [f"{100 * a:.{digits}f} ({100 * b:.{digits}f} to {100 * c:.{digits}f})" for a, b, c in ends]

    columns = {
        "rule": table["rule"],
        "epochs saved, %": interval("saved", 0),
        "best loss lost, %": interval("loss_regret", 2),
        "accuracy lost, points": interval("accuracy_regret", 2),
        "best trial stopped early": [f"{100 * value:.0f} %" for value in table["winner_stopped"]],
    }
    if table["accuracy_regret"].isna().all():
        del columns["accuracy lost, points"]
    return pd.DataFrame(columns)
