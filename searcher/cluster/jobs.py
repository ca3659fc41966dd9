"""Jobs: a sweep handed to a cluster, by the name under which its user knows it.

A name stands for one submission after another, `NAME.1`, `NAME.2` for each resume: Ray accepts no id twice. All
that is known of a job is its metadata on the cluster.
"""

from __future__ import annotations

import getpass
import os
import platform
import posixpath
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from searcher.cluster.connection import Connection, connect, translated
from searcher.cluster.package import Packed, pack
from searcher.cluster.submission import Submission, send
from searcher.cluster.tailing import GO_ON
from searcher.errors import ExecutionError, nearest
from searcher.sweep import Sweep

Mode = Literal["new", "resume", "overwrite"]

HOME = "~/searcher-results"
"""Where the head keeps the results of a sweep whose `results` is a relative path, in a folder for each user."""


@dataclass(frozen=True)
class Job(Submission):
    """A handle of one attempt of a sweep's job; holds nothing that the cluster does not know."""

    @property
    def name(self) -> str:
        return self._told("name")

    @property
    def attempt(self) -> int:
        return int(self._told("attempt"))

    @property
    def owner(self) -> str:
        return self._told("owner")

    @property
    def sweep(self) -> str:
        """The sweep's name in the results."""
        return self._told("sweep")

    @property
    def results(self) -> str:
        """Where the results are: an address, or a folder of the head."""
        return self._told("results")

    @property
    def text(self) -> str:
        """The sweep file that was submitted, with its overrides."""
        return self._told("text")

    def check(self) -> None:
        """Waits until the cluster has begun the sweep, after all checks: packages, task, resources, what is stored.

        Raises:
            SearcherError: what a check found, or the last words of a job that ended before.
        """
        self.first("progress")

    def resume(self) -> Job:
        """See `searcher.cluster.resume`."""
        return resume(self.name, address=self.connection.address)

    def fetch(self, to: str | Path = "results") -> Path:
        """See `searcher.cluster.fetch`."""
        from searcher.cluster.fetching import fetch

        return fetch(self, to)

    def _told(self, key: str) -> str:
        return str((self.details.metadata or {})[_KEY + key])


_KEY = "searcher_"
"""What the keys of our metadata begin with; a job that has none of them is not ours."""


def submit(
    sweep: Sweep,
    folder: str | Path = ".",
    *,
    address: str | None = None,
    name: str | None = None,
    working_dir: str | Path | None = None,
    requirements: str | Path | None = None,
    mode: Mode = "new",
) -> Job:
    """Hands a sweep to a cluster and returns at once; the machine that called may be switched off.

    Args:
        sweep: what is to be run.
        folder: where a relative task reference starts from: the sweep file's folder.
        address: of the cluster's dashboard, e.g. `https://head:8265`; None: RAY_API_SERVER_ADDRESS.
        name: of the job; by default the sweep's.
        working_dir: the folder that is sent, which must hold `folder`; by default `folder` itself.
        requirements: a requirements.txt to install for the job, on each node, before it starts.
        mode: see `searcher.run`.

    Raises:
        ExecutionError: the cluster cannot be reached or refuses, a version differs, the package is too large, or
            a job of this name is running or is another user's. What only the cluster can check, `Job.check` does.
        TaskError: the task's file is not there or is not sent.
    """
    connection = connect(address)
    owner, name = user(), name or sweep.name
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name):
        raise ExecutionError(f"--name: got '{name}'; must be 1 to 100 letters, digits, '_', '.' or '-'")
    earlier = [job for job in _all(connection) if job.name == name]
    _check_free(name, owner, earlier)
    folder, root = Path(folder).resolve(), Path(working_dir or folder).resolve()
    results = cluster_results(sweep.results, owner)
    metadata = {
        "name": name,
        "attempt": str(max((job.attempt for job in earlier), default=0) + 1),
        "owner": owner,
        "sweep": sweep.name,
        "text": sweep.to_yaml(),
        "results": results,
        "machine": platform.node(),
        "folder": str(folder),
        "root": str(root),
        "mode": mode,
    }
    environment: dict[str, Any] = {}
    if requirements is not None:
        environment["pip"] = {"packages": _requirements(Path(requirements)), "pip_check": False}
    with tempfile.TemporaryDirectory(prefix="searcher-package-") as scratch:
        packed = pack(root, metadata["text"], folder, Path(scratch), sweep.task)
        return _send(connection, metadata, packed, environment)


