"""A job's log as lines, while it grows: over Ray's websocket, taken up again where a connection was lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
from ray.job_submission import JobStatus

from searcher.cluster.connection import Connection, translated
from searcher.errors import ExecutionError

PATIENCE = 300.0
"""Seconds for which a cluster may be out of reach before following ends: a laptop slept, a head restarts."""


SILENCE = 60.0
"""Seconds without a word after which a connection is made anew: one that broke without a sign stays silent."""


GO_ON = "What was measured on storage that outlived it goes on with: searcher submit SWEEP.yaml --resume"
"""What is to be done when a head has died."""


def tail(connection: Connection, submission_id: str) -> Iterator[str]:
    """The lines of a job's log from its first to the last that it writes, without their ends.

    Raises:
        ExecutionError: the cluster was out of reach for `PATIENCE` seconds, or has forgotten the job.
    """
    seen, rest = 0, ""
    for chunk in _chunks(connection, submission_id):
        seen += len(chunk)
        *lines, rest = (rest + chunk).split("\n")
        yield from lines
    if rest:
        yield rest


def _chunks(connection: Connection, submission_id: str) -> Iterator[str]:
    """The text of the log, each part once, however often the connection is lost: a new one begins at the top."""
    seen, lost = 0, None
    while True:
        skip = seen
        try:
            _status(connection, submission_id)  # of a job that is not known no connection comes about
            for chunk in _one_connection(connection, submission_id):
                new = chunk[skip:]
                skip = max(0, skip - len(chunk))
                seen, lost = seen + len(new), None
                if new:
                    yield new
            if _status(connection, submission_id).is_terminal():
                with translated(connection.address):
                    # The end may have been written after the last part came.
                    yield str(connection.client.get_job_logs(submission_id))[seen:]
                return
        except (ExecutionError, RuntimeError, aiohttp.ClientError, OSError) as error:
            if f"Job {submission_id} does not exist" in str(error):
                told = f"job {submission_id}: {connection.address} does not know it any more"
                raise ExecutionError(f"{told}: its head was started anew. {GO_ON}") from error
            lost = lost or time.monotonic()
            if time.monotonic() - lost > PATIENCE:
                raise ExecutionError(f"the connection to {connection.address} was lost: {error}") from error
        time.sleep(0.5)


def _status(connection: Connection, submission_id: str) -> JobStatus:
    with translated(connection.address):
        return connection.client.get_job_status(submission_id)


def _one_connection(connection: Connection, submission_id: str) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    stream: AsyncIterator[str] = connection.client.tail_job_logs(submission_id)
    try:
        while True:
            try:
                yield loop.run_until_complete(asyncio.wait_for(anext(stream), SILENCE))
            except (StopAsyncIteration, TimeoutError):
                return
    finally:
        loop.run_until_complete(stream.aclose())  # type: ignore[attr-defined]  # an async generator
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
