"""What is said of a job that failed without a word of ours."""

from typing import cast

import pytest
from ray.job_submission import JobDetails, JobStatus, JobType

from searcher.cluster.connection import Connection
from searcher.cluster.submission import Submission

NOT_INSTALLED = """runtime_env setup failed: Failed to set up runtime environment.
Could not create the actor because its associated runtime env failed to be created.
[Node 10.0.0.2] Traceback (most recent call last):
  File "ray/_private/runtime_env/utils.py", line 105, in check_output_cmd
    raise SubprocessCalledProcessError(
ray._private.runtime_env.utils.SubprocessCalledProcessError: Run cmd[13] failed with the following details.
Last 50 lines of stdout:
    ERROR: Could not find a version that satisfies the requirement nonesuch==9 (from versions: none)
    ERROR: No matching distribution found for nonesuch==9
"""
ENDED = """Job entrypoint command failed with exit code 1, last available logs (truncated to 20,000 chars):
Traceback (most recent call last):
MemoryError: no more
"""


@pytest.mark.parametrize(
    ("status", "message", "told"),
    [
        (
            JobStatus.FAILED,
            NOT_INSTALLED,
            "its packages were not installed on the cluster: Could not find a version that satisfies the "
            "requirement nonesuch==9 (from versions: none)",
        ),
        (JobStatus.FAILED, ENDED, "Job entrypoint command failed with exit code 1: MemoryError: no more"),
        (JobStatus.FAILED, "Job supervisor actor died.\n", "Job supervisor actor died."),
        (JobStatus.FAILED, None, ""),
        (JobStatus.RUNNING, "Job is currently running.", ""),
    ],
)
def test_why_a_job_failed_is_one_line(status: JobStatus, message: str | None, told: str) -> None:
    details = JobDetails(type=JobType.SUBMISSION, entrypoint="", status=status, message=message)
    assert Submission(cast(Connection, None), details).fault == told
