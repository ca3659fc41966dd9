"""A sweep's results as one tar file, to take them from one results folder to another."""

from __future__ import annotations

import io
import tarfile
import time
from datetime import datetime
from pathlib import PurePosixPath
from typing import IO

import pyarrow as pa

from searcher.errors import NothingFoundError, ResultsError
from searcher.results.layout import folder, place_of
from searcher.results.schema import DATA_SETS, SWEEPS
from searcher.results.storage import open_files

_TRIES = 5


def export_sweep(root: str, sweep: str, target: IO[bytes]) -> None:
    """Writes all files of a sweep; also of one that is being written: then what is there at that moment.

    Raises:
        NothingFoundError: no such sweep is there.
        ResultsError: the folder cannot be read.
    """
    files = open_files(root)
    folders = [folder(data_set, sweep) for data_set in DATA_SETS.values()]
    try:
        for _ in range(_TRIES):
            try:
                contents = {path: files.read_bytes(path) for path in files.list(*folders)}
                break
            except FileNotFoundError:
                time.sleep(0.5)  # a merge took a file away between the list and its reading
        else:
            raise ResultsError(f"sweep '{sweep}' in {files.shown} changes faster than it can be read; try again")
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(f"cannot read sweep '{sweep}' from {files.shown}: {error}") from error
    if not contents:
        raise NothingFoundError(f"there is no sweep '{sweep}' in {files.shown}")
    with tarfile.open(fileobj=target, mode="w") as tar:
        for path, content in contents.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def import_sweep(root: str, sweep: str, source: IO[bytes]) -> None:
    """Takes over what `export_sweep` wrote. The same sweep, fetched before, is replaced.

    Raises:
        ResultsError: the folder holds another sweep of this name, or the file is not such a tar.
    """
    files = open_files(root)
    contents = dict(_contents(source, sweep))
    try:
        lock = files.lock(sweep)
        try:
            old = files.list(folder(SWEEPS, sweep))
            new = [path for path in contents if path.startswith(folder(SWEEPS, sweep))]
            if old and _created(files.read_bytes(old[0])) != _created(contents[new[0]]):
                raise ResultsError(
                    f"{files.shown} holds another sweep '{sweep}', begun at another time: use another folder"
                )
            for data_set in reversed(DATA_SETS.values()):
                files.remove_folder(folder(data_set, sweep))
            # The sweep's own row last: until it is there, the sweep does not count as existing.
            for path in sorted(contents, key=lambda path: path in new):
                files.write(path, pa.py_buffer(contents[path]))
        finally:
            lock.release()
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(f"cannot write sweep '{sweep}' to {files.shown}: {error}") from error


def _contents(source: IO[bytes], sweep: str) -> list[tuple[str, bytes]]:
    found = []
    try:
        with tarfile.open(fileobj=source, mode="r:") as tar:
            for member in tar:
                place, path = place_of(member.name), PurePosixPath(member.name)
                inside = path.parts[0] in DATA_SETS and ".." not in path.parts
                if not member.isfile() or not inside or place is None or place.sweep != sweep:
                    raise ResultsError(
                        f"a parcel of sweep '{sweep}' holds {member.name!r}, which is none of its files"
                    )
                content = tar.extractfile(member)
                assert content is not None
                found.append((member.name, content.read()))
    except tarfile.TarError as error:
        raise ResultsError(f"a parcel of sweep '{sweep}' cannot be read: {error}") from error
    return found


def _created(content: bytes) -> datetime:
    import pyarrow.parquet as pq

    created: datetime = pq.read_table(pa.BufferReader(content), columns=["created"]).column(0)[0].as_py()
    return created
