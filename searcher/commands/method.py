"""`searcher lr-find` and `searcher explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searcher.commands.options import ResultsFolder, SweepName


def lr_find(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A built-in task, or ./my_task.py:make_task.")],
    optimizer: Annotated[str, typer.Option(help="sgd or adamw.")] = "sgd",
    momentum: Annotated[float, typer.Option(help="Of sgd; the first beta of adamw.")] = 0.85,
    weight_decay: Annotated[float, typer.Option(help="L2 penalty, or decoupled decay of adamw.")] = 0.0,
    batch_size: Annotated[int, typer.Option(help="Samples of a step.")] = 64,
    ramp: Annotated[str, typer.Option(help="exponential or linear.")] = "exponential",
    low: Annotated[float | None, typer.Option(help="The learning rate that the ramp starts at.")] = None,
    high: Annotated[float | None, typer.Option(help="The learning rate that the ramp ends at.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps; default: an epoch, 60 to 200.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to run it with.")] = 3,
    measure: Annotated[str, typer.Option(help="The loss to read: train or test.")] = "train",
    plot: Annotated[Path | None, typer.Option(help="Draw the curves into this PNG, PDF or SVG file.")] = None,
) -> None:
    """Run the learning-rate range test of a task alone, and suggest the peak of a cycle."""
    from searcher.algorithms.schedules import complete
    from searcher.finding import find_task_lr
    from searcher.records import Configuration

    configuration = complete(
        Configuration(
            lr=1.0,
            momentum=momentum,
            weight_decay=weight_decay,
            batch_size=batch_size,
            schedule="constant",
            optimizer=optimizer,
        )
    )
    found = find_task_lr(
        task,
        configuration,
        low=low,
        high=high,
        ramp=ramp,
        steps=steps,
        seeds=range(seeds),
        measure=measure,
    )
    typer.echo(found.text())
    if plot is not None:
        found.plot(plot)
        typer.echo(f"\nplot: {plot}")


def explain(
    sweep: SweepName,
    folder: ResultsFolder = "results",
    strategy: Annotated[str | None, typer.Option(help="A strategy's label; default: each one_cycle.")] = None,
) -> None:
    """Tell how the one-cycle method came to its choice: what was measured, what followed, what it cost."""
    from searcher.explaining import explain as stories

    typer.echo("\n\n".join(story.text() for story in stories(sweep, folder, strategy)))
