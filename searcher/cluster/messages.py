"""What a job tells its client through its log: one JSON object a line, behind a prefix that no other line has.

progress  elapsed, before,   a snapshot of the counts, see `searcher.progress`; rarer the longer it runs. The first
          strategies         comes when everything that can be checked before a sweep starts was checked
done                         the sweep has ended; the lines that follow are its comparison
error     type, text         an error of ours, in its one line
parcel    file, bytes,       a file beside the job's log, to be fetched
          sha256
findings  findings           of a doctor's job
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

PREFIX = "##searcher "


@dataclass(frozen=True)
class Message:
    """One message; `values` hold what its kind needs."""

    kind: str
    values: dict[str, Any]


def tell(kind: str, **values: Any) -> None:
    """Writes a message to this process's output, which is the job's log."""
    sys.stdout.write(f"{PREFIX}{json.dumps({'kind': kind, **values}, separators=(',', ':'))}\n")
    sys.stdout.flush()


def heard(line: str) -> Message | None:
    """The message in a line of a log, or None for any other line."""
    if not line.startswith(PREFIX):
        return None
    try:
        values = json.loads(line.removeprefix(PREFIX))
        return Message(values.pop("kind"), values)
    except (ValueError, KeyError, AttributeError):
        return None  # cut in two by another process's output
