"""Results in a local folder."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from searcher.errors import ResultsError
from searcher.results.files import Files, Lock
from searcher.results.layout import LOCKS, TEMPORARY


class LocalFiles(Files):
    """A local folder, or one on a network file system that knows `rename` and `flock`.

    A file is written under a temporary name beside the data sets, brought to disk, and renamed to its place.
    """

    def __init__(self, root: Path, shown: str) -> None:
        self._folder = root.expanduser().absolute()
        super().__init__(pafs.LocalFileSystem(), self._folder.as_posix(), shown)

    def write(self, path: str, content: pa.Buffer) -> None:
        target = self._folder / path
        with self._temporary(path) as temporary:
            _write_through(temporary, content)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(target)

    def merge(self, folder: str, old: list[str], new: dict[str, pa.Buffer]) -> None:
        """Exchanges the whole folder in one step, so that plain readers meet each row once as well.

        Only Linux can do that, and not on every file system; elsewhere it is done as on object storage.
        A reader that had listed the folder before gets FileNotFoundError for the old files. One that is just
        listing it may leave them out: Arrow, for one, looks at each name again and skips what has gone.
        """
        place = self._folder / folder
        with self._temporary(folder) as temporary:
            temporary.mkdir()
            for path, content in new.items():
                _write_through(temporary / Path(path).name, content)
            for file in place.iterdir():
                if f"{folder}/{file.name}" not in old:
                    os.link(file, temporary / file.name)
            exchanged = _exchange(temporary, place)
        if not exchanged:
            super().merge(folder, old, new)

    def _all(self, folder: str) -> list[str]:
        """Lists each folder as it is at one moment, which the folder's own identity tells: see `merge`."""
        place = self._folder / folder
        try:
            opened = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return []
        try:
            with os.scandir(opened) as entries:
                found = [(f"{folder}/{entry.name}", entry.is_dir(), entry.is_file()) for entry in entries]
            current = os.path.samestat(os.fstat(opened), place.stat())
        except FileNotFoundError:
            current = False
        finally:
            os.close(opened)
        if not current:
            return self._all(folder)
        files = [path for path, _, is_file in found if is_file]
        return files + [path for inner, is_folder, _ in found if is_folder for path in self._all(inner)]

    def remove_folder(self, folder: str) -> None:
        # Renamed away first, so that a reader meets all of it or nothing.
        if (self._folder / folder).exists():
            with self._temporary(folder) as temporary:
                (self._folder / folder).rename(temporary)

    def lock(self, sweep: str) -> Lock:
        lock = FileLock(self._folder / LOCKS / f"{sweep}.lock", sweep)
        shutil.rmtree(self._temporaries(sweep), ignore_errors=True)
        return lock

    def _temporaries(self, sweep: str) -> Path:
        return self._folder / TEMPORARY / sweep

    @contextlib.contextmanager
    def _temporary(self, path: str) -> Iterator[Path]:
        """A new name in a folder of this sweep's own, which only the holder of its lock clears."""
        sweep = next((part for part in Path(path).parts if part.startswith("sweep=")), "").removeprefix("sweep=")
        temporary = self._temporaries(sweep) / secrets.token_hex(8)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
        finally:
            if temporary.is_dir():
                shutil.rmtree(temporary)
            temporary.unlink(missing_ok=True)


class FileLock:
    """An advisory lock on a file (flock); the operating system releases it when its process ends, anyhow."""

    def __init__(self, path: Path, sweep: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: Any = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            owner = self._file.read().strip() or "another process"
            self._file.close()
            raise ResultsError(f"sweep '{sweep}' is being written by {owner}; wait until it ends") from None
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {os.uname().nodename}\n")
        self._file.flush()

    def check(self) -> None:
        """Nothing to do: nobody can take a held flock."""

    def release(self) -> None:
        self._file.close()


def _write_through(path: Path, content: pa.Buffer) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@cache
def _renameat2() -> Any:
    """The system call of Linux that Python has no function for, or None."""
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two folders in one step; False where the system or the file system cannot."""
    call = _renameat2()
    return call is not None and not call(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )
