"""The commands that reach a cluster: submit, jobs, status, logs, stop, resume, fetch, cluster doctor."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from searcher.commands.options import Format, OutputFormat, Overrides, SweepFile, show

if TYPE_CHECKING:
    from searcher.cluster import Connection, Job
    from searcher.cluster.messages import Message

Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar="RAY_API_SERVER_ADDRESS",
        metavar="URL",
        help="The cluster's dashboard, e.g. https://head:8265. The token is read from where Ray looks for it.",
    ),
]
JobName = Annotated[str, typer.Argument(metavar="NAME", help="The job's name.")]
Follow = Annotated[bool, typer.Option("--follow", help="Show its progress until it ends.")]

cluster_app = typer.Typer(help="The cluster itself.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    for command in (submit, jobs, status, logs, stop, resume, fetch):
        app.command()(command)
    app.add_typer(cluster_app, name="cluster")


def submit(
    file: SweepFile,
    overrides: Overrides = None,
    address: Address = None,
    name: Annotated[str | None, typer.Option("--name", help="The job's name; default: the sweep's.")] = None,
    working_dir: Annotated[
        Path | None,
        typer.Option("--working-dir", help="The folder that is sent; default: the sweep file's."),
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option("--requirements", help="A requirements.txt, installed on each node for this job."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Train only what a stored sweep still lacks.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete a stored sweep of this name.")] = False,
    follow: Follow = False,
) -> None:
    """Hand a sweep to a Ray cluster; it runs there, whatever becomes of this machine."""
    from searcher import cluster
    from searcher.sweep import load_sweep

    if resume and overwrite:
        raise typer.BadParameter("--resume and --overwrite exclude each other")
    job = cluster.submit(
        load_sweep(file, overrides or ()),
        file.parent,
        address=address,
        name=name,
        working_dir=working_dir,
        requirements=requirements,
        mode="resume" if resume else "overwrite" if overwrite else "new",
    )
    _submitted(job, follow)


def resume(name: JobName, address: Address = None, follow: Follow = False) -> None:
    """Go on with a job that has ended: train only what is missing."""
    from searcher import cluster

    _submitted(cluster.resume(name, address=address), follow)


def jobs(address: Address = None, format: OutputFormat = Format.TABLE) -> None:
    """List the jobs on a cluster, newest first."""
    import pandas as pd

    from searcher import cluster

    rows = [
        {
            "name": job.name,
            "attempt": job.attempt,
            "state": job.state,
            "owner": job.owner,
            "submitted": _time(job.started),
            "ended": _time(job.ended),
            "results": job.results,
        }
        for job in cluster.list_jobs(address)
    ]
    columns = ["name", "attempt", "state", "owner", "submitted", "ended", "results"]
    show(pd.DataFrame(rows, columns=columns), format)


def status(name: JobName, address: Address = None) -> None:
    """Say how a job is, and how far."""
    from searcher import cluster
    from searcher.cluster.messages import heard

    job = cluster.find(name, address=address)
    typer.echo(f"{job.name}: {job.state} (attempt {job.attempt}, {job.owner}, submitted {_time(job.started)})")
    messages = [message for line in job.log() if (message := heard(line))]
    progress = [message for message in messages if message.kind == "progress"]
    if progress:
        typer.echo(_line(job, progress[-1].values))
    errors = [message.values["text"] for message in messages if message.kind == "error"]
    for error in errors or [job.fault]:
        if error:
            typer.echo(error)
    typer.echo(f"results: {job.results}")


def logs(
    name: JobName,
    address: Address = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
) -> None:
    """Print what a job has written."""
    from searcher import cluster
    from searcher.cluster.messages import heard

    job = cluster.find(name, address=address)
    printed = float("-inf")
    lines = job.events() if follow else (heard(line) or line for line in job.log())
    for line in lines:
        if isinstance(line, str):
            typer.echo(line)
        elif line.kind == "error":
            typer.echo(line.values["text"])
        elif line.kind == "progress" and line.values["elapsed"] - printed >= 10:
            printed = line.values["elapsed"]
            typer.echo(_line(job, line.values))


def stop(name: JobName, address: Address = None) -> None:
    """End a job as Ctrl-C would: what was measured is kept."""
    from searcher import cluster

    job = cluster.find(name, address=address)
    if job.active and job.stop():
        job.wait()
    ended = job.refreshed()
    typer.echo(f"{name}: {ended.state}; what was measured is in {job.results}; go on with: searcher resume {name}")


def fetch(
    name: JobName,
    address: Address = None,
    to: Annotated[
        str, typer.Option("--to", metavar="FOLDER", help="The results folder to bring them to.")
    ] = "results",
) -> None:
    """Bring a job's results from the cluster's own disks to a folder here."""
    from searcher import cluster

    job = cluster.find(name, address=address)
    cluster.fetch(job, to)
    typer.echo(f"{to}; compare with: searcher compare {job.sweep} --results {to}")


@cluster_app.command()
def doctor(
    address: Address = None,
    results: Annotated[
        str | None,
        typer.Option("--results", help="Object storage or a shared folder, to be written from every node."),
    ] = None,
) -> None:
    """Check what a sweep needs of a cluster: versions, token, nodes, GPUs, storage, clocks."""
    from searcher import cluster

    bad = 0
    for finding in cluster.examine(address, results):
        mark = {True: "ok", False: "BAD", None: "--"}[finding.good]
        bad += finding.good is False
        typer.echo(f"{mark:4}{finding.what}: {finding.told}")
    if bad:
        raise typer.Exit(1)


def _submitted(job: Job, follow: bool) -> None:
    """Prints the name at once, and then what the cluster's checks say, or everything to the end."""
    typer.echo(job.name)
    _warn(job.connection)
    try:
        if follow:
            _follow(job)
            return
        job.check()
    except KeyboardInterrupt:
        typer.echo(f"it goes on: searcher logs {job.name} -f, searcher stop {job.name}", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"checked, and running; watch it with: searcher logs {job.name} -f", err=True)