def list_jobs(address: str | None = None) -> list[Job]:
    """The last attempt of every job of ours that the cluster remembers, newest first."""
    found: dict[str, Job] = {}
    for job in _all(connect(address, same_versions=False)):
        if job.name not in found or job.attempt > found[job.name].attempt:
            found[job.name] = job
    return sorted(found.values(), key=lambda job: -(job.started or 0))


def find(name: str, *, address: str | None = None) -> Job:
    """The last attempt of a job.

    Raises:
        ExecutionError: the cluster knows none of this name.
    """
    known = {job.name: job for job in list_jobs(address)}
    if name not in known:
        forgotten = f" It knows none: one whose head was started anew has forgotten its jobs. {GO_ON}"
        hint = nearest(name, known) if known else forgotten
        raise ExecutionError(f"job '{name}': the cluster knows no such job.{hint}")
    return known[name]


def resume(name: str, *, address: str | None = None) -> Job:
    """Starts the next attempt of a job that has ended: it trains only what is missing.

    Its files are sent again, from where they were sent first, and must be the same.

    Raises:
        ExecutionError: the job is running, is another user's, or its files are not to be had.
    """
    last = find(name, address=address)
    connection = connect(address)
    _check_free(name, user(), [last])
    given = {key.removeprefix(_KEY): value for key, value in (last.details.metadata or {}).items()}
    metadata = {key: given[key] for key in given if key not in ("job_submission_id", "job_name")}
    metadata |= {"attempt": str(last.attempt + 1), "mode": "resume"}
    stored = last.details.runtime_env or {}
    environment = {"pip": stored["pip"]} if "pip" in stored else {}
    with tempfile.TemporaryDirectory(prefix="searcher-package-") as scratch:
        folder, root = Path(metadata["folder"]), Path(metadata["root"])
        here = metadata["machine"] == platform.node() and folder.is_dir()
        packed = pack(root, metadata["text"], folder, Path(scratch)) if here else None
        if packed is not None and packed.digest == metadata["package"]:
            return _send(connection, metadata, packed, environment)
    raise ExecutionError(
        f"job '{name}': its files {'have changed' if here else 'are not'} in {metadata['folder']} on "
        f"{metadata['machine']}: use searcher submit SWEEP.yaml --resume --name {name}"
    )


def user() -> str:
    """Who submits: the name under which results are kept apart."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        name = f"uid{os.getuid()}"
    return re.sub(r"[^A-Za-z0-9_-]", "_", name) or "nobody"


def cluster_results(results: str, owner: str) -> str:
    """Where the cluster keeps the results: an address or an absolute path as it is, else below the owner's folder.

    Raises:
        ExecutionError: a relative path that leaves its folder.
    """
    if "://" in results or results.startswith("/"):
        return results
    path = posixpath.normpath(results)
    if path.startswith(".."):
        raise ExecutionError(
            f"results: got '{results}'; on a cluster it must be a name, an absolute path on storage that its nodes "
            "share, or an address such as s3://bucket/results"
        )
    return posixpath.normpath(f"{HOME}/{owner}/{path}")


def _send(connection: Connection, metadata: dict[str, str], packed: Packed, environment: dict[str, Any]) -> Job:
    metadata["package"] = packed.digest
    sent = send(
        connection,
        f"{metadata['name']}.{metadata['attempt']}",
        ["run", *(word for key in ("mode", "owner", "results") for word in (f"--{key}", metadata[key]))],
        packed.module,
        metadata={_KEY + key: value for key, value in metadata.items()},
        working_dir=str(packed.archive),
        **environment,
    )
    return Job(connection, sent.details)


def _all(connection: Connection) -> list[Job]:
    with translated(connection.address):
        found = connection.client.list_jobs()
    return [
        Job(connection, details)
        for details in found
        if details.submission_id and _KEY + "name" in (details.metadata or {})
    ]


def _check_free(name: str, owner: str, earlier: list[Job]) -> None:
    for job in earlier:
        if job.owner != owner:
            raise ExecutionError(f"job '{name}': the name is taken by {job.owner}; choose another --name")
        if job.active:
            raise ExecutionError(
                f"job '{name}' is {job.state}: searcher logs {name} -f follows it, searcher stop {name} ends it"
            )


def _requirements(path: Path) -> list[str]:
    try:
        lines = [line.partition(" #")[0].strip() for line in path.read_text().splitlines()]
    except OSError as error:
        raise ExecutionError(f"--requirements: {path}: {error.strerror or error}") from error
    return [line for line in lines if line and not line.startswith("#")]
