"""Brings a sweep's results from the cluster's own disks, through the one port that a client can reach."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import IO

from searcher.cluster.connection import Connection
from searcher.cluster.jobs import Job
from searcher.cluster.messages import Message
from searcher.cluster.submission import Submission, helper
from searcher.errors import ExecutionError
from searcher.results.transfer import import_sweep


def fetch(job: Job, to: str | Path = "results") -> Path:
    """Brings the results of a job, also of one that is running: then what is measured by now.

    Args:
        to: a results folder; the job's sweep is added to it, or replaced if it was fetched before.

    Raises:
        ExecutionError: the results are on object storage, where they can be read without being fetched; or the
            file that came is not the one that was sent.
        ResultsError: there are none yet, or the folder holds another sweep of this name.
    """
    if "://" in job.results:
        raise ExecutionError(
            f"job '{job.name}': its results are at {job.results}, where every command reads them: "
            f"searcher compare {job.sweep} --results {job.results}"
        )
    words = ["parcel", "--sweep", job.sweep, "--results", job.results]
    with helper(job.connection, words) as sent, tempfile.TemporaryFile() as file:
        parcel = sent.first("parcel")
        _download(job.connection, sent.refreshed(), parcel, file)
        file.seek(0)
        import_sweep(str(to), job.sweep, file)
    return Path(to)


def _download(connection: Connection, sent: Submission, parcel: Message, file: IO[bytes]) -> None:
    digest = hashlib.sha256()
    with connection.get(
        "/api/v0/logs/file",
        params={
            "node_id": sent.details.driver_node_id, "filename": parcel.values["file"], "lines": -1, "timeout": 600,
        },
        stream=True,
    ) as answer:  # fmt: skip
        for chunk in answer.iter_content(2**20):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != parcel.values["sha256"]:
        raise ExecutionError(
            f"{file.tell():,} of {parcel.values['bytes']:,} bytes came as they were sent; try again"
        )