def _follow(job: Job) -> None:
    from searcher.cluster.submission import raise_told

    screen, last = Screen(job), ""
    try:
        for event in job.events():
            if isinstance(event, str):
                last = event.strip() or last
                screen.line(event)
            else:
                raise_told(event)
                screen.message(event)
    finally:
        screen.end()
    if job.outcome(last) == "stopped":
        typer.echo(f"{job.name} was stopped; go on with: searcher resume {job.name}", err=True)
        raise typer.Exit(130)


class Screen:
    """Shows a job's messages as a run on this machine would: its progress, and then its comparison."""

    def __init__(self, job: Job) -> None:
        from searcher.progress import Progress

        self._job = job
        self._progress = Progress()
        self._live = self._begun = self._done = False

    def line(self, text: str) -> None:
        if self._begun:  # before, it is Ray that speaks
            typer.echo(text, err=not self._done)

    def message(self, message: Message) -> None:
        self._begun = True
        if message.kind == "done":
            self.end()
            self._done = True
        elif message.kind == "progress":
            self._show(message.values)

    def end(self) -> None:
        if self._live:
            self._progress.end()
            self._live = False

    def _show(self, snapshot: dict[str, Any]) -> None:
        from searcher.progress import StrategyProgress
        from searcher.records import History
        from searcher.sweep import parse_sweep

        counts = {label: StrategyProgress.restored(one) for label, one in snapshot["strategies"].items()}
        if not self._live:
            plans = {label: one.plan for label, one in counts.items()}
            self._progress.begin(parse_sweep(self._job.text), plans, {label: History() for label in plans})
            self._live = True
        self._progress.show(counts, snapshot["elapsed"], snapshot["before"])


def _warn(connection: Connection) -> None:
    from searcher.cluster.doctor import sent_in_clear

    if not connection.protected:
        typer.echo(
            f"warning: {connection.address} asks for no token: whoever reaches it can run code there", err=True
        )
    elif sent_in_clear(connection.address):
        typer.echo(f"warning: {connection.address} is not encrypted: the token can be read on the way", err=True)


def _line(job: Job, snapshot: dict[str, Any]) -> str:
    from searcher.progress import Progress, StrategyProgress

    progress = Progress(name=job.sweep, ended=not job.active)
    counts = {label: StrategyProgress.restored(one) for label, one in snapshot["strategies"].items()}
    progress.show(counts, snapshot["elapsed"], snapshot["before"])
    return progress.line()


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"
