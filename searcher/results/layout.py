"""Which folder and which name a file of results has; the only place that knows.

results/
  sweeps/sweep=digits/part-20250131T235959Z-1f0c9a2b-0000.parquet
  trials/sweep=digits/strategy=grid/part-20250131T235959Z-83d1e27f-0000.parquet
  epochs/…, steps/…                       as trials
  .searcher/locks/, tmp/, merges/         beside the data sets, so that no reader's glob meets them
  .searcher/checkpoints/sweep=digits/     of the trials that are running
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from searcher.errors import ResultsError
from searcher.results.schema import DataSet

LOCKS = ".searcher/locks"
TEMPORARY = ".searcher/tmp"
MERGES = ".searcher/merges"
CHECKPOINTS = ".searcher/checkpoints"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Place:
    """What a file's path says of its content. `strategy` is empty for the file of a sweep's own row."""

    sweep: str
    strategy: str


def check_name(what: str, name: str) -> str:
    """Refuses a name that could not be the name of a folder on every file system and object store."""
    if not _NAME.fullmatch(name):
        raise ResultsError(
            f"{what} {name!r} cannot name a folder of results: use 1 to 100 letters, digits, '.', '_' or "
            "'-', beginning with a letter or a digit"
        )
    return name


def folder(data_set: DataSet, sweep: str, strategy: str = "") -> str:
    """The folder of a partition, or without a strategy the folder of the whole sweep in this data set."""
    path = f"{data_set.name}/sweep={check_name('sweep', sweep)}"
    return f"{path}/strategy={check_name('strategy', strategy)}" if strategy else path


def checkpoints_folder(sweep: str) -> str:
    return f"{CHECKPOINTS}/sweep={check_name('sweep', sweep)}"


def merge_notes(folder_path: str) -> str:
    """Where it is noted that files of this folder, or under it, are being merged."""
    return f"{MERGES}/{folder_path}/"


def new_merge_note(folder_path: str) -> str:
    return f"{merge_notes(folder_path)}{secrets.token_hex(8)}.json"


def place_of(path: str) -> Place | None:
    """What the folder names say, or None for a file that is none of ours."""
    keys = dict(part.split("=", 1) for part in PurePosixPath(path).parts[1:-1] if "=" in part)
    return Place(keys["sweep"], keys.get("strategy", "")) if "sweep" in keys else None


def new_file_names(folder_path: str) -> FileNames:
    """A source of file names that no other writer uses, in the order in which they were begun."""
    return FileNames(f"{folder_path}/part-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}")


@dataclass(slots=True)
class FileNames:
    """Counts the files that one writer begins in one partition."""

    prefix: str
    count: int = 0

    def next(self) -> str:
        name = f"{self.prefix}-{self.count:04d}.parquet"
        self.count += 1
        return name
