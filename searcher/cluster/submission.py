"""One submission to Ray's Jobs API: sent, watched, stopped. A sweep's job is one, and so are our short helpers."""

from __future__ import annotations

import secrets
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from ray.job_submission import JobDetails, JobStatus

from searcher import errors
from searcher.cluster.connection import Connection, translated
from searcher.cluster.messages import Message, heard
from searcher.cluster.package import own_module
from searcher.cluster.tailing import tail
from searcher.errors import ExecutionError, SearcherError

STOP_SECONDS = 60
"""How long a stopped job may take to store what was measured before it is killed."""

_STATES = {JobStatus.SUCCEEDED: "completed"}


@dataclass(frozen=True)
class Submission:
    """A handle; `details` are what the cluster said when it was made."""

    connection: Connection
    details: JobDetails

    @property
    def submission_id(self) -> str:
        return str(self.details.submission_id)

    @property
    def state(self) -> str:
        """pending, running, completed, failed or stopped."""
        status: JobStatus = self.details.status
        return _STATES.get(status, str(status.value).lower())

    @property
    def active(self) -> bool:
        return not self.details.status.is_terminal()

    @property
    def started(self) -> float | None:
        """When it was submitted, in seconds since the Unix epoch."""
        return self.details.start_time / 1000 if self.details.start_time else None

    @property
    def ended(self) -> float | None:
        return self.details.end_time / 1000 if self.details.end_time else None

    @property
    def fault(self) -> str:
        """Why Ray says that it failed, in one line; empty if it did not."""
        lines = [line.strip() for line in str(self.details.message or "").splitlines() if line.strip()]
        if self.state != "failed" or not lines:
            return ""
        if lines[0].startswith("runtime_env setup failed"):
            # Ray tells of every command that it called; what was wrong, pip says.
            faults = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines[-1:]
            return f"its packages were not installed on the cluster: {faults[0]}"
        told, logs, _ = lines[0].partition(", last available logs")
        return f"{told}: {lines[-1]}" if logs else " ".join(lines)

    def refreshed(self) -> Self:
        """The same as it is now."""
        with translated(self.connection.address):
            return replace(self, details=self.connection.client.get_job_info(self.submission_id))

    def log(self) -> list[str]:
        """The lines that it has written so far, messages included."""
        with translated(self.connection.address):
            return str(self.connection.client.get_job_logs(self.submission_id)).splitlines()

    def events(self) -> Iterator[Message | str]:
        """Messages and other lines, from its begin to its end, as they come; survives a lost connection."""
        for line in tail(self.connection, self.submission_id):
            yield heard(line) or line

    def first(self, *kinds: str) -> Message:
        """Waits for the first message of one of these kinds.

        Raises:
            SearcherError: the error that it told of instead, or its last words if it ended without any.
        """
        last = ""
        for event in self.events():
            if isinstance(event, str):
                last = event.strip() or last
                continue
            raise_told(event)
            if event.kind in kinds:
                return event
        raise ExecutionError(f"job {self.submission_id} ended early: {_last_words(self.refreshed(), last)}")

    def wait(self) -> str:
        """Waits for the end and returns the state: `completed` or `stopped`.

        Raises:
            SearcherError: the error that ended it.
        """
        last = ""
        for event in self.events():
            if isinstance(event, Message):
                raise_told(event)
            else:
                last = event.strip() or last
        return self.outcome(last)

    def outcome(self, last: str = "") -> str:
        """The state of one that has ended; `last`: the last line of its log.

        Raises:
            ExecutionError: it failed.
        """
        ended = self.refreshed()
        if ended.state == "failed":
            raise ExecutionError(f"job {self.submission_id} failed: {_last_words(ended, last)}")
        return ended.state

    def stop(self) -> bool:
        """Asks it to end, as Ctrl-C would: what was measured is kept. False if it had ended already."""
        with translated(self.connection.address):
            return bool(self.connection.client.stop_job(self.submission_id))


def send(
    connection: Connection,
    submission_id: str,
    words: Sequence[str],
    module: Path,
    metadata: Mapping[str, str] | None = None,
    **environment: Any,
) -> Submission:
    """Submits `python -m searcher.job WORDS`, with this `searcher` on its search path.

    Args:
        module: what `own_module` made.
        environment: more of Ray's runtime environment, such as `working_dir`.
    """
    with translated(connection.address):
        connection.client.submit_job(
            entrypoint=f"exec python -m searcher.job {shlex.join(words)}",
            submission_id=submission_id,
            metadata=dict(metadata or {}),
            runtime_env={
                "py_modules": [str(module)],
                "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)},
                **environment,
            },
        )
        return Submission(connection, connection.client.get_job_info(submission_id))


@contextmanager
def helper(connection: Connection, words: Sequence[str]) -> Iterator[Submission]:
    """A short job that is stopped at the end, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="searcher-package-") as scratch:
        module = own_module(Path(scratch))
        sent = send(connection, f"searcher-{words[0]}-{secrets.token_hex(4)}", words, module)
    try:
        yield sent
    finally:
        with suppress(ExecutionError):
            sent.stop()


def raise_told(message: Message) -> None:
    """Raises the error that a message tells of, as the class that it had in the job; else does nothing."""
    if message.kind != "error":
        return
    kind = getattr(errors, message.values["type"], None)
    known = isinstance(kind, type) and issubclass(kind, SearcherError)
    raise (kind if known else ExecutionError)(message.values["text"])  # type: ignore[misc]


def _last_words(ended: Submission, last: str) -> str:
    """What a job said last that failed without an error of ours."""
    return (last or ended.fault or f"it is {ended.state}")[:300]
