"""The command line: parse, call, show, exit code.

Exit codes: 0 done; 1 a search that found nothing usable; 2 bad input, in one line; 130 interrupted.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from searcher.commands import cluster, method
from searcher.commands.options import Format, OutputFormat, Overrides, ResultsFolder, SweepFile, SweepName, show
from searcher.commands.query import query
from searcher.commands.replay import replay
from searcher.commands.report import report
from searcher.errors import ResultsError, SearcherError

app = typer.Typer(
    name="searcher",
    help="Hyper-parameter search for neural networks: grid, random and the one-cycle method, by what they cost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Click's; whether it is the installed click or the one inside typer depends on typer's version.
_UsageError: Any = typer.BadParameter.__base__


@app.command()
def run(
    file: SweepFile,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Train only what a stored sweep still lacks.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete a stored sweep of this name.")] = False,
    address: Annotated[
        str | None, typer.Option("--address", help="A Ray cluster's address; default: a Ray of our own.")
    ] = None,
) -> None:
    """Run a sweep, show its progress, and compare its strategies."""
    from searcher import study
    from searcher.progress import Progress
    from searcher.sweep import load_sweep

    if resume and overwrite:
        raise typer.BadParameter("--resume and --overwrite exclude each other")
    sweep = load_sweep(file, overrides or ())
    mode: study.Mode = "resume" if resume else "overwrite" if overwrite else "new"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill loses no more than Ctrl-C
    try:
        results = study.run(sweep, file.parent, mode=mode, address=address, observer=Progress())
    except KeyboardInterrupt:
        typer.echo(
            f"interrupted: what was measured is in {sweep.results}; go on with: searcher run {file} --resume",
            err=True,
        )
        raise typer.Exit(130) from None
    typer.echo(results.compare(sweep.name).text())
    typer.echo(f"\nresults: {sweep.results}")


@app.command()
def validate(file: SweepFile, overrides: Overrides = None) -> None:
    """Check a sweep file and print its plan; train nothing."""
    import pandas as pd

    from searcher import study
    from searcher.sweep import load_sweep

    prepared = study.prepare(load_sweep(file, overrides or ()), file.parent)
    typer.echo(
        f"{prepared.sweep.name}: task {prepared.task.name}, {prepared.task.train_size} train, "
        f"{prepared.task.test_size} test and {prepared.task.holdout_size} holdout samples, "
        f"seeds {', '.join(map(str, prepared.sweep.seeds))}"
    )
    rows = [
        {
            "strategy": label,
            "trials": plan.trials,
            "epochs": round(plan.epochs, 1),
            "samples": plan.samples,
            "": "" if plan.exact else "about",
        }
        for label, plan in prepared.plans.items()
    ]
    show(pd.DataFrame(rows), Format.TABLE)


@app.command()
def compare(
    sweeps: Annotated[list[str], typer.Argument(metavar="SWEEP…", help="The sweep's name, or several.")],
    folder: ResultsFolder = "results",
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="METRIC=VALUE", help="Of cost-to-target, e.g. test_accuracy=0.98."),
    ] = None,
    price: Annotated[
        str | None, typer.Option("--price", metavar="AMOUNT/UNIT", help="E.g. 2.5/gpu-hour or 0.04/cpu-hour.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON, for scripts.")] = False,
) -> None:
    """Compare what the strategies of a sweep, or of several, reached and what it cost."""
    from searcher.comparing import open_results

    compared = open_results(folder).compare(*sweeps, target=target, price=price)
    typer.echo(json.dumps(compared.document(), indent=2) if as_json else compared.text())


app.command()(report)
app.command()(query)
app.command()(replay)


app.command(name="lr-find")(method.lr_find)
app.command()(method.explain)


@app.command(name="ls")
def list_sweeps(folder: ResultsFolder = "results", format: OutputFormat = Format.TABLE) -> None:
    """List the stored sweeps."""
    from searcher.comparing import open_results

    frame = open_results(folder).sweeps()
    show(frame[["sweep", "task", "status", "created", "finished"]], format)


@app.command()
def compact(sweep: SweepName, folder: ResultsFolder = "results") -> None:
    """Merge the small files of a sweep, as its run does at its end."""
    from searcher.results.store import Store

    Store(folder).compact(sweep)


cluster.register(app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The console script. Every error that we know is one line (or one a fault), and exit code 2."""
    try:
        code: Any = app(args=None if arguments is None else list(arguments), standalone_mode=False)
    except SearcherError as error:
        typer.echo(str(error), err=True)
        code = 2
    except _UsageError as error:
        typer.echo(f"searcher: {error.format_message()}", err=True)
        code = 2
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except BrokenPipeError:
        code = 0
    except OSError as error:
        typer.echo(str(ResultsError(f"{error.filename or 'file'}: {error.strerror or error}")), err=True)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
