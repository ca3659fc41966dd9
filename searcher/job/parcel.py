"""The job behind `searcher fetch`: a sweep's results as one file beside the job's log.

Ray's dashboard hands out any file of a node's log folder, byte for byte, over the port that the client has anyway;
the log itself is text. The file is there only while the job runs: the client ends the job when it has it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from pathlib import Path

from searcher.cluster.messages import tell
from searcher.results.transfer import export_sweep

OFFERED_SECONDS = 3600.0
"""When a client that went away without a word is given up."""


def offer_parcel(sweep: str, results: str) -> None:
    """Writes the parcel, tells of it, and keeps it until the job is stopped.

    Raises:
        ResultsError: there are no such results.
    """
    # Ray sends a job's output to a file in the log folder.
    logs = Path(os.readlink("/proc/self/fd/1")).parent
    parcel = logs / f"searcher-parcel-{secrets.token_hex(8)}.tar"
    try:
        with os.fdopen(os.open(parcel, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
            export_sweep(os.path.expanduser(results), sweep, file)
            size = file.tell()
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        tell("parcel", file=parcel.name, bytes=size, sha256=digest)
        time.sleep(OFFERED_SECONDS)
    finally:
        parcel.unlink(missing_ok=True)
